"""The rows of a history as a query with names of its own, and its result in canonical form.

Inside queries the join keys are ``k0, k1, ...``, the features ``f0, ...``, the event time ``t`` and the created time
``c``, both in microseconds since the epoch; so no name of a user's column can meet one of ours.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.field import Field
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import ALWAYS, Bounds
from feast_assets.errors import (
    SourceError,
    suggest,
)
from feast_assets.offline_stores.base import History, rows_schema
from feast_assets.offline_stores.declared_columns import as_kind, check_declared
from feast_assets.offline_stores.duckdb.engine import literal, quote, read_all
from feast_assets.offline_stores.duckdb.files import (
    FILE_NAME,
    FILE_NUMBER,
    ISO_TIME,
    ISO_ZONED,
    PART,
    PLACE,
    ROW_ID,
    SourceTable,
    register,
)
from feast_assets.offline_stores.duckdb.keys import key_expression
from feast_assets.offline_stores.files.date_folders import conditions
from feast_assets.types.arrow import TIMESTAMP, cast_column, to_arrow_type
from feast_assets.types.feast_type import FeastType, UnixTimestamp

if TYPE_CHECKING:
    import duckdb


def declared_types(history: History) -> dict[str, FeastType]:
    """Returns the types of a history's columns by name."""
    return {f.name: f.dtype for f in (*history.others, *history.features, *history.join_keys)}


@dataclass(frozen=True, slots=True)
class TableSection:
    """Some of the rows of a table that has `SourceTable.places`.

    Attributes:
        bounds: of their event times.
        files: names of the only files that hold some, as they are read; None where that is not known.
    """

    bounds: Bounds
    files: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a history.

    Attributes:
        history: whose rows.
        table: where they are read from.
        sql: columns k0.., f0.., t, c, and `row_id` if there is one, beside which may be ``file`` and ``place``, the
            number of the row's file and its own in the file; and ``part`` where the table has the numbers of parts.
            Without rows whose key or event time is null.
        with_content: the same and ``x``, a struct of all features of the view. It decides between rows that tie in
            everything else, by what the rows are and not by which of their columns somebody asked for. Columns that the
            view does not have do not count: fingerprints do not cover them.
        with_stored_time: the same as ``sql`` and ``s``, which is equal and ordered as ``t`` is, but the column as it is
            stored if that will do; so what is joined by it can be left out by file statistics.
        by_id: features of rows with `row_id`, ``file`` and ``place``, of those and maybe of others.
        with_nulls: the same as ``sql`` and the rows that lack a key or an event time.
    """

    history: History
    table: SourceTable
    sql: str
    with_content: str
    with_stored_time: str
    by_id: str
    with_nulls: str

    @property
    def keys(self) -> list[str]:
        return [f"k{i}" for i in range(len(self.history.join_keys))]

    @property
    def features(self) -> list[str]:
        return [f"f{i}" for i in range(len(self.history.features))]

    @property
    def row_id(self) -> str:
        """The column of row ids; "" where the table has none."""
        return "row_id" if self.table.row_ids else ""

    @property
    def has_places(self) -> bool:
        """Whether there are the columns ``file`` and ``place``."""
        return self.table.places

    @property
    def has_created(self) -> bool:
        return bool(self.table.created)

    def schema(self) -> pa.Schema:
        """Returns the columns of what the store returns."""
        return rows_schema(self.history)

    def finish(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Returns a batch of k0.., f0.., t, c under the users' names, in canonical types."""
        fields = (*self.history.join_keys, *self.history.features)
        names = [*self.keys, *self.features]
        columns = [self.cast(batch.column(n), f) for n, f in zip(names, fields, strict=True)]
        columns += [self._time(batch.column("t"), self.table.timestamp)]
        columns += [self._time(batch.column("c"), self.table.created)]
        return pa.record_batch(columns, schema=self.schema())

    def cast(self, column: pa.Array, field: Field) -> pa.Array:
        """Returns a column in the canonical type of its field."""
        try:
            return cast_column(column, field.dtype, subject=f"{self.table.subject}, column {field.name!r}")
        except SourceError as error:
            if field.name in self.table.texts:
                problem = f"{str(error).rstrip('.')}. Correct the value in the file, or declare the column String."
                raise self.table.error(problem) from error
            raise as_kind(error, self.table.error) from error

    def _time(self, column: pa.Array, name: str) -> pa.Array:
        return cast_column(column.cast(TIMESTAMP), UnixTimestamp, subject=f"{self.table.subject}, column {name!r}")


