"""The newest row per entity, in one pass."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.offline_stores.duckdb.engine import read_all, stream
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.files.changing_files import changed_error
from feast_assets.types.arrow_values import flags

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

OLDEST = "-9223372036854775808"
"""What a missing created time counts as: older than any."""


def newest_rows(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Iterator[pa.RecordBatch]:
    """Yields one row per entity, as `Rows.finish` takes them, in order of the keys as far as no rows tie.

    The newest event time of each entity is found from keys and times alone; only the rows of these times are then read
    whole. So the memory is that of keys and times, which spill, and of a sort of the result, which spills too. Where an
    entity has several rows of its newest time, a second query compares their created times and contents.
    """
    keys = rows.keys
    # What is dear to read twice, or may differ when it is, is kept while the query runs.
    kept = "NOT MATERIALIZED" if rows.table.columnar else "MATERIALIZED"
    columns = _listed([f"r.{n} AS {n}" for n in (*keys, *rows.features, "t", "c")])
    grouped = f"GROUP BY {_listed(keys)}" if keys else ""
    newest = f"SELECT {_listed([*keys, 'max(s) AS s'])} FROM r {grouped}"
    same = " AND ".join(f"r.{n} = n.{n}" for n in [*keys, "s"])
    order = f"ORDER BY {_listed(keys)}" if keys else ""
    sql = f"WITH r AS {kept} ({rows.with_stored_time}) SELECT {columns} FROM r JOIN ({newest}) n ON {same} {order}"
    tied: list[pa.RecordBatch] = []
    for batch in _whole_entities(stream(cursor, sql), keys):
        first = _starts(batch, keys)
        alone = first & np.append(first[1:], True)
        if not alone.all():
            tied.append(batch.filter(pa.array(first & ~alone)).select([*keys, "t"]))
            batch = batch.filter(pa.array(alone))
        if batch.num_rows:
            yield batch
    if tied:
        yield from _newest_of_tied(cursor, rows, pa.Table.from_batches(tied))


def _whole_entities(batches: Iterator[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yields rows, which come in order of keys, such that those of an entity are in one batch.

    Of an entity's rows at the end of a batch that is not the last only two are kept: enough to see that they tie.
    """
    held: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        if held is not None:
            last = int(np.flatnonzero(_starts(held, keys))[-1])
            if last:
                yield held.slice(0, last)
            batch = pa.concat_batches([held.slice(last, 2), batch])
        held = batch
    if held is not None:
        yield held


def _starts(batch: pa.RecordBatch, keys: Sequence[str]) -> NDArray[np.bool_]:
    """Returns for each row whether it is the first of its entity."""
    is_start = np.zeros(batch.num_rows, np.bool_)
    is_start[:1] = True
    for name in keys:
        column = batch.column(name)
        differ = pc.not_equal(column.slice(1), column.slice(0, len(column) - 1))
        is_start[1:] |= flags(differ)
    return is_start


def _newest_of_tied(cursor: duckdb.DuckDBPyConnection, rows: Rows, tied: pa.Table) -> Iterator[pa.RecordBatch]:
    name = f"tied_{uuid.uuid4().hex}"
    cursor.register(name, tied)
    keys = rows.keys
    same = " AND ".join(f"r.{n} = n.{n}" for n in [*keys, "t"])
    returned = 0
    sql = f"SELECT r.* FROM ({rows.with_content}) r JOIN {name} n ON {same}"
    for batch in stream(cursor, best_of_ties(sql, [*keys, "t"], rows.features)):
        returned += batch.num_rows
        yield batch
    if returned != tied.num_rows:
        raise changed_error(rows.table.subject)


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
