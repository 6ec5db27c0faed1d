package io.feastassets.client;

import io.grpc.Status;
import java.time.Duration;

/** By when a call must have ended, with all its attempts. */
final class Deadline {
  private final long end;

  Deadline(Duration after) {
    end = System.nanoTime() + after.toNanos();
  }

  /** Returns the nanoseconds that are left, at least one; throws where none are. */
  long left() {
    long left = end - System.nanoTime();
    if (left <= 0) {
      throw new FeastException(Status.Code.DEADLINE_EXCEEDED, "The time for the call has passed.", null);
    }
    return left;
  }

  boolean allows(Duration pause) {
    return end - System.nanoTime() > pause.toNanos();
  }
}
