"""The ids of the rows that count for a spine: DuckDB reads keys, times and ids, what is newest is found by sorting.

DuckDB's ASOF JOIN does the same, but sorts and partitions every column that goes through it, and the result once more
into the order of the spine. The rows are read in chunks of about the spine's size, so memory follows the spine, which
the caller holds, and not the history.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from feast_assets.offline_stores.as_of import NONE, Candidates, Integers, Moments, newest
from feast_assets.offline_stores.duckdb.engine import read_all, stream
from feast_assets.offline_stores.duckdb.latest import best_of_ties, has_ties
from feast_assets.offline_stores.duckdb.restricted import of_entities
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.files.changing_files import changed_error

_CHUNK_ROWS = 2**20


@dataclass(frozen=True, slots=True)
class Entities:
    """The entities of a spine, and the moments that it asks for.

    Attributes:
        table: its name in the database: join keys ``k0, k1, ...`` and ``n``, the entity's number.
        keys: the join keys by number.
        count: of entities.
        rows: of the spine.
        moments: of the rows whose key and time are not null; they are sorted in the background.
    """

    table: str
    keys: list[pa.Array]
    count: int
    rows: int
    moments: Future[Moments]


@dataclass(frozen=True, slots=True)
class Matches:
    """The rows of a view that count for a spine.

    Attributes:
        ids: int64[m]; of these rows, once each.
        indices: int64[n]; which of them counts for each row of the spine, `NONE` where none does.
    """

    ids: Integers
    indices: Integers


def entities_of(
    cursor: duckdb.DuckDBPyConnection, keys: Sequence[pa.ChunkedArray], times: pa.ChunkedArray, pool: Executor
) -> Entities:
    """Returns the entities of a spine.

    Args:
        keys: the spine's columns with the join keys, in canonical types.
        times: int64; microseconds since the epoch.
        pool: sorts the moments.
    """
    numbers, distinct = _numbered(keys, len(times))
    if times.null_count:
        numbers[times.is_null().to_numpy()] = NONE
        times = times.fill_null(0)
    count = len(distinct[0]) if distinct else 1
    moments = pool.submit(Moments.of, numbers, times.to_numpy(), count)
    name = f"entities_{uuid.uuid4().hex}"
    if distinct:
        columns = {f"k{i}": column for i, column in enumerate(distinct)}
        cursor.register(name, pa.table({**columns, "n": np.arange(count)}))
    return Entities(name, distinct, count, len(times), moments)


def _numbered(keys: Sequence[pa.ChunkedArray], count: int) -> tuple[Integers, list[pa.Array]]:
    """Returns the number of each row's entity, and the keys by number; without keys there is one entity."""
    numbers = np.zeros(count, np.int64)
    distinct: list[pa.Array] = []
    for key in keys:
        of_key, values = _encoded(key)
        if distinct:
            missing = (numbers == NONE) | (of_key == NONE)
            pairs = pa.array(numbers * len(values) + of_key, mask=missing)
            numbers, distinct_pairs = _encoded(pa.chunked_array([pairs]))
            before, own = np.divmod(distinct_pairs.to_numpy(), max(len(values), 1))
            distinct = [column.take(pa.array(before)) for column in distinct]
            values = values.take(pa.array(own))
        else:
            numbers = of_key
        distinct.append(values)
    return numbers, distinct


def _encoded(column: pa.ChunkedArray) -> tuple[Integers, pa.Array]:
    """Returns the numbers of values, `NONE` for null, and the values by number."""
    # All chunks are encoded by the same dictionary.
    chunks = column.dictionary_encode().chunks
    if not chunks:
        return np.zeros(0, np.int64), pa.array([], column.type)
    numbers = [chunk.indices.fill_null(NONE).to_numpy() for chunk in chunks]
    return np.concatenate(numbers, dtype=np.int64), chunks[0].dictionary


