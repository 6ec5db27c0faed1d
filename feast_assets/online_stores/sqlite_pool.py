"""Connections to one SQLite file, for threads that come and go and processes that fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feast_assets.errors import StoreUnavailableError

_BUSY_SECONDS = 60.0

# SQLite forbids closing, in a child process, what its parent opened. Keeping it here keeps Python from doing so.
_INHERITED: list[sqlite3.Connection] = []
_POOLS: weakref.WeakSet[SqlitePool] = weakref.WeakSet()


class SqlitePool:
    """Hands out a connection per call; as many stay open as calls ever ran at once."""

    def __init__(self, path: Path):
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._generation = 0
        self._lock = threading.Lock()
        # Between threads a lock is fairer and cheaper than SQLite's polling, which remains between processes.
        self._write_lock = threading.Lock()
        _POOLS.add(self)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection whose reads all see one state of the file."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection in a transaction that is kept if the block ends well, else undone."""
        with self._write_lock, self._connection() as connection:
            _use_write_ahead(connection)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Closes all connections: idle ones now, others when their call ends."""
        with self._lock:
            self._generation += 1
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            generation = self._generation
            connection = self._idle.pop() if self._idle else None
        try:
            if connection is None:
                connection = self._open()
            yield connection
        except BaseException as error:
            if connection is not None:
                # Closing also undoes an open transaction.
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        with self._lock:
            if generation == self._generation:
                self._idle.append(connection)
                return
        connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        # The ledger says what was written, so a commit must outlive a power cut as well.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailableError:
        hint = ""
        if not self._path.parent.is_dir():
            hint = " Its directory does not exist; `apply` creates it."
        elif "locked" in str(error):
            hint = f" Another process has held it for more than {_BUSY_SECONDS:.0f} seconds."
        return StoreUnavailableError(f"Online store {self._path} cannot be used: {error}.{hint}")

    def _after_fork(self) -> None:
        _INHERITED.extend(self._idle)
        self._idle = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()


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


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
