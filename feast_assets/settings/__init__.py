"""Reading settings safely: YAML with limits, server URLs, secrets that are never shown, and Feast's own keys."""
