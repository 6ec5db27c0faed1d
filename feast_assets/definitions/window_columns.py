"""Arithmetic with many windows at once. They are columns of starts and ends, in UTC microseconds.

Windows are in order of time, and none overlaps another. `ALWAYS` ends one microsecond before its `Window.end_micros`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feast_assets.definitions.spec import from_micros, to_micros

if TYPE_CHECKING:
    import numpy.typing as npt

    from feast_assets.definitions.partitions import Partitions
    from feast_assets.definitions.window import Window

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

_DAY = 86_400_000_000
_WIDTHS = {"hourly": (_DAY // 24, 0), "daily": (_DAY, 0), "weekly": (7 * _DAY, 3 * _DAY)}
"""Of each grain whose windows are all as long: how long they are, and where one starts."""
_EARLIEST, _LATEST = -62_000_000_000_000_000, 253_000_000_000_000_000
"""UTC microseconds: in the years 5 and 9987. Between these, no window is cut at what a datetime can hold."""


def position_of(window: Window, starts: Int64s, ends: Int64s) -> int:
    """Returns the position of exactly this window; -1 where it is not among them."""
    start = to_micros(window.start)
    position = int(np.searchsorted(starts, start))
    if position < len(starts) and starts[position] == start and ends[position] == to_micros(window.end):
        return position
    return -1


def positions_of(starts: Int64s, ends: Int64s, standing_starts: Int64s, standing_ends: Int64s) -> npt.NDArray[np.intp]:
    """Returns for each of some windows, in any order, the position of the same one among others; -1 for none."""
    if not len(standing_starts):
        return np.full(len(starts), -1, np.intp)
    if np.array_equal(starts, standing_starts) and np.array_equal(ends, standing_ends):
        return np.arange(len(starts))
    near = np.minimum(np.searchsorted(standing_starts, starts), len(standing_starts) - 1)
    return np.where((standing_starts[near] == starts) & (standing_ends[near] == ends), near, -1)


def met(starts: Int64s, ends: Int64s, standing_starts: Int64s, standing_ends: Int64s) -> Bools:
    """Returns for each of some windows, in any order, whether it overlaps any of others."""
    if not len(standing_starts):
        return np.zeros(len(starts), np.bool_)
    first = np.searchsorted(standing_ends, starts, side="right")
    near = standing_starts[np.minimum(first, len(standing_starts) - 1)]
    overlap: Bools = (first < len(standing_starts)) & (near < ends)
    return overlap


def joined(starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s]:
    """Returns what windows cover as the fewest windows."""
    if not len(starts):
        return starts, ends
    gaps = starts[1:] != ends[:-1]
    return starts[np.concatenate([[True], gaps])], ends[np.concatenate([gaps, [True]])]


def grid_windows(grid: Partitions, moments: Int64s) -> tuple[Int64s, Int64s]:
    """Returns the start and the end of the grid's window that holds each of some moments, in any order."""
    if grid.grain in _WIDTHS and (not len(moments) or _EARLIEST < moments.min() <= moments.max() < _LATEST):
        width, origin = _WIDTHS[grid.grain]
        first = (moments - origin) // width * width + origin
        return first, first + width
    floors = [grid.floor(from_micros(moment)) for moment in moments.tolist()]
    return (
        np.array([to_micros(start) for start in floors], np.int64),
        np.array([to_micros(grid.next(start)) for start in floors], np.int64),
    )
