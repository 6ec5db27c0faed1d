"""Processes that write one registry at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence

from feast_assets.errors import ConcurrentApplyError
from feast_assets.registry.base import (
    Changes,
)
from feast_assets.testing.registry.objects import DAY, FIRST, RegistryFactory, commit, entity, entry, record


def commit_entities(factory: RegistryFactory, worker: int, count: int) -> None:
    registry = factory("shop")
    for i in range(count):
        commit(registry, entity(f"e_{worker}_{i}"))
    registry.close()


def _increment_carefully(factory: RegistryFactory, times: int) -> None:
    """Adds one to a number in an entity's description, trying again when somebody else came between."""
    registry = factory("shop")
    done = 0
    while done < times:
        snapshot = registry.snapshot()
        stored = snapshot.get("entity", "counter")
        value = int(stored.description) if stored is not None else 0
        try:
            registry.commit(Changes([entity("counter", str(value + 1))]), based_on=snapshot.revision)
        except ConcurrentApplyError:
            continue
        done += 1
    registry.close()


def _record_days(factory: RegistryFactory, first: int, count: int) -> None:
    registry = factory("shop")
    for i in range(first, first + count):
        record(registry, entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY))
    registry.close()


def in_processes(target: Callable[..., None], arguments: Sequence[tuple[object, ...]]) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=args) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [p.exitcode for p in processes] == [0] * len(processes)
