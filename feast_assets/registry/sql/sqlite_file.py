"""The SQLite file of a registry: transactions that see one state of it, and clear errors."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from feast_assets.errors import ConfigError, FeastAssetsError, StoreUnavailableError
from feast_assets.registry.foreign_file import is_feast_registry_file
from feast_assets.registry.sql.reading import is_written
from feast_assets.registry.sql.schema import KEYS, META
from feast_assets.registry.sql.transaction import Query, Row, Value

BUSY_SECONDS = 30
_CANNOT_LOCK = (
    "unable to open database file",
    "attempt to write a readonly database",
    "disk I/O error",
    "disk is full",
)
_SMALLEST_DATABASE = 512
"""Bytes. What SQLite writes is a page at least, and its pages have no fewer."""
_ANOTHER_PATH = (
    "It is left as it is. Name another path, such as registry: data/feast_assets_registry.db, and run apply, which "
    "fills a new registry from the definition files."
)
_OF_FEAST = "To import it, run `feast-assets migrate REPOSITORY --import-registry`. "
_LITTLE_SPACE = 1 << 20  # bytes
_SECOND = 1_000_000_000
_SAME_TIME_NANOS = 100_000_000
"""Writes that are further apart have different times. Linux takes the time of its last tick, at most 10 ms ago."""
_COARSE_NANOS = 4 * _SECOND
"""The same on file systems that keep whole seconds, or every other."""


class SqliteTransaction:
    """Runs statements on a connection; see `feast_assets.registry.sql.transaction.Transaction`."""

    lock_rows = ""

    def __init__(self, connection: sqlite3.Connection):
        self._connection = connection

    def __call__(self, statement: str, **values: Value) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def each(self, statement: str, rows: Iterable[Row]) -> None:
        self._connection.executemany(statement, rows)

    def upsert(self, table: str, rows: Iterable[Row]) -> None:
        remaining = iter(rows)
        first = next(remaining, None)
        if first is not None:
            self._connection.executemany(_upsert(table, tuple(first)), chain([first], remaining))

    def insert_new(self, table: str, row: Row) -> bool:
        return self._connection.execute(_insert(table, tuple(row)) + " ON CONFLICT DO NOTHING", row).rowcount == 1


class SqliteFile:
    """A file that may not exist yet. Safe to share between threads and to use after a fork: it is opened each time."""

    def __init__(self, path: Path):
        self.path = path
        self._reading = threading.local()
        self._tables: frozenset[str] = frozenset()
        self._tables_of: tuple[int, int] | None = None

    @contextmanager
    def reading(self) -> Iterator[Query | None]:
        """Gives what reads one state of the file; None where there is no registry yet.

        Raises:
            ConfigError: it is something else, or of a newer version.
            StoreUnavailableError: it cannot be read.
        """
        if hasattr(self._reading, "query"):
            yield self._reading.query
            return
        self._forget_exchanged()
        if not self.path.exists():
            yield None
            return
        with self.in_words(), closing(self._begun()) as connection:
            query = SqliteTransaction(connection)
            yield query if self._is_ready(query) else None

    @contextmanager
    def reading_at_once(self) -> Iterator[None]:
        """Makes all that this thread reads inside of one state of the file, which is opened once."""
        before = self._signature()
        with self.reading() as query:
            if hasattr(self._reading, "query"):
                yield
                return
            self._reading.query, self._reading.before = query, before
            try:
                yield
            finally:
                del self._reading.query

    def signature(self) -> tuple[object, ...] | None:
        """Returns what is another value after each commit to the file; None where one could be missed.

        It takes no more than three questions to the file system. A commit writes the file or its log, and the file
        system notes when. Two writes within its shortest time look the same, so a file that was written just now has
        none. Nor has what is read at once if the file was written after the reading began.
        """
        signature = self._signature()
        return None if hasattr(self._reading, "query") and signature != self._reading.before else signature

    def _signature(self) -> tuple[object, ...] | None:
        noted: list[tuple[int, ...]] = []
        now = time.time_ns()
        for path in self._file_and_log():
            try:
                about = os.stat(path)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            if not about.st_size:
                continue  # a reader makes an empty log
            whole_seconds = not about.st_mtime_ns % _SECOND
            since = now - max(about.st_mtime_ns, about.st_ctime_ns)
            if since < (_COARSE_NANOS if whole_seconds else _SAME_TIME_NANOS):
                return None
            noted.append((about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
        return tuple(noted) if os.name == "posix" else None

    @contextmanager
    def writing(self) -> Iterator[SqliteTransaction]:
        """Gives a transaction that locks the file, and is committed in the end, or rolled back on any error."""
        with self.in_words(), closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteTransaction(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def has_table(self, name: str) -> bool:
        """Says whether the registry has a table; an older one lacks newer ones until it is written."""
        self._forget_exchanged()
        if name not in self._tables:
            self._tables = frozenset()
            with self.reading():
                pass
        return name in self._tables

    def _forget_exchanged(self) -> None:
        """Forgets which tables there are if the file was exchanged: an older copy may lack some."""
        try:
            about = os.stat(self.path)
        except OSError:
            now = None
        else:
            now = about.st_dev, about.st_ino
        if now != self._tables_of:
            self._tables, self._tables_of = frozenset(), now

    def connect(self, options: str = "") -> sqlite3.Connection:
        """Returns a connection that leaves transactions to its user; ``options`` are those of a SQLite URI."""
        database = f"file:{quote(str(self.path))}{options}" if options else str(self.path)
        connection = sqlite3.connect(database, timeout=BUSY_SECONDS, uri=bool(options), check_same_thread=False)
        connection.isolation_level = None  # the driver would begin too late to see one state
        return connection

    def check_tables(self, names: frozenset[str]) -> bool:
        """Says whether the tables in the file are a registry's; not so in an empty file.

        Raises:
            ConfigError: they are those of another program.
        """
        if META in names:
            return True
        if not names:
            self._check_is_database()
            return False
        is_feast = bool({"feast_metadata", "managed_infra"} & names)
        subject = "a registry that Feast wrote" if is_feast else "another database"
        raise ConfigError(
            f"The registry file {self.path} is {subject} (it has the table {min(names)!r}). "
            f"{_OF_FEAST if is_feast else ''}{_ANOTHER_PATH}"
        )

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Turns errors of SQLite and of the file system into errors of this package."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.explained(error) from error
        except FeastAssetsError:
            raise
        except OSError as error:
            raise StoreUnavailableError(f"Registry {self.path} cannot be used: {error}") from error

    def explained(self, error: Exception) -> FeastAssetsError:
        """Returns the error to raise for one of SQLite's."""
        said = str(error).strip().splitlines()[0]
        # A file that was put back to an earlier state may lack tables; the next use looks again.
        self._tables = frozenset()
        if self.path.is_dir():
            return ConfigError(f"The registry path {self.path} is a directory; name a file in registry.path.")
        if "file is not a database" in said:
            return ConfigError(self._is_foreign())
        if "database is locked" in said:
            said = f"another process has kept it locked for {BUSY_SECONDS} seconds"
        return StoreUnavailableError(f"Registry {self.path} cannot be used: {self._plainly(said)}")

    def _check_is_database(self) -> None:
        """Refuses a file of a few bytes, which SQLite would take for an empty database and overwrite.

        The file is not opened: POSIX takes all locks on a file from a process that closes it, also those of a SQLite
        connection, and another process would then overwrite what this one commits.
        """
        with self.in_words():
            if 0 < self.path.stat().st_size < _SMALLEST_DATABASE:
                raise ConfigError(self._is_foreign())

    def _is_foreign(self) -> str:
        """Returns what to say of a file that is no SQLite database."""
        try:
            is_feast = is_feast_registry_file(self.path)
        except OSError:
            is_feast = False
        subject = "a registry file that Feast wrote, which is not read here" if is_feast else "not a registry"
        remedy = f"{_OF_FEAST if is_feast else ''}{_ANOTHER_PATH}"
        return f"The file {self.path} is {subject}: a registry of feast-assets is a SQLite file. {remedy}"

    def _begun(self) -> sqlite3.Connection:
        """Returns a connection in a transaction, which sees one state of the file."""
        try:
            return _begun(self.connect())
        except sqlite3.OperationalError as error:
            if not self._is_still(error):
                raise
            # Reading, too, needs a file for the locks, which a read-only folder or a full disk does not take. Without
            # rows in the write-ahead log the database file alone is all there is.
            return _begun(self.connect("?mode=ro&immutable=1"))

    def _is_still(self, error: Exception) -> bool:
        """Says whether the file cannot be locked for reading, but is complete in itself."""
        if not any(said in str(error) for said in _CANNOT_LOCK):
            return False
        _, log = self._file_and_log()
        try:
            return self.path.is_file() and not (os.path.exists(log) and os.path.getsize(log))
        except OSError:
            return False

    def _file_and_log(self) -> tuple[str, str]:
        """Returns where the file is and its write-ahead log: beside what a link leads to, not beside the link."""
        path = str(self.path)
        path = os.path.realpath(path) if os.path.islink(path) else path
        return path, f"{path}-wal"

    def _is_ready(self, query: Query) -> bool:
        if not self._tables:
            names = frozenset(name for (name,) in query("SELECT name FROM sqlite_master WHERE type = 'table'"))
            if not self.check_tables(names):
                return False
            if not is_written(query, str(self.path)):
                return False
            self._tables = names
        return True

    def _plainly(self, said: str) -> str:
        """Returns a clearer reason than SQLite's for a file that it cannot use, where there is one."""
        if "disk is full" in said or ("disk I/O error" in said and _is_full(self.path.parent)):
            return "the disk is full."
        if "readonly" in said or ("unable to open" in said and _is_read_only(self.path.parent)):
            return "the file, or the folder that it is in, is read-only."
        if "unable to open" in said:
            return (
                f"the file cannot be opened ({said}); the folder that it is in must exist and not be read-only, and "
                "both must be this user's to write."
            )
        return said


@lru_cache(maxsize=64)
def _upsert(table: str, columns: tuple[str, ...]) -> str:
    keys = ", ".join(f'"{key}"' for key in KEYS[table])
    changed = ", ".join(f'"{column}" = excluded."{column}"' for column in columns if column not in KEYS[table])
    return f"{_insert(table, columns)} ON CONFLICT ({keys}) DO UPDATE SET {changed}"


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    values = ", ".join(f":{column}" for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608 - names of ours


def _begun(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").close()  # SQLite opens the file only now
    except BaseException:
        connection.close()
        raise
    return connection


def _is_read_only(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LITTLE_SPACE
    except OSError:
        return False
