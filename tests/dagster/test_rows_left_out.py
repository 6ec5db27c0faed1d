"""What Dagster shows of rows without a join key or an event time, and of grids that begin long before their rows."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from taxi_rides import rides
from ticks import Daemon, evaluated

from feast_assets import FeatureStore, Partitions
from feast_assets.compute.staleness import StaleWindow
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.dagster.run_requests import CONTENT_TAG, WatchedGroup, run_requests
from feast_assets.definitions.window import Window

RIDE = dg.AssetKey(["taxi", "ride"])
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
STRAY = """
    from feast_assets import FeatureView as View

    stray_source = FileSource(name="strays", path="data/strays.parquet", timestamp_field="finished_at")
    stray = View(
        name="stray",
        entities=[driver],
        source=stray_source,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("hourly", start=datetime(YEAR, 1, 1, tzinfo=UTC)),
    )
"""


def with_nulls() -> pd.DataFrame:
    """The rides, with one without a driver on 3 January and two without a time."""
    frame = rides()
    bad = frame.iloc[[0, 0, 0]].copy()
    bad["finished_at"] = pd.Series(
        [FIRST + timedelta(days=2, hours=1), pd.NaT, pd.NaT], index=bad.index, dtype=frame["finished_at"].dtype
    ).to_numpy()
    bad["driver_id"] = [None, 1, 2]
    frame = pd.concat([frame.astype({"driver_id": "Int64"}), bad.astype({"driver_id": "Int64"})], ignore_index=True)
    return frame.assign(finished_at=pd.to_datetime(frame["finished_at"], utc=True).astype("datetime64[us, UTC]"))


@pytest.mark.filterwarnings("ignore:Feature view")
def test_partitions_and_runs_show_how_many_rows_were_left_out(applied_root: Path, instance: dg.DagsterInstance) -> None:
    with_nulls().to_parquet(applied_root / "data" / "rides.parquet", index=False)
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(applied_root))})
    tags = {
        "dagster/asset_partition_range_start": "2024-01-02",
        "dagster/asset_partition_range_end": "2024-01-03",
    }
    job = defs.resolve_job_def("materialize_taxi_daily")
    result = job.execute_in_process(instance=instance, tags=tags, asset_selection=[RIDE])
    shown = {
        e.materialization.partition: {
            name: e.materialization.metadata[f"feast_assets/{name}"].value
            for name in ("rows_without_key", "run_rows_without_key", "run_rows_without_time")
            if f"feast_assets/{name}" in e.materialization.metadata
        }
        for e in result.get_asset_materialization_events()
        if e.asset_key == RIDE
    }
    found = {
        e.materialization.metadata["feast_assets/run_parts"].value
        for e in result.get_asset_materialization_events()
        if e.asset_key == RIDE
    }
    size = (applied_root / "data" / "rides.parquet").stat().st_size
    assert found == {f"1 listed, 1 new, 0 changed, 0 gone; {size:,} bytes read"}
    of_run = {"run_rows_without_key": 1, "run_rows_without_time": 2}
    assert shown == {"2024-01-02": of_run, "2024-01-03": {"rows_without_key": 1, **of_run}}
    checks = {e.check_name: e for e in result.get_asset_check_evaluations() if e.asset_key == RIDE}
    found = checks["keys_and_times"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert found.description == "Left out 1 row without a join key and 2 rows without an event time."
    assert [dict(r.data) for r in found.metadata["feast_assets/without_key"].records] == [
        {"partition": "2024-01-03", "rows": 1}
    ]


def test_where_nothing_is_left_out_the_check_passes(applied_root: Path, instance: dg.DagsterInstance) -> None:
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(applied_root))})
    job = defs.resolve_job_def("materialize_taxi_daily")
    result = job.execute_in_process(instance=instance, partition_key="2024-01-02", asset_selection=[RIDE])
    (found,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "keys_and_times"]
    assert (found.passed, found.partition, found.description) == (True, "2024-01-02", None)


def write_strays(root: Path, year: int, fare: float) -> None:
    frame = rides()[["driver_id", "finished_at", "fare"]]
    first = frame.iloc[[0]].assign(fare=fare)
    first["finished_at"] = pd.Series([pd.Timestamp(f"{year:04d}-01-01").as_unit("us").tz_localize("UTC")], first.index)
    whole = pd.concat([first, frame], ignore_index=True)
    whole["finished_at"] = whole["finished_at"].astype("datetime64[us, UTC]")
    whole.to_parquet(root / "data" / "writing", index=False)
    os.replace(root / "data" / "writing", root / "data" / "strays.parquet")


def stray_project(write_repository, year: int) -> Path:
    root = write_repository(STRAY.replace("YEAR", str(year)))
    write_strays(root, year, 1.0)
    store = FeatureStore(root)
    store.apply_repository()
    store.materialize_incremental(datetime.now(UTC), ["stray"])
    store.close()
    return root


def test_a_stray_row_costs_the_sensor_no_time_and_is_not_run_with_all_that_lies_between(
    write_repository, instance: dg.DagsterInstance
) -> None:
    root = stray_project(write_repository, 1970)
    sensor = Daemon(root, instance, "late_data_taxi")
    sensor.tick()
    frame = pd.read_parquet(root / "data" / "strays.parquet")
    frame["fare"] += 1
    frame.to_parquet(root / "data" / "strays.parquet", index=False)
    sensor.definitions()
    began = time.process_time()
    requests = sensor.tick()
    assert time.process_time() - began < 15
    asked = [r for r in requests if {k.path[-1] for k in r.asset_selection} == {"stray"}]
    assert asked[0].partition_key == "1970-01-01-00:00"
    days = len(rides()["finished_at"].dt.date.unique())
    assert len(asked) <= days  # nights are bridged
    assert sensor.run(asked[:1]) == [True]


def test_observing_a_source_costs_its_rows_and_tells_of_those_that_went(
    write_repository, instance: dg.DagsterInstance
) -> None:
    root = stray_project(write_repository, 1970)
    key = dg.AssetKey(["taxi", "sources", "strays"])

    def observe() -> dict[str, str]:
        defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
        job = next(
            j for j in defs.get_repository_def().get_all_jobs() if j.name.startswith("observe") and "1970" in j.name
        )
        result = job.execute_in_process(instance=instance)
        events = [e.asset_observation_data.asset_observation for e in result.all_events if e.is_asset_observation]
        return {o.partition: o.tags["dagster/data_version"] for o in events if o.asset_key == key}

    hours = {t.floor("h") for t in rides()["finished_at"]}
    began = time.process_time()
    first = observe()
    assert time.process_time() - began < 40
    assert first.keys() == {"1970-01-01-00:00", *(f"{hour:%Y-%m-%d-%H:%M}" for hour in hours)}
    assert observe() == {}
    write_strays(root, 1971, 1.0)
    third = observe()
    assert third.keys() == {"1970-01-01-00:00", "1971-01-01-00:00"}
    assert third["1970-01-01-00:00"] == "no rows" != third["1971-01-01-00:00"]


def test_windows_before_the_year_1000_are_told_of_and_keep_nobody_from_the_others(
    write_repository, instance: dg.DagsterInstance
) -> None:
    root = stray_project(write_repository, 1)
    frame = pd.read_parquet(root / "data" / "strays.parquet")
    frame.loc[0, "fare"] += 1
    frame.to_parquet(root / "data" / "strays.parquet", index=False)
    resource = FeatureStoreResource(repo_path=str(root))
    defs = definitions_for({"feature_store": resource})
    tick = evaluated(defs, resource, instance, "late_data_taxi")
    assert not tick.run_requests
    assert "1 stale windows are no partitions of Dagster" in tick.skip_message
    assert "declare Partitions(..., start=...)" in tick.skip_message


def test_a_run_bridges_a_night_but_not_years(instance: dg.DagsterInstance) -> None:
    grid = Partitions("hourly", datetime(1970, 1, 1, tzinfo=UTC))
    group = WatchedGroup("job", grid, "%Y-%m-%d-%H:%M", {"v": frozenset([dg.AssetKey("v")])})

    def stale(hour: int, after: int) -> StaleWindow:
        at = [FIRST + timedelta(hours=h) for h in (hour, hour + 1, after)]
        return StaleWindow(Window(at[0], at[1]), "missing", False, at[2], str(hour))

    wanted = {"v": [stale(0, 0), stale(20, 1), stale(21 + 100, 21), stale(122 + 101, 122)]}
    runs = run_requests(instance, [group], wanted, now=FIRST, at_most=9)
    spans = [r.run_key.split(":", 1)[1].rsplit(":", 2)[0] for r in runs.requests]
    assert spans == ["2024-01-01-00:00...2024-01-06-01:00", "2024-01-10-07:00"]
    whole = StaleWindow(Window(FIRST, FIRST + timedelta(hours=3)), "unsettled", False, FIRST, "x")
    (request,) = run_requests(instance, [group], {"v": [whole]}, now=FIRST, at_most=9).requests
    assert request.tags["dagster/asset_partition_range_end"] == "2024-01-01-02:00"
    assert CONTENT_TAG in request.tags
