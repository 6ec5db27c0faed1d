package io.feastassets.client;

import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZonedDateTime;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * The features of the entities of a request, in their order.
 *
 * <p>Getters return an empty {@link Optional} where the value is null; {@link #status} says why it is. They throw {@link
 * IllegalArgumentException} where there is no such column or row, or the value is of another type.
 */
public final class Features {
  private final List<FeatureColumn> columns;

  Features(List<FeatureColumn> columns) {
    this.columns = List.copyOf(columns);
  }

  /** Returns join keys first, then features in the order asked for, then features of on-demand views. */
  public List<FeatureColumn> columns() {
    return columns;
  }

  /** Returns the number of rows. */
  public int rows() {
    return columns.isEmpty() ? 0 : columns.get(0).values().size();
  }

  /** Returns a column by its name. */
  public FeatureColumn column(String name) {
    for (FeatureColumn column : columns) {
      if (column.name().equals(name)) {
        return column;
      }
    }
    throw new IllegalArgumentException(
        "There is no column " + name + "; there are " + columns.stream().map(FeatureColumn::name).toList() + ".");
  }

  /** Returns the status of a value. */
  public FeatureStatus status(String name, int row) {
    FeatureColumn column = column(name);
    checkRow(column, row);
    return column.statuses().get(row);
  }

  /** Returns the event time of a value; empty for join keys, computed features, and where there is no row. */
  public Optional<Instant> eventTime(String name, int row) {
    FeatureColumn column = column(name);
    checkRow(column, row);
    return Optional.ofNullable(column.eventTimes().get(row));
  }

  /** Returns an integer. */
  public Optional<Long> getLong(String name, int row) {
    return get(name, row, "an integer", Features::asLong);
  }

  /** Returns a number. */
  public Optional<Double> getDouble(String name, int row) {
    return get(name, row, "a number", Features::asDouble);
  }

  /** Returns a text. */
  public Optional<String> getString(String name, int row) {
    return get(name, row, "a text", Features::asString);
  }

  /** Returns a boolean. */
  public Optional<Boolean> getBoolean(String name, int row) {
    return get(name, row, "a boolean", Features::asBoolean);
  }

  /** Returns bytes. */
  public Optional<byte[]> getBytes(String name, int row) {
    return get(name, row, "bytes", Features::asBytes);
  }

  /** Returns a moment. */
  public Optional<Instant> getInstant(String name, int row) {
    return get(name, row, "a moment", Features::asInstant);
  }

  /** Returns a list of integers. */
  public Optional<List<Long>> getLongs(String name, int row) {
    return get(name, row, "a list of integers", value -> asList(value, Features::asLong));
  }

  /** Returns a list of numbers. */
  public Optional<List<Double>> getDoubles(String name, int row) {
    return get(name, row, "a list of numbers", value -> asList(value, Features::asDouble));
  }

  /** Returns a list of texts. */
  public Optional<List<String>> getStrings(String name, int row) {
    return get(name, row, "a list of texts", value -> asList(value, Features::asString));
  }

  /** Returns a value as it was sent; see {@link FeatureColumn#values}. */
  public Optional<Object> get(String name, int row) {
    return get(name, row, "a value", Function.identity());
  }

  /** Converts a value with a function that returns null where it is of another type. */
  private <T> Optional<T> get(String name, int row, String kind, Function<Object, T> convert) {
    FeatureColumn column = column(name);
    checkRow(column, row);
    Object value = column.values().get(row);
    if (value == null) {
      return Optional.empty();
    }
    T converted = convert.apply(value);
    if (converted == null) {
      throw new IllegalArgumentException(
          "Column " + name + " holds " + value.getClass().getSimpleName() + " in row " + row + ", which is not " + kind + ".");
    }
    return Optional.of(converted);
  }

  private static void checkRow(FeatureColumn column, int row) {
    if (row < 0 || row >= column.values().size()) {
      throw new IllegalArgumentException(
          "Column " + column.name() + " has no row " + row + "; it has " + column.values().size() + " rows.");
    }
  }

  private static Long asLong(Object value) {
    if (value instanceof Long || value instanceof Integer) {
      return ((Number) value).longValue();
    }
    if (value instanceof Double || value instanceof Float || !(value instanceof Number)) {
      return null;
    }
    try {
      // A number of JSON, whose text it is.
      return Long.valueOf(value.toString());
    } catch (NumberFormatException error) {
      return null;
    }
  }

  private static Double asDouble(Object value) {
    if (value instanceof Number number) {
      return number.doubleValue();
    }
    // What JSON has no numbers for.
    if ("NaN".equals(value)) {
      return Double.NaN;
    }
    if ("Infinity".equals(value)) {
      return Double.POSITIVE_INFINITY;
    }
    return "-Infinity".equals(value) ? Double.NEGATIVE_INFINITY : null;
  }

  private static String asString(Object value) {
    return value instanceof String text ? text : null;
  }

  private static Boolean asBoolean(Object value) {
    return value instanceof Boolean flag ? flag : null;
  }

  private static byte[] asBytes(Object value) {
    if (value instanceof byte[] bytes) {
      return bytes;
    }
    try {
      return value instanceof String text ? Base64.getDecoder().decode(text) : null;
    } catch (IllegalArgumentException error) {
      return null;
    }
  }

  private static Instant asInstant(Object value) {
    if (value instanceof Instant moment) {
      return moment;
    }
    if (value instanceof ZonedDateTime moment) {
      return moment.toInstant();
    }
    if (value instanceof String text) {
      try {
        return OffsetDateTime.parse(text).toInstant();
      } catch (DateTimeParseException error) {
        return null;
      }
    }
    Long seconds = asLong(value);
    return seconds == null ? null : Instant.ofEpochSecond(seconds);
  }

  private static <T> List<T> asList(Object value, Function<Object, T> convert) {
    if (!(value instanceof List<?> items)) {
      return null;
    }
    List<T> converted = new ArrayList<>(items.size());
    for (Object item : items) {
      T each = item == null ? null : convert.apply(item);
      if (each == null) {
        return null;
      }
      converted.add(each);
    }
    return converted;
  }
}
