"""The offline store on Postgres: tables and queries of one database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    SourceError,
    SourceWithoutFilesError,
    suggest,
)
from feast_assets.offline_stores.abilities import ReadsQueries, WritesOnce
from feast_assets.offline_stores.postgres.config import PostgresOfflineStoreConfig
from feast_assets.offline_stores.sql.engine import SqlEngineError, blaming
from feast_assets.offline_stores.sql.store import SqlOfflineStore

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlglot import exp

    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.postgres.connections import PostgresConnections
    from feast_assets.offline_stores.postgres.engine import PostgresEngine
    from feast_assets.offline_stores.sql.engine import SqlEngine
    from feast_assets.offline_stores.sql.relation import Relation

_QUERY = "feast_assets source query"
_TABLES = (
    "SELECT table_schema AS folder, table_name AS name FROM information_schema.tables "
    "WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
)


class PostgresOfflineStore(SqlOfflineStore, ReadsQueries, WritesOnce):
    """History in tables and views of a Postgres database, version 14 or newer, and in the results of queries.

    Reading never changes anything: queries run in transactions that only read. The rows of a spine are copied to a
    temporary table, which goes away with the transaction.
    """

    config_class = PostgresOfflineStoreConfig

    def __init__(self, config: BaseModel, root: Path):
        assert isinstance(config, PostgresOfflineStoreConfig)
        self._config = config
        for package in ("adbc_driver_postgresql", "sqlglot"):
            if find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    def connect(self) -> PostgresEngine:
        return self._connections.session()

    def relation(self, engine: SqlEngine, source: DataSource) -> Relation:
        from sqlglot import exp

        from feast_assets.offline_stores.postgres.names import quoted_table
        from feast_assets.offline_stores.sql.relation import Relation

        if not isinstance(source, PostgreSQLSource):
            raise NotSupportedError(
                f"The postgres offline store reads PostgreSQLSource, not {type(source).__name__} (source "
                f"{source.name!r})."
            )
        texts = {_QUERY: engine.dialect.without_end(source.query)} if source.query else {}
        subject = _described(source)
        table = quoted_table(source.table or f'"{_QUERY}"')
        if source.query:
            table.set("alias", exp.TableAlias(this=exp.to_identifier("q", quoted=True)))
        mapping = source.field_mapping
        try:
            schema = engine.columns(texts.get(_QUERY) or exp.select("*").from_(table).sql(dialect="postgres"))
        except SqlEngineError as error:
            if error.is_missing and source.table:
                raise SourceWithoutFilesError(
                    f"{subject}: there is no such table. {self._nearest(engine, table)}"
                ) from error
            raise SourceError(f"{subject} cannot be read: {error}") from error
        return Relation(
            dialect=engine.dialect,
            subject=subject,
            table=table,
            schema=schema,
            mapping=mapping,
            timestamp=mapping.get(source.timestamp_field, source.timestamp_field),
            created=mapping.get(source.created_timestamp_column, source.created_timestamp_column),
            texts=texts,
        )

    def target(self, source: DataSource) -> exp.Table:
        from feast_assets.offline_stores.postgres.names import quoted_table

        if not isinstance(source, PostgreSQLSource) or not source.table:
            raise NotSupportedError(
                f"Source {source.name!r}: the postgres offline store writes to a PostgreSQLSource with table=..., not "
                "to a query."
            )
        return quoted_table(source.table)

    def check_write(self, source: DataSource, rows: pa.Table) -> None:
        self.target(source)
        with self.connect() as engine:
            self.fitted(engine, source, rows)

    def write_once(self, source: DataSource, rows: pa.Table, key: str) -> None:
        target = self.target(source)
        with closing(self.connect()) as engine, blaming(InputError, f"{_described(source)}: rows cannot be written"):
            fitted = self.fitted(engine, source, rows)
            engine.append(target, fitted.to_reader(), once_by=source.timestamp_field)

    def has_written(self, source: DataSource, rows: pa.Table, key: str) -> bool:
        target = self.target(source)
        with closing(self.connect()) as engine, blaming(SourceError, f"{_described(source)} cannot be read"):
            return engine.holds(target, self.fitted(engine, source, rows).to_reader(), source.timestamp_field)

    def read_query(self, sql: str, readable: Sequence[DataSource]) -> pa.Table:
        from feast_assets.offline_stores.postgres.functions import FUNCTIONS, ReadingPostgres
        from feast_assets.offline_stores.postgres.names import quoted_table
        from feast_assets.offline_stores.postgres.values import plain_values
        from feast_assets.offline_stores.sql.reading_query import ReadingRules, reading_query

        config = self._config
        names = [s.table for s in readable if isinstance(s, PostgreSQLSource) and s.table]
        tables = [quoted_table(name) for name in (*names, *config.readable_tables)]
        rules = ReadingRules(
            dialect=ReadingPostgres,
            functions=FUNCTIONS,
            schema=config.db_schema,
            tables={(table.db or config.db_schema, table.name) for table in tables},
            how_to_permit="Others can be permitted by readable_tables of the offline store's settings.",
        )
        query = reading_query(sql, "The entity query", rules)
        with closing(self.connect()) as engine:
            try:
                engine.restrict(config.entity_query_timeout_seconds, config.entity_query_role)
                return plain_values(engine.query(query).read_all())
            except SqlEngineError as error:
                limit = (
                    f"it ran longer than {config.entity_query_timeout_seconds:g} seconds" if error.is_timeout else ""
                )
                raise InputError(f"The entity query fails: {limit or error}") from error

    @cached_property
    def _connections(self) -> PostgresConnections:
        from feast_assets.offline_stores.postgres.connections import PostgresConnections

        return PostgresConnections(self._config)

    def _nearest(self, engine: SqlEngine, table: exp.Table) -> str:
        """Returns the end of a message: the name of the table that was probably meant."""
        from feast_assets.offline_stores.postgres.names import written

        usual = self._config.db_schema
        known = engine.query(_TABLES).read_all().to_pylist()
        names = [written(each["folder"], each["name"], usual) for each in known]
        return suggest(written(table.db or usual, table.name, usual), names)


def _described(source: DataSource) -> str:
    table = source.table if isinstance(source, PostgreSQLSource) else ""
    return f"Source {source.name!r}" if table in ("", source.name) else f"Source {source.name!r} ({table})"
