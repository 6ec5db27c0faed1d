"""History into the online store, into an empty one each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.bare_engines import RedisValues, SqliteTables, duckdb_connection, latest_per_entity
from benchmarks.datasets import START, Shape
from benchmarks.feature_repository import applied, mark_materialized, silence
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, FEAST, SIDES
from benchmarks.measuring import Metrics, peak_memory, timed
from benchmarks.results import DEFAULT
from benchmarks.shapes import narrow, wide
from benchmarks.sizes import Size

STORES = ("sqlite", "redis")
TWO_STEPS = "two steps"
"""How the newest rows are found by hand as well: see `latest_per_entity`."""
PULL_LATEST = "pull_latest_features"
"""A setting of Feast's with which its offline store gives the newest row of each entity, and not all rows."""


def jobs(size: Size) -> Iterator[Job]:
    for shape in (narrow(size), wide(size)):
        for store in STORES:
            for side in SIDES:
                for attempt in range(size.attempts):
                    told = {"store": store, "shape": shape.name, "attempt": attempt}
                    yield Job("materialization", side, told, shape, workspace=workspace(store, shape, attempt))
            told = {"store": store, "shape": shape.name, "attempt": 0}
            for side, setting in ((BARE, TWO_STEPS), (FEAST, PULL_LATEST)):
                other = {**told, "setting": setting}
                yield Job("materialization", side, other, shape, workspace=f"{store}-{shape.name}-other")


def workspace(store: str, shape: Shape, attempt: int = 0) -> str:
    """Returns where a shape is materialized, which paths that read online go on with."""
    return f"{store}-{shape.name}-{attempt}"


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape, store = job.shape, job.parameters["store"]
    assert shape is not None
    # Each into rows of its own, in the one Redis that all share.
    project = f"{shape.name}_{job.parameters['attempt']}_{job.parameters.get('setting', DEFAULT)}".replace(" ", "_")
    before = place.redis_seconds()
    if job.side == BARE:
        metrics = _by_hand(job, place, project)
    else:
        library = library_of(job)
        features = applied(
            library,
            place.directory,
            shape,
            place.data,
            place.online_store(store, job.side),
            project=project,
            materialization={PULL_LATEST: "true"} if job.parameters.get("setting") == PULL_LATEST else {},
        )
        with silence():
            metrics, _ = timed(lambda: features.materialize(START, shape.end))
        mark_materialized(place.directory)
    if store == "redis":
        metrics["redis_cpu"] = place.redis_seconds() - before
    yield {
        **metrics,
        "rows_per_second": shape.rows * shape.views / metrics["seconds"],
        "peak_mib": peak_memory(),
    }


def _by_hand(job: Job, place: Workplace, project: str) -> Metrics:
    shape = job.shape
    assert shape is not None
    place.directory.mkdir(parents=True, exist_ok=True)
    in_two_steps = job.parameters.get("setting") == TWO_STEPS

    def newest(number: int) -> Any:
        return latest_per_entity(connection, shape.path(place.data, number), shape, in_two_steps=in_two_steps)

    if job.parameters["store"] == "sqlite":
        tables = SqliteTables(place.directory / "bare.db")

        def write(view: str, number: int) -> None:
            tables.create(view, shape.features)
            tables.upsert(view, shape.features, newest(number))
    else:
        values = RedisValues(place.redis, redis_database(BARE), project)

        def write(view: str, number: int) -> None:
            values.write(view, shape.features, newest(number))

    connection = duckdb_connection()

    def whole() -> None:
        for number, view in enumerate(shape.names):
            write(view, number)

    return timed(whole)[0]
