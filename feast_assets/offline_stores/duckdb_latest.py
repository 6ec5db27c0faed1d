"""The newest row per entity, in one pass."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import SourceError
from feast_assets.offline_stores.duckdb_engine import read_all, stream
from feast_assets.offline_stores.duckdb_rows import Rows

if TYPE_CHECKING:
    import duckdb

OLDEST = "-9223372036854775808"
"""What a missing created time counts as: older than any."""


def newest_rows(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Iterator[pa.RecordBatch]:
    """Yields one row per entity, as `Rows.finish` takes them.

    The pass keeps the two newest event times of each entity. Where they are equal, the pass does not know which row is
    meant; only for those entities a second one compares created times and contents.
    """
    keys = rows.keys
    columns = _packed([*rows.features, "c"])
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    sql = (
        f"SELECT {''.join(f'{k}, ' for k in keys)}arg_max({columns}, t) AS r, max(t, 2) AS newest "
        f"FROM ({rows.sql}) {grouped}"
    )
    sql = (
        f"SELECT {_listed([*keys, *(f'r.{n} AS {n}' for n in (*rows.features, 'c'))])}, newest[1] AS t, "
        f"coalesce(len(newest) = 2 AND newest[1] = newest[2], false) AS tied FROM ({sql}) WHERE r IS NOT NULL"
    )
    tied: list[pa.RecordBatch] = []
    for batch in stream(cursor, sql):
        flags = batch.column("tied")
        if pc.any(flags).as_py():
            tied.append(batch.filter(flags).select([*keys, "t"]))
            batch = batch.filter(pc.invert(flags))
        if batch.num_rows:
            yield batch
    if tied:
        yield from _newest_of_tied(cursor, rows, pa.Table.from_batches(tied))


def _newest_of_tied(cursor: duckdb.DuckDBPyConnection, rows: Rows, tied: pa.Table) -> Iterator[pa.RecordBatch]:
    name = f"tied_{uuid.uuid4().hex}"
    cursor.register(name, tied)
    keys = rows.keys
    same = " AND ".join(f"r.{n} = n.{n}" for n in [*keys, "t"])
    found = 0
    sql = f"SELECT r.* FROM ({rows.with_content}) r JOIN {name} n ON {same}"
    for batch in stream(cursor, best_of_ties(sql, [*keys, "t"], rows.features)):
        found += batch.num_rows
        yield batch
    if found != tied.num_rows:
        raise SourceError(f"{rows.table.what} was changed while it was read. Try again.")


def best_of_ties(sql: str, group: Sequence[str], features: Sequence[str]) -> str:
    """Returns a query of one row for each group: with the newest created time, and among those the greatest content.

    Args:
        sql: a query of `Rows.with_content`'s columns.
        group: names of columns, with the event time among them.
    """
    best = f"max({{'c': coalesce(c, {OLDEST}), 'x': x, 'f': {_packed([*features, 'c'])}}}) AS best"
    grouped = f"SELECT {_listed(group)}, {best} FROM ({sql}) GROUP BY {_listed(group)}"
    return f"SELECT {_listed([*group, *(f'best.f.{n} AS {n}' for n in (*features, 'c'))])} FROM ({grouped})"


def has_ties(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> bool:
    """Says whether two rows have the same key and event time."""
    columns = _listed([*rows.keys, "t"])
    sql = f"SELECT 1 FROM (SELECT {columns} FROM ({rows.sql})) GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"
    return bool(read_all(cursor, sql).num_rows)


def _packed(names: Sequence[str]) -> str:
    return "struct_pack(" + ", ".join(f"{n} := {n}" for n in names) + ")"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
