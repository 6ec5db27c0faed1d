"""Run as a program: does one call on a small project and kills itself (SIGKILL) at a named point of it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from small_project import START, SmallProject, hours

from feast_assets import Entity, Field, Int64, PushMode, String
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.online_stores.base import EncodedRows, OnlineStore
from feast_assets.registry.base import Registry


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(method: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not before:
            method(self, *args, **kwargs)
        die()

    return call


def dying_in_batches(method: Callable[..., Any]) -> Callable[..., Any]:
    """Lets the store take the first row of what is put, then dies."""

    def put_many(self: Any, table: str, batches: Iterable[EncodedRows]) -> Any:
        def some() -> Iterable[EncodedRows]:
            for batch in batches:
                yield batch.take([0])
                die()

        return method(self, table, some())

    return put_many


def arm(point: str, project: SmallProject) -> None:
    """Sets the trap."""
    online: type[OnlineStore] = type(project.store.online_store)
    offline: type[OfflineStore] = type(project.store.offline_store)
    registry: type[Registry] = type(project.store.registry)
    target, when, name = {
        "before put": (online, "before", "put_many"),
        "in put": (online, "in", "put_many"),
        "after put": (online, "after", "put_many"),
        "before claim": (registry, "before", "claim"),
        "after claim": (registry, "after", "claim"),
        "before advance": (online, "before", "advance"),
        "after advance": (online, "after", "advance"),
        "before settle": (registry, "before", "settle"),
        "after settle": (registry, "after", "settle"),
        "before commit": (registry, "before", "commit"),
        "after commit": (registry, "after", "commit"),
        "before setup": (online, "before", "setup"),
        "after setup": (online, "after", "setup"),
        "before drop": (online, "before", "drop"),
        "after drop": (online, "after", "drop"),
        "before write": (offline, "before", "write_once"),
        "after write": (offline, "after", "write_once"),
        "before note": (registry, "before", "note_push"),
        "after note": (registry, "after", "note_push"),
        "before forget": (registry, "before", "forget_push"),
    }[point]
    method = getattr(target, name)
    trap = dying_in_batches(method) if when == "in" else dying(method, before=when == "before")
    setattr(target, name, trap)


def main(root: str, point: str, call: str) -> None:
    project = SmallProject(Path(root))
    store = project.store
    _ = store.online_store, store.offline_store
    arm(point, project)
    if call == "apply":
        project.apply(name="other", description="second")
    elif call == "other keys":
        trips = Entity(name="trip", join_keys=["trips"])
        schema = [Field(name="trips", dtype=Int64), Field(name="city", dtype=String)]
        store.apply([trips, project.view(entities=[trips], schema=schema)])
    elif call == "delete":
        store.apply([], objects_to_delete=[store.get_feature_view("stats")], partial=False)
    elif call == "materialize":
        store.materialize_incremental(hours(96))
    elif call == "push":
        rows = {"driver_id": [1, 2], "trips": [100, 200], "city": ["p", "p"], "ts": [hours(95), hours(95)]}
        store.push("live", rows, to=PushMode.ONLINE_AND_OFFLINE)
    raise SystemExit(f"{call} was not killed at {point!r}; started at {START}")


if __name__ == "__main__":
    main(*sys.argv[1:])
