"""Covers a span of time with few windows: those with rows or an entry in the ledger, and one for each gap between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.definitions.window_columns import grid_windows, met, positions_of
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger_columns import LedgerColumns

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]


def covering(
    grid: Partitions, span: Window, seen: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry]
) -> StatisticsColumns:
    """Returns windows that cover a span without gaps or overlaps, in order.

    A window of the grid, cut to the span, is one of them if it has rows, if the ledger has it, or if an entry that may
    have rows in the store begins or ends in it. The time between two of these has no rows and is one window, however
    long it is. So the number of windows grows with rows and entries, and not with time.

    Args:
        span: up to the grid's end at most.
        seen: the statistics of all windows that have rows, cut to the span, in order.
    """
    start, end = to_micros(span.start), to_micros(span.end)
    with_rows = StatisticsColumns.of(seen)
    columns = LedgerColumns.of_mapping(ledger)
    columns = columns.taken(columns.overlapping(start, end))
    others = columns.taken(positions_of(columns.starts, columns.ends, with_rows.starts, with_rows.ends) < 0)
    starts, ends = _of_ledger(grid, start, end, others)
    beside = ~met(starts, ends, with_rows.starts, with_rows.ends)
    several = [with_rows, StatisticsColumns.without_rows(starts[beside], ends[beside])]
    known = StatisticsColumns.merged(several) if beside.any() else with_rows
    gap_starts, gap_ends = np.append(start, known.ends), np.append(known.starts, end)
    are_gaps = gap_starts < gap_ends
    if not are_gaps.any():
        return known
    gaps = StatisticsColumns.without_rows(gap_starts[are_gaps], gap_ends[are_gaps])
    return StatisticsColumns.merged([known, gaps])


def _of_ledger(grid: Partitions, start: int, end: int, entries: LedgerColumns) -> tuple[Int64s, Int64s]:
    """Returns the windows of a grid, cut to a span, that some entries have, or in which they may have rows put.

    Of an entry that overlaps several windows, only the first and the last are among them.

    Args:
        start, end: the span, in UTC microseconds.
        entries: that overlap the span.
    """
    part_ends = np.minimum(entries.ends, end)
    first_starts, first_ends = _cut(grid, np.maximum(entries.starts, start), start, end)
    is_whole = (first_starts == entries.starts) & (first_ends == entries.ends)
    has_first = is_whole | entries.may_have_rows
    has_last = entries.may_have_rows & ~is_whole & (first_ends < part_ends)
    last_starts, last_ends = _cut(grid, part_ends[has_last] - 1, start, end)
    starts, positions = np.unique(np.concatenate([first_starts[has_first], last_starts]), return_index=True)
    return starts, np.concatenate([first_ends[has_first], last_ends])[positions]


def _cut(grid: Partitions, moments: Int64s, start: int, end: int) -> tuple[Int64s, Int64s]:
    """Returns the grid's windows that hold some moments, cut to a span."""
    starts, ends = grid_windows(grid, moments)
    return np.maximum(starts, start), np.minimum(ends, end)
