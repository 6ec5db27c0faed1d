package io.feastassets.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Runs against servers that scripts/test_clients.py starts, which says in the environment where they are. */
@EnabledIfEnvironmentVariable(named = "FEAST_ASSETS_GRPC", matches = ".+", disabledReason = "run `make clients`")
class ServerTest {
  private static final String[] FEATURES = {
    "stats:trips", "stats:few", "stats:rate", "stats:exact", "stats:city", "stats:active", "stats:since", "stats:marks",
    "stats:words", "stats:photo"
  };
  private static final AtomicLong NEXT_DRIVER = new AtomicLong(5_000);

  enum Protocol {
    GRPC,
    HTTP,
    GRPC_TLS,
    HTTP_TLS;

    FeastClient.Builder builder() {
      String where = System.getenv("FEAST_ASSETS_" + name());
      FeastClient.Builder builder = name().startsWith("GRPC") ? FeastClient.grpc(where) : FeastClient.http(where);
      return name().endsWith("TLS")
          ? builder.trusting(Path.of(System.getenv("FEAST_ASSETS_CERTIFICATE"))).token("t0ken")
          : builder;
    }

    FeastClient client() {
      return builder().build();
    }
  }

  private static FeaturesRequest asked(long... drivers) {
    return FeaturesRequest.of(FEATURES).entity("driver_id", Arrays.stream(drivers).boxed().toList());
  }

