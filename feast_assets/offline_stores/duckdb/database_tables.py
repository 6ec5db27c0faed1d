"""Tables, views and queries of DuckDB database files as rows to query.

A table is read where it is: its file stays attached to the store's DuckDB until the cursor is closed. What a view or a
query gives is copied at once to a table of the cursor's own, as far as it is needed, and so is a table of a file that
somebody else in this process has open.
"""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from feast_assets.definitions.sources.duckdb_source import DuckDBSource, table_path
from feast_assets.definitions.window import Bounds
from feast_assets.errors import FeastAssetsError, NotSupportedError, SourceAbsentError, SourceError, suggest
from feast_assets.offline_stores.duckdb.attached_files import OpenHereError, joined
from feast_assets.offline_stores.duckdb.engine import BATCH_ROWS, failure_of, quote, read_schema
from feast_assets.offline_stores.duckdb.files import ROW_ID, SourceTable, register, renamed
from feast_assets.offline_stores.duckdb.held_files import DatabaseHeldError
from feast_assets.offline_stores.duckdb.reading_query import message_of, reading_query
from feast_assets.offline_stores.duckdb.rows import within
from feast_assets.offline_stores.duckdb.table_change_tokens import change_token_of, observe
from feast_assets.offline_stores.files.source_files import database_path, describe, find_files

if TYPE_CHECKING:
    from feast_assets.offline_stores.duckdb.engine import Cursor
    from feast_assets.types.feast_type import FeastType

_WIDE_INTEGERS = frozenset(("hugeint", "uhugeint"))
_AS_TEXT = frozenset(
    (
        "bignum",
        "bit",
        "enum",
        "geometry",
        "interval",
        "time",
        "time with time zone",
        "time_ns",
        "union",
        "uuid",
        "variant",
    )
)
"""Types that no value type has; their text can be read as String."""
_FOREIGN_SCANS = ("ARROW", "DELTA", "GLOB", "ICEBERG", "MYSQL", "PARQUET", "POSTGRES", "READ_", "SNIFF", "SQLITE")
"""How the steps of a query plan are called that read something else than tables."""
_ROW_IDS = f', rowid AS "{ROW_ID}"'


def open_database_table(
    cursor: Cursor,
    source: DuckDBSource,
    root: Path,
    declared: Mapping[str, FeastType] | None = None,
    *,
    row_ids: bool = False,
    bounds: Bounds | None = None,
    may_be_absent: bool = False,
) -> SourceTable:
    """Returns the rows of a source, columns renamed by its field mapping.

    Args:
        declared: types of the columns that are needed, by their names after the mapping; left out, all are.
        row_ids: whether rows should have ids.
        bounds: event times of the rows that are needed. Others may be among them, and so are rows without a time.
        may_be_absent: whether a table that is not there is one without rows.

    Raises:
        SourceAbsentError: there is no such file, or no such table in it.
        SourceError: it is no DuckDB database, or the query is no SELECT, fails, or reads something else.
        DatabaseHeldError: the file is open for writing elsewhere.
    """
    subject = describe(source)
    try:
        with _in_words(subject):
            path = find_files(source, root).path
            return _Opening(cursor, source, path, subject, declared, bounds or Bounds(), row_ids).table()
    except SourceAbsentError:
        if not may_be_absent:
            raise
        return SourceTable(subject, "", pa.schema([]), source.timestamp_field, "", known=False)


def database_schema(cursor: Cursor, source: DuckDBSource, root: Path, *, only_tables: bool = False) -> pa.Schema:
    """Returns a source's columns after its field mapping, without reading rows; raises as `open_database_table`.

    Args:
        only_tables: whether to raise `NotSupportedError` where it is a view, which cannot be written to.
    """
    subject = describe(source)
    with _in_words(subject):
        path = find_files(source, root).path
        return _Opening(cursor, source, path, subject, None, Bounds(), False, only_tables).schema()


def change_tokens_of_table(source: DuckDBSource, root: Path, look: Callable[[], None]) -> list[str]:
    """Returns the change token of a source, see `table_change_tokens`; empty where there is no file."""
    path = database_path(source, root)
    return [text for text in [change_token_of(source, path, look)] if text]


