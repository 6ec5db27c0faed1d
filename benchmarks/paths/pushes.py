"""One row at a time into the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from benchmarks.bare_engines import RedisValues, SqliteTables
from benchmarks.datasets import ENTITY, START, TIME, Shape, is_integer
from benchmarks.feature_repository import PUSHED, configure, pushed_definitions, silence
from benchmarks.jobs import Job, Workplace, library_of, redis_database
from benchmarks.libraries import BARE, SIDES
from benchmarks.measuring import Metrics, sampled
from benchmarks.shapes import narrow
from benchmarks.sizes import Size


def jobs(size: Size) -> Iterator[Job]:
    for store in ("sqlite", "redis"):
        for side in SIDES:
            yield Job("pushes", side, {"store": store}, narrow(size), workspace=f"pushes-{store}", verbs=2)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    assert job.shape is not None
    push, rows = _by_hand(job, place) if job.side == BARE else _by_library(job, place)
    yield sampled(push, rows, place.size.pushes, 0.0)


def _values(shape: Shape, number: int) -> dict[str, Any]:
    return {f"f{i}": number if is_integer(i) else number / 7 for i in range(shape.features)}


def _by_library(job: Job, place: Workplace) -> tuple[Callable[[Any], Any], list[Any]]:
    import pandas as pd

    shape = job.shape
    assert shape is not None
    library = library_of(job)
    configure(place.directory, "pushed", place.online_store(job.parameters["store"], job.side))
    store = library.FeatureStore(repo_path=str(place.directory))
    with silence():
        store.apply(pushed_definitions(library, shape, place.data))
    to = library.PushMode.ONLINE
    frames = [
        pd.DataFrame(
            {
                ENTITY: [number % shape.entities],
                TIME: [pd.Timestamp(START + timedelta(seconds=number))],
                **{name: [value] for name, value in _values(shape, number).items()},
            }
        )
        for number in range(place.size.pushes)
    ]
    return lambda frame: store.push(PUSHED, frame, to=to), frames


def _by_hand(job: Job, place: Workplace) -> tuple[Callable[[Any], Any], list[Any]]:
    shape = job.shape
    assert shape is not None
    rows = [(number % shape.entities, number, *_values(shape, number).values()) for number in range(place.size.pushes)]
    if job.parameters["store"] == "redis":
        values = RedisValues(place.redis, redis_database(BARE), "pushed")
        return lambda row: values.write_one("view_0", row), rows
    place.directory.mkdir(parents=True, exist_ok=True)
    tables = SqliteTables(place.directory / "bare.db")
    tables.create("view_0", shape.features)
    return lambda row: tables.upsert_one("view_0", row), rows
