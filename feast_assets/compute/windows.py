"""Which windows of a view there are, and which of them are missing or stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from feast_assets.definitions.partitions import Partitions, Window
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.registry.base import LedgerEntry

MICROSECOND = timedelta(microseconds=1)


def grid_windows(grid: Partitions, whole: Window) -> list[Window]:
    """Returns the windows of a grid that overlap ``whole``, the first and last cut to it."""
    return [
        Window(max(w.start, whole.start), min(w.end, whole.end))
        for w in grid.windows(whole.start, whole.end)
        if w.end > whole.start
    ]


def stale(
    statistics: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry], definition_hash: str
) -> list[WindowStatistics]:
    """Returns the windows whose present content, under the present definition, is not in the online store.

    A window that never held rows has nothing to write and is not stale.
    """
    return [
        s
        for s in statistics
        if not _is_current(s, ledger.get(s.window), definition_hash) and (s.rows or s.window in ledger)
    ]


def _is_current(now: WindowStatistics, entry: LedgerEntry | None, definition_hash: str) -> bool:
    return entry is not None and entry.fingerprint == now.fingerprint and entry.definition_hash == definition_hash


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
    for window in sorted(e.window for e in ledger):
        if merged and window.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], window.end))
        else:
            merged.append((window.start, window.end))
    return merged