def rows_of(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    table: SourceTable,
    bounds: Bounds,
    section: TableSection | None = None,
) -> Rows:
    """Returns the rows of a history with event times in the bounds.

    Args:
        section: which of these; None for all. A row has the same id in every section of the same bounds.

    Raises:
        SourceError: a column is missing or of another kind than declared; `TransformationError` where a transformation
            made the rows.
    """
    import duckdb

    if not table.known:
        return _no_rows(cursor, history, table)
    check_declared(
        history, table.schema, table.subject, timestamp=table.timestamp, created=table.created, error=table.error
    )
    try:
        keys = [key_expression(table.schema.field(f.name), f.dtype) for f in history.join_keys]
        selected = [f"{key} AS k{i}" for i, key in enumerate(keys)]
        selected += [f"{quote(f.name)} AS f{i}" for i, f in enumerate(history.features)]
        time = time_expression(cursor, table, table.timestamp)
        selected += [f"{time} AS t"]
        created = time_expression(cursor, table, table.created) if table.created else "CAST(NULL AS BIGINT)"
        selected += [f"{created} AS c"]
        selected += [f"{quote(ROW_ID)} AS row_id"] if table.row_ids else []
        selected += [f"{quote(PART)} AS part"] if table.part_numbers else []
        selected += [f"{quote(FILE_NUMBER)} AS file", f"{quote(PLACE)} AS place"] if table.places else []
    except duckdb.Error as error:
        raise table.failure(error) from error
    declared = set(history.declared or [f.name for f in history.features])
    names = sorted(declared.intersection(table.schema.names)) or table.schema.names[:1]
    content = ", ".join(f"{quote(n)} := {quote(n)}" for n in names)
    condition = within(table, bounds)
    if section is not None:
        condition = " AND ".join([condition, *_in_section(table, section)])
    keep = " AND ".join(f"{name} IS NOT NULL" for name in ["t", *(f"k{i}" for i in range(len(history.join_keys)))])

    def query(more: str) -> str:
        return f"SELECT * FROM (SELECT {', '.join(selected)}{more} FROM ({table.sql}) WHERE {condition}) WHERE {keep}"

    stored = quote(table.timestamp) if _is_exact(table.schema.field(table.timestamp).type) else time
    every = f"SELECT {', '.join(selected)} FROM ({table.sql}) WHERE {within(table, bounds, or_null=True)}"
    # What is known by its id need not be of the right time and key once more, if that decides no id.
    by_id = f"SELECT {', '.join(selected)} FROM ({table.sql})" if table.row_ids and not table.folders else query("")
    return Rows(
        history, table, query(""), query(f", struct_pack({content}) AS x"), query(f", {stored} AS s"), by_id, every
    )


def _no_rows(cursor: duckdb.DuckDBPyConnection, history: History, table: SourceTable) -> Rows:
    fields = [pa.field(f"k{i}", to_arrow_type(f.dtype)) for i, f in enumerate(history.join_keys)]
    fields += [pa.field(f"f{i}", to_arrow_type(f.dtype)) for i, f in enumerate(history.features)]
    fields += [pa.field("t", pa.int64()), pa.field("c", pa.int64())]
    sql = register(cursor, pa.schema(fields).empty_table())
    return Rows(history, table, sql, f"SELECT *, NULL AS x FROM ({sql})", f"SELECT *, t AS s FROM ({sql})", sql, sql)


def time_expression(cursor: duckdb.DuckDBPyConnection, table: SourceTable, name: str) -> str:
    """Returns a time column as microseconds since the epoch, naive times as UTC.

    Raises:
        SourceError: it is missing, or holds no times, or texts that are not all ISO 8601, or naive and zoned ones
            mixed.
    """
    if name not in table.schema.names:
        raise table.error(f"{table.subject} has no column {name!r} of times. {suggest(name, table.schema.names)}")
    kind = table.schema.field(name).type
    if pa.types.is_string(kind):
        _check_time_texts(cursor, table, name)
    if pa.types.is_null(kind) or (pa.types.is_int32(kind) and _is_all_null(cursor, table, name)):
        return "CAST(NULL AS BIGINT)"
    return stored_time(table, name)


def stored_time(table: SourceTable, name: str) -> str:
    """Returns a time column as microseconds since the epoch; texts must be known to hold times, see `time_expression`.

    Raises:
        SourceError: it is of a type that has no times.
    """
    kind = table.schema.field(name).type
    column = quote(name)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # DuckDB has no epoch_us of zoned nanoseconds. Cutting towards zero would put times before 1970 too late.
        nanos = f"epoch_ns({column})"
        return f"(({nanos} - ({nanos} % 1000 + 1000) % 1000) // 1000)"
    if pa.types.is_timestamp(kind):
        return f"epoch_us({column})"
    if pa.types.is_date(kind):
        return f"epoch_us(CAST({column} AS TIMESTAMP))"
    if pa.types.is_string(kind):
        return f"epoch_us({_moment_of_text(column)})"
    raise table.error(
        f"{table.subject}: column {name!r} should hold timestamps but holds {kind}. "
        "Use timestamps, dates or ISO 8601 text."
    )


def _moment_of_text(column: str) -> str:
    """Returns ISO text as TIMESTAMPTZ."""
    # DuckDB takes what follows a space for the name of a zone, and knows neither "Z" nor "+01:00" there.
    closed = f"replace(replace(replace({column}, ' +', '+'), ' -', '-'), ' Z', 'Z')"
    closed = f"replace(replace({closed}, ' UTC', 'Z'), 'UTC', 'Z')"
    is_other = f"contains({column}[12:], ' ') OR ends_with({column}, 'UTC')"
    return f"CAST(CASE WHEN {is_other} THEN {closed} ELSE {column} END AS TIMESTAMPTZ)"


