"""Whether a server can answer now: it has definitions, and the online store answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from feast_assets.errors import FeastAssetsError, printable
from feast_assets.online_stores.base import OnlineRead
from feast_assets.registry.watch import RegistryWatch

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.metrics import ServerMetrics

_STORE_SECONDS = 2.0
_REMEMBERED_SECONDS = 1.0
_NO_TABLE = "feast_assets_readiness"


class Readiness:
    """Tells whether one server is ready, for ``/ready`` of HTTP and for the health service of gRPC.

    A registry that cannot be read does not make a server unready: it serves on from its last definitions, and the
    answer says so.
    """

    def __init__(self, store: FeatureStore):
        self._store = store
        self._watch: RegistryWatch | None = None
        # Probes of many balancers together ask the store once.
        self._asked_at = float("-inf")
        self._store_error = ""
        self._asking = asyncio.Lock()

    async def open_store(self, registry_seconds: float) -> RegistryWatch:
        """Reads the registry and opens the online store; begins to watch the registry.

        Args:
            registry_seconds: between two looks at the registry.

        Returns:
            what watches it.
        """
        await self._store.initialize()
        watch = self._store.keep_registry_fresh(registry_seconds)
        await asyncio.to_thread(watch.look)
        self._watch = watch
        return watch

    def count(self, metrics: ServerMetrics) -> None:
        """Sets the metrics of the registry."""
        if self._watch is not None and (state := self._watch.state).revision is not None:
            metrics.registry_revision.set(state.revision)
            metrics.registry_age.set(time.time() - state.read_at)

    async def state(self) -> tuple[int, dict[str, Any]]:
        """Returns the status, 200 or 503, and what is so."""
        registry: dict[str, Any] = {"state": "not read", "revision": None}
        has_definitions = False
        if self._watch is not None:
            known = self._watch.state
            is_read = known.revision is not None
            # Revision 0 is a registry that nothing was applied to, or a file that is gone.
            has_definitions = bool(known.revision)
            if known.is_current:
                word = "current" if has_definitions else "empty"
            else:
                word = "stale" if is_read else "not read"
            registry = {
                "state": word,
                "revision": known.revision,
                "age_seconds": round(time.time() - known.read_at, 3) if is_read else None,
            }
            if known.error:
                registry["error"] = known.error
        await self._ask_store()
        online_store = {"state": "unavailable", "error": self._store_error} if self._store_error else {"state": "ok"}
        ready = has_definitions and not self._store_error
        return 200 if ready else 503, {"ready": ready, "registry": registry, "online_store": online_store}

    async def _ask_store(self) -> None:
        if self._store.config.store_type("online_store") is None:
            return
        async with self._asking:
            if time.monotonic() - self._asked_at < _REMEMBERED_SECONDS:
                return
            try:
                async with asyncio.timeout(_STORE_SECONDS):
                    await self._store.online_store.get_many_async(
                        [OnlineRead(f"{self._store.project}:{_NO_TABLE}", [b"ready"])]
                    )
                self._store_error = ""
            except FeastAssetsError as error:
                self._store_error = printable(error)
            except TimeoutError:
                self._store_error = f"It did not answer within {_STORE_SECONDS:g} seconds."
            self._asked_at = time.monotonic()
