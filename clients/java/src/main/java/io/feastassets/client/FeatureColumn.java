package io.feastassets.client;

import java.time.Instant;
import java.util.List;

/**
 * One column of features.
 *
 * @param name its name
 * @param values one per row, null for null. Over gRPC they have the type of the feature (Long, Integer, Double, Float,
 *     String, Boolean, byte[], Instant, ZonedDateTime, lists and maps of these), over HTTP what JSON says (Number, String,
 *     Boolean, List, Map). The getters of {@link Features} read both alike.
 * @param statuses one per row
 * @param eventTimes one per row, null for join keys, computed features, and where there is no row
 */
public record FeatureColumn(String name, List<Object> values, List<FeatureStatus> statuses, List<Instant> eventTimes) {}