def look_at(cursor: Cursor, source: DuckDBSource, root: Path) -> None:
    """Has `table_change_tokens` know what a source holds now; does nothing where it cannot be read now."""
    with suppress(FeastAssetsError):
        open_database_table(cursor, source, root, {}, bounds=Bounds(0, 0))


@contextmanager
def _in_words(subject: str) -> Iterator[None]:
    """Raises what goes wrong in the user's words.

    Args:
        subject: the source.
    """
    try:
        yield
    except DatabaseHeldError as error:
        raise DatabaseHeldError(error.path, error.holder, subject) from error
    except FeastAssetsError:
        raise
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        raise failure_of(error, subject, SourceError) from error


@dataclass(frozen=True, slots=True)
class _Relation:
    """What a source means in one connection.

    Attributes:
        sql: what can stand behind FROM.
        columns: names and expressions of its columns.
        is_table: whether it is a table, and no view or query.
    """

    sql: str
    columns: Mapping[str, str]
    is_table: bool

    def select(self, names: Sequence[str] | None = None, condition: str = "", more: str = "") -> str:
        """Returns a query of some columns, all when left out, of the rows that meet a condition.

        Args:
            more: what else is selected.
        """
        chosen = list(self.columns) if names is None else names
        columns = ", ".join(f"{self.columns[name]} AS {quote(name)}" for name in chosen)
        return f"SELECT {columns}{more} FROM {self.sql}{f' WHERE {condition}' if condition else ''}"


