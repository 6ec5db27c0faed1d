"""Covers a span of time with few windows: those with rows or an entry in the ledger, and one for each gap between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import MICROSECOND, Window, meeting
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger import may_have_rows


def covering(
    grid: Partitions, span: Window, seen: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry]
) -> list[WindowStatistics]:
    """Returns windows that cover a span without gaps or overlaps, in order.

    A window of the grid, cut to the span, is one of them if it has rows, if the ledger has it, or if an entry that may
    have rows in the store begins or ends in it. The time between two of these has no rows and is one window, however
    long it is. So the number of windows grows with rows and entries, and not with time.

    Args:
        span: up to the grid's end at most.
        seen: the statistics of all windows that have rows, cut to the span, in order.
    """
    by_window = {s.window: s for s in seen}
    others = [entry for window, entry in ledger.items() if window not in by_window]
    beside = {window for window in _of_ledger(grid, span, others) if window not in by_window}
    if beside:
        beside -= meeting(by_window, beside)
        by_window |= {window: _without_rows(window) for window in beside}
    covered: list[WindowStatistics] = []
    end = span.start
    for window in sorted(by_window):
        if end < window.start:
            covered.append(_without_rows(Window(end, window.start)))
        covered.append(by_window[window])
        end = window.end
    if end < span.end:
        covered.append(_without_rows(Window(end, span.end)))
    return covered


def _of_ledger(grid: Partitions, span: Window, entries: Iterable[LedgerEntry]) -> Iterator[Window]:
    """Yields the windows of a grid, cut to a span, that some entries have, or in which they may have rows in the store.

    Of an entry that overlaps several windows, only the first and the last are yielded.
    """
    for entry in entries:
        part = entry.window.cut_to(span)
        if part is None:
            continue
        first = _cut(grid, part.start, span)
        if first == entry.window:
            yield first
        elif may_have_rows(entry):
            yield first
            if first.end < part.end:
                yield _cut(grid, part.end - MICROSECOND, span)


def _cut(grid: Partitions, moment: datetime, span: Window) -> Window:
    """Returns the grid's window that holds a moment, cut to a span."""
    start = grid.floor(moment)
    return Window(max(start, span.start), min(grid.next(start), span.end))


def _without_rows(window: Window) -> WindowStatistics:
    return WindowStatistics(window, 0, None, None, None, "")