def _is_exact(kind: pa.DataType) -> bool:
    """Tells whether times of this type that differ still do so in microseconds."""
    return bool(pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.unit != "ns"))


def _is_all_null(cursor: duckdb.DuckDBPyConnection, table: SourceTable, name: str) -> bool:
    seen = read_all(cursor, f"SELECT count({quote(name)}) FROM ({table.sql})")
    return bool(seen.column(0)[0].as_py() == 0)


def _check_time_texts(cursor: duckdb.DuckDBPyConnection, table: SourceTable, name: str) -> None:
    column = quote(name)
    zoned = f"regexp_matches({column}, {literal(ISO_ZONED)})"
    seen = read_all(
        cursor,
        f"SELECT any_value({column}) FILTER (NOT regexp_matches({column}, {literal(ISO_TIME)})) AS other, "
        f"any_value({column}) FILTER ({zoned}) AS zoned, any_value({column}) FILTER (NOT {zoned}) AS naive "
        f"FROM ({table.sql})",
    ).to_pylist()[0]
    if seen["other"] is not None:
        raise table.error(
            f"{table.subject}: column {name!r} should hold timestamps but holds {seen['other']!r}, which is not "
            "ISO 8601 such as 2024-07-01T12:00:00Z."
        )
    if seen["zoned"] is not None and seen["naive"] is not None:
        raise table.error(
            f"{table.subject}: column {name!r} mixes times with a zone ({seen['zoned']!r}) and without "
            f"({seen['naive']!r}). Write all of them with a zone, or none."
        )


def within(table: SourceTable, bounds: Bounds, *, or_null: bool = False) -> str:
    """Returns the condition on the column as it is stored, so that files and row groups can be left out.

    Args:
        or_null: whether rows without an event time are wanted as well.
    """
    parts = _time_conditions(table, bounds)
    if or_null and parts:
        parts = [f"(({' AND '.join(parts)}) OR {quote(table.timestamp)} IS NULL)"]
    return " AND ".join([*parts, *_by_date(table, bounds)]) or "true"


def _in_section(table: SourceTable, section: TableSection) -> list[str]:
    # No condition on folders: DuckDB numbers files anew where one leaves some out, but not where their names do.
    named = [] if section.files is None else [f"{quote(FILE_NAME)} IN ({', '.join(map(literal, section.files))})"]
    if section.files == ():
        named = ["false"]
    return [*_time_conditions(table, section.bounds), *named]


def _time_conditions(table: SourceTable, bounds: Bounds) -> list[str]:
    kind = table.schema.field(table.timestamp).type
    column = quote(table.timestamp)
    parts = []
    for value, comparison in ((bounds.start, ">="), (bounds.end, "<")):
        if value is None:
            continue
        if not _FIRST <= value <= _LAST:
            parts.append("true" if (value < _FIRST) == (comparison == ">=") else "false")
        elif pa.types.is_timestamp(kind) and kind.unit != "ns":
            parts.append(f"{column} {comparison} {_moment(value, kind.tz is not None)}")
        elif pa.types.is_timestamp(kind) and abs(value) >= 2**63 // 1000:
            # No nanoseconds since the epoch lie so far away.
            parts.append("true" if (value < 0) == (comparison == ">=") else "false")
        elif pa.types.is_timestamp(kind) and kind.tz is None:
            parts.append(f"{column} {comparison} make_timestamp_ns({value * 1000})")
        elif pa.types.is_timestamp(kind):
            text = f"{_at(value).replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}+00"
            parts.append(f"{column} {comparison} CAST('{text}' AS TIMESTAMPTZ_NS)")
        else:
            # A column of nulls may be one of integers in a file.
            text = column if pa.types.is_string(kind) else f"CAST({column} AS VARCHAR)"
            moment = f"CAST({column} AS TIMESTAMPTZ)" if pa.types.is_date(kind) else _moment_of_text(text)
            parts.append(f"{moment} {comparison} {_moment(value, True)}")
    return parts


def _by_date(table: SourceTable, bounds: Bounds) -> list[str]:
    if not table.date_partition:
        return []
    if table.date_partition not in table.schema.names:
        raise table.error(
            f"{table.subject} has no column {table.date_partition!r}, its date_partition_column. "
            f"{suggest(table.date_partition, table.schema.names)}"
        )
    kind = table.schema.field(table.timestamp).type
    if table.date_partition_slack is None or pa.types.is_null(kind) or pa.types.is_integer(kind):
        return []
    problem = literal(
        f"event times must not lie more than date_partition_slack ({table.date_partition_slack}) from the day of "
        f"their file; declare a greater slack, or none: {table.date_partition}="
    )
    time = stored_time(table, table.timestamp)
    return conditions(quote(table.date_partition), time, table.date_partition_slack, bounds.start, bounds.end, problem)


_FIRST = to_micros(ALWAYS.start)
_LAST = to_micros(ALWAYS.end)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _at(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _moment(value: int, zoned: bool) -> str:
    text = f"{_at(value).replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}"
    return f"TIMESTAMPTZ '{text}+00'" if zoned else f"TIMESTAMP '{text}'"