@dataclass(frozen=True, slots=True)
class _Opening:
    """How one source is opened; see `open_database_table`."""

    cursor: Cursor
    source: DuckDBSource
    path: str
    subject: str
    declared: Mapping[str, FeastType] | None
    bounds: Bounds
    row_ids: bool
    only_tables: bool = False

    def table(self) -> SourceTable:
        """Returns the rows, in place or copied, and has it known what the source holds."""
        try:
            attachment = self.cursor.attach(self.path)
        except OpenHereError:
            with joined(self.path) as connection:
                return self._observed(connection, self._relation(connection))
        with self._naming(attachment.alias):
            relation = self._relation(self.cursor, attachment.alias)
            table = self._observed(self.cursor, relation)
        if not relation.is_table:
            attachment.close()
        return table

    def schema(self) -> pa.Schema:
        """Returns the columns, as `table` does."""
        try:
            attachment = self.cursor.attach(self.path)
        except OpenHereError:
            with joined(self.path) as connection:
                return self._columns(connection, self._relation(connection))
        with self._naming(attachment.alias):
            schema = self._columns(self.cursor, self._relation(self.cursor, attachment.alias))
        attachment.close()
        return schema

    def _columns(self, connection: duckdb.DuckDBPyConnection, relation: _Relation) -> pa.Schema:
        empty = connection.sql(relation.select(condition="false")).to_arrow_table()
        # In the words of the store's own DuckDB, whatever the settings of the other one.
        name = register(self.cursor, empty)
        return self._described(name, read_schema(self.cursor, name), False).schema

    def _observed(self, connection: duckdb.DuckDBPyConnection, relation: _Relation) -> SourceTable:
        observe(self.source, self.path, lambda: self._summary(connection, relation))
        in_place = relation.is_table and connection is self.cursor
        return self._in_place(relation) if in_place else self._copied(connection, relation)

    @contextmanager
    def _naming(self, alias: str) -> Iterator[None]:
        """Lets names of tables stand for those of an attached file."""
        self.cursor.execute(f"USE {quote(alias)}")
        try:
            yield
        finally:
            self.cursor.execute("USE memory")

    def _relation(self, connection: duckdb.DuckDBPyConnection, catalog: str | None = None) -> _Relation:
        """Returns what the source means in a connection.

        Args:
            catalog: the name of the file's database; left out, the connection's own.
        """
        sql, is_table = self._named(connection, catalog) if self.source.table else (self._query(connection), False)
        if self.only_tables and not is_table:
            raise _no_table(self.subject)
        if not is_table:
            self._refuse_other_data(connection, sql)
        try:
            described = connection.sql(f"SELECT * FROM {sql} LIMIT 0")
        except duckdb.CatalogException as error:
            raise SourceAbsentError(f"{self.subject}: its query fails: {message_of(error)}") from error
        columns = {
            str(name): _readable(str(name), str(kind.id))
            for name, kind in zip(described.columns, described.types, strict=True)
        }
        return _Relation(sql, columns, is_table)

    def _named(self, connection: duckdb.DuckDBPyConnection, catalog: str | None) -> tuple[str, bool]:
        """Returns a table's or view's full name, and whether it is a table."""
        relations = _relations(connection, catalog)
        known = _same_name(relations, self.source, self.subject)
        if known is not None:
            return ".".join(map(quote, known[:3])), known[3]
        there = [name if schema == "main" else f"{schema}.{name}" for _, schema, name, _ in relations]
        raise SourceAbsentError(
            f"{self.subject}: {self.path} has no table or view {self.source.table!r}. "
            f"{suggest(self.source.table, there)}"
        )

    def _query(self, connection: duckdb.DuckDBPyConnection) -> str:
        checked = reading_query(
            connection, self.source.query, f"{self.subject}: its query", None, is_embedded=True, error=SourceError
        )
        return f"({checked.sql}) AS source"

    def _refuse_other_data(self, connection: duckdb.DuckDBPyConnection, sql: str) -> None:
        """Raises SourceError where a view or query reads files: nobody would notice when they change."""
        try:
            ((_, plan),) = connection.execute(f"EXPLAIN (FORMAT json) SELECT * FROM {sql}").fetchall()
        except duckdb.CatalogException as error:
            raise SourceAbsentError(f"{self.subject} cannot be read: {message_of(error)}") from error
        for step in _steps(json.loads(plan)):
            if step.startswith(_FOREIGN_SCANS):
                raise SourceError(
                    f"{self.subject} reads more than tables of its file ({step}), so that changes would go unnoticed. "
                    "Declare the files as a FileSource, and compute from both in a BatchFeatureView."
                )

    def _summary(self, connection: duckdb.DuckDBPyConnection, relation: _Relation) -> str:
        from feast_assets.offline_stores.duckdb.statistics import summarize_untimed

        schema = pa.schema([pa.field(name, pa.null()) for name in relation.columns])
        return summarize_untimed(connection, SourceTable(self.subject, relation.select(), schema, "", "")).text

    def _in_place(self, relation: _Relation) -> SourceTable:
        sql = relation.select()
        schema = read_schema(self.cursor, sql)
        # A column of this name hides the ids that DuckDB gives rows.
        has_ids = self.row_ids and "rowid" not in {name.lower() for name in relation.columns}
        return self._described(relation.select(more=_ROW_IDS) if has_ids else sql, schema, has_ids)

    def _copied(self, connection: duckdb.DuckDBPyConnection, relation: _Relation) -> SourceTable:
        """Returns a copy of the rows that are needed, in a table of the cursor's own."""
        schema = read_schema(connection, relation.select())
        base = self._base(relation.select(), schema)
        selected = relation.select(self._needed(schema), self._condition(base))
        name = f"copy_{uuid.uuid4().hex}"
        if connection is self.cursor:
            self.cursor.execute(f"CREATE TEMP TABLE {name} AS {selected}")
        else:
            rows = f"rows_{uuid.uuid4().hex}"
            self.cursor.register(rows, connection.sql(selected).to_arrow_reader(BATCH_ROWS))
            try:
                self.cursor.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM {rows}")
            finally:
                self.cursor.unregister(rows)
        copied = f"SELECT * FROM {name}"
        schema = read_schema(self.cursor, copied)
        return self._described(f"SELECT *{_ROW_IDS} FROM {name}" if self.row_ids else copied, schema, self.row_ids)

    def _needed(self, schema: pa.Schema) -> list[str]:
        """Returns the columns that are needed; all, where one of these is not there, so that messages can name them."""
        if self.declared is None:
            return list(schema.names)
        own = {new: raw for raw, new in self.source.field_mapping.items()}
        needed = {own.get(name, name) for name in self.declared}
        needed |= {n for n in (*_times(self.source), self.source.date_partition_column) if n}
        return [n for n in schema.names if n in needed] if needed <= set(schema.names) else list(schema.names)

    def _condition(self, base: SourceTable) -> str:
        """Returns which rows are needed, as far as the type of the time column tells without a look at its values."""
        index = base.schema.get_field_index(base.timestamp)
        if index < 0 or not pa.types.is_temporal(base.schema.field(index).type):
            return ""
        return within(base, self.bounds, or_null=True)

    def _base(self, sql: str, schema: pa.Schema, row_ids: bool = False) -> SourceTable:
        timestamp, created = _times(self.source)
        return SourceTable(
            subject=self.subject,
            sql=sql,
            schema=schema,
            timestamp=timestamp,
            created=created,
            paths=(self.path,),
            date_partition=self.source.date_partition_column,
            columnar=True,
            row_ids=row_ids,
        )

    def _described(self, sql: str, schema: pa.Schema, row_ids: bool) -> SourceTable:
        """Returns rows under the names that the source's field mapping gives."""
        mapping = self.source.field_mapping
        if not mapping:
            return self._base(sql, schema, row_ids)
        base = self._base(*renamed(sql, schema, mapping, self.subject, (ROW_ID,) if row_ids else ()), row_ids)
        return replace(
            base,
            timestamp=mapping.get(base.timestamp, base.timestamp),
            created=mapping.get(base.created, base.created),
            date_partition=mapping.get(base.date_partition, base.date_partition),
        )


