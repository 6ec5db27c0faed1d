"""Names of columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def repeated_names(names: Iterable[str]) -> list[str]:
    """Returns the names that occur more than once, each once, in alphabetical order."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
