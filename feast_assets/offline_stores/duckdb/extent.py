"""The oldest event of a history: from the footers of Parquet files where they say it, else by a query."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.engine import read_all
from feast_assets.offline_stores.duckdb.files import SourceTable, open_source
from feast_assets.offline_stores.duckdb.rows import declared_types, rows_of, time_expression
from feast_assets.offline_stores.files.parquet_footers import footer_of
from feast_assets.offline_stores.files.source_files import find_files

if TYPE_CHECKING:
    import duckdb

_FEW_FILES = 100
"""Files whose footers are read just to save some of a query's time."""


def oldest_by_footers(history: History, root: Path) -> tuple[bool, int | None]:
    """Returns whether the files say by themselves which event is the oldest, and its time in UTC microseconds; None
    where there are no rows."""
    oldest_events = []
    for source in _timed(history):
        is_said, oldest = _from_footers(source, root, [] if history.transformation else history.join_keys)
        if not is_said:
            return False, None
        if oldest is not None:
            oldest_events.append(oldest)
    return True, min(oldest_events, default=None)


def footers_exclude_nulls(history: History, root: Path, only: Sequence[str] | None = None) -> bool:
    """Whether the files of an untransformed history are few, and say that no row lacks a join key or an event time.

    Args:
        only: the files that count; all with None.
    """
    (source,) = history.sources
    files = find_files(source, root, only=only)
    paths = files.paths
    if files.format != "parquet" or files.shape == "uri" or not 0 < len(paths) <= _FEW_FILES:
        return False
    columns = {new: raw for raw, new in source.field_mapping.items()}
    needed = [source.timestamp_field, *(columns.get(key.name, key.name) for key in history.join_keys)]
    try:
        footers = [footer_of(path) for path in paths]
    except (OSError, pa.ArrowException):
        return False
    return all(footer.has_no_nulls(column) for footer in footers for column in needed)


def oldest_by_rows(
    cursor: duckdb.DuckDBPyConnection, history: History, root: Path, tables: list[SourceTable]
) -> int | None:
    """Returns the event time of the oldest row in UTC microseconds; None where there are no rows.

    Args:
        tables: what is opened is added to it, for messages.
    """
    oldest_events = [_from_rows(cursor, history, source, root, tables) for source in _timed(history)]
    return min((oldest for oldest in oldest_events if oldest is not None), default=None)


def _timed(history: History) -> list[DataSource]:
    """Returns the sources whose times count: of a transformation's inputs, those that have some."""
    return [s for s in history.sources if history.transformation is None or s.timestamp_field]


def _from_footers(source: DataSource, root: Path, keys: Sequence[Field]) -> tuple[bool, int | None]:
    files = find_files(source, root)
    if files.format != "parquet" or files.shape == "uri" or not files.paths:
        return False, None
    columns = {new: raw for raw, new in source.field_mapping.items()}
    ends = []
    for path in files.paths:
        try:
            footer = footer_of(path)
        except (OSError, pa.ArrowException):
            return False, None  # the query says what is wrong with it
        times = footer.times(source.timestamp_field)
        # A row without a key does not count.
        if times is None or not all(footer.has_no_nulls(columns.get(key.name, key.name)) for key in keys):
            return False, None
        if times[0] is not None:
            ends.append(times[0])
    return True, min(ends, default=None)


def _from_rows(
    cursor: duckdb.DuckDBPyConnection, history: History, source: DataSource, root: Path, tables: list[SourceTable]
) -> int | None:
    if history.transformation is not None:
        table = open_source(cursor, source, root)
        tables.append(table)
        if not table.known:
            return None
        sql = f"SELECT {time_expression(cursor, table, table.timestamp)} AS t FROM ({table.sql})"
    else:
        table = open_source(cursor, source, root, declared_types(history), may_be_absent=history.kept)
        tables.append(table)
        sql = rows_of(cursor, history, table, Bounds()).sql
    oldest: int | None = read_all(cursor, f"SELECT min(t) AS oldest FROM ({sql})").column(0)[0].as_py()
    return oldest
