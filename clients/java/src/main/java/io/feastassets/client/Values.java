package io.feastassets.client;

import com.google.protobuf.ByteString;
import io.feastassets.client.wire.ValueMessages.Map;
import io.feastassets.client.wire.ValueMessages.MapKey;
import io.feastassets.client.wire.ValueMessages.MapList;
import io.feastassets.client.wire.ValueMessages.RepeatedValue;
import io.feastassets.client.wire.ValueMessages.ScalarMap;
import io.feastassets.client.wire.ValueMessages.ScalarMapEntry;
import io.feastassets.client.wire.ValueMessages.Value;
import io.feastassets.client.wire.ValueMessages.ZonedTimestamp;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.function.Function;

/** Values to and from what is sent. */
final class Values {
  private Values() {}

  /** Returns a value as one of null, Boolean, Long, Double, String, byte[] and List. */
  static Object plain(Object value) {
    if (value == null || value instanceof Boolean || value instanceof Long || value instanceof Double
        || value instanceof String || value instanceof byte[]) {
      return value;
    }
    if (value instanceof Integer || value instanceof Short || value instanceof Byte) {
      return ((Number) value).longValue();
    }
    if (value instanceof Float number) {
      return number.doubleValue();
    }
    // The server reads such text where a column holds moments.
    if (value instanceof Instant moment) {
      return moment.truncatedTo(ChronoUnit.MICROS).toString();
    }
    if (value instanceof OffsetDateTime moment) {
      return plain(moment.toInstant());
    }
    if (value instanceof ZonedDateTime moment) {
      return plain(moment.toInstant());
    }
    if (value instanceof Collection<?> items) {
      List<Object> converted = new ArrayList<>(items.size());
      items.forEach(item -> converted.add(plain(item)));
      return converted;
    }
    throw new IllegalArgumentException("A value cannot be a " + value.getClass().getName() + ".");
  }

  static Value message(Object value) {
    Object given = plain(value);
    Value.Builder made = Value.newBuilder();
    if (given instanceof Boolean flag) {
      made.setBoolVal(flag);
    } else if (given instanceof Long number) {
      made.setInt64Val(number);
    } else if (given instanceof Double number) {
      made.setDoubleVal(number);
    } else if (given instanceof String text) {
      made.setStringVal(text);
    } else if (given instanceof byte[] bytes) {
      made.setBytesVal(ByteString.copyFrom(bytes));
    } else if (given instanceof List<?> items) {
      made.setListVal(messages(items));
    }
    return made.build();
  }

  static RepeatedValue messages(List<?> values) {
    RepeatedValue.Builder made = RepeatedValue.newBuilder();
    values.forEach(value -> made.addVal(message(value)));
    return made.build();
  }

  /** Returns the number of rows of columns, which must be equally long. */
  static int rows(java.util.Map<String, ? extends List<?>> rows) {
    int count = -1;
    for (List<?> column : rows.values()) {
      if (count >= 0 && column.size() != count) {
        throw new IllegalArgumentException("The columns of rows have different lengths.");
      }
      count = column.size();
    }
    return Math.max(count, 0);
  }

