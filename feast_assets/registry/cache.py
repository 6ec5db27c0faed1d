"""A registry's definitions in memory, refreshed without delaying requests."""

from __future__ import annotations

import math
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from feast_assets.errors import FeastAssetsError
from feast_assets.registry.base import Registry
from feast_assets.registry.snapshot import RegistrySnapshot

_T = TypeVar("_T")

_LOOK_AGAIN_SECONDS = 10.0
"""How soon `get` looks again after a push that could not be completed, as its store was down."""


class SnapshotCache:
    """The newest snapshot that this process has read.

    Args:
        ttl_seconds: how old a snapshot may be before `get` has it read again; 0 for no limit.
        wait: whether `get` waits for that; if not, it is read in a thread, and `get` answers with the old one
            meanwhile. Where it cannot be read, `get` warns and answers with the old one.
        complete_pushes: called with each snapshot that was just read and has noted pushes, and with whether the caller
            uses history; returns whether all pushes were completed. If not, it is called again soon.
    """

    def __init__(
        self,
        registry: Registry,
        ttl_seconds: float,
        *,
        wait: bool = False,
        complete_pushes: Callable[[RegistrySnapshot, bool], bool] | None = None,
    ):
        self._registry = registry
        self._ttl = ttl_seconds
        self._wait = wait
        self._complete_pushes = complete_pushes
        self._snapshot: RegistrySnapshot | None = None
        self._checked = 0.0
        self._look_again_at = math.inf
        self._elsewhere = False
        self.forget_locks()

    def forget_locks(self) -> None:
        """Makes all locks free, in a forked child: a thread that it does not have may have held them."""
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()

    def refresh_elsewhere(self, elsewhere: bool = True) -> None:
        """Says whether another thread calls `fresh` regularly, so that `get` never waits once it has a snapshot."""
        self._elsewhere = elsewhere

    def wants_look(self) -> bool:
        """Tells whether the registry should be read now, since a push broke off."""
        return time.monotonic() >= self._look_again_at

    def get(self) -> RegistrySnapshot:
        """Returns the cached snapshot; the first call waits for the registry."""
        snapshot = self._snapshot
        if self._elsewhere and snapshot is not None:
            return snapshot
        now = time.monotonic()
        old = self._ttl and now - self._checked > self._ttl
        if snapshot is None:
            return self.fresh()
        if now >= self._look_again_at and self._refreshing.acquire(blocking=False):
            self._look_again_at = now + _LOOK_AGAIN_SECONDS
            self._refresh()
            return self._snapshot or snapshot
        if old and self._refreshing.acquire(blocking=False):
            if not self._wait:
                threading.Thread(target=self._refresh, name="feast-assets-registry", daemon=True).start()
                return snapshot
            self._refresh()
        return self._snapshot or snapshot

    def fresh(self, *, uses_history: bool = False) -> RegistrySnapshot:
        """Returns the newest snapshot; reads definitions only if the registry has another revision.

        Args:
            uses_history: whether the caller is about to read or write history, so that its data sources are those of
                the project; unfinished pushes are then completed in history as well.
        """
        snapshot = self._read()
        self._look_after_pushes(snapshot, uses_history)
        return snapshot

    def fresh_with(self, read: Callable[[RegistrySnapshot], _T]) -> _T:
        """Returns what a function reads of the registry, given the newest snapshot; both are of one state if they can.

        Args:
            read: reads the registry and changes nothing.
        """
        with ExitStack() as reading:
            with self._lock:  # before the reading begins, or it might be of an earlier state than what is cached then
                reading.enter_context(self._registry.reading_at_once())
                snapshot = self._read_alone()
            result = read(snapshot)
        self._look_after_pushes(snapshot, uses_history=False)
        return result

    def _read(self) -> RegistrySnapshot:
        with self._lock:
            return self._read_alone()

    def _read_alone(self) -> RegistrySnapshot:
        known = self._snapshot
        self._snapshot = self._registry.snapshot() if known is None else self._registry.refreshed(known)
        self._checked = time.monotonic()
        return self._snapshot

    def look_again(self) -> None:
        """Makes the next `get` read the registry, because a push has just broken off."""
        self._look_again_at = 0.0

    def _look_after_pushes(self, snapshot: RegistrySnapshot, uses_history: bool) -> None:
        self._look_again_at = math.inf
        complete = self._complete_pushes
        if snapshot.has_noted_pushes and complete is not None and not complete(snapshot, uses_history):
            self._look_again_at = time.monotonic() + _LOOK_AGAIN_SECONDS

    def _refresh(self) -> None:
        try:
            self.fresh()
        except FeastAssetsError as error:
            self._checked = time.monotonic()
            warnings.warn(
                f"The registry could not be refreshed; the definitions in memory are used: {error}", stacklevel=1
            )
        finally:
            self._refreshing.release()
