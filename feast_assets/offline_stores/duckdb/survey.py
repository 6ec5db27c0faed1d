"""Statistics of a history's windows: of given ones, or of those of a grid that have rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import Bounds, Window, duration_micros, hull
from feast_assets.offline_stores.base import History, Survey
from feast_assets.offline_stores.duckdb.extent import footers_exclude_nulls
from feast_assets.offline_stores.duckdb.files import SourceTable, open_source
from feast_assets.offline_stores.duckdb.grid import grouped
from feast_assets.offline_stores.duckdb.rows import declared_types, rows_of
from feast_assets.offline_stores.duckdb.statistics import (
    Content,
    content_of,
    summarize,
    summarize_input,
    summarize_untimed,
)
from feast_assets.offline_stores.summary import statistics_of
from feast_assets.offline_stores.window_numbers import WindowInput, WindowNumbers, occupied

if TYPE_CHECKING:
    import duckdb


def survey_windows(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    root: Path,
    windows: Sequence[Window],
    tables: list[SourceTable],
) -> Survey:
    """Returns the statistics of windows, in their order; see `OfflineStore.survey`.

    Args:
        tables: what is opened is added to it, for messages.
    """
    bounds = [Bounds.of(w, history.lookback if history.transformation is not None else timedelta(0)) for w in windows]
    tables += _opened(cursor, history, root, hull(bounds))
    if _covers_all_columns(history):
        summaries = [summarize_input(cursor, table, bounds) for table in tables]
    else:
        summaries = [summarize(cursor, _content(cursor, history, root, tables[0], hull(bounds)), bounds)]
    seen = [
        statistics_of(window, [parts[i] for parts, _ in summaries], of_source=history.all_columns)
        for i, window in enumerate(windows)
    ]
    return Survey(seen, sum(null_times for _, null_times in summaries))


def survey_grid(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    root: Path,
    grid: Partitions,
    span: Window,
    tables: list[SourceTable],
) -> Survey:
    """Returns the statistics of those windows of a grid that have rows, cut to a span; see `OfflineStore.survey_grid`.

    Args:
        tables: what is opened is added to it, for messages.
    """
    if grid.end is not None:
        span = Window(span.start, min(span.end, grid.end))
    if span.start >= span.end:
        return Survey([])
    numbers = WindowNumbers(grid.grain, span)
    computed = _covers_all_columns(history)
    lookback = duration_micros(history.lookback) if history.transformation is not None else 0
    bounds = Bounds.of(span, history.lookback if history.transformation is not None else timedelta(0))
    tables += _opened(cursor, history, root, bounds)
    inputs: list[WindowInput] = []
    null_times = 0
    for table in tables:
        if computed and not table.known:
            inputs.append(WindowInput([]))
        elif computed and not table.timestamp:
            inputs.append(WindowInput([], summarize_untimed(cursor, table)))
        else:
            content = content_of(cursor, table, bounds) if computed else _content(cursor, history, root, table, bounds)
            reaching, without = grouped(cursor, content, numbers, lookback)
            inputs.append(WindowInput(reaching))
            null_times += without
    seen = [
        statistics_of(numbers.window(first, last), [each.upon(first) for each in inputs], of_source=history.all_columns)
        for first, last in occupied(numbers, inputs)
    ]
    return Survey(seen, null_times)


def _covers_all_columns(history: History) -> bool:
    """Says whether statistics are of the sources, with all their columns, and not of a view's rows."""
    return history.transformation is not None or history.all_columns


def _opened(cursor: duckdb.DuckDBPyConnection, history: History, root: Path, bounds: Bounds) -> list[SourceTable]:
    if _covers_all_columns(history):
        return [open_source(cursor, source, root, bounds=bounds) for source in history.sources]
    types = declared_types(history)
    return [open_source(cursor, history.sources[0], root, types, bounds=bounds, may_be_absent=history.kept)]


def _content(
    cursor: duckdb.DuckDBPyConnection, history: History, root: Path, table: SourceTable, bounds: Bounds
) -> Content:
    rows = rows_of(cursor, history, table, bounds)
    hashed = [*rows.keys, *rows.features, "t", "c"]
    # Looking for nulls takes a tenth of the time.
    if footers_exclude_nulls(history, root):
        return Content(rows.sql, hashed)
    return Content(rows.with_nulls, hashed, rows.keys)
