"""Writing to tables of DuckDB database files: appending rows, and replacing windows.

Each is one transaction, for which the file is opened and closed again.
"""

# ruff: noqa: S608 - identifiers in SQL are quoted

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from feast_assets.definitions.sources.duckdb_source import DuckDBSource, table_path
from feast_assets.definitions.window import Bounds, Window, union
from feast_assets.errors import (
    DefinitionError,
    FeastAssetsError,
    InputError,
    NotSupportedError,
    SourceAbsentError,
    SourceError,
    StoreUnavailableError,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.declared_columns import kept_columns, like
from feast_assets.offline_stores.duckdb.attached_files import opened_for_writing
from feast_assets.offline_stores.duckdb.database_tables import database_schema, open_database_table, stored_kind
from feast_assets.offline_stores.duckdb.engine import BATCH_ROWS, failure_of, quote, read_schema
from feast_assets.offline_stores.duckdb.files import SourceTable
from feast_assets.offline_stores.duckdb.held_files import DatabaseHeldError
from feast_assets.offline_stores.duckdb.replace import Remembering
from feast_assets.offline_stores.duckdb.rows import within
from feast_assets.offline_stores.duckdb.unwritten import ORDINAL, unmatched
from feast_assets.offline_stores.duckdb.write import check_new
from feast_assets.offline_stores.files.source_files import database_path, describe
from feast_assets.types.arrow_values import int64_array

if TYPE_CHECKING:
    from feast_assets.offline_stores.duckdb.engine import Cursor

Waiting = Callable[[Callable[[], None]], None]
"""Calls a function again while it raises `DatabaseHeldError`, as long as that is waited for."""


def append_to_table(
    cursor: Cursor, source: DuckDBSource, root: Path, rows: pa.Table, waiting: Waiting, *, key: str | None = None
) -> None:
    """Appends rows to a table, whole or not at all; the table is made if it is not there.

    Args:
        key: where given, a row is left out if there is one that is equal in all columns.

    Raises:
        InputError: the columns are not the table's own, or values do not fit.
        NotSupportedError: the source is a query or a view.
        DatabaseHeldError: the file is open elsewhere.
        StoreUnavailableError: the disk is full, or writing is not permitted.
    """
    subject = describe(source)
    waiting(lambda: check_append_to_table(cursor, source, root, rows))

    def write() -> None:
        with _transaction(source, root) as connection:
            target = _target(connection, source)
            if stored_kind(connection, source, subject) is None:
                new, name = rows, _registered(connection, rows)
                _create(connection, source, name)
            else:
                new = like(rows, read_schema(connection, f"SELECT * FROM {target}"), subject)
                new = new if key is None else _unwritten(connection, f"SELECT * FROM {target}", new)
                name = _registered(connection, new)
            if new.num_rows:
                connection.execute(f"INSERT INTO {target} BY NAME SELECT * FROM {name}")

    waiting(write)


def check_append_to_table(cursor: Cursor, source: DuckDBSource, root: Path, rows: pa.Table) -> None:
    """Raises the error that `append_to_table` would raise because of the rows or the source; writes nothing."""
    _refuse_query(source)
    try:
        schema = database_schema(cursor, _unmapped(source), root, only_tables=True)
    except SourceAbsentError:
        check_new(rows, source, describe(source))
        return
    like(rows, schema, describe(source))


def is_appended_to_table(cursor: Cursor, source: DuckDBSource, root: Path, rows: pa.Table) -> bool:
    """Says whether a table holds all of some rows; false where it is not there."""
    _refuse_query(source)
    try:
        table = open_database_table(cursor, _unmapped(source), root)
    except SourceAbsentError:
        return False
    rows = like(rows, table.schema, describe(source))
    return not _unwritten(cursor, table.sql, rows).num_rows


def replace_windows_of_table(
    cursor: Cursor,
    source: DuckDBSource,
    root: Path,
    history: History,
    windows: Sequence[Window],
    rows: pa.RecordBatchReader,
    waiting: Waiting,
) -> None:
    """Makes a table hold, for each window, just the given rows that fall in it; it is made if it is not there.

    The rows are read to the end before the file is opened for writing, so they may come from the same file.

    Raises:
        NotSupportedError: the source is a query or a view.
        DefinitionError: it has no timestamp_field.
        InputError: windows overlap.
        SourceError: a column of the table is of a type that the rows' do not fit.
        DatabaseHeldError: the file is open elsewhere.
        StoreUnavailableError: the disk is full, or writing is not permitted; nothing was changed.
    """
    subject = describe(source)
    _refuse_query(source)
    if not source.timestamp_field:
        raise DefinitionError(f"{subject}: a sink needs a timestamp_field.")
    ordered = sorted(set(windows))
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise InputError(f"{subject}: windows {before} and {after} overlap.")
    bounds = [Bounds.of(window) for window in union(ordered)]
    spooled = _spooled(cursor, source, history, rows, bounds, subject)

    def write() -> None:
        reader = cursor.sql(f"SELECT * FROM {spooled}").to_arrow_reader(BATCH_ROWS)
        with _transaction(source, root) as connection:
            name = _registered(connection, reader)
            _replace(connection, source, name, reader.schema, bounds, subject)

    waiting(write)


def _replace(
    connection: duckdb.DuckDBPyConnection,
    source: DuckDBSource,
    name: str,
    schema: pa.Schema,
    bounds: Sequence[Bounds],
    subject: str,
) -> None:
    if stored_kind(connection, source, subject) is None:
        _create(connection, source, _registered(connection, schema.empty_table()))
    else:
        _alter(connection, source, schema, subject)
        _delete(connection, source, bounds, subject)
    connection.execute(f"INSERT INTO {_target(connection, source)} BY NAME SELECT * FROM {name}")


def _spooled(
    cursor: Cursor,
    source: DuckDBSource,
    history: History,
    rows: pa.RecordBatchReader,
    bounds: Sequence[Bounds],
    subject: str,
) -> str:
    """Returns the name of a table of the cursor's own with those rows that fall in some bounds."""
    names = kept_columns(source, history)
    remembering = Remembering(rows)
    given, spooled = f"given_{uuid.uuid4().hex}", f"spooled_{uuid.uuid4().hex}"
    cursor.register(given, pa.RecordBatchReader.from_batches(rows.schema, iter(remembering)))
    columns = ", ".join(f"{quote(name)} AS {quote(own)}" for name, own in names.items())
    base = SourceTable(subject, given, rows.schema, EVENT_TIMESTAMP, "")
    try:
        cursor.execute(f"CREATE TEMP TABLE {spooled} AS SELECT {columns} FROM {given} WHERE {_within(base, bounds)}")
    except (duckdb.Error, pa.ArrowException) as error:
        if remembering.error is not None:
            raise remembering.error from None
        raise failure_of(error, f"{subject}: keeping the rows", StoreUnavailableError) from error
    finally:
        cursor.unregister(given)
    return spooled


def _within(table: SourceTable, bounds: Sequence[Bounds]) -> str:
    return " OR ".join(f"({within(table, each)})" for each in bounds) or "false"


def _alter(connection: duckdb.DuckDBPyConnection, source: DuckDBSource, schema: pa.Schema, subject: str) -> None:
    """Gives a table the columns of rows that are to be written; those that these lack stay."""
    target = _target(connection, source)
    there = connection.sql(f"SELECT * FROM {target} LIMIT 0")
    types = {str(n).lower(): kind for n, kind in zip(there.columns, there.types, strict=True)}
    name = _registered(connection, schema.empty_table())
    given = connection.sql(f"SELECT * FROM {name} LIMIT 0")
    for column, kind in zip(given.columns, given.types, strict=True):
        known = types.get(str(column).lower())
        if known is None:
            connection.execute(f"ALTER TABLE {target} ADD COLUMN {quote(column)} {kind}")
        elif known != kind:
            try:
                connection.execute(f"ALTER TABLE {target} ALTER COLUMN {quote(column)} SET DATA TYPE {kind}")
            except duckdb.Error as error:
                raise SourceError(
                    f"{subject}: its column {column!r} holds {known}, and the feature view makes {kind}, which it "
                    "cannot be turned into. Drop the table, or keep the result in another one."
                ) from error


def _delete(
    connection: duckdb.DuckDBPyConnection, source: DuckDBSource, bounds: Sequence[Bounds], subject: str
) -> None:
    target = _target(connection, source)
    table = SourceTable(
        subject,
        target,
        read_schema(connection, f"SELECT * FROM {target}"),
        source.timestamp_field,
        "",
        error=SourceError,
    )
    connection.execute(f"DELETE FROM {target} WHERE {_within(table, bounds)}")


def _create(connection: duckdb.DuckDBPyConnection, source: DuckDBSource, like: str) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_schema(connection, source)}")
    connection.execute(f"CREATE TABLE {_target(connection, source)} AS SELECT * FROM {like} LIMIT 0")