  private static FeastException refused(Executable call) {
    return assertThrows(FeastException.class, call);
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void valuesOfEveryTypeAreReadWithTheirStatuses(Protocol protocol) {
    try (FeastClient client = protocol.client()) {
      Features features = client.getOnlineFeatures(asked(1, 2, 3, 99));
      assertEquals(4, features.rows());
      assertEquals(11, features.columns().size());
      assertEquals("driver_id", features.columns().get(0).name());
      assertEquals(Optional.of(99L), features.getLong("driver_id", 3));
      assertEquals(Optional.of(10L), features.getLong("trips", 0));
      assertEquals(Optional.of(9007199254740993L), features.getLong("trips", 1));
      assertEquals(Optional.of(1L), features.getLong("few", 0));
      assertEquals(Optional.of(0.5), features.getDouble("rate", 0));
      assertEquals(Optional.of(Double.NaN), features.getDouble("rate", 2));
      assertEquals(Optional.of(0.1), features.getDouble("exact", 0));
      assertEquals(Optional.of(Double.POSITIVE_INFINITY), features.getDouble("exact", 2));
      assertEquals(Optional.of("Köln"), features.getString("city", 0));
      assertEquals(Optional.of(""), features.getString("city", 2));
      assertEquals(Optional.of(true), features.getBoolean("active", 0));
      assertEquals(Optional.of(Instant.parse("2024-01-01T00:00:00Z")), features.getInstant("since", 0));
      assertEquals(Optional.of(Instant.parse("1960-01-01T00:00:00Z")), features.getInstant("since", 2));
      assertEquals(Optional.of(List.of(1L, 2L)), features.getLongs("marks", 0));
      assertEquals(Optional.of(List.of()), features.getLongs("marks", 2));
      assertEquals(Optional.of(List.of("a", "ü")), features.getStrings("words", 0));
      assertArrayEquals(new byte[] {0, (byte) 255}, features.getBytes("photo", 0).orElseThrow());
      assertEquals(Optional.empty(), features.getString("city", 1));
      assertEquals(FeatureStatus.PRESENT, features.status("city", 0));
      assertEquals(FeatureStatus.NULL_VALUE, features.status("city", 1));
      assertEquals(FeatureStatus.NOT_FOUND, features.status("city", 3));
      assertEquals(Optional.of(Instant.parse("2024-01-01T12:00:00.250Z")), features.eventTime("trips", 0));
      assertEquals(Optional.empty(), features.eventTime("trips", 3));
      assertEquals(Optional.empty(), features.eventTime("driver_id", 0));
      assertThrows(IllegalArgumentException.class, () -> features.getLong("city", 0));
      assertThrows(IllegalArgumentException.class, () -> features.getLong("nope", 0));
      assertThrows(IllegalArgumentException.class, () -> features.getLong("trips", 4));
    }
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void aServiceIsReadWithRequestDataAndFullNames(Protocol protocol) {
    try (FeastClient client = protocol.client()) {
      Features features =
          client.getOnlineFeatures(
              FeaturesRequest.ofService("service").entity("driver_id", 1, 3).entity("bonus", 0.5, 1f).fullNames());
      assertEquals(Optional.of(10.5), features.getDouble("totals__total", 0));
      assertEquals(Optional.of(-19.0), features.getDouble("totals__total", 1));
      assertEquals(Optional.of(-20L), features.getLong("stats__trips", 1));
    }
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void noEntitiesAreNoRows(Protocol protocol) {
    try (FeastClient client = protocol.client()) {
      assertEquals(0, client.getOnlineFeatures(asked()).rows());
    }
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void aMistakeIsAnExceptionThatSaysWhich(Protocol protocol) {
    try (FeastClient client = protocol.client()) {
      FeastException view =
          refused(() -> client.getOnlineFeatures(FeaturesRequest.of("nope:trips").entity("driver_id", 1)));
      assertEquals(Status.Code.NOT_FOUND, view.code());
      assertEquals("FeatureViewNotFoundException", view.errorClass());
      FeastException service =
          refused(() -> client.getOnlineFeatures(FeaturesRequest.ofService("nope").entity("driver_id", 1)));
      assertEquals(Status.Code.NOT_FOUND, service.code());
      assertEquals("FeatureServiceNotFoundException", service.errorClass());
      FeastException key = refused(() -> client.getOnlineFeatures(FeaturesRequest.of("stats:trips").entity("rider", 1)));
      assertEquals(Status.Code.INVALID_ARGUMENT, key.code());
      assertTrue(key.getMessage().contains("driver_id"), key.getMessage());
    }
  }

  private static Map<String, List<?>> rows(long driver, long trips, String city, Instant at) {
    return Map.ofEntries(
        Map.entry("driver_id", List.of(driver, driver + 1)),
        Map.entry("trips", List.of(trips, trips + 1)),
        Map.entry("few", Arrays.asList(null, 2)),
        Map.entry("rate", Arrays.asList(null, 0.25f)),
        Map.entry("exact", Arrays.asList(null, 2)),
        Map.entry("city", List.of(city, "x")),
        Map.entry("active", Arrays.asList(null, false)),
        Map.entry("since", Arrays.asList(null, at)),
        Map.entry("marks", Arrays.asList(null, List.of(4, 5))),
        Map.entry("words", Arrays.asList(null, List.of("w"))),
        Map.entry("photo", Arrays.asList(null, null)),
        Map.entry("at", List.of(at, at)));
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void rowsArePushedAndTheNewestWins(Protocol protocol) {
    long driver = NEXT_DRIVER.addAndGet(10);
    Instant newer = Instant.parse("2025-01-01T00:00:00.123Z");
    try (FeastClient client = protocol.client()) {
      client.push("live", PushMode.ONLINE, rows(driver, 100, "new", newer));
      client.push("live", PushMode.ONLINE, rows(driver, 100, "new", newer));
      client.push("live", PushMode.ONLINE, rows(driver, 1, "old", newer.minusSeconds(3600)));
      Features features = client.getOnlineFeatures(asked(driver, driver + 1));
      assertEquals(Optional.of(100L), features.getLong("trips", 0));
      assertEquals(Optional.of("new"), features.getString("city", 0));
      assertEquals(Optional.of(newer), features.eventTime("trips", 0));
      assertEquals(Optional.of(newer.truncatedTo(ChronoUnit.SECONDS)), features.getInstant("since", 1));
      assertEquals(FeatureStatus.NULL_VALUE, features.status("few", 0));
      assertEquals(Optional.of(List.of(4L, 5L)), features.getLongs("marks", 1));
      client.writeToOnlineStore("stats", rows(driver, 200, "later", newer.plusSeconds(3600)));
      assertEquals(Optional.of(200L), client.getOnlineFeatures(asked(driver)).getLong("trips", 0));
      Map<String, List<?>> row = Map.of("driver_id", List.of(1));
      assertEquals(Status.Code.NOT_FOUND, refused(() -> client.push("nope", PushMode.ONLINE, row)).code());
    }
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void callsAtTheSameTimeGetTheirOwnFeatures(Protocol protocol) throws InterruptedException, ExecutionException {
    Map<Long, Long> trips = Map.of(1L, 10L, 2L, 9007199254740993L, 3L, -20L);
    ExecutorService threads = Executors.newFixedThreadPool(16);
    try (FeastClient client = protocol.client()) {
      List<Future<Boolean>> answers = new ArrayList<>();
      for (int number = 0; number < 64; number++) {
        long driver = 1 + number % 3;
        answers.add(
            threads.submit(
                () -> client.getOnlineFeatures(asked(driver)).getLong("trips", 0).equals(Optional.of(trips.get(driver)))));
      }
      for (Future<Boolean> answer : answers) {
        assertTrue(answer.get());
      }
    } finally {
      threads.shutdownNow();
    }
  }

  @ParameterizedTest
  @EnumSource(Protocol.class)
  void aServerIsReadyAndADeadlineThatPassedIsTold(Protocol protocol) {
    try (FeastClient client = protocol.client()) {
      client.checkReady();
    }
    try (FeastClient client = protocol.builder().timeout(Duration.ofNanos(1)).build()) {
      assertEquals(Status.Code.DEADLINE_EXCEEDED, refused(() -> client.getOnlineFeatures(asked(1))).code());
    }
  }

  @ParameterizedTest
  @EnumSource(value = Protocol.class, names = {"GRPC_TLS", "HTTP_TLS"})
  void aCertificateThatNobodyVouchesForIsRefused(Protocol protocol) {
    String where = System.getenv("FEAST_ASSETS_" + protocol);
    FeastClient.Builder builder =
        protocol == Protocol.GRPC_TLS ? FeastClient.grpc(where).tls() : FeastClient.http(where);
    try (FeastClient client = builder.build()) {
      assertEquals(Status.Code.UNAVAILABLE, refused(client::checkReady).code());
    }
  }
}
