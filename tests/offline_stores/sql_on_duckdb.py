"""The plan for SQL engines over DuckDB's tables: what somebody writes who brings a warehouse."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
from pydantic import BaseModel
from sqlglot import exp

from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.errors import SourceWithoutFilesError
from feast_assets.offline_stores.sql.dialect import DUCKDB
from feast_assets.offline_stores.sql.engine import SqlEngine, SqlEngineError
from feast_assets.offline_stores.sql.relation import Relation
from feast_assets.offline_stores.sql.store import SqlOfflineStore


class DuckDBEngine(SqlEngine):
    dialect = DUCKDB

    def __init__(self, database: duckdb.DuckDBPyConnection):
        self._cursor = database.cursor()

    def query(self, sql: str) -> pa.RecordBatchReader:
        try:
            table = self._cursor.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise SqlEngineError(str(error), is_missing=isinstance(error, duckdb.CatalogException)) from error
        return table.to_reader()

    @contextmanager
    def stage(self, rows: pa.Table) -> Iterator[str]:
        name = f"staged_{uuid.uuid4().hex}"
        self._cursor.register(name, rows)
        yield name
        self._cursor.unregister(name)

    def append(self, table: exp.Table, rows: pa.RecordBatchReader, *, instead_of: exp.Expr | None = None) -> None:
        given = rows.read_all()
        name, target = f"staged_{uuid.uuid4().hex}", table.sql(dialect="duckdb")
        self._cursor.register(name, given)
        self._cursor.execute("BEGIN")
        self._cursor.execute(f"CREATE TABLE IF NOT EXISTS {target} AS SELECT * FROM {name} LIMIT 0")
        if instead_of is not None:
            self._cursor.execute(f"DELETE FROM {target} WHERE {instead_of.sql(dialect='duckdb')}")
        self._cursor.execute(f"INSERT INTO {target} BY NAME SELECT * FROM {name}")
        self._cursor.execute("COMMIT")

    def close(self) -> None:
        self._cursor.close()


class DuckDBSqlStore(SqlOfflineStore):
    """History in tables of a database in memory."""

    config_class = BaseModel

    def __init__(self, config: BaseModel | None = None, root: Path | None = None):
        self.database = duckdb.connect(":memory:", config={"threads": 2})
        self.database.execute("SET GLOBAL TimeZone = 'UTC'")

    def connect(self) -> SqlEngine:
        return DuckDBEngine(self.database)

    def relation(self, engine: SqlEngine, source: PostgreSQLSource) -> Relation:
        try:
            schema = engine.columns(f'SELECT * FROM "{source.table}"')
        except SqlEngineError as error:
            raise SourceWithoutFilesError(f"Source {source.name!r}: there is no such table.") from error
        mapping = source.field_mapping
        return Relation(
            dialect=DUCKDB,
            subject=f"Source {source.name!r}",
            table=self.target(source),
            schema=schema,
            mapping=mapping,
            timestamp=mapping.get(source.timestamp_field, source.timestamp_field),
            created=mapping.get(source.created_timestamp_column, source.created_timestamp_column),
        )

    def target(self, source: PostgreSQLSource) -> exp.Table:
        return exp.Table(this=exp.to_identifier(source.table, quoted=True))