  /** Returns what a message holds; null for null. */
  static Object read(Value value) {
    return switch (value.getValCase()) {
      case VAL_NOT_SET, NULL_VAL -> null;
      case BYTES_VAL -> value.getBytesVal().toByteArray();
      case STRING_VAL -> value.getStringVal();
      case INT32_VAL -> value.getInt32Val();
      case INT64_VAL -> value.getInt64Val();
      case DOUBLE_VAL -> value.getDoubleVal();
      case FLOAT_VAL -> value.getFloatVal();
      case BOOL_VAL -> value.getBoolVal();
      case UNIX_TIMESTAMP_VAL -> Instant.ofEpochSecond(value.getUnixTimestampVal());
      case BYTES_LIST_VAL -> each(value.getBytesListVal().getValList(), ByteString::toByteArray);
      case STRING_LIST_VAL -> List.copyOf(value.getStringListVal().getValList());
      case INT32_LIST_VAL -> List.copyOf(value.getInt32ListVal().getValList());
      case INT64_LIST_VAL -> List.copyOf(value.getInt64ListVal().getValList());
      case DOUBLE_LIST_VAL -> List.copyOf(value.getDoubleListVal().getValList());
      case FLOAT_LIST_VAL -> List.copyOf(value.getFloatListVal().getValList());
      case BOOL_LIST_VAL -> List.copyOf(value.getBoolListVal().getValList());
      case UNIX_TIMESTAMP_LIST_VAL -> each(value.getUnixTimestampListVal().getValList(), Instant::ofEpochSecond);
      case MAP_VAL -> map(value.getMapVal());
      case MAP_LIST_VAL -> maps(value.getMapListVal());
      case BYTES_SET_VAL -> each(value.getBytesSetVal().getValList(), ByteString::toByteArray);
      case STRING_SET_VAL -> List.copyOf(value.getStringSetVal().getValList());
      case INT32_SET_VAL -> List.copyOf(value.getInt32SetVal().getValList());
      case INT64_SET_VAL -> List.copyOf(value.getInt64SetVal().getValList());
      case DOUBLE_SET_VAL -> List.copyOf(value.getDoubleSetVal().getValList());
      case FLOAT_SET_VAL -> List.copyOf(value.getFloatSetVal().getValList());
      case BOOL_SET_VAL -> List.copyOf(value.getBoolSetVal().getValList());
      case UNIX_TIMESTAMP_SET_VAL -> each(value.getUnixTimestampSetVal().getValList(), Instant::ofEpochSecond);
      case JSON_VAL -> value.getJsonVal();
      case JSON_LIST_VAL -> List.copyOf(value.getJsonListVal().getValList());
      case STRUCT_VAL -> map(value.getStructVal());
      case STRUCT_LIST_VAL -> maps(value.getStructListVal());
      case UUID_VAL -> value.getUuidVal();
      case TIME_UUID_VAL -> value.getTimeUuidVal();
      case UUID_LIST_VAL -> List.copyOf(value.getUuidListVal().getValList());
      case TIME_UUID_LIST_VAL -> List.copyOf(value.getTimeUuidListVal().getValList());
      case UUID_SET_VAL -> List.copyOf(value.getUuidSetVal().getValList());
      case TIME_UUID_SET_VAL -> List.copyOf(value.getTimeUuidSetVal().getValList());
      case LIST_VAL -> each(value.getListVal().getValList(), Values::read);
      case SET_VAL -> each(value.getSetVal().getValList(), Values::read);
      case DECIMAL_VAL -> value.getDecimalVal();
      case DECIMAL_LIST_VAL -> List.copyOf(value.getDecimalListVal().getValList());
      case DECIMAL_SET_VAL -> List.copyOf(value.getDecimalSetVal().getValList());
      case SCALAR_MAP_VAL -> scalarMap(value.getScalarMapVal());
      case ZONED_TIMESTAMP_VAL -> zoned(value.getZonedTimestampVal());
    };
  }

  static <T> List<Object> each(List<T> values, Function<T, Object> convert) {
    List<Object> converted = new ArrayList<>(values.size());
    values.forEach(value -> converted.add(convert.apply(value)));
    return converted;
  }

  private static java.util.Map<String, Object> map(Map value) {
    java.util.Map<String, Object> converted = new LinkedHashMap<>();
    value.getValMap().forEach((key, each) -> converted.put(key, read(each)));
    return converted;
  }

  private static List<Object> maps(MapList value) {
    return each(value.getValList(), Values::map);
  }

  private static java.util.Map<Object, Object> scalarMap(ScalarMap value) {
    java.util.Map<Object, Object> converted = new LinkedHashMap<>();
    for (ScalarMapEntry entry : value.getValList()) {
      converted.put(key(entry.getKey()), read(entry.getValue()));
    }
    return converted;
  }

  private static Object key(MapKey key) {
    return switch (key.getKeyCase()) {
      case KEY_NOT_SET -> null;
      case INT32_KEY -> key.getInt32Key();
      case INT64_KEY -> key.getInt64Key();
      case FLOAT_KEY -> key.getFloatKey();
      case DOUBLE_KEY -> key.getDoubleKey();
      case BOOL_KEY -> key.getBoolKey();
      case UNIX_TIMESTAMP_KEY -> Instant.ofEpochSecond(key.getUnixTimestampKey());
      // Arrays of bytes are no keys of a Java map.
      case BYTES_KEY -> key.getBytesKey().toStringUtf8();
      case UUID_KEY -> key.getUuidKey();
      case TIME_UUID_KEY -> key.getTimeUuidKey();
      case DECIMAL_KEY -> key.getDecimalKey();
    };
  }

  private static ZonedDateTime zoned(ZonedTimestamp value) {
    ZoneId zone = ZoneOffset.UTC;
    if (!value.getZone().isEmpty()) {
      try {
        zone = ZoneId.of(value.getZone());
      } catch (DateTimeException error) {
        // A zone that this machine does not know; the moment is right all the same.
        zone = ZoneOffset.UTC;
      }
    }
    return Instant.ofEpochSecond(value.getUnixTimestamp()).atZone(zone);
  }
}
