"""Materialization as the work grows: in rows, in partitions, over threads and over processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from benchmarks.datasets import ENTITY, START, Shape
from benchmarks.feature_repository import applied, silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import FEAST, OURS
from benchmarks.measuring import Metrics, peak_memory, timed
from benchmarks.shapes import BIG_DAYS, big
from benchmarks.sizes import Size

_PROCESS = """
import sys
from datetime import datetime
import duckdb, numpy, pandas, pyarrow.parquet
from feast_assets import FeatureStore
store = FeatureStore(repo_path=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.materialize(datetime.fromisoformat(sys.argv[2]), datetime.fromisoformat(sys.argv[3]), sys.argv[4:])
print("done", flush=True)
"""


def jobs(size: Size) -> Iterator[Job]:
    # Few entities: what grows is what is read, not what is written. The key is the narrow one of the big source.
    for rows in size.row_counts:
        for side in (OURS, FEAST) if rows <= size.feast_rows else (OURS,):
            yield _job(side, "rows", rows, big(size))
    for partitions in size.partition_counts:
        shape = Shape(f"partitions_{partitions}", 1, 10, size.rows, size.entities, partitions)
        yield _job(OURS, "partitions", partitions, shape)
    # Views enough for every process to have the same work, on one source that is read once for each.
    views = Shape("cores", max(size.worker_counts), 10, size.big_spine, size.entities * 10, BIG_DAYS, shared=True)
    for workers in size.worker_counts:
        for axis in ("threads", "processes"):
            yield _job(OURS, axis, workers, views, store="redis")


def _job(side: str, axis: str, x: int, shape: Shape, store: str = "sqlite") -> Job:
    parameters = {"axis": axis, "x": x, "store": store}
    return Job("scale_materialization", side, parameters, shape, workspace=f"scale-{axis}-{x}")


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    axis, x, shape = job.parameters["axis"], job.parameters["x"], job.shape
    assert shape is not None
    rows, end = shape.rows, shape.end
    if axis == "rows":
        rows, end = x, START + (shape.end - START) * (x / shape.rows) - timedelta(microseconds=1)
    metrics = _over_processes(job, place, shape, x) if axis == "processes" else _in_process(job, place, shape, end)
    rows *= shape.views
    yield {**metrics, "rows": rows, "rows_per_second": rows / metrics["seconds"], "peak_mib": peak_memory()}


def _in_process(job: Job, place: Workplace, shape: Shape, end: Any) -> Metrics:
    axis, x = job.parameters["axis"], job.parameters["x"]
    library = library_of(job)
    settings = {"threads": x} if axis == "threads" else {}
    store = _applied(job, place, shape, library, settings)
    with silence():
        metrics, results = timed(lambda: store.materialize(START, end))
    if job.side == OURS:
        assert axis != "partitions" or len(results[0].windows) == x, results[0]
        assert results[0].written > 0
    return metrics


def _applied(job: Job, place: Workplace, shape: Shape, library: Any, settings: dict[str, Any]) -> Any:
    # The data stay those of the big source; only the key differs.
    keyed, axis = replace(shape, key=ENTITY), job.parameters["axis"]
    online_store = place.online_store(job.parameters["store"], job.side)
    return applied(
        library,
        place.directory,
        keyed,
        place.data,
        online_store,
        project=f"scale_{axis}_{job.parameters['x']}",
        **settings,
    )


def _over_processes(job: Job, place: Workplace, shape: Shape, processes: int) -> Metrics:
    """Deals the views out to processes, and times them from a common start."""
    # A process is to be worth one core.
    _applied(job, place, shape, library_of(job), {"threads": 1})
    started = []
    for number in range(processes):
        command = [sys.executable, "-c", _PROCESS, str(place.directory), START.isoformat(), shape.end.isoformat()]
        command += shape.names[number::processes]
        started.append(
            subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ), text=True
            )
        )
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"

    def run() -> list[str]:
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [process.stdout.readline().strip() for process in started if process.stdout is not None]

    metrics, ended = timed(run)
    assert ended == ["done"] * processes, "a process failed"
    for process in started:
        process.communicate()
    return metrics
