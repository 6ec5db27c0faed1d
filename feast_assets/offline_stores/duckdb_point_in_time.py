"""The point-in-time join: one query of ASOF joins, whatever the number of views.

Neither the spine nor the features go through the joins, only row numbers, times, keys and row ids. The spine's columns
are put beside the result, so their types and values stay exactly as they came; the features are read for the rows that
were found.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.errors import (
    EntityDFNotDateTime,
    EntitySQLEmptyResults,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    InputError,
    SourceError,
    StoreUnavailableError,
    suggest,
)
from feast_assets.offline_stores.base import PointInTimeJoin
from feast_assets.offline_stores.duckdb_engine import BATCH_ROWS, read_all
from feast_assets.offline_stores.duckdb_gather import Found, TiesError, bytes_per_row, gather
from feast_assets.offline_stores.duckdb_latest import best_of_ties, has_ties
from feast_assets.offline_stores.duckdb_restricted import of_entities
from feast_assets.offline_stores.duckdb_rows import LONGEST_MICROS, Bounds, Rows, micros
from feast_assets.offline_stores.source_files import state_of
from feast_assets.types.arrow import TIMESTAMP, cast_column, to_arrow_type, whole_column
from feast_assets.types.feast_type import FeastType, UnixTimestamp

DEFAULT_TIME_COLUMN = "event_timestamp"

_FEW_ROWS = 10_000
"""Spines up to here are likely to have few of the entities, so the others' rows are left out first."""
_BYTES_AT_ONCE = 2**30
"""About how much of the features is in memory at once, beside what DuckDB holds; a result that is wider or longer is
made in several passes over the features."""


@dataclass(frozen=True, slots=True)
class Spine:
    """The rows to join to.

    Attributes:
        table: as it came, but for the time column, which is ``timestamp[us, UTC]``.
        times: microseconds since the epoch.
        first, last: the earliest and latest of them; None where all are null.
    """

    table: pa.Table
    times: pa.ChunkedArray
    first: int | None
    last: int | None

    def bounds(self, join: PointInTimeJoin) -> Bounds:
        """Returns the event times that can count in a join."""
        if self.first is None or self.last is None:
            return Bounds(0, 0)
        ttl = ttl_micros(join)
        return Bounds(None if ttl is None else self.first - ttl, self.last + 1)


def ttl_micros(join: PointInTimeJoin) -> int | None:
    """Returns a join's ttl in microseconds, or None for no bound."""
    ttl = micros(join.ttl) if join.ttl is not None else 0
    return ttl if 0 < ttl < LONGEST_MICROS else None


def read_spine(cursor: duckdb.DuckDBPyConnection, spine: pa.Table | str, timestamp_column: str | None) -> Spine:
    """Returns the spine, with its time column found and converted.

    Raises:
        InputError: its subclasses say what: no rows from a query, no time column, one that holds no times.
    """
    table = _query_spine(cursor, spine) if isinstance(spine, str) else spine
    repeated = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if repeated:
        raise InputError(f"The entity dataframe has two columns named {repeated[0]!r}.")
    name = _time_column(table.schema, timestamp_column)
    index = table.schema.get_field_index(name)
    if not (_is_time(table.schema.field(index).type) or pa.types.is_null(table.schema.field(index).type)):
        raise EntityDFNotDateTime(
            f"The entity dataframe's column {name!r} holds {table.schema.field(index).type}, not timestamps. "
            "Convert it, for instance by pandas.to_datetime(..., utc=True)."
        )
    times = cast_spine_column(table, name, UnixTimestamp)
    table = table.set_column(index, pa.field(name, TIMESTAMP), times).replace_schema_metadata(None)
    span = pc.min_max(times.cast(pa.int64())).as_py()
    return Spine(table.unify_dictionaries(), times.cast(pa.int64()), span["min"], span["max"])