def matches(
    cursor: duckdb.DuckDBPyConnection,
    rows: Rows,
    entities: Entities,
    ttl: int | None,
    filter_by_created: bool,
    pool: Executor,
) -> Matches:
    """Finds the row that counts for each row of a spine.

    Args:
        rows: with `Rows.row_id`.
        ttl: how old a row may be, in microseconds; None for no bound.
        filter_by_created: whether a row counts only once it was created.
        pool: searches.

    Raises:
        SourceChangedError: the rows changed while they were read.
    """
    filtered = filter_by_created and rows.has_created
    newest_rows = newest(entities.moments.result, entities.count, _chunks(cursor, rows, entities, filtered), pool)
    moments, ids = entities.moments.result(), newest_rows.ids
    if ttl is not None:
        ids[moments.times - newest_rows.times > ttl] = NONE
    tied = np.flatnonzero(newest_rows.tied & (ids != NONE))
    if len(tied):
        ids[tied] = _best_of_tied(cursor, rows, entities, moments.entities[tied], newest_rows.times[tied])
    is_matched = ids != NONE
    ids = ids[is_matched]
    # Moments are in order, so those for which the same row counts are side by side.
    first = np.ones(len(ids), np.bool_)
    first[1:] = ids[1:] != ids[:-1]
    indices = np.full(entities.rows, NONE, np.int64)
    indices[moments.indices[is_matched]] = np.cumsum(first) - 1
    return Matches(ids[first], indices)


def _chunks(cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: Entities, filtered: bool) -> Iterator[Candidates]:
    sql = _newest_known(cursor, rows, entities) if filtered else f"SELECT *, t AS since FROM ({rows.sql})"
    columns = ["r.t", f"r.{rows.row_id}", *(["r.since"] if filtered else [])]
    if rows.keys:
        same = " AND ".join(f"r.{k} = e.{k}" for k in rows.keys)
        sql = f"SELECT {', '.join(['e.n', *columns])} FROM ({sql}) r JOIN {entities.table} e ON {same}"
    else:
        sql = f"SELECT {', '.join(['0::BIGINT', *columns])} FROM ({sql}) r"
    for batches in _at_least(max(_CHUNK_ROWS, entities.rows), stream(cursor, sql)):
        numbers, times, ids, *since = (
            np.concatenate([batch.column(i).to_numpy() for batch in batches]) for i in range(len(columns) + 1)
        )
        yield Candidates(numbers, since[0] if filtered else times, times, ids)


def _at_least(size: int, batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yields batches together that have so many rows; the last may have fewer."""
    together: list[pa.RecordBatch] = []
    for batch in batches:
        together.append(batch)
        if sum(b.num_rows for b in together) >= size:
            yield together
            together = []
    if together:
        yield together


def _newest_known(cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: Entities) -> str:
    """Returns rows, unique by key and ``since``, from which time on each is the newest that is known."""
    if rows.keys:
        rows = of_entities(rows, entities.table, rows.keys)
    ties = has_ties(cursor, rows)
    # A row is known once it has happened and was created. Of the rows in the order in which they become known, only
    # those count that are newer than all before: the last of these by a moment is the newest that is known then.
    partition = f"PARTITION BY {', '.join(rows.keys)} " if rows.keys else ""
    content = ", x" if ties else ""
    ranked = (
        f"SELECT *, greatest(t, c) AS since, row_number() OVER ({partition}ORDER BY t, c{content}) AS age "
        f"FROM ({rows.with_content if ties else rows.sql}) WHERE c IS NOT NULL"
    )
    newest = f"SELECT *, max(age) OVER ({partition}ORDER BY since) AS newest FROM ({ranked})"
    return f"SELECT * FROM ({newest}) WHERE age = newest"


def _best_of_tied(
    cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: Entities, numbers: Integers, times: Integers
) -> Integers:
    """Returns the ids of the right ones of rows that tie, for some entities and event times."""
    keys = {f"k{i}": column.take(pa.array(numbers)) for i, column in enumerate(entities.keys)}
    name = f"tied_{uuid.uuid4().hex}"
    cursor.register(name, pa.table({**keys, "t": times, "place": np.arange(len(times))}))
    group = [*rows.keys, "t"]
    same = " AND ".join(f"r.{n} = w.{n}" for n in group)
    best = best_of_ties(f"SELECT r.* FROM ({rows.with_content}) r SEMI JOIN {name} w ON {same}", group, [rows.row_id])
    try:
        best_ids = read_all(cursor, f"SELECT w.place, r.{rows.row_id} FROM {name} w JOIN ({best}) r ON {same}")
    finally:
        cursor.unregister(name)
    ids = np.full(len(times), NONE, np.int64)
    ids[best_ids.column(0).to_numpy()] = best_ids.column(1).to_numpy()
    if (ids == NONE).any():
        raise changed_error(rows.table.subject)
    return ids
