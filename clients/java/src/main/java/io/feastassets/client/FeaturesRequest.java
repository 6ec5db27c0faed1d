package io.feastassets.client;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Asks for the latest features of entities. It does not change; each method returns another request. */
public final class FeaturesRequest {
  private final List<String> features;
  private final String service;
  private final Map<String, List<?>> entities;
  private final boolean fullNames;

  private FeaturesRequest(List<String> features, String service, Map<String, List<?>> entities, boolean fullNames) {
    this.features = features;
    this.service = service;
    this.entities = entities;
    this.fullNames = fullNames;
  }

  /** Returns a request for features by their references, such as {@code "view:feature"}. */
  public static FeaturesRequest of(String... features) {
    return new FeaturesRequest(List.of(features), "", Map.of(), false);
  }

  /** Returns a request for the features of a feature service. */
  public static FeaturesRequest ofService(String service) {
    return new FeaturesRequest(List.of(), service, Map.of(), false);
  }

  /**
   * Returns the request with a join key, or with request data of on-demand views.
   *
   * @param values one per entity
   */
  public FeaturesRequest entity(String name, Object... values) {
    return entity(name, Arrays.asList(values));
  }

  /**
   * Returns the request with a join key, or with request data of on-demand views.
   *
   * @param values one per entity
   */
  public FeaturesRequest entity(String name, List<?> values) {
    Map<String, List<?>> more = new LinkedHashMap<>(entities);
    more.put(name, Collections.unmodifiableList(new ArrayList<>(values)));
    return new FeaturesRequest(features, service, Collections.unmodifiableMap(more), fullNames);
  }

  /** Returns the request with features called {@code view__feature}. */
  public FeaturesRequest fullNames() {
    return new FeaturesRequest(features, service, entities, true);
  }

  List<String> features() {
    return features;
  }

  String service() {
    return service;
  }

  Map<String, List<?>> entities() {
    return entities;
  }

  boolean hasFullNames() {
    return fullNames;
  }
}
