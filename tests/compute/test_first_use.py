"""Threads that are the first to use a store share what it opens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from small_project import START, SmallProject, hours, row

from feast_assets import feature_store
from feast_assets.offline_stores.duckdb import engine as duckdb_engine

THREADS = 4


@pytest.mark.parametrize(
    ("where", "maker"),
    [(feature_store, "make_offline_store"), (feature_store, "make_online_store"), (duckdb_engine, "Engine")],
)
def test_threads_that_come_first_open_one(project, monkeypatch, where, maker):
    project.write([row(1, 1, 10)])
    project.apply()
    project.store.materialize(START, hours(24))
    fresh = SmallProject(project.root)
    real, made = getattr(where, maker), []

    def slowly(*arguments):
        made.append(maker)
        time.sleep(0.1)
        return real(*arguments)

    monkeypatch.setattr(where, maker, slowly)

    def used(_: int) -> list[int]:
        spine = pa.table({"driver_id": [1], "event_timestamp": [hours(24)]})
        assert fresh.store.get_historical_features(spine, ["stats:trips"]).to_arrow()["trips"].to_pylist() == [10]
        return fresh.store.get_online_features(["stats:trips"], {"driver_id": [1]}).to_dict()["trips"]

    with ThreadPoolExecutor(THREADS) as threads:
        assert list(threads.map(used, range(THREADS))) == [[10]] * THREADS
    assert len(made) == 1
    fresh.close()
