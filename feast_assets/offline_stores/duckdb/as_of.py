"""The ids of the rows that count for a spine: DuckDB reads keys, times and ids, what is newest is found by sorting.

DuckDB's ASOF JOIN does the same, but sorts and partitions every column that goes through it, and the result once more
into the order of the spine. The rows are read in chunks of about the spine's size, so memory follows the spine, which
the caller holds, and not the history. Where files tell their times, the newest part of the history is read first, and
no more than until each moment has its row.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.offline_stores.as_of import NONE, Candidates, Integers, Moments, Newest, newest
from feast_assets.offline_stores.duckdb.engine import read_all, registered, stream
from feast_assets.offline_stores.duckdb.latest import OLDEST, has_ties
from feast_assets.offline_stores.duckdb.restricted import of_entities, of_ids
from feast_assets.offline_stores.duckdb.rows import Rows
from feast_assets.offline_stores.duckdb.sections import RowSections
from feast_assets.offline_stores.files.changing_files import changed_error

_CHUNK_ROWS = 2**20
_FEW_TIES = 10_000


@dataclass(frozen=True, slots=True)
class Entities:
    """The entities of a spine, and the moments that it asks for.

    Attributes:
        keys: the join keys by number.
        count: of entities.
        rows: of the spine.
        moments: of the rows whose key and time are not null; they are sorted in the background.
    """

    keys: list[pa.Array]
    count: int
    rows: int
    moments: Future[Moments]

    @contextmanager
    def registered(self, cursor: duckdb.DuckDBPyConnection, numbers: Integers | None = None) -> Iterator[str]:
        """Yields the name of a table of a cursor: join keys ``k0, k1, ...``, and ``n``, the entity's number.

        Args:
            numbers: of the entities that it has; None for all.
        """
        numbers = np.arange(self.count) if numbers is None else numbers
        keys = {f"k{i}": key if len(numbers) == self.count else key.take(numbers) for i, key in enumerate(self.keys)}
        with registered(cursor, pa.table({**keys, "n": numbers})) as name:
            yield name


@dataclass(frozen=True, slots=True)
class Matches:
    """The rows of a view that count for a spine.

    Attributes:
        ids: int64[m]; of these rows, once each.
        indices: int64[n]; which of them counts for each row of the spine, `NONE` where none does.
    """

    ids: Integers
    indices: Integers


def entities_of(keys: Sequence[pa.ChunkedArray], times: pa.ChunkedArray, pool: Executor) -> Entities:
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
    return Entities(distinct, count, len(times), pool.submit(Moments.of, numbers, times.to_numpy(), count))


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
    sections: RowSections,
    entities: Entities,
    first: int,
    ttl: int | None,
    filter_by_created: bool,
    pool: Executor,
) -> Matches:
    """Finds the row that counts for each row of a spine.

    Args:
        sections: rows with `Rows.row_id`.
        first: the spine's earliest moment in UTC microseconds.
        ttl: how old a row may be, in microseconds; None for no bound.
        filter_by_created: whether a row counts only once it was created.
        pool: searches.

    Raises:
        SourceChangedError: the rows changed while they were read.
    """
    newest_rows = _newest(cursor, sections, entities, first, ttl, filter_by_created, pool)
    moments, ids = entities.moments.result(), newest_rows.ids
    if ttl is not None:
        ids[moments.times - newest_rows.times > ttl] = NONE
    tied = np.flatnonzero(newest_rows.tied & (ids != NONE))
    if len(tied):
        ids[tied] = _best_of_tied(cursor, sections, entities, moments.entities[tied], newest_rows.times[tied])
    is_matched = ids != NONE
    ids = ids[is_matched]
    # Moments are in order, so those for which the same row counts are side by side.
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = ids[1:] != ids[:-1]
    indices = np.full(entities.rows, NONE, np.int64)
    indices[moments.indices[is_matched]] = np.cumsum(is_first) - 1
    return Matches(ids[is_first], indices)


def _newest(
    cursor: duckdb.DuckDBPyConnection,
    sections: RowSections,
    entities: Entities,
    first: int,
    ttl: int | None,
    filter_by_created: bool,
    pool: Executor,
) -> Newest:
    """Returns the newest row as of each moment, of any of several that tie; older rows than the ttl may be among them.

    What a section finds is newer than all rows of later sections, so only the moments without a row are looked for
    there.
    """
    best: Newest | None = None
    missing: Integers | None = None
    for start, rows in sections.newest_first(cursor, first):
        filtered = filter_by_created and rows.has_created
        if best is None or missing is None:
            with entities.registered(cursor) as table:
                chunks = _chunks(cursor, rows, table, entities.rows, filtered)
                best = newest(entities.moments.result, entities.count, chunks, pool)
        else:
            moments = entities.moments.result().at(missing)
            with entities.registered(cursor, np.unique(moments.entities)) as table:
                chunks = _chunks(cursor, rows, table, len(missing), filtered)
                older = newest(_given(moments), entities.count, chunks, pool)
            for column, of_missing in zip(best, older, strict=True):
                column[missing] = of_missing
        if start is None:
            break
        times = entities.moments.result().times
        missing = np.flatnonzero((best.ids == NONE) & (True if ttl is None else times - ttl < start))
        if not len(missing):
            break
    assert best is not None
    return best


def _given(moments: Moments) -> Callable[[], Moments]:
    return lambda: moments


def _chunks(
    cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: str, size: int, filtered: bool
) -> Iterator[Candidates]:
    """Yields the rows of a table's entities, about ``size`` at a time or more."""
    sql = _newest_known(cursor, rows, entities) if filtered else f"SELECT *, t AS since FROM ({rows.sql})"
    columns = ["r.t", f"r.{rows.row_id}", *(["r.since"] if filtered else [])]
    if rows.keys:
        same = " AND ".join(f"r.{k} = e.{k}" for k in rows.keys)
        sql = f"SELECT {', '.join(['e.n', *columns])} FROM ({sql}) r JOIN {entities} e ON {same}"
    else:
        sql = f"SELECT {', '.join(['0::BIGINT', *columns])} FROM ({sql}) r"
    for batches in _at_least(max(_CHUNK_ROWS, size), stream(cursor, sql)):
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


