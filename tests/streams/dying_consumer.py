"""A consumer in a process of its own that dies (SIGKILL) at the n-th step that it takes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feast_assets import FeatureStore
from feast_assets.offline_stores.duckdb import stream_ranges
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.base import OnlineStore
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.streams.consumer import StreamConsumer
from feast_assets.streams.dead_letters import DeadLetters
from feast_assets.streams.kafka.reader import KafkaReader


class Steps:
    """Counts the steps of this process, and ends it at one of them."""

    def __init__(self, last: int):
        self._left = last

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Makes the beginning and the end of a call steps."""
        real: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.step()
            returned = real(*args, **kwargs)
            self.step()
            return returned

        setattr(owner, name, call)


def consume(root: str, last: int, options: dict[str, Any]) -> None:
    """Consumes what is there, and dies at a step; 0 for none."""
    steps = Steps(last)
    store = FeatureStore(Path(root))
    steps.around(type(store.online_store), "put_many")
    steps.around(DuckDBOfflineStore, "append_range")
    steps.around(stream_ranges, "publish_once")
    steps.around(SqlRegistry, "keep_checkpoints")
    steps.around(DeadLetters, "add")
    steps.around(KafkaReader, "poll")
    steps.around(StreamConsumer, "_flush")
    assert issubclass(type(store.online_store), OnlineStore)
    store.consume(stop_at_end=True, **options)
    store.close()
