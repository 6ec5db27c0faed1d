"""Pushes and direct writes: checked whole before anything is written, newest wins, and several views at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import DRIVER, SmallProject, hours, row

from feast_assets import Field, Int64, PushMode, PushSource
from feast_assets.errors import (
    DataFrameSerializationError,
    FeastAssetsError,
    FeatureViewNotFoundException,
    InputError,
    PushSourceNotFoundException,
)

ROWS = [row(1, 1, 10), row(2, 2, 20)]


@pytest.fixture
def pushed(project):
    project.write(ROWS)
    live = PushSource(name="live", batch_source=project.view().batch_source)
    project.store.apply(
        [
            DRIVER,
            project.view(source=live),
            project.view(
                source=live,
                name="trips_only",
                schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
            ),
        ]
    )
    project.store.materialize_incremental(hours(24))
    return project


def columns(driver=1, hour=50.0, trips=99, city="new"):
    return {"driver_id": [driver], "trips": [trips], "city": [city], "ts": [hours(hour)]}


@pytest.mark.parametrize(
    "form",
    [
        pd.DataFrame,
        pl.DataFrame,
        pa.table,
        lambda c: pa.RecordBatch.from_pydict(c),
        dict,
        lambda c: [{k: v[0] for k, v in c.items()}],
        lambda c: pd.DataFrame({**c, "ts": [c["ts"][0].replace(tzinfo=None)]}),
    ],
    ids=["pandas", "polars", "arrow", "batch", "columns", "rows", "naive times"],
)
def test_rows_may_come_in_any_form(pushed, form):
    pushed.store.push("live", form(columns()))
    assert pushed.online("trips", "city", drivers=[1]) == {"trips": [99], "city": ["new"]}


def test_a_push_reaches_every_view_of_the_source(pushed):
    pushed.store.push("live", columns())
    read = pushed.store.get_online_features(["trips_only:trips"], {"driver_id": [1]}).to_dict()
    assert read["trips"] == [99]


def test_older_rows_do_not_win(pushed):
    pushed.store.push("live", columns(hour=50, trips=99))
    pushed.store.push("live", columns(hour=49, trips=7))
    assert pushed.trips([1]) == [99]


def test_the_newest_of_one_push_wins_whatever_the_order(pushed):
    late, early = columns(hour=60, trips=2), columns(hour=55, trips=1)
    for first, second in ((late, early), (early, late)):
        pushed.store.push("live", {k: first[k] + second[k] for k in late})
        assert pushed.trips([1]) == [2]


def test_a_later_push_with_an_equal_time_corrects_the_value(pushed):
    for trips in (5, 9, 3):
        pushed.store.push("live", columns(trips=trips))
        assert pushed.trips([1]) == [trips]


def test_a_materialization_does_not_undo_a_push(pushed):
    pushed.store.push("live", columns())
    pushed.write([*ROWS, row(1, 20, 11)])
    pushed.store.materialize_incremental(hours(96))
    assert pushed.trips([1]) == [99]


def test_offline_rows_are_history(pushed):
    pushed.store.push("live", columns(), to=PushMode.OFFLINE)
    assert pushed.trips([1]) == [10]
    assert pq.read_table(pushed.path).num_rows == 3
    spine = {"driver_id": [1], "event_timestamp": [hours(51)]}
    read = pushed.store.get_historical_features(pd.DataFrame(spine), ["stats:trips"]).to_arrow()
    assert read.column("trips").to_pylist() == [99]


def test_async_is_the_same(pushed):
    async def both():
        await pushed.store.push_async("live", columns(), to=PushMode.ONLINE_AND_OFFLINE)
        await pushed.store.write_to_online_store_async("trips_only", columns(hour=51, trips=100))
        read = await pushed.store.get_online_features_async(
            ["stats:trips", "trips_only:trips"], {"driver_id": [1]}, full_feature_names=True
        )
        return read.to_dict()

    read = asyncio.run(both())
    assert read["stats__trips"] == [99]
    assert read["trips_only__trips"] == [100]
    assert pq.read_table(pushed.path).num_rows == 3


def test_rows_of_one_view_can_be_written(pushed):
    pushed.store.write_to_online_store("stats", columns(driver=9))
    assert pushed.trips([9]) == [99]
    read = pushed.store.get_online_features(["trips_only:trips"], {"driver_id": [9]}).to_dict()
    assert read["trips"] == [None]


def test_history_of_one_view_can_be_written(pushed):
    pushed.store.write_to_offline_store("stats", pd.DataFrame(columns())[["ts", "city", "trips", "driver_id"]])
    assert pq.read_table(pushed.path).num_rows == 3
    with pytest.raises(InputError, match="in another order"):
        pushed.store.write_to_offline_store(
            "stats", pd.DataFrame(columns())[["ts", "city", "trips", "driver_id"]], reorder_columns=False
        )


def without(name):
    return {k: v for k, v in columns().items() if k != name}


BAD = {
    "no key": (without("driver_id"), "column 'driver_id' of feature view 'stats' is missing"),
    "no time": (without("ts"), "column 'ts' of feature view 'stats' is missing"),
    "no feature": ({**without("city"), "citi": ["x"]}, "column 'city'.*Did you mean 'citi'"),
    "null key": ({**columns(), "driver_id": pa.array([None], pa.int64())}, "'driver_id' holds nulls"),
    "null time": ({**columns(), "ts": pa.array([None], pa.timestamp("us"))}, "'ts' holds nulls"),
    "key of another type": ({**columns(), "driver_id": ["one"]}, "driver_id"),
    "feature of another type": ({**columns(), "trips": ["many"]}, "trips"),
    "ragged": ({**columns(), "trips": [1, 2]}, "cannot be read as a table"),
    "mixed": ({**columns(), "trips": [[1], "b"]}, "cannot be read as a table"),
    "time as text": ({**columns(), "ts": ["yesterday"]}, "ts"),
    "not rows": (7, "cannot be read as a table"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_and_change_nothing(pushed, case):
    rows, message = BAD[case]
    before = pushed.path.read_bytes()
    with pytest.raises(FeastAssetsError, match=message):
        pushed.store.push("live", rows, to=PushMode.ONLINE_AND_OFFLINE)
    assert pushed.trips([1, 2]) == [10, 20]
    assert pushed.path.read_bytes() == before


def test_a_push_that_does_not_fit_the_history_is_not_in_the_online_store_either(pushed):
    with pytest.raises(InputError, match=r"just the columns of data source 'stats_file'.*not among them \['more'\]"):
        pushed.store.push("live", {**columns(), "more": [1]}, to=PushMode.ONLINE_AND_OFFLINE)
    assert pushed.trips([1]) == [10]


def test_unknown_names_are_told(pushed):
    with pytest.raises(PushSourceNotFoundException, match="Did you mean 'live'"):
        pushed.store.push("live_", columns())
    with pytest.raises(FeatureViewNotFoundException, match="Did you mean 'stats'"):
        pushed.store.write_to_online_store("stat", columns())
    with pytest.raises(InputError, match="one of df and inputs"):
        pushed.store.write_to_online_store("stats", columns(), columns())
    with pytest.raises(DataFrameSerializationError):
        pushed.store.write_to_online_store("stats", "rows")


PUSHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from small_project import SmallProject, hours
project = SmallProject(Path(sys.argv[1]))
offset = int(sys.argv[2])
for i in range(40):
    hour = 50 + (i * 7 + offset) % 40
    rows = {"driver_id": [1, 2], "trips": [hour] * 2, "city": ["a", "b"], "ts": [hours(hour)] * 2}
    project.store.push("live", rows)
"""


