"""Rows that are handed in, into the online store: one at a time, or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

PUSH, WRITE = "push", "write_to_online_store"
FRAME, DICT = "DataFrame", "dict"
MANY = 1_000
CASES = ((PUSH, FRAME, 1), (WRITE, FRAME, 1), (WRITE, DICT, 1), (PUSH, FRAME, MANY))
"""The verb, what rows are handed in as, and how many."""


def jobs(size: Size) -> Iterator[Job]:
    for store in ("sqlite", "redis"):
        for verb, given, rows in CASES:
            for side in SIDES:
                # By hand, rows are taken out of the same DataFrame or dict.
                told = {"store": store, "verb": verb, "given": given, "rows": rows}
                workspace = f"pushes-{store}-{verb}-{given}-{rows}"
                yield Job("pushes", side, told, narrow(size), workspace=workspace, verbs=2)


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    assert job.shape is not None
    samples = max(place.size.pushes // (20 if job.parameters["rows"] > 1 else 1), 2)
    push, rows = (_by_hand if job.side == BARE else _by_library)(job, place, samples)
    yield sampled(push, rows, samples, 0.0)


def _values(shape: Shape, number: int) -> dict[str, Any]:
    return {f"f{i}": number if is_integer(i) else number / 7 for i in range(shape.features)}


def _by_library(job: Job, place: Workplace, samples: int) -> tuple[Callable[[Any], Any], list[Any]]:
    import pandas as pd

    shape = job.shape
    assert shape is not None
    library = library_of(job)
    configure(place.directory, "pushed", place.online_store(job.parameters["store"], job.side))
    store = library.FeatureStore(repo_path=str(place.directory))
    with silence():
        store.apply(pushed_definitions(library, shape, place.data))
    to = library.PushMode.ONLINE
    batches = [_columns(shape, numbers) for numbers in _numbers(job, samples)]
    given: list[Any] = batches if job.parameters["given"] == DICT else [pd.DataFrame(batch) for batch in batches]
    if job.parameters["verb"] == PUSH:
        return lambda batch: store.push(PUSHED, batch, to=to), given
    view = shape.names[0]
    if job.parameters["given"] == DICT:
        return lambda batch: store.write_to_online_store(view, inputs=batch), given
    return lambda batch: store.write_to_online_store(view, df=batch), given


def _numbers(job: Job, samples: int) -> Iterator[range]:
    """Yields the numbers of the rows of each batch."""
    rows = job.parameters["rows"]
    return (range(start, start + rows) for start in range(0, samples * rows, rows))


def _columns(shape: Shape, numbers: range) -> dict[str, list[Any]]:
    import pandas as pd

    values = [_values(shape, number) for number in numbers]
    return {
        ENTITY: [number % shape.entities for number in numbers],
        TIME: [pd.Timestamp(START + timedelta(seconds=number)) for number in numbers],
        **{name: [of_row[name] for of_row in values] for name in values[0]},
    }


def _by_hand(job: Job, place: Workplace, samples: int) -> tuple[Callable[[Any], Any], list[Any]]:
    import pandas as pd
    import pyarrow as pa

    shape = job.shape
    assert shape is not None
    is_one, is_dict = job.parameters["rows"] == 1, job.parameters["given"] == DICT
    columns = [_columns(shape, numbers) for numbers in _numbers(job, samples)]
    given: list[Any] = columns if is_dict else [pd.DataFrame(each) for each in columns]

    def row(batch: Any) -> Sequence[Any]:
        key, at, *values = [values[0] for values in batch.values()] if is_dict else batch.to_numpy(object).tolist()[0]
        return (key, at.value // 1000, *values)

    def batches(frame: Any) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pandas(frame, preserve_index=False)

    view = shape.names[0]
    if job.parameters["store"] == "redis":
        values = RedisValues(place.redis, redis_database(BARE), "pushed")
        if is_one:
            return lambda batch: values.write_one(view, row(batch)), given
        return lambda frame: values.write(view, shape.features, batches(frame)), given
    place.directory.mkdir(parents=True, exist_ok=True)
    tables = SqliteTables(place.directory / "bare.db")
    tables.create(view, shape.features)
    if is_one:
        return lambda batch: tables.upsert_one(view, row(batch)), given
    return lambda frame: tables.upsert(view, shape.features, batches(frame)), given