def stored_kind(connection: duckdb.DuckDBPyConnection, source: DuckDBSource, subject: str) -> str | None:
    """Returns "table" where a connection's database has the table of a source; None where it has nothing of that name.

    Raises:
        NotSupportedError: it is a view.
    """
    known = _same_name(_relations(connection, None), source, subject)
    if known is not None and not known[3]:
        raise _no_table(subject)
    return None if known is None else "table"


def _no_table(subject: str) -> NotSupportedError:
    return NotSupportedError(f"{subject}: rows can be written to a table, not to a view.")


_Named = tuple[str, str, str, bool]


def _relations(connection: duckdb.DuckDBPyConnection, catalog: str | None) -> list[_Named]:
    """Returns database, schema and name of all tables and views, and whether each is a table.

    Args:
        catalog: the name of the database; left out, the connection's own.
    """
    if catalog is None:
        (catalog,) = connection.execute("SELECT current_database()").fetchall()[0]
    return connection.execute(
        "SELECT database_name, schema_name, table_name, true FROM duckdb_tables() WHERE database_name = $1 "
        "UNION ALL SELECT database_name, schema_name, view_name, false FROM duckdb_views() "
        "WHERE database_name = $1 AND NOT internal ORDER BY ALL",
        [catalog],
    ).fetchall()


def _same_name(relations: Sequence[_Named], source: DuckDBSource, subject: str) -> _Named | None:
    """Returns the table or view that a source names; letter case does not count."""
    schema, name = table_path(source.table, subject)
    same = (f for f in relations if (f[1].lower(), f[2].lower()) == (schema.lower(), name.lower()))
    return next(same, None)


def _times(source: DuckDBSource) -> tuple[str, str]:
    return source.timestamp_field, source.created_timestamp_column


def _readable(name: str, kind: str) -> str:
    """Returns an expression of a column in a type that value types know."""
    if kind in _WIDE_INTEGERS:
        return f"CAST({quote(name)} AS BIGINT)"
    return f"CAST({quote(name)} AS VARCHAR)" if kind in _AS_TEXT else quote(name)


def _steps(plan: Any) -> Iterator[str]:
    """Yields the names of the steps of a query plan."""
    left = list(plan)
    while left:
        step = left.pop()
        yield str(step["name"]).strip()
        left += step["children"]
