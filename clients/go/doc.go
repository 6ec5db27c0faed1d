// Package feast reads features from a feast_assets feature server, over gRPC or HTTP, and pushes rows to it.
//
// A [Client] is safe for concurrent use. It is made by [Dial] for gRPC, or by [NewHTTP] for HTTP; both answer the same.
// Feast's own servers understand the same calls.
package feast