def _query_spine(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InputError("The entity query must be one SELECT statement.")
        table = read_all(cursor, statements[0].query.strip().rstrip(";"))
    except duckdb.Error as error:
        raise InputError(f"The entity query fails: {error}") from error
    if not table.num_rows:
        raise EntitySQLEmptyResults("The entity query returned no rows.")
    return table


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _time_column(schema: pa.Schema, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in schema.names:
            raise FeastEntityDFMissingColumnsError(
                f"The entity dataframe has no time column {wanted!r}. {suggest(wanted, schema.names)}"
            )
        return wanted
    if DEFAULT_TIME_COLUMN in schema.names:
        return DEFAULT_TIME_COLUMN
    times: list[str] = [f.name for f in schema if _is_time(f.type)]
    if len(times) != 1:
        found = f"it has {len(times)}: {', '.join(times)}" if times else "it has none"
        raise EntityTimestampInferenceException(
            f"The entity dataframe needs a column {DEFAULT_TIME_COLUMN!r}, or exactly one timestamp column; {found}."
        )
    return times[0]


def cast_spine_column(table: pa.Table, name: str, dtype: FeastType) -> pa.ChunkedArray:
    """Returns a column of the spine in canonical form.

    Raises:
        InputError: the spine lacks it, or it holds other values.
    """
    if name not in table.column_names:
        raise FeastEntityDFMissingColumnsError(
            f"The entity dataframe has no column {name!r}. {suggest(name, table.column_names)}"
        )
    try:
        return cast_column(table.column(name), dtype, what=f"The entity dataframe's column {name!r}")
    except SourceError as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Query:
    """Finds for each row of the spine the rows of the views that count.

    Attributes:
        sql: columns ``row``, in order; then for each of ``rows`` the id and the event time of its row.
        rows: of the views with features.
        keys: for each of ``rows``, the spine's join keys.
        knows_ties: whether of rows with the same key and event time the right one is found, and not just any.
    """

    sql: str
    rows: list[Rows]
    keys: list[list[pa.ChunkedArray]]
    knows_ties: bool


def joined(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    joins: Sequence[PointInTimeJoin],
    rows_for: Callable[[PointInTimeJoin], Rows],
    filter_by_created: bool,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the columns and the rows of the join.

    Args:
        rows_for: gives the rows of a join's history that can count, with row ids.
    """
    schema = _output_schema(spine.table.schema, joins)
    opened = [rows_for(join) for join in joins]
    keys = _spine_keys(spine, joins)
    files = _state(opened)

    def parts(opened: Sequence[Rows]) -> Iterator[pa.RecordBatch]:
        def query(knows_ties: bool) -> _Query:
            return _query(cursor, spine, keys, joins, opened, filter_by_created, knows_ties)

        return _beside(cursor, spine.table, schema, query)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            rest = parts(opened)
            first = next(rest, None)
        except (duckdb.Error, pa.ArrowException, OSError, SourceError):
            if _state(opened) == files:
                raise
            # A writer has exchanged files between the listing and the reading; it is not likely to do so twice.
            rest = parts([rows_for(join) for join in joins])
            first = next(rest, None)
        if first is not None:
            yield first
        yield from rest

    return schema, batches() if any(rows.features for rows in opened) else iter(spine.table.to_batches())


def _spine_keys(spine: Spine, joins: Sequence[PointInTimeJoin]) -> dict[tuple[str, FeastType], pa.ChunkedArray]:
    """Returns the spine's columns that joins join by, in canonical form; a column may be wanted as several types."""
    wanted = {(join.join_keys.get(k.name, k.name), k.dtype) for join in joins for k in join.history.join_keys}
    return {(column, dtype): cast_spine_column(spine.table, column, dtype) for column, dtype in sorted(wanted, key=str)}


def _query(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    keys_of: Mapping[tuple[str, FeastType], pa.ChunkedArray],
    joins: Sequence[PointInTimeJoin],
    opened: Sequence[Rows],
    filter_by_created: bool,
    knows_ties: bool,
) -> _Query:
    inside = {key: f"s{i}" for i, key in enumerate(keys_of)}
    columns: dict[str, Any] = {"row": pa.array(np.arange(spine.table.num_rows, dtype=np.int64)), "t": spine.times}
    name = f"spine_{uuid.uuid4().hex}"
    cursor.register(name, pa.table(columns | {inside[key]: column for key, column in keys_of.items()}))
    selected = ["s.row"]
    clauses: list[str] = []
    read: list[Rows] = []
    keys: list[list[pa.ChunkedArray]] = []
    for j, (join, rows) in enumerate(zip(joins, opened, strict=True)):
        if not rows.features:
            continue
        by = [(join.join_keys.get(k.name, k.name), k.dtype) for k in join.history.join_keys]
        read.append(rows)
        keys.append([keys_of[key] for key in by])
        if not rows.row_id:
            selected += ["NULL::BIGINT", "NULL::BIGINT"]
            continue
        filtered = filter_by_created and rows.has_created
        by_inside = [inside[key] for key in by]
        wanted = of_entities(rows, name, by_inside) if by and spine.table.num_rows <= _FEW_ROWS else rows
        ties = (filtered or knows_ties) and has_ties(cursor, wanted)
        on = [f"s.{s} = v{j}.{k}" for s, k in zip(by_inside, rows.keys, strict=True)]
        clauses.append(
            f"ASOF LEFT JOIN ({_newest_known(wanted, ties, filtered)}) v{j} "
            f"ON {' AND '.join([*on, f's.t >= v{j}.since'])}"
        )
        ttl = ttl_micros(join)
        for value in (f"v{j}.{rows.row_id}", f"v{j}.t"):
            selected.append(value if ttl is None else f"CASE WHEN v{j}.t >= s.t - {ttl} THEN {value} END")
    listed = ", ".join(f"{value} AS c{i}" for i, value in enumerate(selected))
    return _Query(f"SELECT {listed} FROM {name} s {' '.join(clauses)} ORDER BY s.row", read, keys, knows_ties)


def _state(read: Sequence[Rows]) -> list[str]:
    return [text for rows in read for text in state_of(rows.table.paths)]


def _output_schema(spine: pa.Schema, joins: Sequence[PointInTimeJoin]) -> pa.Schema:
    fields: Mapping[str, pa.Field] = {f.name: f for f in spine}
    added: list[pa.Field] = []
    names = set(fields)
    for join in joins:
        for feature in join.history.features:
            name = join.columns.get(feature.name, feature.name)
            if name in names:
                raise InputError(
                    f"Feature {feature.name!r} of view {join.history.view!r} would be a second column {name!r}. "
                    "Use full feature names, or rename the entity dataframe's column."
                )
            names.add(name)
            added.append(pa.field(name, to_arrow_type(feature.dtype)))
    return pa.schema([*spine, *added])


def _newest_known(rows: Rows, ties: bool, filtered: bool) -> str:
    """Returns the ids of rows, unique by key and ``since``, from which time on each is the newest that is known."""
    keys = "".join(f"{k}, " for k in rows.keys)
    if not filtered:
        sql = best_of_ties(rows.with_content, [*rows.keys, "t"], [rows.row_id]) if ties else rows.sql
        return f"SELECT {keys}t, t AS since, {rows.row_id} FROM ({sql})"
    # A row is known once it has happened and was created. Of the rows in the order in which they become known, only
    # those count that are newer than all before: the last of these by a moment is the newest that is known then.
    partition = f"PARTITION BY {', '.join(rows.keys)} " if rows.keys else ""
    content = ", x" if ties else ""
    ranked = (
        f"SELECT *, greatest(t, c) AS since, row_number() OVER ({partition}ORDER BY t, c{content}) AS age "
        f"FROM ({rows.with_content if ties else rows.sql}) WHERE c IS NOT NULL"
    )
    newest = f"SELECT *, max(age) OVER ({partition}ORDER BY since) AS newest FROM ({ranked})"
    return f"SELECT {keys}t, since, {rows.row_id} FROM ({newest}) WHERE age = newest"


def _beside(
    cursor: duckdb.DuckDBPyConnection, spine: pa.Table, schema: pa.Schema, query_for: Callable[[bool], _Query]
) -> Iterator[pa.RecordBatch]:
    """Yields the spine's rows with the features of the rows that were found for them.

    Args:
        query_for: gives the query that knows ties or does not. Looking for ties takes a pass over all rows, so it is
            done only where reading the features finds some.
    """
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        query = query_for(False)
        found = _found(cursor, query, spine.num_rows)
        size = max(_BYTES_AT_ONCE // sum(map(bytes_per_row, query.rows)), BATCH_ROWS)
        for start in range(0, spine.num_rows, size):
            try:
                gathered = _gathered(cursor, query, found, start, size)
            except TiesError:
                query = query_for(True)
                found = _found(cursor, query, spine.num_rows)
                gathered = _gathered(cursor, query, found, start, size)
            end = min(start + size, spine.num_rows)
            for at in range(start, end, BATCH_ROWS):
                count = min(BATCH_ROWS, end - at)
                own = [whole_column(c) for c in spine.slice(at, count).columns]
                added = [column for each in gathered for column in each.take(at - start, count, pool)]
                yield pa.record_batch([*own, *added], schema=schema)


def _found(cursor: duckdb.DuckDBPyConnection, query: _Query, count: int) -> pa.Table:
    found = read_all(cursor, query.sql)
    if not np.array_equal(found.column(0).to_numpy(), np.arange(count)):
        raise StoreUnavailableError("The point-in-time join did not keep the spine's rows; please report this.")
    return found


def _gathered(cursor: duckdb.DuckDBPyConnection, query: _Query, found: pa.Table, start: int, size: int) -> list[Found]:
    def part(column: pa.ChunkedArray) -> pa.Array:
        return whole_column(column.slice(start, size))

    return [
        gather(
            cursor,
            rows,
            part(found.column(2 * i + 1)),
            [part(key) for key in keys],
            part(found.column(2 * i + 2)),
            ties=query.knows_ties,
        )
        for i, (rows, keys) in enumerate(zip(query.rows, query.keys, strict=True))
    ]
