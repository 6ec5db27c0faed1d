"""The latest features of 1, 10, 100 and 1000 entities, until ``to_dict()`` has them as lists."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.bare_engines import RedisValues, SqliteTables, duckdb_connection, latest_per_entity
from benchmarks.datasets import Shape, entity_rows
from benchmarks.feature_repository import SERVICE, materialized
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, SIDES
from benchmarks.measuring import Metrics, sampled
from benchmarks.paths.materialization import workspace
from benchmarks.shapes import narrow, wide
from benchmarks.sizes import Size

BATCHES = (1, 10, 100, 1000)
_DIFFERENT = 200

Read = Callable[[Any], Any]


def jobs(size: Size) -> Iterator[Job]:
    for shape in (narrow(size), wide(size)):
        for store in ("sqlite", "redis"):
            for side in SIDES:
                yield Job(
                    "online_reads",
                    side,
                    {"store": store, "shape": shape.name},
                    shape,
                    workspace=workspace(store, shape),
                    verbs=1 + len(BATCHES),
                )


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    read, as_given = reader(job, place, shape)
    fixed = read(as_given(list(range(0, shape.entities, shape.entities // 50))))
    answer = float(sum(value for values in fixed.values() for value in values))
    for batch in BATCHES:
        before = place.redis_seconds()
        metrics = sample_reads(read, as_given, shape.entities, batch, place.size)
        if job.parameters["store"] == "redis":
            metrics["redis_cpu"] = (place.redis_seconds() - before) / metrics["samples"]
        yield {"answer": answer, "entities": batch, **metrics}


def sample_reads(
    read: Read,
    as_given: Callable[[list[int]], Any],
    entities: int,
    batch: int,
    size: Size,
) -> Metrics:
    """Times reads of so many entities, chosen anew for each."""
    rng = random.Random(batch)  # noqa: S311 - nothing secret
    different = min(_DIFFERENT if batch > 1 else 1000, size.single_reads)
    asked = [as_given([rng.randrange(entities) for _ in range(batch)]) for _ in range(different)]
    if batch == 1:
        return sampled(read, asked, size.single_reads, 0.0)
    return sampled(read, asked, size.batch_reads, size.read_seconds, at_most=size.single_reads)


def reader(job: Job, place: Workplace, shape: Shape) -> tuple[Read, Callable[[list[int]], Any]]:
    """Returns what reads everything of some entities, and what makes its argument of their ids."""
    kind = job.parameters["store"]
    if job.side != BARE:
        library = library_of(job)
        store = materialized(library, place.directory, shape, place.data, place.online_store(kind, job.side))
        service = store.get_feature_service(SERVICE)
        return (
            lambda rows: store.get_online_features(
                features=service, entity_rows=rows, full_feature_names=True
            ).to_dict(),
            entity_rows,
        )
    bare = filled_by_hand(kind, place, shape)
    return lambda ids: bare.read(shape.names, shape.features, ids), list


def filled_by_hand(kind: str, place: Workplace, shape: Shape) -> SqliteTables | RedisValues:
    """Returns the latest rows of a shape, put there by hand."""
    place.directory.mkdir(parents=True, exist_ok=True)
    connection = duckdb_connection()
    values = RedisValues(place.redis, redis_database(BARE), shape.name) if kind == "redis" else None
    tables = SqliteTables(place.directory / "bare.db")
    for number, view in enumerate(shape.names):
        rows = latest_per_entity(connection, shape.path(place.data, number), shape)
        if values is not None:
            values.write(view, shape.features, rows)
        else:
            tables.create(view, shape.features)
            tables.upsert(view, shape.features, rows)
    return values or tables
