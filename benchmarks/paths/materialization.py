"""History into the online store, into an empty one each time."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bare_engines import RedisValues, SqliteTables, duckdb_connection, latest_per_entity
from benchmarks.datasets import START, Shape
from benchmarks.feature_repository import applied, mark_materialized, silence
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, FEAST, SIDES
from benchmarks.measuring import Metrics, peak_memory, timed
from benchmarks.shapes import narrow, wide
from benchmarks.sizes import Size

STORES = ("sqlite", "redis")


def jobs(size: Size) -> Iterator[Job]:
    for shape in (narrow(size), wide(size)):
        for store in STORES:
            for side in SIDES:
                # Feast takes long, and its figures are far from those of the others.
                attempts = 1 if side == FEAST else size.attempts
                for attempt in range(attempts):
                    yield Job(
                        "materialization",
                        side,
                        {"store": store, "shape": shape.name, "attempt": attempt},
                        shape,
                        workspace=workspace(store, shape, attempt),
                    )


def workspace(store: str, shape: Shape, attempt: int = 0) -> str:
    """Returns where a shape is materialized, which paths that read online go on with."""
    return f"{store}-{shape.name}-{attempt}"


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape, store = job.shape, job.parameters["store"]
    assert shape is not None
    project = f"{shape.name}_{job.parameters['attempt']}"
    if job.side == BARE:
        metrics = _by_hand(job, place, project)
    else:
        library = library_of(job)
        features = applied(
            library, place.directory, shape, place.data, place.online_store(store, job.side), project=project
        )
        with silence():
            metrics, _ = timed(lambda: features.materialize(START, shape.end))
        mark_materialized(place.directory)
    yield {
        **metrics,
        "rows_per_second": shape.rows * shape.views / metrics["seconds"],
        "peak_mib": peak_memory(),
    }


def _by_hand(job: Job, place: Workplace, project: str) -> Metrics:
    shape = job.shape
    assert shape is not None
    place.directory.mkdir(parents=True, exist_ok=True)
    if job.parameters["store"] == "sqlite":
        tables = SqliteTables(place.directory / "bare.db")

        def write(view: str, number: int) -> None:
            tables.create(view, shape.features)
            tables.upsert(view, shape.features, latest_per_entity(connection, shape.path(place.data, number), shape))
    else:
        values = RedisValues(place.redis, redis_database(BARE), project)

        def write(view: str, number: int) -> None:
            values.write(view, shape.features, latest_per_entity(connection, shape.path(place.data, number), shape))

    connection = duckdb_connection()

    def whole() -> None:
        for number, view in enumerate(shape.names):
            write(view, number)

    return timed(whole)[0]
