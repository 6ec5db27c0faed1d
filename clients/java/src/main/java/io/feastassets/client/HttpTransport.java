package io.feastassets.client;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonParseException;
import com.google.gson.ToNumberPolicy;
import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Speaks HTTP. */
final class HttpTransport implements Transport {
  private static final Gson GSON =
      new GsonBuilder()
          .serializeNulls()
          .disableHtmlEscaping()
          // Numbers stay text until they are asked for, so that integers keep all their digits.
          .setObjectToNumberStrategy(ToNumberPolicy.LAZILY_PARSED_NUMBER)
          .create();
  private static final Map<Integer, Status.Code> CODES =
      Map.ofEntries(
          Map.entry(400, Status.Code.INVALID_ARGUMENT),
          Map.entry(401, Status.Code.UNAUTHENTICATED),
          Map.entry(403, Status.Code.PERMISSION_DENIED),
          Map.entry(404, Status.Code.NOT_FOUND),
          Map.entry(408, Status.Code.DEADLINE_EXCEEDED),
          Map.entry(409, Status.Code.ABORTED),
          Map.entry(413, Status.Code.RESOURCE_EXHAUSTED),
          Map.entry(422, Status.Code.INVALID_ARGUMENT),
          Map.entry(429, Status.Code.UNAVAILABLE),
          Map.entry(500, Status.Code.INTERNAL),
          Map.entry(501, Status.Code.UNIMPLEMENTED),
          Map.entry(502, Status.Code.UNAVAILABLE),
          Map.entry(503, Status.Code.UNAVAILABLE),
          Map.entry(504, Status.Code.DEADLINE_EXCEEDED));

  private final HttpClient client;
  private final String base;
  private final Supplier<String> token;

  HttpTransport(FeastClient.Builder builder) {
    base = builder.target.replaceAll("/+$", "");
    URI uri = URI.create(base);
    if (uri.getHost() == null || !List.of("http", "https").contains(uri.getScheme())) {
      throw new IllegalArgumentException(builder.target + " is no URL of http or https.");
    }
    if (builder.tls && !uri.getScheme().equals("https")) {
      throw new IllegalArgumentException(builder.target + " is not https, but TLS was asked for.");
    }
    HttpClient.Builder made = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
    if (builder.certificates != null) {
      made.sslContext(trusting(builder.certificates));
    }
    client = made.build();
    token = builder.token;
  }

