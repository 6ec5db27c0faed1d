package io.feastassets.client;

import io.grpc.Status;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Reads and writes features of one server. It is safe for use by several threads; make one and keep it.
 *
 * <pre>{@code
 * try (FeastClient client = FeastClient.grpc("localhost:50051").build()) {
 *   Features features =
 *       client.getOnlineFeatures(FeaturesRequest.of("driver_stats:trips_today").entity("driver_id", 1001L, 1002L));
 *   Optional<Long> trips = features.getLong("trips_today", 0);
 * }
 * }</pre>
 */
public final class FeastClient implements AutoCloseable {
  private static final Duration FIRST_PAUSE = Duration.ofMillis(50);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(2);

  private final Transport transport;
  private final Duration timeout;
  private final int attempts;

  private FeastClient(Transport transport, Duration timeout, int attempts) {
    this.transport = transport;
    this.timeout = timeout;
    this.attempts = attempts;
  }

  /** Returns the builder of a client that speaks gRPC to a target such as {@code localhost:50051}. */
  public static Builder grpc(String target) {
    return new Builder(target, GrpcTransport::new, false);
  }

  /** Returns the builder of a client that speaks HTTP to a server such as {@code http://localhost:6566}. */
  public static Builder http(String url) {
    return new Builder(url, HttpTransport::new, url.startsWith("https:"));
  }

  /**
   * Returns the latest features of the request's entities.
   *
   * @throws FeastException the server refused, or did not answer
   */
  public Features getOnlineFeatures(FeaturesRequest request) {
    return attempt(deadline -> transport.getOnlineFeatures(request, deadline));
  }

  /**
   * Writes rows to the views of a push source; they are stored when it returns. Over gRPC each row is a call of its own,
   * so where it fails, the first rows may have been stored; pushing all of them again is safe.
   *
   * @param rows column to one value per row: null, Boolean, numbers, String, byte[], Instant, and lists of these
   * @throws FeastException the server refused, or did not answer
   */
  public void push(String source, PushMode mode, Map<String, ? extends List<?>> rows) {
    attempt(
        deadline -> {
          transport.push(source, mode, rows, deadline);
          return null;
        });
  }

  /** Writes rows of one view to the online store, as {@link #push} does. */
  public void writeToOnlineStore(String view, Map<String, ? extends List<?>> rows) {
    attempt(
        deadline -> {
          transport.writeToOnlineStore(view, rows, deadline);
          return null;
        });
  }

  /**
   * Returns if the server has definitions and its online store answers. It does not try again.
   *
   * @throws FeastException otherwise
   */
  public void checkReady() {
    transport.checkReady(new Deadline(timeout));
  }

  /** Closes connections. */
  @Override
  public void close() {
    transport.close();
  }

  /** Calls until the server is available, or attempts or time have run out. */
  private <T> T attempt(Function<Deadline, T> call) {
    Deadline deadline = new Deadline(timeout);
    Duration pause = FIRST_PAUSE;
    for (int number = 1; ; number++) {
      try {
        return call.apply(deadline);
      } catch (FeastException error) {
        // Half of it at random, so that clients which failed together do not come back together.
        Duration wait = pause.dividedBy(2).plusNanos(ThreadLocalRandom.current().nextLong(pause.toNanos() / 2));
        if (wait.compareTo(error.retryAfter()) < 0) {
          wait = error.retryAfter();
        }
        if (number >= attempts || error.code() != Status.Code.UNAVAILABLE || !deadline.allows(wait)) {
          throw error;
        }
        try {
          Thread.sleep(wait.toMillis(), wait.toNanosPart() % 1_000_000);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw error;
        }
        pause = pause.multipliedBy(2).compareTo(LONGEST_PAUSE) < 0 ? pause.multipliedBy(2) : LONGEST_PAUSE;
      }
    }
  }

  /** How a client works. */
  public static final class Builder {
    final String target;
    private final Function<Builder, Transport> transport;
    boolean tls;
    Path certificates;
    Supplier<String> token;
    private boolean plainToken;
    private Duration timeout = Duration.ofSeconds(10);
    private int attempts = 3;

    private Builder(String target, Function<Builder, Transport> transport, boolean tls) {
      this.target = Objects.requireNonNull(target);
      this.transport = transport;
      this.tls = tls;
    }

    /** Has gRPC use TLS, trusting the certificates that Java trusts. */
    public Builder tls() {
      tls = true;
      return this;
    }

    /** Uses TLS, trusting the certificates of a PEM file only. */
    public Builder trusting(Path certificates) {
      this.certificates = Objects.requireNonNull(certificates);
      tls = true;
      return this;
    }

    /** Sends a bearer token with each call. It needs TLS; see {@link #allowPlainToken}. */
    public Builder token(String token) {
      Objects.requireNonNull(token);
      return token(() -> token);
    }

    /** Sends the bearer token that a function returns, such as one that renews it; it is called for each call. */
    public Builder token(Supplier<String> token) {
      this.token = Objects.requireNonNull(token);
      return this;
    }

    /** Lets tokens be sent without TLS, where whoever sees the traffic can read them. */
    public Builder allowPlainToken() {
      plainToken = true;
      return this;
    }

    /** Limits how long a call may take with all its attempts; 10 seconds by default. */
    public Builder timeout(Duration timeout) {
      if (timeout.isNegative() || timeout.isZero()) {
        throw new IllegalArgumentException("The timeout is " + timeout + "; give more than no time.");
      }
      this.timeout = timeout;
      return this;
    }

    /**
     * Sets how many times a call is tried while the server is unavailable; 3 by default. All calls may be repeated: the
     * server stores each pushed row once.
     */
    public Builder attempts(int attempts) {
      if (attempts < 1) {
        throw new IllegalArgumentException("There are " + attempts + " attempts; give at least one.");
      }
      this.attempts = attempts;
      return this;
    }

    /**
     * Returns the client. It connects when the first call is made.
     *
     * @throws IllegalArgumentException the address is none, or the certificates cannot be used
     * @throws IllegalStateException a token would be sent without TLS
     */
    public FeastClient build() {
      if (token != null && !tls && !plainToken) {
        throw new IllegalStateException(
            "A token needs TLS: use tls() or https, or allowPlainToken() where nobody can listen in.");
      }
      return new FeastClient(transport.apply(this), timeout, attempts);
    }
  }
}
