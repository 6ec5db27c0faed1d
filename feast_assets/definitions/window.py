"""Windows of event time, and all arithmetic with them.

A window is half-open. So windows that follow each other share an edge and no moment, and a moment is in one of them
only. Nothing here knows of grids, rows or the ledger: see `Partitions` for the grid.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from feast_assets.definitions.spec import to_micros

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MICROSECOND = timedelta(microseconds=1)

LONGEST_MICROS = 2**61
"""Durations from here on are no bound: they are longer than the years 1 to 9999."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Event times from ``start`` to ``end``, without the end. Both in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{self.start:%Y-%m-%dT%H:%M:%S.%f}, {self.end:%Y-%m-%dT%H:%M:%S.%f})".replace(".000000", "")

    def contains(self, other: Window) -> bool:
        """Whether every moment of the other window is in this one."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Window) -> bool:
        """Whether the two have a moment in common."""
        return self.start < other.end and other.start < self.end

    def cut_to(self, span: Window) -> Window | None:
        """Returns the part that lies in another window; None where there is none."""
        start, end = max(self.start, span.start), min(self.end, span.end)
        return Window(start, end) if start < end else None

    @property
    def start_micros(self) -> int:
        """The start in UTC microseconds."""
        return to_micros(self.start)

    @property
    def end_micros(self) -> int:
        """The end in UTC microseconds, not included.

        No datetime is later than the last microsecond of the year 9999, so a window that ends there includes it.
        """
        return to_micros(self.end) + (self.end >= ALWAYS.end)


ALWAYS = Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
"""All of time: the window of views without partitions."""


class HasWindow(Protocol):
    """Something that is said of one window."""

    @property
    def window(self) -> Window: ...


_Item = TypeVar("_Item", bound=HasWindow)


def until(last: datetime) -> datetime:
    """Returns the end, not included, of a window that includes a moment as its last."""
    return ALWAYS.end if last >= ALWAYS.end else last + MICROSECOND


def union(windows: Iterable[Window]) -> list[Window]:
    """Returns what some windows cover as the fewest windows, in order. They may overlap."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined


def outside(windows: Iterable[Window], others: Iterable[Window]) -> list[Window]:
    """Returns what of some windows lies outside of all others, as the fewest windows, in order. All may overlap."""
    taken = union(others)
    at = 0
    parts: list[Window] = []
    for window in union(windows):
        start = window.start
        while at < len(taken) and taken[at].end <= start:
            at += 1
        while at < len(taken) and taken[at].start < window.end:
            if start < taken[at].start:
                parts.append(Window(start, taken[at].start))
            start = taken[at].end
            if start >= window.end:
                break  # it may lie on the next window as well
            at += 1
        if start < window.end:
            parts.append(Window(start, window.end))
    return parts


def meeting(standing: Iterable[Window], windows: Iterable[Window]) -> set[Window]:
    """Returns which of some windows overlap any of the standing ones, which do not overlap each other."""
    ordered = sorted(standing)
    ends = [w.end for w in ordered]
    met = set()
    for window in windows:
        first = bisect_right(ends, window.start)
        if first < len(ordered) and ordered[first].start < window.end:
            met.add(window)
    return met


def overlapped(standing: Sequence[Window], windows: Iterable[Window]) -> Iterator[tuple[int, int]]:
    """Yields for each window the slice, as ``(first, last)`` without the last, of the standing ones that it overlaps.

    Args:
        standing: in order, none overlapping another.
        windows: likewise.
    """
    first = 0
    for window in windows:
        while first < len(standing) and standing[first].end <= window.start:
            first += 1
        last = first
        while last < len(standing) and standing[last].start < window.end:
            last += 1
        yield first, last


def contiguous(items: Iterable[_Item], bridges: Iterable[Window] = ()) -> list[list[_Item]]:
    """Groups items, in order of their windows, into runs whose windows follow each other without gaps.

    Args:
        items: with windows that do not overlap.
        bridges: windows that close a gap between others, such as those without rows. They are in no group.
    """
    of_window = {item.window: item for item in items}
    groups: list[list[_Item]] = []
    end = None
    for window in sorted({*of_window, *bridges}):
        if window.start != end:
            groups.append([])
        if window in of_window:
            groups[-1].append(of_window[window])
        end = window.end
    return [group for group in groups if group]


class WindowIndex:
    """Finds the windows that event times lie in.

    Args:
        windows: in order, none overlapping another; may be none.
    """

    def __init__(self, windows: Sequence[Window]):
        import numpy as np

        self.starts: npt.NDArray[np.int64] = np.array([w.start_micros for w in windows], np.int64)
        self.ends: npt.NDArray[np.int64] = np.array([w.end_micros for w in windows], np.int64)

    def positions(self, events: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Returns, for each event time in UTC microseconds, which window it lies in; -1 where it lies in none."""
        import numpy as np

        if not len(self.starts):
            return np.full(len(events), -1, np.int64)
        index = np.searchsorted(self.starts, events, side="right") - 1
        # Before the first window, the position is -1, which is the last end here: too late for such an event or not, it
        # stays -1.
        return np.where(events < self.ends[index], index, -1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Event times from ``start`` to ``end`` without the end, in UTC microseconds; None for no bound."""

    start: int | None = None
    end: int | None = None

    @classmethod
    def of(cls, window: Window, lookback: timedelta = timedelta(0)) -> Bounds:
        """Returns a window's bounds, from so much earlier on; `ALWAYS` has none."""
        start = None if window.start <= ALWAYS.start else window.start_micros - duration_micros(lookback)
        return cls(start, None if window.end >= ALWAYS.end else window.end_micros)


def hull(bounds: Sequence[Bounds]) -> Bounds:
    """Returns the shortest bounds that hold all of some bounds; empty ones of none."""
    if not bounds:
        return Bounds(0, 0)
    starts = [b.start for b in bounds if b.start is not None]
    ends = [b.end for b in bounds if b.end is not None]
    return Bounds(min(starts) if len(starts) == len(bounds) else None, max(ends) if len(ends) == len(bounds) else None)


def duration_micros(duration: timedelta) -> int:
    """Returns a duration in microseconds, at most `LONGEST_MICROS`."""
    return min(duration // MICROSECOND, LONGEST_MICROS)
