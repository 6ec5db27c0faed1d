"""The library under measurement, chosen by its name: everything else of a script is the same for both."""

from __future__ import annotations

import importlib
from typing import Any

FEAST = "feast"
OURS = "feast_assets"
BARE = "bare"
SIDES = (OURS, BARE, FEAST)


class Library:
    """The public names of `feast` or `feast_assets`."""

    def __init__(self, name: str):
        self.name = name
        self._package = importlib.import_module(name)
        self._types = importlib.import_module(f"{name}.types")

    def __getattr__(self, name: str) -> Any:
        for module in (self._package, self._types):
            if hasattr(module, name):
                return getattr(module, name)
        # Feast keeps it out of its package's names.
        return getattr(importlib.import_module(f"{self.name}.data_source"), name)
