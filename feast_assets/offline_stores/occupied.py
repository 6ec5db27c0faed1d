"""The windows of a grid that have rows, found from statistics of ever smaller windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.base import WindowStatistics

_FEW = 5_000
"""Windows up to which all of a grid are asked for at once."""

Statistics = Callable[[Sequence[Window]], list[WindowStatistics]]


def occupied_windows(statistics: Statistics, grid: Partitions, span: Window) -> list[WindowStatistics]:
    """Returns the statistics of those windows of a grid that have rows, cut to a span; at most four passes.

    Args:
        statistics: returns those of some windows, from one pass over the data.
    """
    windows = list(islice(grid.windows_cut_to(span), _FEW + 1))
    if len(windows) > _FEW:
        years = _with_rows(statistics, _years(span))
        months = _with_rows(statistics, _within(Partitions("monthly"), years, span))
        windows = list(_within(grid, months, span))
    return [s for s in (statistics(windows) if windows else []) if s.rows or s.null_keys]


def _with_rows(statistics: Statistics, windows: Iterable[Window]) -> list[Window]:
    asked = list(windows)
    return [s.window for s in (statistics(asked) if asked else []) if s.rows or s.null_keys]


def _years(span: Window) -> Iterator[Window]:
    for year in range(span.start.year, span.end.year + 1):
        start = max(span.start, datetime(year, 1, 1, tzinfo=UTC))
        end = min(span.end, datetime(year + 1, 1, 1, tzinfo=UTC) if year < ALWAYS.end.year else ALWAYS.end)
        if start < end:
            yield Window(start, end)


def _within(grid: Partitions, wholes: Iterable[Window], span: Window) -> Iterator[Window]:
    """Yields the windows of a grid that overlap any of some ordered windows, each once, cut to a span."""
    last = None
    for whole in wholes:
        for window in grid.windows(whole.start, whole.end):
            if last is None or window.start > last.start:
                last = window
                yield Window(max(window.start, span.start), min(window.end, span.end))
