package io.feastassets.client;

import io.grpc.Status;
import java.time.Duration;

/** What a server answered instead of features, or why it could not be asked. */
public final class FeastException extends RuntimeException {
  private final Status.Code code;
  private final String errorClass;
  private final transient Duration retryAfter;

  FeastException(Status.Code code, String errorClass, String message, Duration retryAfter, Throwable cause) {
    super(message, cause);
    this.code = code;
    this.errorClass = errorClass;
    this.retryAfter = retryAfter;
  }

  FeastException(Status.Code code, String message, Throwable cause) {
    this(code, "", message, Duration.ZERO, cause);
  }

  /** Returns what kind of failure it is; over HTTP the counterpart of the status. */
  public Status.Code code() {
    return code;
  }

  /**
   * Returns the name of the exception of {@code feast.errors}, such as {@code FeatureViewNotFoundException}; empty where
   * none is told.
   */
  public String errorClass() {
    return errorClass;
  }

  Duration retryAfter() {
    return retryAfter;
  }
}
