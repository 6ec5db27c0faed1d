/**
 * Reads features from a feast_assets feature server, over gRPC or HTTP, and pushes rows to it.
 *
 * <p>Begin with {@link io.feastassets.client.FeastClient}. Feast's own servers understand the same calls.
 */
package io.feastassets.client;