def _unwritten(connection: duckdb.DuckDBPyConnection, stored: str, rows: pa.Table) -> pa.Table:
    """Returns those rows that a query does not give; nulls equal nulls."""
    if not rows.num_rows:
        return rows
    # By place, as DuckDB does not tell letter case apart in names.
    aliases = [f"c{i}" for i in range(rows.num_columns)]
    numbered = rows.rename_columns(aliases).append_column(ORDINAL, int64_array(np.arange(rows.num_rows)))
    name = _registered(connection, numbered)
    selected = ", ".join(f"{quote(n)} AS {alias}" for n, alias in zip(rows.column_names, aliases, strict=True))
    return unmatched(connection, rows, f"(SELECT {selected} FROM ({stored}))", name, aliases)


def _registered(connection: duckdb.DuckDBPyConnection, rows: pa.Table | pa.RecordBatchReader) -> str:
    name = f"rows_{uuid.uuid4().hex}"
    connection.register(name, rows)
    return name


def _refuse_query(source: DuckDBSource) -> None:
    """Raises NotSupportedError where a source is a query."""
    if not source.table:
        raise NotSupportedError(f"{describe(source)}: rows can be written to a table, not to a query.")


def _target(connection: duckdb.DuckDBPyConnection, source: DuckDBSource) -> str:
    """Returns the table's full name in SQL; a database and a schema in it may have the same name."""
    return f"{_schema(connection, source)}.{quote(table_path(source.table, '')[1])}"


def _schema(connection: duckdb.DuckDBPyConnection, source: DuckDBSource) -> str:
    (database,) = connection.execute("SELECT current_database()").fetchall()[0]
    return f"{quote(database)}.{quote(table_path(source.table, '')[0])}"


def _unmapped(source: DuckDBSource) -> DuckDBSource:
    """Returns a source with the columns' own names."""
    plain = copy(source)
    plain.field_mapping = {}
    return plain


@contextmanager
def _transaction(source: DuckDBSource, root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    subject = describe(source)
    path = database_path(source, root)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with opened_for_writing(path) as connection:
            yield connection
    except DatabaseHeldError as error:
        raise DatabaseHeldError(error.path, error.holder, subject) from error
    except FeastAssetsError:
        raise
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise failure_of(error, f"{subject}: writing", StoreUnavailableError) from error
