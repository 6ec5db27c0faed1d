"""The rows of some entities in some windows."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_assets.definitions.window import Window, union
from feast_assets.offline_stores.as_of import Integers
from feast_assets.offline_stores.duckdb.cells import with_cells
from feast_assets.offline_stores.duckdb.engine import registered
from feast_assets.offline_stores.duckdb.files import ROWS_PER_FILE
from feast_assets.offline_stores.duckdb.rows import Rows

if TYPE_CHECKING:
    import duckdb

_FEW_IDS = 10_000
"""Ids that are worth a closer look at where they are."""
_MOST_FILES = 5_000
_MOST_RANGES = 8
"""Conditions that are compared with each row in less time than reading its features takes."""
_LEAST_GAP = 8_192
"""Rows between two ids that are worth leaving out: row groups are larger than that."""


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


@contextmanager
def of_ids(cursor: duckdb.DuckDBPyConnection, rows: Rows, ids: Integers) -> Iterator[Rows]:
    """Yields those of some rows that have some ids. Files and row groups without any are not read.

    Args:
        rows: with `Rows.row_id`.
        ids: int64[n], distinct, at least one.
    """
    columns = {"id": ids}
    same, conditions = "r.row_id = w.id", ""
    if rows.has_places:
        numbers = ids // ROWS_PER_FILE
        files = np.flatnonzero(np.bincount(numbers))
        if len(files) <= _MOST_FILES:
            conditions = f" WHERE r.file IN ({', '.join(map(str, files.tolist()))})"
        if len(ids) <= _FEW_IDS:
            columns["place"] = ids - numbers * ROWS_PER_FILE
            same += " AND r.place = w.place"
            if len(files) <= _MOST_RANGES:
                conditions += f" AND ({' OR '.join(_ranges(np.sort(ids)))})"
    with registered(cursor, pa.table(columns)) as name:
        yield _changed(rows, lambda sql: f"SELECT r.* FROM ({sql}) r JOIN {name} w ON {same}{conditions}")


def _ranges(ids: Integers) -> Iterator[str]:
    """Yields conditions that hold one or the other for every id, and for few other ones.

    Args:
        ids: in order, of few files.
    """
    gaps = np.diff(ids)
    # The largest gaps; those between files are far larger than all others.
    widest = np.argsort(-gaps, kind="stable")[: _MOST_RANGES - 1]
    ends = np.sort(widest[gaps[widest] > _LEAST_GAP])
    for first, last in zip(
        ids[np.append(0, ends + 1)].tolist(), ids[np.append(ends, len(ids) - 1)].tolist(), strict=True
    ):
        file = first // ROWS_PER_FILE
        yield f"(r.file = {file} AND r.place BETWEEN {first % ROWS_PER_FILE} AND {last % ROWS_PER_FILE})"


def _changed(rows: Rows, change: Callable[[str], str]) -> Rows:
    return replace(
        rows,
        sql=change(rows.sql),
        with_content=change(rows.with_content),
        with_stored_time=change(rows.with_stored_time),
        by_id=change(rows.by_id),
    )
