"""Which windows of a view there are, and which of them are missing or stale."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from feast_assets.definitions.partitions import Partitions, Window
from feast_assets.definitions.spec import to_micros
from feast_assets.offline_stores.base import ALWAYS, WindowStatistics
from feast_assets.registry.base import LedgerEntry

MICROSECOND = timedelta(microseconds=1)

Staleness = Literal["missing", "unsettled", "changed", "redefined", "restored"]
"""Why a window is stale: it was never run; nobody knows what the store holds of it; its source has changed since; the
view's definition has; or the online store, or the registry, was put back to an earlier state."""


def until(end: datetime) -> datetime:
    """Returns the end, not included, of what an inclusive end includes."""
    return ALWAYS.end if end >= ALWAYS.end else end + MICROSECOND


def end_micros(window: Window) -> int:
    """Returns the end of a window in microseconds; the last microsecond of all belongs to the last window."""
    return to_micros(window.end) + (window.end >= ALWAYS.end)


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
    return [s for s, _ in with_reasons(statistics, ledger, definition_hash)]


def with_reasons(
    statistics: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry], definition_hash: str
) -> list[tuple[WindowStatistics, Staleness]]:
    """Returns the windows that are stale, each with the reason."""
    found = []
    in_part = meeting(held(ledger), [s.window for s in statistics if s.window not in ledger])
    for each in statistics:
        reason = staleness(each, ledger.get(each.window), definition_hash)
        if reason is None and each.window in in_part:
            reason = "unsettled"
        if reason is not None:
            found.append((each, reason))
    return found


def meeting(standing: Iterable[Window], windows: Iterable[Window]) -> set[Window]:
    """Returns which of some windows overlap any of those that stand, which do not overlap each other."""
    ordered = sorted(standing)
    ends = [w.end for w in ordered]
    found = set()
    for window in windows:
        first = bisect_right(ends, window.start)
        if first < len(ordered) and ordered[first].start < window.end:
            found.add(window)
    return found


def staleness(now: WindowStatistics, entry: LedgerEntry | None, definition_hash: str) -> Staleness | None:
    """Returns why a window is stale; None where it is not, as far as its own entry tells."""
    if entry is None:
        return "missing" if now.rows > 0 else None
    if not entry.settled:
        return "restored" if entry.doubt else "unsettled"
    if entry.definition_hash != definition_hash and entry.fingerprint and now.rows:
        return "redefined"  # fingerprints cover what the definition reads, so they tell nothing about the source here
    return "changed" if entry.fingerprint != now.fingerprint else None


def held(ledger: Mapping[Window, LedgerEntry]) -> set[Window]:
    """Returns the windows that have, or may have, rows in the store."""
    return {w for w, e in ledger.items() if may_have_rows(e)}


def may_have_rows(entry: LedgerEntry) -> bool:
    """Whether the store has, or may have, rows of an entry's window."""
    return bool(entry.fingerprint) or not entry.settled


def contiguous(windows: Iterable[WindowStatistics], empty: Iterable[Window] = ()) -> list[list[WindowStatistics]]:
    """Groups windows, in order of time, into runs without gaps.

    Args:
        empty: windows that have no rows; between others they are no gap.
    """
    chosen = {s.window: s for s in windows}
    groups: list[list[WindowStatistics]] = []
    end = None
    for window in sorted({*chosen, *empty}):
        if window.start != end:
            groups.append([])
        if window in chosen:
            groups[-1].append(chosen[window])
        end = window.end
    return [group for group in groups if group]


def intervals(ledger: Iterable[LedgerEntry]) -> list[tuple[datetime, datetime]]:
    """Returns what of time is materialized as the fewest ``[start, end)`` intervals, in order."""
    merged: list[tuple[datetime, datetime]] = []
    for window in sorted(e.window for e in ledger if e.settled):
        if merged and window.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], window.end))
        else:
            merged.append((window.start, window.end))
    return merged