def test_two_processes_that_push_at_once_end_with_the_newest(pushed):
    here = str(__import__("pathlib").Path(__file__).parent)
    running = [
        subprocess.Popen([sys.executable, "-c", PUSHER, str(pushed.root), str(offset), here]) for offset in (0, 3)
    ]
    assert [p.wait(120) for p in running] == [0, 0]
    assert pushed.trips([1, 2]) == [89, 89]


def test_the_redis_store_gives_the_same(tmp_path, redis_server):
    host, port = redis_server
    project = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    project.write(ROWS)
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    project.store.materialize_incremental(hours(24))
    assert project.trips([1, 2, 3]) == [10, 20, None]
    project.store.push("live", columns())
    project.store.push("live", columns(hour=3, trips=1))
    assert project.trips([1, 2]) == [99, 20]
    project.store.teardown()
    again = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    again.apply()
    assert again.trips([1, 2]) == [None, None]
    project.close()
    again.close()


def test_moments_without_a_zone_are_utc(pushed):
    pushed.store.push("live", {**columns(), "ts": [datetime(2024, 1, 4)]})
    response = pushed.store.get_online_features(["stats:trips"], {"driver_id": [1]}).to_dict(
        include_event_timestamps=True
    )
    assert response["trips__ts"] == [hours(72).timestamp()]
