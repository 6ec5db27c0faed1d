"""The rows of some entities in some windows."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.window import Window, union
from feast_assets.offline_stores.duckdb.cells import with_cells
from feast_assets.offline_stores.duckdb.rows import Rows

if TYPE_CHECKING:
    import duckdb


def restricted(cursor: duckdb.DuckDBPyConnection, rows: Rows, windows: Sequence[Window], keys: pa.Table | None) -> Rows:
    """Returns those of some rows that are of some entities and lie in some windows.

    Args:
        rows: with event times from the beginning of the first window to the end of the last.
        keys: the view's join keys, an entity each; not looked at where the view has none. None for all entities.
    """
    if keys is not None and rows.keys:
        name = f"keys_{uuid.uuid4().hex}"
        cursor.register(name, keys.select([f.name for f in rows.history.join_keys]).rename_columns(rows.keys))
        rows = of_entities(rows, name, rows.keys)
    intervals = [(window.start_micros, window.end_micros) for window in union(windows)]
    if len(intervals) == 1:
        return rows

    def within(sql: str) -> str:
        # Intervals do not touch, so every other cell is one of them.
        cells = with_cells(cursor, sql, list(chain(*intervals)))
        return f"SELECT * EXCLUDE (cell) FROM ({cells}) WHERE cell % 2 = 1"

    return _changed(rows, within)


def of_entities(rows: Rows, table: str, keys: Sequence[str]) -> Rows:
    """Returns those of some rows that are of a table's entities.

    Args:
        table: its name in the database.
        keys: the table's columns that hold the rows' join keys, in their order; at least one.
    """
    same = " AND ".join(f"r.{own} = e.{key}" for own, key in zip(rows.keys, keys, strict=True))
    return _changed(rows, lambda sql: f"SELECT r.* FROM ({sql}) r SEMI JOIN {table} e ON {same}")


def _changed(rows: Rows, change: Callable[[str], str]) -> Rows:
    return replace(
        rows,
        sql=change(rows.sql),
        with_content=change(rows.with_content),
        with_stored_time=change(rows.with_stored_time),
    )
