"""The two shapes that most paths are measured with, and the source that is too big for a small memory."""

from __future__ import annotations

from benchmarks.datasets import MANY, Shape
from benchmarks.sizes import Size

BIG_DAYS = 30


def narrow(size: Size) -> Shape:
    """Returns one view of ten features."""
    return Shape("narrow", 1, 10, size.rows, size.entities, size.days)


def wide(size: Size) -> Shape:
    """Returns several views of many features."""
    return Shape("wide", size.wide_views, size.wide_features, size.rows, size.entities, size.days)


def shallow(size: Size) -> Shape:
    """Returns the wide shape over shorter histories."""
    return Shape("shallow", size.wide_views, size.wide_features, size.shallow_rows, size.entities, size.days)


def big(size: Size) -> Shape:
    """Returns one view whose rows, and whose entities, are too many for the memory that is allowed; within a month."""
    return Shape("big", 1, 10, size.big_rows, size.big_entities, BIG_DAYS, key=MANY)
