package io.feastassets.client;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A program that pushes a row and reads it; its arguments are the address of a gRPC server and a driver. */
final class Example {
  private Example() {}

  public static void main(String... arguments) {
    long driver = Long.parseLong(arguments[1]);
    try (FeastClient client = FeastClient.grpc(arguments[0]).timeout(Duration.ofSeconds(2)).build()) {
      client.push(
          "driver_events",
          PushMode.ONLINE_AND_OFFLINE,
          Map.of(
              "driver_id", List.of(driver),
              "trips_today", List.of(12),
              "rating", List.of(4.5),
              "event_timestamp", List.of(Instant.now())));
      Features features =
          client.getOnlineFeatures(FeaturesRequest.of("driver_stats:trips_today").entity("driver_id", driver));
      Optional<Long> trips = features.getLong("trips_today", 0);
      if (trips.isPresent()) {
        System.out.println(trips.get() + " trips, as of " + features.eventTime("trips_today", 0).orElseThrow());
      } else {
        System.out.println("no value: " + features.status("trips_today", 0));
      }
    }
  }
}