  private static SSLContext trusting(Path file) {
    try (InputStream stream = Files.newInputStream(file)) {
      KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
      trusted.load(null, null);
      int number = 0;
      for (Certificate certificate : CertificateFactory.getInstance("X.509").generateCertificates(stream)) {
        trusted.setCertificateEntry("certificate-" + number++, certificate);
      }
      TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      managers.init(trusted);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, managers.getTrustManagers(), null);
      return context;
    } catch (IOException | GeneralSecurityException error) {
      throw new IllegalArgumentException("The certificates " + file + " cannot be used.", error);
    }
  }

  /** Sends JSON, and returns the body of the answer. */
  private String ask(String path, Object body, Deadline deadline) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofNanos(deadline.left()));
    if (body != null) {
      request.header("Content-Type", "application/json");
      request.POST(HttpRequest.BodyPublishers.ofString(json(body)));
    }
    if (token != null) {
      request.header("Authorization", "Bearer " + token.get());
    }
    HttpResponse<String> answer;
    try {
      answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString(StandardCharsets.UTF_8));
    } catch (HttpTimeoutException error) {
      throw new FeastException(Status.Code.DEADLINE_EXCEEDED, "The server did not answer in time.", error);
    } catch (IOException error) {
      throw new FeastException(Status.Code.UNAVAILABLE, "The server cannot be reached: " + error, error);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
      throw new FeastException(Status.Code.CANCELLED, "The thread was interrupted.", error);
    }
    if (answer.statusCode() >= 300) {
      throw refusal(answer);
    }
    return answer.body();
  }

  private static String json(Object body) {
    try {
      return GSON.toJson(body);
    } catch (IllegalArgumentException error) {
      throw new IllegalArgumentException("JSON cannot hold NaN and infinities; send them over gRPC.", error);
    }
  }

  /** Reads a failure: JSON text whose content is JSON again, as Feast's server answers, or another body. */
  private static FeastException refusal(HttpResponse<String> answer) {
    Status.Code code = CODES.getOrDefault(answer.statusCode(), Status.Code.UNKNOWN);
    String errorClass = "";
    String message = answer.body().isBlank() ? "HTTP " + answer.statusCode() : answer.body().strip();
    try {
      String text = GSON.fromJson(answer.body(), String.class);
      Detail detail = text == null ? null : GSON.fromJson(text, Detail.class);
      if (detail != null && detail.message != null) {
        errorClass = detail.errorClass == null ? "" : detail.errorClass;
        message = detail.message;
      }
    } catch (JsonParseException error) {
      // Not an answer of a feature server, or one without a class: its text is the message.
      errorClass = "";
    }
    if (errorClass.endsWith("NotFoundException")) {
      code = Status.Code.NOT_FOUND;
    }
    Duration retryAfter = answer.headers().firstValue("retry-after").map(HttpTransport::seconds).orElse(Duration.ZERO);
    return new FeastException(code, errorClass, message, retryAfter, null);
  }

  private static Duration seconds(String text) {
    try {
      return Duration.ofSeconds(Math.max(0, Long.parseLong(text)));
    } catch (NumberFormatException error) {
      return Duration.ZERO;
    }
  }

  @Override
  public Features getOnlineFeatures(FeaturesRequest request, Deadline deadline) {
    Map<String, Object> sent = new LinkedHashMap<>();
    if (request.service().isEmpty()) {
      sent.put("features", request.features());
    } else {
      sent.put("feature_service", request.service());
    }
    sent.put("entities", columns(request.entities()));
    sent.put("full_feature_names", request.hasFullNames());
    String body = ask("/get-online-features", sent, deadline);
    Answer answer;
    try {
      answer = GSON.fromJson(body, Answer.class);
    } catch (JsonParseException error) {
      throw new FeastException(Status.Code.INTERNAL, "The answer is no JSON of features.", error);
    }
    if (answer == null || answer.metadata == null || answer.results == null
        || answer.metadata.feature_names.size() != answer.results.size()) {
      throw new FeastException(Status.Code.INTERNAL, "The server names other columns than it returns.", null);
    }
    List<FeatureColumn> columns = new ArrayList<>(answer.results.size());
    for (int index = 0; index < answer.results.size(); index++) {
      Result result = answer.results.get(index);
      List<Instant> times = new ArrayList<>(result.event_timestamps.size());
      for (String text : result.event_timestamps) {
        Instant time = Instant.parse(text);
        times.add(time.equals(Instant.EPOCH) ? null : time);
      }
      columns.add(
          new FeatureColumn(
              answer.metadata.feature_names.get(index),
              result.values,
              result.statuses.stream().map(FeatureStatus::named).toList(),
              times));
    }
    return new Features(columns);
  }

  private static Map<String, List<Object>> columns(Map<String, ? extends List<?>> given) {
    Values.rows(given);
    Map<String, List<Object>> columns = new LinkedHashMap<>();
    given.forEach(
        (name, values) -> {
          List<Object> column = new ArrayList<>(values.size());
          for (Object value : values) {
            Object sent = Values.plain(value);
            if (holdsBytes(sent)) {
              throw new IllegalArgumentException(
                  "Column " + name + " holds bytes, which JSON cannot; send them over gRPC.");
            }
            column.add(sent);
          }
          columns.put(name, column);
        });
    return columns;
  }

  private static boolean holdsBytes(Object value) {
    return value instanceof byte[]
        || (value instanceof List<?> items && items.stream().anyMatch(HttpTransport::holdsBytes));
  }

  @Override
  public void push(String source, PushMode mode, Map<String, ? extends List<?>> rows, Deadline deadline) {
    Map<String, Object> sent = new LinkedHashMap<>();
    sent.put("push_source_name", source);
    sent.put("to", mode.text());
    sent.put("df", columns(rows));
    ask("/push", sent, deadline);
  }

  @Override
  public void writeToOnlineStore(String view, Map<String, ? extends List<?>> rows, Deadline deadline) {
    Map<String, Object> sent = new LinkedHashMap<>();
    sent.put("feature_view_name", view);
    sent.put("df", columns(rows));
    ask("/write-to-online-store", sent, deadline);
  }

  @Override
  public void checkReady(Deadline deadline) {
    ask("/ready", null, deadline);
  }

  @Override
  public void close() {
    // The client of Java 17 has nothing to close; its threads end when it is no longer used.
  }

  // The names of the JSON.
  private static final class Answer {
    Metadata metadata;
    List<Result> results;
  }

  private static final class Metadata {
    List<String> feature_names;
  }

  private static final class Result {
    List<Object> values;
    List<String> statuses;
    List<String> event_timestamps;
  }

  private static final class Detail {
    @com.google.gson.annotations.SerializedName("class")
    String errorClass;

    String message;
  }
}
