package io.feastassets.client;

import java.util.Locale;

/** Says where pushed rows go. */
public enum PushMode {
  /** To the online store. */
  ONLINE,
  /** To history. */
  OFFLINE,
  /** To both. */
  ONLINE_AND_OFFLINE;

  String text() {
    return name().toLowerCase(Locale.ROOT);
  }
}
