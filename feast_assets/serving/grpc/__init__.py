"""The gRPC door: Feast's serving services, on an event loop."""
