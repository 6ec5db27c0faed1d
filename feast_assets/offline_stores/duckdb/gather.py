"""Values by row id: the features of the rows that a join has matched, read afterwards.

A join that carries every feature through its sorts pays for each of them; one that carries a row id pays for one. So
the point-in-time join finds row ids, and the features are read once for the rows that count: late materialization,
after Abadi et al., "Materialization Strategies in a Column-Oriented DBMS" (ICDE 2007).
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.definitions.window import Bounds
from feast_assets.offline_stores.as_of import NONE, Integers
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.engine import quote, read_all
from feast_assets.offline_stores.duckdb.files import ROW_ID, SourceTable
from feast_assets.offline_stores.duckdb.restricted import of_ids
from feast_assets.offline_stores.duckdb.rows import Rows, within
from feast_assets.offline_stores.files.changing_files import changed_error
from feast_assets.types.arrow import to_arrow_type, whole_column

_TEXT_BYTES = 64
_OFFSET_BYTES = 8
_SPARSE = 8


def with_row_ids(
    cursor: duckdb.DuckDBPyConnection, history: History, table: SourceTable, bounds: Bounds
) -> SourceTable:
    """Returns a table whose rows have ids, which stay the same as long as the cursor is open.

    Rows of Parquet files are known by file and place. Others are first copied, as far as the bounds and the history
    need them, to a table of the cursor's own, which spills to disk like everything that DuckDB holds.
    """
    if not table.known or table.row_ids:
        return table
    needed = {f.name for f in (*history.join_keys, *history.features)} | set(history.declared)
    needed |= {n for n in (table.timestamp, table.created, table.date_partition) if n}
    if table.timestamp not in table.schema.names:
        return table
    names = [n for n in table.schema.names if n in needed]
    name = f"copy_{uuid.uuid4().hex}"
    columns = ", ".join(map(quote, names))
    try:
        cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT {columns} FROM ({table.sql}) WHERE {within(table, bounds)}")
    except duckdb.Error as error:
        raise table.failure(error) from error
    schema = pa.schema([table.schema.field(n) for n in names])
    sql = f"SELECT *, rowid AS {quote(ROW_ID)} FROM {name}"
    return replace(table, sql=sql, schema=schema, paths=(), row_ids=True, places=False, files=())


@dataclass(frozen=True, slots=True)
class Gathered:
    """Features of rows that a join has matched, in canonical types.

    Attributes:
        columns: the features, one value per distinct row.
        indices: integers[n]; which of them each row of the join has, null where it has none.
    """

    columns: list[pa.Array]
    indices: pa.Array

    def take(self, start: int, size: int, pool: Executor) -> list[pa.Array]:
        """Returns the features of some rows of the join, columns side by side in the pool's threads."""
        indices = self.indices.slice(start, size)
        return list(pool.map(lambda column: column.take(indices), self.columns))

    @property
    def widest(self) -> float:
        """About how many bytes the widest features that one row can have take; rows may repeat, so each may be it."""
        return sum(map(_widest, self.columns))


def gather(cursor: duckdb.DuckDBPyConnection, rows: Rows, ids: Integers, indices: Integers) -> Gathered:
    """Reads the features of rows.

    Args:
        rows: what the ids are of; with `Rows.row_id`.
        ids: int64[m], distinct.
        indices: int64[n]; which of them each row of the join has, `NONE` where it has none. Others are not read.

    Raises:
        SourceChangedError: some of the rows are not there any more.
    """
    is_matched = indices != NONE
    used = np.zeros(len(ids), np.bool_)
    used[indices[is_matched]] = True
    asked = ids[used]
    if not len(asked):
        empty = [pa.nulls(1, to_arrow_type(f.dtype)) for f in rows.history.features]
        return Gathered(empty, pa.nulls(len(indices), pa.int64()))
    with of_ids(cursor, rows, asked) as those:
        read = read_all(cursor, f"SELECT {', '.join(['row_id', *rows.features])} FROM ({those.by_id})")
    read_places = _positions_among(read.column("row_id").to_numpy(), asked)
    if read_places is None:
        raise changed_error(rows.table.subject)
    # Half as wide as the ids, because there is one for each row of the join.
    at = np.zeros(len(ids), np.int32 if read.num_rows < 2**31 else np.int64)
    at[used] = read_places
    values = [
        rows.cast(whole_column(read.column(n)), f) for n, f in zip(rows.features, rows.history.features, strict=True)
    ]
    return Gathered(values, pa.array(at[indices], mask=None if is_matched.all() else ~is_matched))


def _positions_among(read: Integers, asked: Integers) -> Integers | None:
    """Returns where each asked id is among those that were read, which are distinct; None if one is not."""
    if not len(read):
        return None
    base, span = int(read.min()), int(read.max() - read.min()) + 1
    if int(asked.min()) < base or int(asked.max()) >= base + span:
        return None
    if span <= _SPARSE * (len(read) + len(asked)):
        # Ids of one file are close together, so a table finds them faster than a search.
        positions = np.full(span, -1, dtype=np.int64)
        positions[read - base] = np.arange(len(read))
        at = positions[asked - base]
        return None if (at < 0).any() else at
    order = np.argsort(read)
    at = order[np.searchsorted(read, asked, sorter=order)]
    return at if np.array_equal(read[at], asked) else None


def _widest(column: pa.Array) -> float:
    kind = column.type
    if (width := _width(kind)) is not None:
        return width
    if kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return _OFFSET_BYTES + (pc.max(pc.binary_length(column)).as_py() or 0)
    if pa.types.is_list(kind):
        return _OFFSET_BYTES + (pc.max(pc.list_value_length(column)).as_py() or 0) * _widest(column.flatten())
    # Nothing in it is more than all of it.
    return float(max(column.nbytes, 1))


def bytes_per_row(rows: Rows) -> float:
    """Returns about how many bytes the features of one row take."""
    widths = [_width(to_arrow_type(f.dtype)) for f in rows.history.features]
    return sum(_TEXT_BYTES if width is None else width for width in widths)


def _width(kind: pa.DataType) -> float | None:
    """Returns how many bytes any value of a type takes, whether it is there included; None where that differs."""
    return float(kind.bit_width + 1) / 8 if pa.types.is_primitive(kind) else None
