package io.feastassets.client;

import java.util.List;
import java.util.Map;

/** What speaks one protocol. Each call ends by its deadline, and fails with {@link FeastException}. */
interface Transport extends AutoCloseable {
  Features getOnlineFeatures(FeaturesRequest request, Deadline deadline);

  void push(String source, PushMode mode, Map<String, ? extends List<?>> rows, Deadline deadline);

  void writeToOnlineStore(String view, Map<String, ? extends List<?>> rows, Deadline deadline);

  void checkReady(Deadline deadline);

  @Override
  void close();
}
