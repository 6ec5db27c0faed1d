"""Writing the events of a step to Dagster's log many at a time.

A run of a range records a materialization of each partition, and a verdict of each check of each partition. Dagster's
log on SQLite, which an instance has by default, opens its files and commits two or three times for each such event. So
a year of days with a few checks takes longer to record than to materialize. Here the same code of Dagster writes the
same rows, and those of many events are committed together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import dagster as dg

# Dagster exports no storages.
from dagster._core.storage.event_log import SqliteEventLogStorage

_MOST = 200
"""Events of one transaction: others who write to the log wait until it ends, about a third of a second."""
_METHODS = ("store_event", "run_connection", "index_connection", "has_table")
_PATCHING = threading.Lock()
"""Held while something is put before a storage, or taken away."""


@contextmanager
def written_together(instance: dg.DagsterInstance) -> Iterator[Callable[[], None]]:
    """Lets materializations and verdicts of checks that follow one another be written to the log together.

    Before this process reads the log, or writes another kind of event, the waiting events are written. All are written
    when the context ends, also by an error. The context gives a function that writes them at once; call it before
    something that takes long. With other storages than SQLite's, each event is written when it comes.
    """
    together = _Together.before(instance.event_log_storage)
    if together is None:
        yield lambda: None
        return
    try:
        yield together.write
    finally:
        together.end()


class _Together:
    """Wraps a storage of events, and holds events back until there are many, or it is used otherwise."""

    @classmethod
    def before(cls, storage: object) -> _Together | None:
        """Wraps a storage; None where it is of another type, or is wrapped already."""
        with _PATCHING:
            if (
                type(storage) is not SqliteEventLogStorage
                # Of two steps in threads of one process, only the first one wraps the storage.
                or "store_event" in vars(storage)
                or not all(hasattr(storage, name) for name in (*_METHODS, "prepare_insert_event_batch"))
            ):
                return None
            together = cls(storage)
            vars(storage).update({name: getattr(together, name) for name in _METHODS})
            return together

    def __init__(self, storage: SqliteEventLogStorage):
        self._storage = storage
        self._store_event = storage.store_event
        self._run_connection = storage.run_connection
        self._index_connection = storage.index_connection
        self._has_table = storage.has_table
        self._prepared = storage.prepare_insert_event_batch
        self._waiting: list[Any] = []
        self._in_run_file = 0
        self._ended = False
        self._lock = threading.RLock()
        self._writer: int | None = None
        self._index: Any = None

    def store_event(self, event: Any) -> None:
        """Keeps an event for later if it may wait, or writes it after those that wait."""
        with self._lock:
            # Another thread may have looked this method up just before it was removed.
            if self._ended or not _may_wait(event) or (self._waiting and self._waiting[0].run_id != event.run_id):
                self.write()
            if self._ended or not _may_wait(event):
                self._store_event(event)
                return
            self._waiting.append(event)
            if len(self._waiting) >= _MOST:
                self.write()

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[Any]:
        """Connects to the file of a run after writing what waits; during that, to one that has its events already."""
        if self._writer == threading.get_ident():
            return nullcontext(_Written())
        self.write()
        of_run: AbstractContextManager[Any] = self._run_connection(run_id)
        return of_run

    def index_connection(self) -> AbstractContextManager[Any]:
        """Connects to the file of all assets after writing what waits; during that, by the same connection."""
        if self._writer == threading.get_ident():
            return nullcontext(self._index)
        self.write()
        return self._index_connection()

    def has_table(self, table_name: str) -> bool:
        """Whether the file of all assets has a table."""
        return bool(self._has_table(table_name))

    def end(self) -> None:
        """Writes the events that wait, and leaves the storage as it was."""
        with self._lock:
            try:
                self.write()
            finally:
                self._ended = True
                with _PATCHING:
                    for name in _METHODS:
                        del vars(self._storage)[name]

    def write(self) -> None:
        """Writes the events that wait: to the file of their run, and then to that of all assets, as Dagster does.

        Where that fails, they wait for the next call.
        """
        with self._lock:
            events = self._waiting
            if not events:
                return
            if new := events[self._in_run_file :]:
                with self._run_connection(events[0].run_id) as of_run:
                    of_run.execute(self._prepared(new))
                self._in_run_file = len(events)
            with self._index_connection() as self._index:
                self._writer, asked = threading.get_ident(), self._has_table
                self._has_table = cache(asked)
                try:
                    for event in events:
                        self._store_event(event)
                finally:
                    self._writer, self._index, self._has_table = None, None, asked
            self._waiting, self._in_run_file = [], 0


class _Written:
    """Takes the place of a connection to a file that has all events already."""

    def execute(self, statement: Any) -> None:
        pass


def _may_wait(event: Any) -> bool:
    """Whether an entry of the log is a materialization, or a verdict of a check, of a run."""
    kinds = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    return bool(event.run_id and event.is_dagster_event and event.dagster_event_type in kinds)
