"""What the values of windows look like: counts, extremes, means and shapes, and how many break a declared check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from feast_assets.definitions.window import Window

BUCKETS = 16
"""Buckets of a histogram."""
TOP_VALUES = 8
"""How many of the most frequent values of a text column are counted."""

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One feature in one window.

    Attributes:
        nulls: rows without a value.
        minimum, maximum: of numbers as int or float, of timestamps as UTC datetimes; None for other types, and where
            there are no values. NaN and the infinities do not count, here and below.
        mean: of numbers; of truth values the share that is true; else None.
        histogram: of numbers, how many lie in each of `BUCKETS` buckets of equal width from minimum to maximum; empty
            for other types, and where there are no values.
        top_values: of texts and truth values, the most frequent ones (approximately the `TOP_VALUES` most frequent)
            and their exact counts, the most frequent first.
        broken: name of a rule of the field's `Checks` (``minimum``, ``maximum``, ``allowed``, ``unique``) -> rows that
            break it; only of rules that are declared. ``unique`` counts the rows beyond the first of each value. NaN
            breaks both bounds, a null none of these rules.
    """

    nulls: int = 0
    minimum: int | float | datetime | None = None
    mean: float | None = None
    maximum: int | float | datetime | None = None
    histogram: tuple[int, ...] = ()
    top_values: Mapping[str, int] = field(default_factory=lambda: _NONE)
    broken: Mapping[str, int] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class WindowProfile:
    """The rows of one window.

    Attributes:
        rows: rows with event times in the window; of a transformation, of its result.
        entities: distinct join keys among them, approximately (within about a tenth).
        columns: by feature.
    """

    window: Window
    rows: int
    entities: int
    columns: Mapping[str, ColumnProfile]
