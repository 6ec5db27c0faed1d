"""One DuckDB without a file that no engine uses at present, kept for the next engine with the same settings.

To open one takes about as long as to read a small file, and programs make a store for each call, as a sensor's tick
does. So the last database that became idle is kept until another one does, or the process ends or forks. It holds no
data: cursors are closed, nothing is attached, and its spill folder is removed meanwhile.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from feast_assets.offline_stores.duckdb.spill_folder import SpillFolder

Settings = tuple[object, ...]


@dataclass(eq=False)
class Database:
    """A DuckDB without a file.

    Attributes:
        connection: stands for it.
        settings: decide all of its settings.
        pid: of the process that may use it; a forked process must not use its parent's threads.
        open_cursors: numbers of the cursors that were not closed so far, including those that were lost without it.
    """

    connection: duckdb.DuckDBPyConnection
    settings: Settings
    spill: SpillFolder
    pid: int = field(default_factory=os.getpid)
    open_cursors: set[int] = field(default_factory=set, init=False)
    _numbers: Iterator[int] = field(default_factory=count, init=False, repr=False)

    def open_cursor(self) -> tuple[duckdb.DuckDBPyConnection, int]:
        """Returns a cursor of the database, and its number."""
        cursor, number = self.connection.cursor(), next(self._numbers)
        self.open_cursors.add(number)  # a set, as threads open and close cursors at the same time
        return cursor, number

    def close(self) -> None:
        """Closes the database, as soon as nothing in the process reads a file that is attached to it."""
        attached_files = sys.modules.get("feast_assets.offline_stores.duckdb.attached_files")
        if attached_files is None:
            self.connection.close()
        else:
            attached_files.discard(self.connection)
        self.spill.remove()

    @property
    def is_reusable(self) -> bool:
        """Whether no cursor is open, and no file attached."""
        attached_files = sys.modules.get("feast_assets.offline_stores.duckdb.attached_files")
        return not self.open_cursors and (attached_files is None or not attached_files.is_used(self.connection))


class IdleDatabase:
    """The place for one idle database."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run in the thread that holds it
        self._kept: Database | None = None
        self._is_ending = False

    def taken(self, settings: Settings) -> Database | None:
        """Returns the idle database if it has these settings; nobody else gets it then."""
        with self._lock:
            kept = self._kept
            if kept is None or kept.pid != os.getpid() or kept.settings != settings:
                return None
            self._kept = None
        try:
            kept.spill = kept.spill.made_again()
        except OSError:
            kept.connection.close()
            return None
        return kept

    def give_back(self, database: Database) -> None:
        """Keeps a database that its engine does not need any more, in the place of another; closes what is not kept."""
        if database.pid != os.getpid():
            return
        if self._is_ending or not database.is_reusable:
            database.close()
            return
        database.spill.remove()
        with self._lock:
            before, self._kept = self._kept, database
        if before is not None and before.pid == os.getpid():
            before.connection.close()

    def end(self) -> None:
        """Closes the idle database; from now on none is kept."""
        with self._lock:
            self._is_ending = True
            kept, self._kept = self._kept, None
        if kept is not None and kept.pid == os.getpid():
            kept.connection.close()

    def before_fork(self) -> None:
        """Closes the idle database, and keeps none until the fork is over.

        Its threads are missing in a forked process, which would wait for them for ever, or crash, when it drops its
        copy or opens another database.
        """
        self._lock.acquire()
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.connection.close()

    def after_fork_in_parent(self) -> None:
        """Lets other threads go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Makes the lock anew, which the fork was done under."""
        self._lock = threading.RLock()


IDLE = IdleDatabase()
os.register_at_fork(
    before=IDLE.before_fork, after_in_parent=IDLE.after_fork_in_parent, after_in_child=IDLE.after_fork_in_child
)
atexit.register(IDLE.end)
