"""The registry server: definitions and ledger for ``remote`` registries, and Feast's REST API to look at them."""
