"""What runs cost whose views have very many windows in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks.datasets import START, Shape
from benchmarks.feature_repository import applied, silence
from benchmarks.jobs import Job, Workplace, library_of
from benchmarks.libraries import OURS
from benchmarks.measuring import Metrics, timed
from benchmarks.sizes import Size


def jobs(size: Size) -> Iterator[Job]:
    """Feast has no ledger: it keeps the ranges that were materialized."""
    shape = Shape("ledger", size.ledger_views, 2, size.ledger_windows, 100, size.ledger_windows // 24, shared=True)
    told = {"views": size.ledger_views, "windows": size.ledger_windows}
    yield Job("ledgers", OURS, told, shape, workspace="ledgers")


def measure(job: Job, place: Workplace) -> Iterator[Metrics]:
    shape = job.shape
    assert shape is not None
    library = library_of(job)
    partitions = library.Partitions("hourly", START, shape.end)
    online_store = place.online_store("sqlite", job.side)
    store = applied(library, place.directory, shape, place.data, online_store, of_views={"partitions": partitions})
    with silence():
        metrics, _ = timed(lambda: store.materialize(START, shape.end - timedelta(microseconds=1)))
    yield {"verb": "all", **metrics}

    def opened() -> Any:
        return library.FeatureStore(repo_path=str(place.directory))

    def run(verb: str, call: Any) -> Metrics:
        call(opened())  # as after the first run the ledger knows the source
        again = opened()
        with silence():
            metrics, _ = timed(lambda: call(again))
        return {"verb": verb, **metrics}

    view = shape.names[:1]
    yield run("nothing new", lambda s: s.materialize_incremental(shape.end, feature_views=view))
    middle = START + timedelta(days=shape.days // 2)
    day_end = middle + timedelta(days=1) - timedelta(microseconds=1)
    yield run("one day", lambda s: s.materialize(middle, day_end, feature_views=view))

    def tick(store: Any) -> None:
        # What a sensor does when it sees the views for the first time, or when all of their sources have changed.
        store.change_tokens(shape.names)
        for name in shape.names:
            store.stale_windows(name, shape.end)

    yield run("tick", tick)
    yield {"verb": "registry", "mib": (place.directory / "data" / "registry.db").stat().st_size / 2**20}
