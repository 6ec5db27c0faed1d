"""Work that is bigger than the memory it may have: DuckDB is told a limit, and spills to disk beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.bare_engines import duckdb_connection, point_in_time_sql
from benchmarks.datasets import START, Shape, stage_spine
from benchmarks.feature_repository import SERVICE, applied, silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import BARE, OURS
from benchmarks.measuring import Metrics, fastest, peak_memory, timed, watched
from benchmarks.shapes import BIG_DAYS, big
from benchmarks.sizes import Size


def joined_shape(size: Size) -> Shape:
    """Returns a source of as many rows as the table that is joined to it."""
    return Shape("joined", 1, 10, size.big_spine, size.entities * 10, BIG_DAYS)


def jobs(size: Size) -> Iterator[Job]:
    for side in (OURS, BARE):
        yield Job(
            "bounded_memory",
            side,
            {"verb": "historical", "rows": size.big_spine},
            joined_shape(size),
            spine=size.big_spine,
            workspace="bounded-historical",
        )
    yield Job("bounded_memory", OURS, {"verb": "window", "rows": size.big_rows}, big(size), workspace="bounded-window")


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    verb = _historical if job.parameters["verb"] == "historical" else _window
    assert job.shape is not None
    before = peak_memory()
    with watched(place.directory / "spill") as most:
        metrics = verb(job, place, job.shape)
    yield {
        **metrics,
        "limit": place.size.memory_limit,
        "before_mib": before,
        "peak_mib": peak_memory(),
        "spilled_mib": most[0],
    }


def _historical(job: Job, place: Workplace, shape: Shape) -> Metrics:
    """Joins millions of rows to as many, and reads the result batch by batch."""
    spine = stage_spine(place.data, shape, job.spine)
    if job.side == BARE:
        connection = duckdb_connection(place.size.memory_limit)
        sql = point_in_time_sql(shape, place.data, f"(FROM read_parquet('{spine}'))")

        def read() -> int:
            return sum(len(b) for b in connection.sql(sql).to_arrow_reader(100_000))

    else:
        import pyarrow.parquet as pq

        store = _limited(job, place, shape)
        service = store.get_feature_service(SERVICE)

        def read() -> int:
            given = pq.read_table(spine)
            retrieval = store.get_historical_features(entity_df=given, features=service, full_feature_names=True)
            return sum(len(batch) for batch in retrieval.to_reader())

    metrics = fastest(read, place.size.attempts, place.size.limit / 12, float)
    assert metrics.pop("answer") == job.spine
    return metrics


def _window(job: Job, place: Workplace, shape: Shape) -> Metrics:
    """Materializes everything as one window, with more entities than fit in memory."""
    store = _limited(job, place, shape)
    with silence():
        metrics, (result,) = timed(lambda: store.materialize(START, shape.end))
    return {**metrics, "entities": result.written, "windows": len(result.windows)}


def _limited(job: Job, place: Workplace, shape: Shape) -> Any:
    library = library_of(job)
    return applied(
        library,
        place.directory,
        shape,
        place.data,
        place.online_store("sqlite", job.side),
        of_views={"partitions": library.Partitions("monthly", START)},
        memory_limit=place.size.memory_limit,
        temp_directory=str(place.directory / "spill"),
    )