def _newest_known(cursor: duckdb.DuckDBPyConnection, rows: Rows, entities: str) -> str:
    """Returns rows, unique by key and ``since``, from which time on each is the newest that is known."""
    if rows.keys:
        rows = of_entities(rows, entities, rows.keys)
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
    cursor: duckdb.DuckDBPyConnection, sections: RowSections, entities: Entities, numbers: Integers, times: Integers
) -> Integers:
    """Returns the ids of the right ones of rows that tie, for some entities and event times, in order of both.

    The content is read only of rows that tie in their created times as well.
    """
    is_first = np.append(True, (numbers[1:] != numbers[:-1]) | (times[1:] != times[:-1]))
    group = np.cumsum(is_first) - 1
    times = times[is_first]
    rows = sections.between(cursor, int(times.min()), int(times.max()) + 1)
    keys = {f"k{i}": column.take(pa.array(numbers[is_first])) for i, column in enumerate(entities.keys)}
    groups = pa.table({**keys, "t": times, "g": np.arange(len(times))})
    ids = np.full(len(times), NONE, np.int64)
    if len(times) <= _FEW_TIES or rows.has_created:
        latest = _latest_created(cursor, rows, groups)
        ids[latest.column("g").to_numpy()] = latest.column("id").to_numpy()
        latest = latest.filter(pc.greater(latest.column("n"), 1))
        row_ids = np.unique(latest.column("ids").combine_chunks().flatten().to_numpy())
        groups = groups.take(latest.column("g")).append_column("c", latest.column("c"))
    else:
        row_ids = np.zeros(0, np.int64)
        groups = groups.append_column("c", pa.repeat(int(OLDEST), len(times)))
    if groups.num_rows:
        ids[groups.column("g").to_numpy()] = NONE
        with of_ids(cursor, rows, row_ids) if len(row_ids) else nullcontext(rows) as those:
            best = _greatest_content(cursor, those, groups)
        ids[best.column("g").to_numpy()] = best.column("id").to_numpy()
    if (ids == NONE).any():
        raise changed_error(rows.table.subject)
    of_each: Integers = ids[group]
    return of_each


def _latest_created(cursor: duckdb.DuckDBPyConnection, rows: Rows, groups: pa.Table) -> pa.Table:
    """Returns the latest created time ``c`` of each group of rows that tie, and of the rows that have it: their number
    ``n``, one of their ids ``id``, and, where the groups are few, all of them ``ids``.

    Args:
        groups: the rows' keys, ``t``, and ``g``, the number of a group.
    """
    same = " AND ".join(f"r.{n} = w.{n}" for n in [*rows.keys, "t"])
    listed = "list(id)" if groups.num_rows <= _FEW_TIES else "CAST([] AS BIGINT[])"
    selected = f"w.g, coalesce(r.c, {OLDEST}) AS c, r.{rows.row_id} AS id"
    with registered(cursor, groups) as name:
        tied = f"SELECT {selected} FROM ({rows.sql}) r JOIN {name} w ON {same}"
        by_created = f"SELECT g, c, max(id) AS id, count(*) AS n, {listed} AS ids FROM ({tied}) GROUP BY g, c"
        latest = ", ".join(f"arg_max({n}, c) AS {n}" for n in ("id", "n", "ids"))
        return read_all(cursor, f"SELECT g, max(c) AS c, {latest} FROM ({by_created}) GROUP BY g")


def _greatest_content(cursor: duckdb.DuckDBPyConnection, rows: Rows, groups: pa.Table) -> pa.Table:
    """Returns the ``id`` of the row with the greatest content in each group ``g``.

    Args:
        groups: the rows' keys, ``t``, ``c``, and ``g``, the number of a group.
    """
    same = " AND ".join([*(f"r.{n} = w.{n}" for n in [*rows.keys, "t"]), f"coalesce(r.c, {OLDEST}) = w.c"])
    with registered(cursor, groups) as name:
        return read_all(
            cursor,
            f"SELECT w.g, max({{'x': r.x, 'id': r.{rows.row_id}}}).id AS id FROM ({rows.with_content}) r "
            f"JOIN {name} w ON {same} GROUP BY w.g",
        )
