"""A registry's definitions kept in memory, refreshed off the path of requests."""

from __future__ import annotations

import threading
import time
import warnings

from feast_assets.errors import FeastAssetsError
from feast_assets.registry.base import Registry
from feast_assets.registry.snapshot import RegistrySnapshot


class SnapshotCache:
    """The newest snapshot as far as is known.

    Args:
        ttl_seconds: how old a snapshot may be before `get` has it read anew; 0 for no limit.
        wait: whether `get` waits for that; if not, it is read in a thread, and `get` answers with the old one
            meanwhile. Where it cannot be read, `get` warns and answers with the old one.
    """

    def __init__(self, registry: Registry, ttl_seconds: float, *, wait: bool = False):
        self._registry = registry
        self._ttl = ttl_seconds
        self._wait = wait
        self._snapshot: RegistrySnapshot | None = None
        self._checked = 0.0
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()

    def get(self) -> RegistrySnapshot:
        """Returns the cached snapshot; the first call waits for the registry."""
        snapshot = self._snapshot
        old = self._ttl and time.monotonic() - self._checked > self._ttl
        if snapshot is None:
            return self.fresh()
        if old and self._refreshing.acquire(blocking=False):
            if not self._wait:
                threading.Thread(target=self._refresh, name="feast-assets-registry", daemon=True).start()
                return snapshot
            self._refresh()
        return self._snapshot or snapshot

    def fresh(self) -> RegistrySnapshot:
        """Returns the newest snapshot; reads definitions only if the registry has another revision."""
        with self._lock:
            known = self._snapshot
            self._snapshot = self._registry.snapshot() if known is None else self._registry.refreshed(known)
            self._checked = time.monotonic()
            return self._snapshot

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
