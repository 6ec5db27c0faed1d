"""The rows of some entities in some windows."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.spec import to_micros
from feast_assets.offline_stores.base import ALWAYS
from feast_assets.offline_stores.duckdb_cells import with_cells
from feast_assets.offline_stores.duckdb_rows import Rows

if TYPE_CHECKING:
    import duckdb

    from feast_assets.definitions.partitions import Window


def merged(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """Returns what windows cover as the fewest intervals, in microseconds and in order."""
    intervals: list[tuple[int, int]] = []
    for window in sorted(windows):
        # The last microsecond of all belongs to the last window.
        start, end = to_micros(window.start), to_micros(window.end) + (window.end >= ALWAYS.end)
        if intervals and start <= intervals[-1][1]:
            intervals[-1] = (intervals[-1][0], max(intervals[-1][1], end))
        else:
            intervals.append((start, end))
    return intervals


def restricted(cursor: duckdb.DuckDBPyConnection, rows: Rows, windows: Sequence[Window], keys: pa.Table) -> Rows:
    """Returns those of some rows that are of some entities and lie in some windows.

    Args:
        rows: with event times from the beginning of the first window to the end of the last.
        keys: the view's join keys, an entity each; not looked at where the view has none.
    """
    name = f"keys_{uuid.uuid4().hex}"
    if rows.keys:
        cursor.register(name, keys.select([f.name for f in rows.history.join_keys]).rename_columns(rows.keys))
    same = " AND ".join(f"r.{k} = e.{k}" for k in rows.keys)
    intervals = merged(windows)

    def of_them(sql: str) -> str:
        if rows.keys:
            sql = f"SELECT r.* FROM ({sql}) r SEMI JOIN {name} e ON {same}"
        if len(intervals) > 1:
            # Intervals do not touch, so every other cell is one of them.
            cells = with_cells(cursor, sql, list(chain(*intervals)))
            sql = f"SELECT * EXCLUDE (cell) FROM ({cells}) WHERE cell % 2 = 1"
        return sql

    return replace(
        rows,
        sql=of_them(rows.sql),
        with_content=of_them(rows.with_content),
        with_stored_time=of_them(rows.with_stored_time),
    )
