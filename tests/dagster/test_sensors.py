"""The sensors: what they ask for after late data and changed definitions, and that nothing is asked for twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from taxi_rides import rides
from ticks import Daemon, days, evaluated, spans

from feast_assets import FeatureStore, FeatureViewState
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

ALL = [1, 2, 3, 4]
FRESH = """
    fresh = FeatureView(
        name="fresh",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )
"""


def write(root: Path, frame: pd.DataFrame) -> None:
    """Makes the source hold other rows, all at once."""
    temporary = root / "data" / "rides.writing"
    frame.to_parquet(temporary, index=False)
    os.replace(temporary, root / "data" / "rides.parquet")


def with_ride(frame: pd.DataFrame, at: str, fare: float, driver: int = 1) -> pd.DataFrame:
    late = pd.DataFrame(
        {"driver_id": [driver], "finished_at": [pd.Timestamp(at, tz="UTC")], "fare": [fare], "minutes": 1}
    )
    return pd.concat([frame, late.astype(frame.dtypes.to_dict())], ignore_index=True)


def materialize(root: Path, first: int, last: int, views: tuple[str, ...] = ("ride", "ride_totals")) -> None:
    store = FeatureStore(root)
    for view in views:
        store.materialize_windows(view, days(first, last))
    store.close()


def online(root: Path, features: list[str]) -> dict[str, list[object]]:
    store = FeatureStore(root)
    found = store.get_online_features(features, {"driver_id": ALL}).to_dict()
    store.close()
    return {name: found[name] for name in found if name != "driver_id"}


@pytest.fixture
def late(applied_root: Path, instance: dg.DagsterInstance) -> Daemon:
    """The sensor of late data, after the first twenty days were materialized."""
    materialize(applied_root, 1, 20)
    return Daemon(applied_root, instance, "late_data_taxi")


def test_nothing_is_asked_for_while_nothing_is_late(late: Daemon) -> None:
    assert late.tick() == []


def test_a_tick_with_nothing_changed_reads_no_data(late: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    late.tick()
    monkeypatch.setattr(DuckDBOfflineStore, "survey_grid", None)
    monkeypatch.setattr(DuckDBOfflineStore, "summarize_parts", None)
    monkeypatch.setattr("feast_assets.registry.sql.store.SqlRegistry.ledger", None)
    assert late.tick() == []


def test_where_nobody_can_tell_of_changes_a_source_is_read_from_time_to_time(
    late: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveyed: list[str] = []
    survey_grid = DuckDBOfflineStore.survey_grid

    def noted(self, history, *rest):
        surveyed.append(history.view)
        return survey_grid(self, history, *rest)

    monkeypatch.setattr(DuckDBOfflineStore, "survey_grid", noted)
    monkeypatch.setattr(DuckDBOfflineStore, "parts", lambda self, source, *, extents=False: None)
    monkeypatch.setattr(DuckDBOfflineStore, "row_parts", lambda self, source: None)
    monkeypatch.setattr("feast_assets.dagster.sensors._LOOK_AGAIN", timedelta(days=100_000))
    assert late.tick() == []
    assert surveyed
    surveyed.clear()
    assert late.tick() == []
    assert surveyed == []
    # A run shows in the ledger, so that is looked at.
    materialize(late.root, 21, 21, ("ride",))
    surveyed.clear()
    assert late.tick() == []
    assert set(surveyed) == {"ride"}
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    assert late.tick() == []
    monkeypatch.setattr("feast_assets.dagster.sensors._LOOK_AGAIN", timedelta(microseconds=1))
    assert spans(late.tick()) == {"2024-01-03": {"ride", "ride_totals", "kept_totals"}}


def test_late_rows_are_asked_for_in_contiguous_ranges_of_the_views_that_they_concern(late: Daemon) -> None:
    late.tick()
    frame = rides()
    for at in ("2024-01-03T07:00", "2024-01-04T07:00", "2024-01-09T07:00"):
        frame = with_ride(frame, at, 7.0)
    write(late.root, frame)
    asked = late.tick()
    made = {"ride", "ride_totals", "kept_totals"}
    assert spans(asked) == {"2024-01-03...2024-01-04": made, "2024-01-09": made}
    assert late.run(asked) == [True, True]
    assert late.tick() == []


@pytest.mark.parametrize(
    ("edit", "days"),
    [
        (lambda f: f[~((f.driver_id == 1) & (f.finished_at.dt.day == 5))], ["2024-01-05"]),
        (lambda f: f.assign(fare=f.fare.where(f.finished_at.dt.strftime("%m-%d") != "01-07", 1.0)), ["2024-01-07"]),
        (
            lambda f: f.assign(
                finished_at=f.finished_at.mask(
                    (f.driver_id == 2) & (f.finished_at.dt.strftime("%m-%d") == "01-08"),
                    f.finished_at + pd.Timedelta(days=4),
                )
            ),
            ["2024-01-08", "2024-01-12"],
        ),
    ],
    ids=["deleted", "corrected", "moved"],
)
def test_corrected_deleted_and_moved_rows_are_late_too(
    late: Daemon, edit: Callable[[pd.DataFrame], pd.DataFrame], days: list[str]
) -> None:
    write(late.root, edit(rides()))
    assert sorted(spans(late.settle())) == days


def test_windows_after_those_that_were_run_are_the_schedules_and_gaps_are_not(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    materialize(applied_root, 3, 5)
    materialize(applied_root, 8, 8)
    daemon = Daemon(applied_root, instance, "late_data_taxi")
    assert set(spans(daemon.settle())) == {"2024-01-01...2024-01-02", "2024-01-06...2024-01-07"}


def test_what_is_in_flight_is_not_asked_for_again_and_the_rest_is(late: Daemon) -> None:
    write(late.root, with_ride(with_ride(rides(), "2024-01-03T07:00", 7.0), "2024-01-04T07:00", 7.0))
    first = late.tick()
    assert set(spans(first)) == {"2024-01-03...2024-01-04"}
    (request,) = first
    job = late.definitions().resolve_job_def("materialize_taxi_daily")
    run = late.instance.create_run_for_job(
        job,
        tags={**request.tags, "dagster/run_key": request.run_key or ""},
        asset_selection=frozenset(request.asset_selection or []),
        status=dg.DagsterRunStatus.STARTED,
    )
    assert late.tick() == []
    write(late.root, with_ride(pd.read_parquet(late.root / "data" / "rides.parquet"), "2024-01-05T07:00", 7.0))
    assert set(spans(late.tick())) == {"2024-01-05"}
    late.instance.report_run_canceled(run)
    late.instance.delete_run(run.run_id)
    assert set(spans(late.tick())) == {"2024-01-03...2024-01-05"}


def test_a_run_that_somebody_else_started_counts_as_in_flight(late: Daemon) -> None:
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    job = late.definitions().resolve_job_def("materialize_taxi_daily")
    late.instance.create_run_for_job(job, tags={"dagster/partition": "2024-01-03"}, status=dg.DagsterRunStatus.STARTED)
    assert late.tick() == []


def test_a_failed_run_is_asked_for_again_under_another_key_but_not_at_once(
    late: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    (first,) = late.tick()
    with monkeypatch.context() as broken:
        broken.setattr(DuckDBOfflineStore, "latest", None)
        assert late.run([first]) == [False]
    assert late.tick() == []
    (record,) = late.instance.get_run_records()
    later = record.update_timestamp.replace(tzinfo=UTC) + timedelta(minutes=1, seconds=1)
    monkeypatch.setattr("feast_assets.dagster.sensors.datetime", _Clock(later))
    (second,) = late.tick()
    assert spans([second]) == spans([first])
    assert second.run_key != first.run_key
    assert late.run([second]) == [True]
    assert late.tick() == []


class _Clock:
    def __init__(self, now: datetime):
        self._now = now

    def now(self, _: object) -> datetime:
        return self._now


def test_a_tick_that_dies_after_launching_half_its_requests_loses_and_doubles_nothing(late: Daemon) -> None:
    frame = rides()
    for at in ("2024-01-03T07:00", "2024-01-05T07:00", "2024-01-07T07:00", "2024-01-09T07:00"):
        frame = with_ride(frame, at, 7.0)
    write(late.root, frame)
    asked = late.tick(dies=True)
    assert len(asked) == 4
    late.run(asked[:2])
    again = late.tick()
    assert spans(again) == spans(asked[2:])
    assert [r.run_key for r in again] == [r.run_key for r in asked[2:]]
    late.run(again)
    assert late.tick() == []
    assert len(late.instance.get_run_records()) == 4


def test_a_run_that_was_created_and_never_launched_is_asked_for_under_the_same_key(late: Daemon) -> None:
    """Dagster then launches the run that it finds under the key."""
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    (asked,) = late.tick()
    late.instance.create_run_for_job(
        late.definitions().resolve_job_def("materialize_taxi_daily"),
        tags={**asked.tags, "dagster/run_key": asked.run_key or ""},
        asset_selection=frozenset(asked.asset_selection or []),
        status=dg.DagsterRunStatus.NOT_STARTED,
    )
    assert [r.run_key for r in late.tick()] == [asked.run_key]


def test_a_killed_runs_windows_are_asked_for(late: Daemon) -> None:
    from feast_assets.registry.base import WindowContent

    FeatureStore(late.root).registry.claim("ride", [WindowContent(days(4, 4)[0], "f", "d")], run_id="killed")
    assert spans(late.settle()) == {"2024-01-04": {"ride"}}


def test_many_ranges_are_asked_for_a_few_at_a_time(late: Daemon) -> None:
    resource = FeatureStoreResource(repo_path=str(late.root))
    from feast_assets.dagster import FeatureRepository, build_feature_view_assets, feature_view_jobs, late_data_sensor

    repository = FeatureRepository.load(resource)
    assets = build_feature_view_assets(repository)
    jobs = feature_view_jobs(assets)
    sensor = late_data_sensor(repository, assets, jobs, max_runs=2)
    defs = dg.Definitions(assets=assets, jobs=jobs, sensors=[sensor], resources={"feature_store": resource})
    frame = rides()
    for number in (2, 4, 6, 8, 10):
        frame = with_ride(frame, f"2024-01-{number:02}T07:00", 7.0)
    write(late.root, frame)
    requests = evaluated(defs, resource, late.instance, sensor.name).run_requests
    assert sorted(spans(requests or [])) == ["2024-01-02", "2024-01-04"]


def test_a_source_that_is_gone_is_told_and_keeps_nobody_from_the_other_views(late: Daemon) -> None:
    materialize(late.root, 1, 2, views=())
    FeatureStore(late.root).materialize_windows("vehicle", None)
    late.tick()
    vehicles = late.root / "data" / "vehicles.parquet"
    vehicles.unlink()
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    assert set(spans(late.tick())) == {"2024-01-03"}


@pytest.mark.parametrize("sensor", ["late_data_taxi", "definitions_taxi"])
def test_a_view_that_is_not_to_be_materialized_keeps_nobody_from_the_other_views(late: Daemon, sensor: str) -> None:
    store = FeatureStore(late.root)
    store.set_feature_view_state("ride", FeatureViewState.CREATED)
    late.sensor = sensor
    late.tick()
    write(late.root, with_ride(rides(), "2024-01-03T07:00", 7.0))
    assert spans(late.tick()) == (
        {} if sensor == "definitions_taxi" else {"2024-01-03": {"ride_totals", "kept_totals"}}
    )
    store.disable_feature_view("ride_totals")
    assert late.tick() == []
    store.close()


def test_a_view_without_partitions_is_asked_for_whole(late: Daemon) -> None:
    FeatureStore(late.root).materialize_windows("vehicle", None)
    assert late.tick() == []
    vehicles = late.root / "data" / "vehicles.parquet"
    pd.read_parquet(vehicles).assign(plate=["X", "Y", "Z"]).to_parquet(vehicles, index=False)
    assert spans(late.settle()) == {"whole": {"vehicle"}}
    assert online(late.root, ["vehicle:plate"])["plate"] == ["X", "Y", "Z", None]


def test_views_on_late_data_are_run_where_they_were_never_run(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository(
        """
    from feast_assets import Automation

    automated = FeatureView(
        name="automated",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR, end=datetime(2024, 2, 12, tzinfo=UTC)),
        automation=Automation.on_late_data(),
    )
        """
    )
    FeatureStore(root).apply_repository()
    daemon = Daemon(root, instance, "late_data_taxi")
    assert spans(daemon.settle()) == {"2024-01-01...2024-02-09": {"automated"}}
    assert online(root, ["automated:fare"])["fare"] == [179.0, 279.0, 379.0, 419.0]


def test_any_arrival_order_ends_as_a_full_recompute(late: Daemon) -> None:
    """Rows come late, are corrected, moved and deleted, while the sensor keeps up."""
    frame = rides()
    late.tick()
    steps: list[Callable[[pd.DataFrame], pd.DataFrame]] = [
        lambda f: with_ride(f, "2024-01-20T23:00", 55.0, driver=4),
        lambda f: f.assign(fare=f.fare.where(f.finished_at.dt.strftime("%m-%d") != "01-20", f.fare + 1)),
        lambda f: with_ride(f, "2024-01-02T23:30", 1.0, driver=2),
    ]
    asked = 0
    for step in steps:
        frame = step(frame)
        write(late.root, frame)
        asked += len(late.settle())
    assert asked == 3
    known = frame[frame.finished_at < pd.Timestamp("2024-01-21", tz="UTC")]
    last = known.sort_values("finished_at").groupby("driver_id").fare.last()
    assert online(late.root, ["ride:fare"])["fare"] == [last[d] for d in ALL]
    totals = known.groupby(["driver_id", known.finished_at.dt.floor("D")]).fare.sum()
    newest = totals.reset_index().groupby("driver_id").fare.last()
    assert online(late.root, ["ride_totals:fares"])["fares"] == [newest[d] for d in ALL]


# --- changed definitions


def edit(root: Path, old: str, new: str) -> None:
    """Changes the definitions and applies them."""
    file = root / "taxi_features.py"
    text = file.read_text()
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new))
    FeatureStore(root).apply_repository()


@pytest.fixture
def changes(applied_root: Path, instance: dg.DagsterInstance) -> Daemon:
    """The sensor of changed definitions, after its first tick, with the first twenty days materialized."""
    materialize(applied_root, 1, 20)
    daemon = Daemon(applied_root, instance, "definitions_taxi")
    assert daemon.tick() == []
    return daemon


def test_words_make_nothing_stale(changes: Daemon) -> None:
    edit(changes.root, "The last ride.", "The last ride, as driven.")
    assert changes.settle() == []


def test_a_new_feature_runs_what_had_been_run_of_its_view(changes: Daemon) -> None:
    edit(changes.root, 'Field(name="minutes", dtype=Int64),', "")
    assert spans(changes.settle()) == {"2024-01-01...2024-01-20": {"ride"}}
    assert changes.settle() == []


def test_of_a_view_with_a_ttl_only_what_is_still_served_is_run(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_repository()
    text = (root / "taxi_features.py").read_text()
    (root / "taxi_features.py").write_text(text.replace("ttl=timedelta(0)", "ttl=timedelta(days=3)"))
    FeatureStore(root).apply_repository()
    materialize(root, 1, 20)
    monkeypatch.setattr("feast_assets.dagster.sensors.datetime", _Clock(datetime(2024, 1, 21, 6, tzinfo=UTC)))
    daemon = Daemon(root, instance, "definitions_taxi")
    daemon.tick()
    edit(root, 'Field(name="minutes", dtype=Int64),', "")
    assert spans(daemon.settle()) == {"2024-01-18...2024-01-20": {"ride"}}
    late = Daemon(root, instance, "late_data_taxi")
    assert late.settle() == []


def test_a_changed_transformation_runs_its_view_and_then_what_reads_its_result(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository(
        """
    reader = FeatureView(
        name="reader",
        entities=[driver],
        source=kept_totals,
        schema=[Field(name="fares", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )
        """
    )
    FeatureStore(root).apply_repository()
    materialize(root, 1, 10, views=("ride", "ride_totals", "reader"))
    daemon = Daemon(root, instance, "definitions_taxi")
    daemon.tick()
    edit(root, "sum(fare) AS fares", "sum(fare) * 2 AS fares")
    first = daemon.tick()
    assert spans(first) == {"2024-01-01...2024-01-10": {"ride_totals", "kept_totals"}}
    daemon.run(first)
    second = daemon.tick()
    assert spans(second) == {"2024-01-01...2024-01-10": {"reader"}}
    daemon.run(second)
    assert daemon.tick() == []
    assert online(root, ["reader:fares"]) == online(root, ["ride_totals:fares"])


def test_a_new_view_is_run_whole_and_a_deleted_ones_rows_go(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository()
    FeatureStore(root).apply_repository()
    daemon = Daemon(root, instance, "definitions_taxi")
    daemon.tick()
    write_repository(FRESH)
    store = FeatureStore(root)
    store.apply_repository()
    assert spans(daemon.settle()) == {"2024-01-01...2024-02-09": {"fresh"}}
    table = store.get_feature_view("fresh").online_table("taxi")
    assert store.online_store.identity(table)
    write_repository()
    FeatureStore(root).apply_repository()
    assert store.online_store.identity(table) == ""
    assert store.registry.ledger("fresh") == []
    assert daemon.settle() == []


def test_a_view_that_is_loaded_after_it_was_applied_is_new_then(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository()
    daemon = Daemon(root, instance, "definitions_taxi", reloads=False)
    assert daemon.tick() == []
    FeatureStore(root).apply_repository()
    first = daemon.tick()
    assert {"ride", "ride_totals", "vehicle"} <= set().union(*spans(first).values())
    assert len(first) == 3
    daemon.run(first)
    write_repository(FRESH)
    FeatureStore(root).apply_repository()
    assert daemon.tick() == []
    daemon.reloads = True
    assert {"fresh"} in spans(daemon.settle()).values()


def test_an_online_store_that_was_lost_is_filled_again(changes: Daemon) -> None:
    before = online(changes.root, ["ride:fare", "ride_totals:fares"])
    assert any(value is not None for value in before["fare"])
    for file in (changes.root / "data").glob("online.db*"):
        file.unlink()
    assert online(changes.root, ["ride:fare"]) == {"fare": [None] * len(ALL)}
    late = Daemon(changes.root, changes.instance, "late_data_taxi")
    assert late.settle() == []
    asked = changes.settle()
    assert {"ride", "ride_totals"} <= spans(asked)["2024-01-01...2024-01-20"]
    assert online(changes.root, ["ride:fare", "ride_totals:fares"]) == before
    assert changes.settle() == []


def test_of_an_online_store_that_was_lost_only_what_is_still_served_is_filled_again(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_repository()
    file = root / "taxi_features.py"
    file.write_text(file.read_text().replace("ttl=timedelta(0)", "ttl=timedelta(days=3)"))
    FeatureStore(root).apply_repository()
    names = [v.name for v in FeatureStore(root).list_feature_views() if v.online and v.partitions is not None]
    with_ttl = {n for n in names if FeatureStore(root).get_feature_view(n).ttl}
    assert {"ride", "ride_totals"} & with_ttl
    materialize(root, 1, 20)
    monkeypatch.setattr("feast_assets.dagster.sensors.datetime", _Clock(datetime(2024, 1, 21, 6, tzinfo=UTC)))
    daemon = Daemon(root, instance, "definitions_taxi")
    daemon.tick()
    for lost in (root / "data").glob("online.db*"):
        lost.unlink()
    asked = spans(daemon.settle())
    assert with_ttl & {"ride", "ride_totals"} <= asked["2024-01-18...2024-01-20"]
    assert not with_ttl & asked.get("2024-01-01...2024-01-20", set())


def test_a_table_that_was_lost_and_written_to_since_is_filled_again(changes: Daemon) -> None:
    store = FeatureStore(changes.root)
    view = store.get_feature_view("ride")
    store.online_store.drop([view.online_table(store.project)])
    store.close()
    materialize(changes.root, 20, 20, views=("ride",))
    asked = changes.tick()
    assert spans(asked) == {"2024-01-01...2024-01-19": {"ride"}}
    assert changes.run(asked) == [True]
    assert changes.settle() == []


def test_the_first_rows_of_a_table_are_not_taken_for_its_loss(applied_root: Path, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(applied_root, instance, "definitions_taxi")
    assert daemon.tick() == []
    materialize(applied_root, 1, 20)
    assert daemon.settle() == []


def test_a_project_that_was_never_applied_is_waited_for(repository_root: Path, instance: dg.DagsterInstance) -> None:
    for sensor in ("late_data_taxi", "definitions_taxi"):
        assert Daemon(repository_root, instance, sensor).tick() == []
    assert not (repository_root / "data" / "registry.db").exists()


def test_a_failed_backfill_stays_wanted(changes: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(changes.root, 'Field(name="minutes", dtype=Int64),', "")
    asked = changes.tick()
    with monkeypatch.context() as broken:
        broken.setattr(DuckDBOfflineStore, "latest", None)
        assert changes.run(asked) == [False]
    assert changes.tick() == []
    monkeypatch.setattr("feast_assets.dagster.sensors.datetime", _Clock(datetime.now(UTC) + timedelta(minutes=2)))
    again = changes.tick()
    assert spans(again) == spans(asked)
    assert changes.run(again) == [True]
    assert changes.tick() == []


def test_what_is_applied_otherwise_than_it_is_loaded_is_not_asked_for(changes: Daemon) -> None:
    resource = FeatureStoreResource(repo_path=str(changes.root))
    loaded = definitions_for({"feature_store": resource})
    edit(changes.root, 'Field(name="minutes", dtype=Int64),', "")
    data = evaluated(loaded, resource, changes.instance, "definitions_taxi", changes.cursor)
    assert data.run_requests == []
    changes.cursor = data.cursor
    assert set(spans(changes.settle())) == {"2024-01-01...2024-01-20"}
