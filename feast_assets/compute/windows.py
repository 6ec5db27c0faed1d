"""Which windows of a view there are, and which of them are missing or stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from feast_assets.definitions.partitions import Partitions, Window
from feast_assets.offline_stores.base import ALWAYS, WindowStatistics
from feast_assets.registry.base import LedgerEntry

MICROSECOND = timedelta(microseconds=1)


def until(end: datetime) -> datetime:
    """Returns the end, not included, of what an inclusive end includes."""
    return ALWAYS.end if end >= ALWAYS.end else end + MICROSECOND


def grid_windows(grid: Partitions, whole: Window) -> Iterator[Window]:
    """Yields the windows of a grid that overlap ``whole``, in order, the first and last cut to it."""
    for window in grid.windows(whole.start, whole.end):
        yield Window(max(window.start, whole.start), min(window.end, whole.end))


def whole_if_known(grid: Partitions, cut: Window, ledger: Mapping[Window, LedgerEntry]) -> Window:
    """Returns the grid's window that a cut one is part of if the ledger has it whole, else the cut one."""
    start = grid.floor(cut.start)
    whole = Window(start, grid.next(start))
    return whole if whole in ledger else cut


def stale(
    statistics: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry], definition_hash: str
) -> list[WindowStatistics]:
    """Returns the windows whose present content, under the present definition, is not surely in the online store.

    A window without rows now and before has nothing to write and is not stale.
    """
    return [s for s in statistics if _is_stale(s, ledger.get(s.window), definition_hash)]


def _is_stale(now: WindowStatistics, entry: LedgerEntry | None, definition_hash: str) -> bool:
    if entry is None:
        return now.rows > 0
    if not entry.settled or entry.fingerprint != now.fingerprint:
        return True
    return now.rows > 0 and entry.definition_hash != definition_hash


def held(ledger: Mapping[Window, LedgerEntry]) -> set[Window]:
    """Returns the windows that have, or may have, rows in the store."""
    return {w for w, e in ledger.items() if e.fingerprint or not e.settled}


def contiguous(windows: Iterable[WindowStatistics]) -> list[list[WindowStatistics]]:
    """Groups windows, in order of time, into runs without gaps."""
    groups: list[list[WindowStatistics]] = []
    for each in sorted(windows, key=lambda s: s.window):
        if groups and groups[-1][-1].window.end == each.window.start:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def intervals(ledger: Iterable[LedgerEntry]) -> list[tuple[datetime, datetime]]:
    """Returns what of time is materialized as the fewest ``[start, end)`` intervals, in order."""
    merged: list[tuple[datetime, datetime]] = []
    for window in sorted(e.window for e in ledger if e.settled):
        if merged and window.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], window.end))
        else:
            merged.append((window.start, window.end))
    return merged
