"""The point-in-time join: one query of ASOF joins, whatever the number of views.

The spine itself does not go through the database, only its row numbers, times and keys. Its columns are put beside the
result, so their types and values stay exactly as they came.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_assets.definitions.field import Field
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
from feast_assets.offline_stores.duckdb_engine import read_all, stream
from feast_assets.offline_stores.duckdb_latest import best_of_ties, has_ties
from feast_assets.offline_stores.duckdb_rows import LONGEST_MICROS, Bounds, Rows, micros
from feast_assets.types.arrow import TIMESTAMP, cast_column, to_arrow_type
from feast_assets.types.feast_type import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import duckdb

DEFAULT_TIME_COLUMN = "event_timestamp"


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


def joined(
    cursor: duckdb.DuckDBPyConnection,
    spine: Spine,
    joins: Sequence[PointInTimeJoin],
    rows_for: Callable[[PointInTimeJoin], Rows],
    filter_by_created: bool,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Returns the columns and the rows of the join.

    Args:
        rows_for: gives the rows of a join's history that can count.
    """
    schema = _output_schema(spine.table.schema, joins)
    name = f"spine_{uuid.uuid4().hex}"
    internal: dict[str, Any] = {"row": pa.array(np.arange(spine.table.num_rows, dtype=np.int64)), "t": spine.times}
    key_columns: dict[tuple[str, FeastType], str] = {}
    selected: list[str] = []
    clauses: list[str] = []
    outputs: list[tuple[Rows, Field]] = []
    for j, join in enumerate(joins):
        rows = rows_for(join)
        on = []
        for i, key in enumerate(join.history.join_keys):
            column = join.join_keys.get(key.name, key.name)
            inside = key_columns.setdefault((column, key.dtype), f"s{len(key_columns)}")
            if inside not in internal:
                internal[inside] = cast_spine_column(spine.table, column, key.dtype)
            on.append(f"s.{inside} = v{j}.k{i}")
        filtered = filter_by_created and rows.has_created
        clauses.append(
            f"ASOF LEFT JOIN ({_newest_known(rows, has_ties(cursor, rows), filtered)}) v{j} "
            f"ON {' AND '.join([*on, f's.t >= v{j}.since'])}"
        )
        ttl = ttl_micros(join)
        for i, feature in enumerate(join.history.features):
            value = f"v{j}.f{i}"
            if ttl is not None:
                value = f"CASE WHEN v{j}.t >= s.t - {ttl} THEN {value} END"
            selected.append(f"{value} AS o{len(outputs)}")
            outputs.append((rows, feature))
    if not outputs:
        return schema, iter(spine.table.to_batches())
    cursor.register(name, pa.table(internal))
    sql = f"SELECT s.row, {', '.join(selected)} FROM {name} s {' '.join(clauses)} ORDER BY s.row"
    return schema, _beside(spine.table, schema, stream(cursor, sql), outputs)


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
    """Returns rows that are unique by key and ``since``, the time from which on each is the newest that is known."""
    features = "".join(f", {f}" for f in rows.features)
    keys = "".join(f"{k}, " for k in rows.keys)
    if not filtered:
        sql = best_of_ties(rows.with_content, [*rows.keys, "t"], rows.features) if ties else rows.sql
        return f"SELECT {keys}t, t AS since{features} FROM ({sql})"
    # A row is known once it has happened and was created. Of the rows in the order in which they become known, only
    # those count that are newer than all before: the last of these by a moment is the newest that is known then.
    partition = f"PARTITION BY {', '.join(rows.keys)} " if rows.keys else ""
    content = ", x" if ties else ""
    ranked = (
        f"SELECT *, greatest(t, c) AS since, row_number() OVER ({partition}ORDER BY t, c{content}) AS age "
        f"FROM ({rows.with_content if ties else rows.sql}) WHERE c IS NOT NULL"
    )
    newest = f"SELECT *, max(age) OVER ({partition}ORDER BY since) AS newest FROM ({ranked})"
    return f"SELECT {keys}t, since{features} FROM ({newest}) WHERE age = newest"


def _beside(
    spine: pa.Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], outputs: Sequence[tuple[Rows, Field]]
) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        size = batch.num_rows
        if not size:
            continue
        rows = batch.column(0)
        if rows[0].as_py() != done or rows[-1].as_py() != done + size - 1:
            raise StoreUnavailableError("The point-in-time join did not keep the spine's rows; please report this.")
        own = [_whole(c) for c in spine.slice(done, size).columns]
        added = [r.cast(batch.column(i + 1), f) for i, (r, f) in enumerate(outputs)]
        yield pa.record_batch([*own, *added], schema=schema)
        done += size
    if done != spine.num_rows:
        raise StoreUnavailableError("The point-in-time join lost rows of the spine; please report this.")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
