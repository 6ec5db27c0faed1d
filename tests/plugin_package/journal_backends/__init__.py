"""Backends for feast_assets, as another package brings them."""
