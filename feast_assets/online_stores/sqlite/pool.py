"""Connections to one SQLite file, for threads that come and go and processes that fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.sqlite.file_format import bring_up_to_date
from feast_assets.private_files import create_private_file

_BUSY_SECONDS = 60.0
# Prepared statements per connection: a table has one for each of a dozen numbers of keys.
_STATEMENTS_KEPT = 1024
_ON_DISK = "PRAGMA synchronous = FULL"
# SQLite forbids closing, in a child process, what its parent opened. Keeping it here keeps Python from doing so.
_INHERITED: list[sqlite3.Connection] = []
_POOLS: weakref.WeakSet[SqlitePool] = weakref.WeakSet()

# Device and inode.
_FileId = tuple[int, int]


# The SQL function by which a statement notes that it overwrites a value that cannot be a row. It is always true.
NOTE_OVERWRITTEN = "feast_assets_note_overwritten"


class StoreConnection(sqlite3.Connection):
    """A connection that remembers the keys that its statements have passed to `NOTE_OVERWRITTEN`.

    Attributes:
        overwritten: the keys; the caller empties it before such statements.
        may_write: false where the file has an earlier format and cannot be upgraded, as it is read-only.
    """

    overwritten: list[bytes]
    may_write: bool


class _FrozenConnection(StoreConnection):
    """Reads a file as if nobody could ever write it, so it must not outlive the call that it was opened for."""


class SqlitePool:
    """Hands out a connection per call; as many stay open as calls ever ran at once."""

    def __init__(self, path: Path):
        self._path = path
        self._file = os.fspath(path)  # as text: each call looks at it
        self._idle: list[tuple[StoreConnection, _FileId | None]] = []
        self._generation = 0
        self._lock = threading.Lock()
        # Between threads a lock is fairer and cheaper than SQLite's polling, which remains between processes.
        self._write_lock = threading.Lock()
        _POOLS.add(self)

    def reading(self, *, in_transaction: bool = True) -> AbstractContextManager[StoreConnection]:
        """Returns a block with a connection; in a transaction, all reads of the block see one state of the file."""
        return _ConnectionLease(self, "BEGIN" if in_transaction else "")

    @contextmanager
    def writing(self, *, on_disk: bool = True) -> Iterator[StoreConnection]:
        """Yields a connection in a transaction that is kept if the block ends well, else undone.

        Args:
            on_disk: whether it is on the disk when the block ends. If not, a power cut may undo it, though never
                without the writes after it.
        """
        prepare = _use_write_ahead if on_disk else _write_lazily
        with self._write_lock, _ConnectionLease(self, "BEGIN IMMEDIATE", prepare) as connection:
            if not connection.may_write:
                raise StoreUnavailableError(
                    f"Online store {self._path} cannot be written: it is read-only, and has the format of an earlier "
                    "version."
                )
            yield connection

    def close(self) -> None:
        """Closes all connections: idle ones now, others when their call ends."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _taken(self) -> tuple[StoreConnection, _FileId | None, int]:
        """Returns a connection, of which file it is, and the generation that it belongs to."""
        connection = None
        file_id = self._file_id()
        with self._lock:
            generation = self._generation
            if self._idle:
                connection, opened = self._idle.pop()
        if connection is not None and opened != file_id:
            # The file was deleted or exchanged: rows that are written to the old one would be lost.
            connection.close()
            connection = None
        if connection is None:
            try:
                connection = self._open()
            except sqlite3.Error as error:
                raise self._unavailable(error) from error
            file_id = self._file_id()
        return connection, file_id, generation

    def _give_back(self, connection: StoreConnection, file_id: _FileId | None, generation: int) -> None:
        with self._lock:
            if generation == self._generation and not isinstance(connection, _FrozenConnection):
                self._idle.append((connection, file_id))
                return
        connection.close()

    def _file_id(self) -> _FileId | None:
        try:
            status = os.stat(self._file)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _is_frozen(self) -> bool:
        """Tells whether the file lies where SQLite cannot make what it needs beside it, and nobody has it open."""
        if not self._path.is_file() or os.access(self._path.parent, os.W_OK):
            return False
        log, index = (self._path.with_name(self._path.name + end) for end in ("-wal", "-shm"))
        # A log with something in it must be read too, which only the ordinary way does.
        return not log.exists() or (log.stat().st_size == 0 and not index.exists())

    def _open(self) -> StoreConnection:
        connection = self._connected()
        try:
            connection.may_write = bring_up_to_date(connection, self._path)
        except BaseException:
            connection.close()
            raise
        connection.overwritten = overwritten = []

        def note(key: bytes) -> bool:
            overwritten.append(key)
            return True

        connection.create_function(NOTE_OVERWRITTEN, 1, note)
        return connection

    def _connected(self) -> StoreConnection:
        if self._is_frozen():
            uri = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
            return sqlite3.connect(
                uri, uri=True, isolation_level=None, check_same_thread=False, factory=_FrozenConnection
            )
        if not os.path.exists(self._file):
            create_private_file(self._path)
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_KEPT,
            factory=StoreConnection,
        )
        # The ledger says that rows were written, so a commit must outlive a power cut as well.
        connection.execute(_ON_DISK)
        return connection

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailableError:
        # Their low byte is the error, the rest its circumstances.
        code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
        if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return StoreUnavailableError(f"Online store {self._path} cannot be used: the disk is full ({error}).")
        if code & 0xFF == sqlite3.SQLITE_READONLY and code != sqlite3.SQLITE_READONLY_DBMOVED:
            return StoreUnavailableError(f"Online store {self._path} cannot be written: it is read-only ({error}).")
        hint = ""
        if not self._path.parent.is_dir():
            hint = " Its directory does not exist; `apply` creates it."
        elif "locked" in str(error):
            hint = f" Another process has held it for more than {_BUSY_SECONDS:.0f} seconds."
        return StoreUnavailableError(f"Online store {self._path} cannot be used: {error}.{hint}")

    def _after_fork(self) -> None:
        _INHERITED.extend(connection for connection, _ in self._idle)
        self._idle = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()


class _ConnectionLease:
    """A block with a connection of a pool, and a transaction around it where one is begun.

    Not a generator with ``contextmanager``, which would be a tenth of the time of a small read.
    """

    __slots__ = ("_begin", "_connection", "_file_id", "_generation", "_pool", "_prepare")

    def __init__(self, pool: SqlitePool, begin: str, prepare: Callable[[sqlite3.Connection], None] | None = None):
        self._pool = pool
        self._begin = begin
        self._prepare = prepare

    def __enter__(self) -> StoreConnection:
        connection, self._file_id, self._generation = self._pool._taken()
        self._connection = connection
        try:
            if self._prepare is not None:
                self._prepare(connection)
            if self._begin:
                connection.execute(self._begin)
        except BaseException as error:
            self._break_off(error)
            raise
        return connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                if self._begin:
                    self._connection.execute("COMMIT")
                if self._prepare is _write_lazily:
                    self._connection.execute(_ON_DISK)
            except BaseException as failure:
                self._break_off(failure)
                raise
            self._pool._give_back(self._connection, self._file_id, self._generation)
            return
        self._break_off(error)

    def _break_off(self, error: BaseException) -> None:
        # Closing also undoes an open transaction.
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise self._pool._unavailable(error) from error


def _use_write_ahead(connection: sqlite3.Connection) -> None:
    """Sets the file's journal mode, which it then keeps."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait when two processes switch a new file's mode at the same time.
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _write_lazily(connection: sqlite3.Connection) -> None:
    _use_write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
