"""Reads of one entity, 64 at once on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.bare_engines import RedisValues
from benchmarks.datasets import Shape, entity_rows
from benchmarks.feature_repository import SERVICE, materialized
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, FEAST, SIDES
from benchmarks.measuring import Metrics, concurrently
from benchmarks.paths.materialization import workspace
from benchmarks.paths.online_reads import filled_by_hand
from benchmarks.shapes import narrow
from benchmarks.sizes import Size

AT_ONCE = 64


def jobs(size: Size) -> Iterator[Job]:
    for store in ("redis", "sqlite"):
        for side in SIDES:
            # Feast has no asynchronous reads of SQLite, and by hand there is nothing asynchronous about it.
            if store == "redis" or side not in (FEAST, BARE):
                shape = narrow(size)
                yield Job("async_reads", side, {"store": store}, shape, workspace=workspace(store, shape), verbs=2)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    assert job.shape is not None
    yield {"at_once": AT_ONCE, **asyncio.run(_measure(job, place, job.shape))}


async def _measure(job: Job, place: Workplace, shape: Shape) -> Metrics:
    if job.side == BARE:
        verb, close = _by_hand(place, shape)
    else:
        library = library_of(job)
        online_store = place.online_store(job.parameters["store"], job.side)
        store = materialized(library, place.directory, shape, place.data, online_store)
        service = store.get_feature_service(SERVICE)
        await store.initialize()
        close = store.close

        async def verb(number: int) -> Any:
            rows = entity_rows([number % shape.entities])
            return (await store.get_online_features_async(features=service, entity_rows=rows)).to_dict()

    metrics = await concurrently(verb, AT_ONCE, 5 * place.size.read_seconds / 3)
    await close()
    return metrics


def _by_hand(place: Workplace, shape: Shape) -> tuple[Callable[[int], Awaitable[Any]], Callable[[], Awaitable[Any]]]:
    import redis.asyncio

    values = filled_by_hand("redis", place, shape)
    assert isinstance(values, RedisValues)
    host, port = place.redis.split(":")
    client = redis.asyncio.Redis(host=host, port=int(port), db=redis_database(BARE))

    async def verb(number: int) -> Any:
        ids = [number % shape.entities]
        found = await client.mget(values.keys(shape.names, ids))
        return values.columns(shape.names, shape.features, ids, found)

    return verb, client.aclose
