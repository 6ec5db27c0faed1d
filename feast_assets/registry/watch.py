"""Keeps a process's definitions fresh in a thread of its own, so that no request waits for the registry."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from feast_assets.errors import FeastAssetsError, printable
from feast_assets.registry.cache import SnapshotCache

logger = logging.getLogger("feast_assets.registry")


@dataclass(frozen=True, slots=True)
class RegistryState:
    """How fresh the definitions in memory are.

    Attributes:
        revision: of the definitions; None where none were read yet.
        read_at: when the registry last answered, Unix seconds; 0 for never.
        error: why it could not be read since; ``""`` where it could.
    """

    revision: int | None
    read_at: float
    error: str

    @property
    def is_current(self) -> bool:
        """Whether the last look at the registry succeeded."""
        return self.revision is not None and not self.error


class RegistryWatch:
    """Reads the registry every so many seconds. If it cannot be read, the last definitions stay in use.

    A forked child goes on watching with a thread of its own.
    """

    def __init__(self, cache: SnapshotCache, seconds: float, forget_locks: Callable[[], None]):
        """Creates a watch that does nothing before `start`.

        Args:
            forget_locks: called in a forked child, where no thread of the parent will release what it held.
        """
        self._cache = cache
        self._seconds = seconds
        self._forget_locks = forget_locks
        self._state = RegistryState(None, 0.0, "")
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> RegistryState:
        return self._state

    def start(self) -> None:
        """Begins to watch. From now on, nobody else reads the registry for a request."""
        self._cache.refresh_elsewhere()
        self._begin()
        watch = weakref.ref(self)

        def in_child() -> None:
            forked = watch()
            if forked is not None and not forked._stopped.is_set():
                forked._forget_locks()
                forked._begin()

        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=in_child)

    def look(self) -> RegistryState:
        """Reads the registry now, and returns the state afterwards."""
        try:
            revision = self._cache.fresh().revision
        except FeastAssetsError as error:
            self._state = RegistryState(self._state.revision, self._state.read_at, printable(error))
        except Exception as error:
            logger.error("The registry could not be read.", exc_info=error)
            self._state = RegistryState(
                self._state.revision,
                self._state.read_at,
                f"It could not be read ({type(error).__name__}); see the log.",
            )
        else:
            self._state = RegistryState(revision, time.time(), "")
        return self._state

    def stop(self) -> None:
        """Ends watching; definitions then are refreshed by those who ask for them."""
        self._stopped.set()
        self._cache.refresh_elsewhere(False)
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _begin(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=_watch, args=(weakref.ref(self), self._stopped), name="feast-assets-registry-watch", daemon=True
        )
        self._thread.start()


def _watch(reference: weakref.ref[RegistryWatch], stopped: threading.Event) -> None:
    next_look = 0.0
    while True:
        watch = reference()
        if watch is None:
            return
        if watch._cache.wants_look() or time.monotonic() >= next_look:
            watch.look()
            next_look = time.monotonic() + watch._seconds
        pause = min(1.0, max(0.0, next_look - time.monotonic()))
        del watch
        if stopped.wait(pause):
            return
