package io.feastassets.client;

/** Says of a value whether it is there, and if not, why. */
public enum FeatureStatus {
  /** Nothing is known. */
  INVALID,
  /** The value is there. */
  PRESENT,
  /** Null was stored, or computed. */
  NULL_VALUE,
  /** The entity has no such value. */
  NOT_FOUND,
  /** The value is older than its view's ttl, and is not given. */
  OUTSIDE_MAX_AGE;

  private static final FeatureStatus[] ALL = values();

  static FeatureStatus numbered(int number) {
    return number >= 0 && number < ALL.length ? ALL[number] : INVALID;
  }

  static FeatureStatus named(String name) {
    for (FeatureStatus status : ALL) {
      if (status.name().equals(name)) {
        return status;
      }
    }
    return INVALID;
  }
}
