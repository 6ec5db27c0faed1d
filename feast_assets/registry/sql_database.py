"""The database of a SQL registry: connections, transactions, schema, and errors in words.

SQLite files are in write-ahead mode, and a writing transaction begins by taking the write lock; on Postgres a writer
locks its project's row. So writers follow one another, and readers wait for nobody.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, inspect, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from feast_assets.errors import ConfigError, FeastAssetsError, StoreUnavailableError
from feast_assets.registry import tables
from feast_assets.registry.sql_config import SqlRegistryConfig

_BUSY_SECONDS = 30
_SCHEMA_LOCK = 7_305_811_064_142_273  # any number that nobody else takes for a Postgres advisory lock
_BEGIN = "feast_assets_begin"
_CANNOT_LOCK = (
    "unable to open database file",
    "attempt to write a readonly database",
    "disk I/O error",
    "disk is full",
)
_LITTLE_SPACE = 1 << 20  # bytes


class SqlDatabase:
    """Connects when first used; safe to share between threads and to use after a fork."""

    def __init__(self, config: SqlRegistryConfig, root: Path):
        """Touches neither disk nor network."""
        self._config = config
        self.file = config.file(root) if config.is_file else None
        self.name = str(self.file) if self.file else config.display_path
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._pid = 0
        self._has_schema = False

    @contextmanager
    def reading(self) -> Iterator[Connection | None]:
        """Gives a connection that sees one state of the database; None where there is no registry yet."""
        if self.file is not None and not self.file.exists():
            yield None
            return
        with self._in_words(), ExitStack() as stack:
            yield self._begun(stack)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Gives a connection in a transaction that is committed in the end, or rolled back on any error."""
        self._create_schema()
        with self._in_words(), self._connected().connect() as connection:
            connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with connection.begin():
                yield connection

    def _begun(self, stack: ExitStack) -> Connection | None:
        """Returns what `reading` gives; the stack ends it."""
        try:
            with ExitStack() as opening:
                connection = self._begin_reading(self._connected(), opening)
                stack.push(opening.pop_all())
        except OperationalError as error:
            if not self._is_still(error):
                raise
            # Reading, too, needs a file for the locks, which a read-only folder or a full disk does not take. Without
            # rows in the write-ahead log the database file alone is all there is.
            engine = self._sqlite("?mode=ro&immutable=1")
            stack.callback(engine.dispose)
            connection = self._begin_reading(engine, stack)
        return connection if self._ready(connection) else None

    def _begin_reading(self, engine: Engine, stack: ExitStack) -> Connection:
        connection = stack.enter_context(engine.connect())
        if self.file is None:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        stack.enter_context(connection.begin())
        if self.file is not None:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")  # SQLite opens the file only now
        return connection

    def _is_still(self, error: Exception) -> bool:
        """Says whether the file cannot be locked for reading, but is complete in itself."""
        if self.file is None or not any(said in str(error) for said in _CANNOT_LOCK):
            return False
        log = self.file.with_name(self.file.name + "-wal")
        try:
            return self.file.is_file() and not (log.exists() and log.stat().st_size)
        except OSError:
            return False

    def close(self) -> None:
        """Releases all connections; the next use connects again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose(close=self._pid == os.getpid())
                self._engine = None

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is not None and self._pid != os.getpid():
                # Connections of before a fork belong to the parent.
                self._engine.dispose(close=False)
                self._engine = None
            if self._engine is None:
                self._engine = self._sqlite() if self.file else self._postgres()
                self._pid = os.getpid()
            return self._engine

    def _postgres(self) -> Engine:
        try:
            return create_engine(
                self._config.postgres_url(), pool_size=2, max_overflow=8, pool_pre_ping=True, hide_parameters=True
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"A registry on Postgres needs the package {error.name!r}: pip install 'feast-assets[postgres]'."
            ) from error
        except ValueError:
            raise ConfigError(
                f"Registry path {self.name!r} is not a database URL: its port is not a number. A Postgres URL is "
                "postgresql://user:password@host:5432/database; in user and password write @ as %40, : as %3A and / "
                "as %2F."
            ) from None
        except SQLAlchemyError as error:
            raise ConfigError(f"Registry path {self.name!r} is not a database URL: {type(error).__name__}.") from None

    def _sqlite(self, options: str = "") -> Engine:
        """Returns an engine for the file; ``options`` are those of a SQLite URI."""
        database = f"file:{quote(str(self.file))}{options}" if options else str(self.file)
        # A connection costs little, and none that stays open can outlive a fork or hold a lock.
        engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(
                database, timeout=_BUSY_SECONDS, uri=bool(options), check_same_thread=False
            ),
            poolclass=NullPool,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _leave_transactions_to_us)
        event.listen(engine, "begin", _begin)
        return engine

    def _ready(self, connection: Connection) -> bool:
        """Says whether the registry's tables exist.

        Raises:
            ConfigError: the database is something else, or of a newer version.
        """
        if self._has_schema:
            return True
        names = set(inspect(connection).get_table_names())
        if tables.meta.name not in names:
            if self.file is not None and names:
                raise ConfigError(self._foreign(names))
            return False
        version = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == "schema_version")).scalar()
        if version is None or int(version) != tables.SCHEMA_VERSION:
            raise ConfigError(
                f"Registry {self.name} has schema version {version}, but this version of feast-assets reads "
                f"{tables.SCHEMA_VERSION}. Use the version of feast-assets that wrote it, or a newer one."
            )
        self._has_schema = True
        return True

    def _create_schema(self) -> None:
        if self._has_schema and (self.file is None or self.file.exists()):
            return
        self._has_schema = False
        if self.file is not None:
            self._create_file(self.file)
        with self._in_words(), self._connected().connect() as connection:
            connection = connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with connection.begin():
                if self.file is None:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
                if self._ready(connection):
                    return
                tables.metadata.create_all(connection)
                connection.execute(tables.meta.insert().values(key="schema_version", value=str(tables.SCHEMA_VERSION)))
        self._has_schema = True

    def _create_file(self, file: Path) -> None:
        if file.exists() and file.stat().st_size:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(f"Cannot create the directory of registry {file}: {error}") from error
        with self._in_words(), self._connected().connect() as connection:
            # Of two processes that both begin, one may find the file locked; the other then sets the mode, which stays.
            try:
                connection.connection.cursor().execute("PRAGMA journal_mode = WAL").close()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise

    def _file_trouble(self, said: str) -> str:
        """Returns SQLite's word for a file that it cannot use in plainer ones, where there are any."""
        assert self.file is not None
        if "disk is full" in said or ("disk I/O error" in said and _is_full(self.file.parent)):
            return "the disk is full."
        if "readonly" in said or ("unable to open" in said and _is_read_only(self.file.parent)):
            return "the file, or the folder that it is in, is read-only."
        if "unable to open" in said:
            return (
                f"the file cannot be opened ({said}); the folder that it is in must exist and not be read-only, and "
                "both must be this user's to write."
            )
        return said

    def _foreign(self, names: set[str]) -> str:
        what = "a registry that Feast wrote" if {"feast_metadata", "managed_infra"} & names else "another database"
        return (
            f"The registry file {self.name} is {what} (it has the table {min(names)!r}). Name another path in "
            "registry.path; apply fills a new registry from the definition files."
        )

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

    def _explained(self, error: Exception) -> Exception:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        password = self._connected().url.password if self._engine is not None else None
        if isinstance(password, str) and password:
            said = said.replace(password, "***")
        if self.file is not None and self.file.is_dir():
            return ConfigError(f"The registry path {self.name} is a directory; name a file in registry.path.")
        if "file is not a database" in said:
            return ConfigError(
                f"The file {self.name} is not a registry of feast-assets, which is a SQLite file; Feast's own registry "
                "file is not read. Name another path in registry.path; apply fills a new registry from the definition "
                "files."
            )
        if "database is locked" in said:
            said = f"another process has kept it locked for {_BUSY_SECONDS} seconds"
        if self.file is not None:
            said = self._file_trouble(said)
        return StoreUnavailableError(f"Registry {self.name} cannot be used: {said}")


def _is_read_only(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LITTLE_SPACE
    except OSError:
        return False


def _leave_transactions_to_us(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver would begin too late to see one state


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
