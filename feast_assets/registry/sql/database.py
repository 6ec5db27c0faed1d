"""A SQL registry's database through SQLAlchemy: creating the tables of any, and all access to one on a server.

SQLite files are in write-ahead mode, and a writing transaction begins by taking the write lock; on a server a writer
locks its project's row. So writers wait for each other, and readers never wait.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, NullPool, create_engine, event, inspect, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from feast_assets.errors import ConfigError, FeastAssetsError, StoreUnavailableError
from feast_assets.private_files import create_private_file
from feast_assets.registry.sql import tables
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.reading import is_written
from feast_assets.registry.sql.schema import META, NUMBER, WINDOWS, WRITTEN_BY
from feast_assets.registry.sql.servers import MySql, Postgres, Server
from feast_assets.registry.sql.sqlite_file import SqliteFile, SqliteTransaction
from feast_assets.registry.sql.transaction import Query, Row, Transaction, Value
from feast_assets.settings.redaction import clean_error
from feast_assets.stored_formats import REGISTRY, package_version

_BEGIN = "feast_assets_begin"


class SqlDatabase:
    """Connects when first used; safe to share between threads and to use after a fork."""

    def __init__(self, config: SqlRegistryConfig, file: SqliteFile | None):
        """Touches neither disk nor network.

        Args:
            file: where the registry is a SQLite file.
        """
        self._config = config
        self._file = file
        self._server: Server = MySql() if config.is_mysql else Postgres()
        self.name = str(file.path) if file else config.display_path
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        self._has_schema = False
        self._is_complete = False

    @contextmanager
    def reading(self) -> Iterator[Query | None]:
        """Gives what reads one state of a server's database; None where there is no registry yet."""
        with self._in_words(), self._connected().connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield SqlTransaction(connection, self._server) if self._ready(connection) else None

    @contextmanager
    def writing(self) -> Iterator[SqlTransaction]:
        """Gives a transaction on a server that is committed in the end, or rolled back on any error."""
        self.create_tables()
        with self._in_words(), self._connected().connect() as connection:
            connection = connection.execution_options(isolation_level=self._server.writing_isolation)
            with connection.begin():
                yield SqlTransaction(connection, self._server)

    def close(self) -> None:
        """Releases all connections; the next use connects again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose(close=self._pid == os.getpid())
                self._engine = None

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():
                # Connections from before a fork belong to the parent process.
                self._engine.dispose(close=False)
                self._engine = None
            if self._engine is None:
                self._engine = self._on_server() if self._file is None else self._sqlite(self._file)
                self._pid = os.getpid()
            return self._engine

    def _on_server(self) -> Engine:
        try:
            return create_engine(
                self._config.server_url(),
                connect_args=dict(self._server.connect_args),
                pool_size=2,
                max_overflow=8,
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"A registry on {self._server.title} needs the package {error.name!r}: "
                f"pip install 'feast-assets[{self._server.extra}]'."
            ) from error
        except (ValueError, SQLAlchemyError) as error:
            problem = type(error).__name__
        raise ConfigError(f"Registry path {self.name!r} is not a database URL: {problem}.")

    @staticmethod
    def _sqlite(file: SqliteFile) -> Engine:
        # Connecting is cheap, and a connection that is closed cannot be inherited by a fork or hold a lock.
        engine = create_engine("sqlite://", creator=file.connect, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "begin", _begin)
        return engine

    def _ready(self, connection: Connection) -> bool:
        """Says whether the registry's tables exist.

        Raises:
            ConfigError: the database is something else, or of a newer version.
        """
        if self._has_schema:
            return True
        names = frozenset(inspect(connection).get_table_names())
        if META not in names:
            if self._file is not None:
                self._file.check_tables(names)
            return False
        if not is_written(SqlTransaction(connection, self._server), self.name):
            return False
        self._has_schema = True
        # A server that cannot create tables in a transaction has the new ones before the old one is read.
        self._is_complete = names.issuperset(tables.metadata.tables) and WINDOWS not in names
        return True

    def has_table(self, name: str) -> bool:
        """Says whether a server's registry has a table; an older one lacks newer ones until it is written."""
        if self._is_complete:
            return True
        with self._in_words(), self._connected().connect() as connection:
            return inspect(connection).has_table(name)

    def create_tables(self) -> None:
        """Creates the tables that are not there, and the file.

        For a file this is called only when tables were missing, and looks again: the file may have been restored.
        """
        if self._has_schema and self._is_complete and self._file is None:
            return
        self._has_schema = False
        if self._file is not None:
            self._create_file(self._file.path)
        with self._in_words(), self._connected().connect() as connection:
            if self._file is None:
                connection = connection.execution_options(isolation_level=self._server.writing_isolation)
            else:
                connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            # A file is locked as a whole.
            with connection.begin() if self._file else self._server.creating_tables(connection):
                is_registry = self._ready(connection)
                if not (is_registry and self._is_complete):
                    tables.metadata.create_all(connection)
                if not is_registry:
                    said = {NUMBER: str(REGISTRY.number), WRITTEN_BY: package_version()}
                    connection.execute(tables.meta.insert(), [{"key": k, "value": v} for k, v in said.items()])
                elif inspect(connection).has_table(WINDOWS):
                    self._upgrade(connection)
        self._has_schema = self._is_complete = True

    def _upgrade(self, connection: Connection) -> None:
        from feast_assets.registry.sql.upgrade import turn_windows_into_segments

        has_marks = any(column["name"] == "mark" for column in inspect(connection).get_columns(WINDOWS))
        transaction: Transaction
        if self._file is None:
            transaction = SqlTransaction(connection, self._server)
        else:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            transaction = SqliteTransaction(raw)
        turn_windows_into_segments(transaction, has_marks=has_marks)
        connection.execute(text(f"DROP TABLE {WINDOWS}"))

    def _create_file(self, file: Path) -> None:
        if file.exists() and file.stat().st_size:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(f"Cannot create the directory of registry {file}: {error}") from error
        create_private_file(file)
        with self._in_words(), self._connected().connect() as connection:
            # Of two processes that both begin, one may find the file locked; the other then sets the mode, which stays.
            try:
                connection.connection.cursor().execute("PRAGMA journal_mode = WAL").close()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explained(error) from error
        except FeastAssetsError:
            raise
        except OSError as error:
            raise StoreUnavailableError(f"Registry {self.name} cannot be used: {error}") from error

    def _explained(self, error: Exception) -> FeastAssetsError:
        cause = getattr(error, "orig", None) or error
        # A database that was put back to an earlier state may lack tables and columns; the next use looks again.
        self._has_schema = self._is_complete = False
        if self._file is not None:
            return self._file.explained(cause)
        # Drivers may quote what they were given; whoever prints this error prints those that led to it too.
        clean_error(error, self._config.secrets())
        code_and_text = cause.args if len(cause.args) == 2 and isinstance(cause.args[1], str) else None
        said = code_and_text[1] if code_and_text else str(cause)
        said = (said.strip().splitlines() or [type(cause).__name__])[0]
        return StoreUnavailableError(f"Registry {self.name} cannot be used: {said}")


class SqlTransaction:
    """Runs statements on a connection; see `feast_assets.registry.sql.transaction.Transaction`."""

    lock_rows = " FOR UPDATE"

    def __init__(self, connection: Connection, server: Server):
        self._connection = connection
        self._server = server

    def __call__(self, statement: str, **values: Value) -> Sequence[tuple[Any, ...]]:
        return [tuple(row) for row in self._connection.execute(text(statement), values)]

    def each(self, statement: str, rows: Iterable[Row]) -> None:
        if values := list(rows):
            self._connection.execute(text(statement), values)

    def upsert(self, table: str, rows: Iterable[Row]) -> None:
        if values := list(rows):
            self._connection.execute(_upsert(self._server, table, tuple(values[0])), values)

    def insert_new(self, table: str, row: Row) -> bool:
        try:
            with self._connection.begin_nested():
                self._connection.execute(tables.metadata.tables[table].insert(), row)
        except IntegrityError:
            return False
        return True


@lru_cache(maxsize=64)
def _upsert(server: Server, table: str, columns: tuple[str, ...]) -> Insert:
    return server.upsert(tables.metadata.tables[table], columns)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
