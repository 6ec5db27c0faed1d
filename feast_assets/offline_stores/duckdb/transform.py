"""Running a view's transformation over the rows of its sources."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_assets.definitions.transformation import TransformationMode
from feast_assets.definitions.window import Bounds, duration_micros
from feast_assets.errors import FeastAssetsError, SourceError, TransformationError, suggest
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.declared_columns import result_time_name, result_types
from feast_assets.offline_stores.duckdb.engine import quote, read_all, read_schema, registered
from feast_assets.offline_stores.duckdb.files import SourceTable, open_source, register
from feast_assets.offline_stores.duckdb.reading_query import message_of, reading_query
from feast_assets.offline_stores.duckdb.rows import time_expression, within
from feast_assets.offline_stores.files.readable_files import ReadableFiles
from feast_assets.transformations.calls import argument_of, called, function_of
from feast_assets.transformations.results import check_unique, columns_of, result_table

if TYPE_CHECKING:
    import duckdb


def run_transformation(
    cursor: duckdb.DuckDBPyConnection, history: History, root: Path, bounds: Bounds, readable: ReadableFiles
) -> SourceTable:
    """Returns the rows that a history's transformation computes for some bounds; the lookback is added here.

    Rows of the result outside the bounds are still in it.

    Args:
        readable: what an SQL query may read beside the rows of its sources.

    Raises:
        SourceError: a source cannot be read.
        TransformationError: the function is not loaded, fails, or returns something else than the view declares.
    """
    transformation = history.transformation
    subject = f"The transformation of feature view {history.view!r}"
    assert transformation is not None
    function = function_of(transformation, subject)
    start = None if bounds.start is None else bounds.start - duration_micros(history.lookback)
    seen = Bounds(start, bounds.end)
    inputs = [open_source(cursor, source, root, bounds=seen) for source in history.sources]
    if not any(table.known for table in inputs):
        return _nothing(history, subject)
    for table in inputs:
        if not table.known:
            raise SourceError(
                f"{table.subject}: there are no files yet, so {subject.lower()} does not know its columns."
            )
    queries = [input_query(cursor, table, seen) for table in inputs]
    if transformation.mode is TransformationMode.SQL:
        files = tuple(read for table in inputs for read in table.files)
        return replace(_run_sql(cursor, history, queries, function, subject, readable), files=files)
    try:
        arguments = [argument_of(transformation, read_all(cursor, sql)) for sql in queries]
    except Exception as error:
        raise _reading(error, inputs) from error
    columns = columns_of(called(function, arguments, subject), transformation.mode, subject)
    table = result_table(columns, result_types(history, list(columns)), {f.name for f in history.join_keys}, subject)
    return _described(history, register(cursor, table), table.schema, subject)


def input_query(cursor: duckdb.DuckDBPyConnection, table: SourceTable, bounds: Bounds) -> str:
    """Returns what a transformation sees of a source: all columns, times in UTC, event times in the bounds.

    A source without a timestamp field is seen whole.
    """
    import duckdb

    if not table.timestamp:
        return table.sql
    times = {}
    try:
        for name, role in ((table.timestamp, "timestamp_field"), (table.created, "created_timestamp_column")):
            if name and name not in table.schema.names:
                raise SourceError(
                    f"{table.subject} has no column {name!r}, its {role}. {suggest(name, table.schema.names)}"
                )
            if name:
                times[name] = f"make_timestamptz({time_expression(cursor, table, name)}) AS {quote(name)}"
    except duckdb.Error as error:
        raise table.failure(error) from error
    columns = ", ".join(times.get(n, quote(n)) for n in table.schema.names)
    return f"SELECT {columns} FROM ({table.sql}) WHERE {within(table, bounds)} AND {quote(table.timestamp)} IS NOT NULL"


def _reading(error: Exception, inputs: Sequence[SourceTable]) -> FeastAssetsError:
    named = next((t for t in inputs if t.has_changed() or t.is_named_in(str(error))), inputs[0])
    return named.failure(error)


def _run_sql(
    cursor: duckdb.DuckDBPyConnection,
    history: History,
    queries: Sequence[str],
    function: Callable[..., object],
    subject: str,
    readable: ReadableFiles,
) -> SourceTable:
    import duckdb

    names = []
    for source, sql in zip(history.sources, queries, strict=True):
        name = f"{re.sub(r'[^A-Za-z0-9]+', '_', source.name).strip('_')[:40]}_{uuid.uuid4().hex[:8]}"
        names.append(name if name[0].isalpha() else f"s_{name}")
        cursor.execute(f"CREATE TEMP VIEW {names[-1]} AS {sql}")
    query = _checked_query(cursor, called(function, names, subject), subject, readable, names)
    try:
        check_unique(cursor.sql(query).columns, subject)
        return _described(history, query, read_schema(cursor, query), subject)
    except duckdb.Error as error:
        raise TransformationError(f"{subject} returned a query that fails: {message_of(error)}") from error


def query_rows(
    cursor: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    function: Callable[..., object],
    label: str,
    readable: ReadableFiles,
) -> pa.Table:
    """Returns what the query of a transformation makes of rows; see `QueriesGivenRows`."""
    import duckdb

    with registered(cursor, rows) as name:
        query = _checked_query(cursor, called(function, [name], label), label, readable, [name])
        try:
            check_unique(cursor.sql(query).columns, label)
            return read_all(cursor, query)
        except duckdb.Error as error:
            raise TransformationError(f"{label} returned a query that fails: {message_of(error)}") from error


def _checked_query(
    cursor: duckdb.DuckDBPyConnection, text: object, subject: str, readable: ReadableFiles, names: Sequence[str]
) -> str:
    """Returns the query that a transformation's function returned, if it only reads what it may."""
    if not isinstance(text, str):
        raise TransformationError(f"{subject} must return an SQL query as text, not {type(text).__name__}.")
    return reading_query(
        cursor, text, f"{subject}: its query", readable, names, is_embedded=True, error=TransformationError
    ).sql


def _described(history: History, sql: str, schema: pa.Schema, subject: str) -> SourceTable:
    names = schema.names
    return SourceTable(
        subject=f"{subject}: its result",
        sql=sql,
        schema=schema,
        timestamp=result_time_name(history, history.timestamp_field, names),
        created=result_time_name(history, history.created_timestamp_column, names),
        error=TransformationError,
    )


def _nothing(history: History, subject: str) -> SourceTable:
    return SourceTable(subject, "", pa.schema([]), history.timestamp_field, "", error=TransformationError, known=False)
