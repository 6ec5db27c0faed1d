"""Runs of feature view assets on a small repository: what ends up online, and what Dagster is told."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureRepository, FeatureStoreResource, definitions_for, feature_view_assets
from feast_assets.definitions.window import Window

DAILY = "materialize_taxi_daily"
RIDE = dg.AssetKey(["taxi", "ride"])
TOTALS = dg.AssetKey(["taxi", "ride_totals"])
DOUBLED = dg.AssetKey(["taxi", "a_doubled_total"])
KEPT = dg.AssetKey(["taxi", "sources", "kept_totals"])
DRIVERS = [1, 2, 3, 4, 5]
DAILY_FEATURES = ["ride:fare", "ride:minutes", "ride_totals:rides", "ride_totals:fares"]


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


def run(
    root: Path,
    instance: dg.DagsterInstance,
    *,
    job: str = DAILY,
    key: str | None = None,
    keys: tuple[str, str] | None = None,
    only: Iterable[dg.AssetKey] | None = None,
    raise_on_error: bool = True,
) -> dg.ExecuteInProcessResult:
    tags = {}
    if keys is not None:
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[1]}
    return (
        definitions(root)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=key,
            tags=tags,
            asset_selection=None if only is None else list(only),
            raise_on_error=raise_on_error,
        )
    )


def events(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[dg.AssetMaterialization]:
    """Returns an asset's materializations, oldest first."""
    records = instance.fetch_materializations(key, limit=1000).records
    return [r.asset_materialization for r in reversed(records) if r.asset_materialization is not None]


def online(root: Path, features: list[str] = DAILY_FEATURES) -> pd.DataFrame:
    rows = [{"driver_id": d} for d in DRIVERS]
    return FeatureStore(root).get_online_features(features, rows).to_df()


def rides_until(root: Path, end: str) -> pd.DataFrame:
    rides = pd.read_parquet(root / "data" / "rides.parquet")
    return rides[rides.finished_at < pd.Timestamp(end, tz="UTC")]


def expected(root: Path, end: str) -> pd.DataFrame:
    """Works out by pandas what must be online when everything before ``end`` has been materialized."""
    rides = rides_until(root, end)
    last = rides.sort_values("finished_at").groupby("driver_id").last()
    per_day = rides.groupby(["driver_id", rides.finished_at.dt.floor("D")]).fare.agg(["count", "sum"]).reset_index()
    totals = per_day.sort_values("finished_at").groupby("driver_id").last()
    made = pd.DataFrame(
        {"fare": last.fare, "minutes": last.minutes, "rides": totals["count"], "fares": totals["sum"]}, dtype=float
    )
    return made.reindex(DRIVERS).rename_axis("driver_id").reset_index()


def assert_online(root: Path, end: str) -> None:
    found = online(root)[["driver_id", "fare", "minutes", "rides", "fares"]].astype(float)
    pd.testing.assert_frame_equal(found, expected(root, end).astype(float))


def test_a_range_is_one_run_that_leaves_the_newest_values_online(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    result = run(applied_root, instance, keys=("2024-01-01", "2024-01-20"))
    assert result.success
    assert len(instance.get_run_records()) == 1
    assert_online(applied_root, "2024-01-21")
    ledger = FeatureStore(applied_root).registry.ledger("ride")
    assert len(ledger) == 20
    assert {e.run_id for e in ledger} == {result.run_id}
    assert FeatureStore(applied_root).materialization_intervals("ride") == [
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 21, tzinfo=UTC))
    ]


def test_every_partition_of_a_range_is_recorded_once_with_figures_of_its_own(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    run(applied_root, instance, keys=("2024-01-09", "2024-01-12"))
    days = ["2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12"]
    rides = rides_until(applied_root, "2025-01-01")
    for key in (RIDE, TOTALS, KEPT):
        assert sorted(e.partition or "" for e in events(instance, key)) == days, key
        assert instance.get_materialized_partitions(key) == set(days)
    told = {e.partition: {k: v.value for k, v in e.metadata.items()} for e in events(instance, RIDE)}
    for day in days:
        of_day = rides[rides.finished_at.dt.strftime("%Y-%m-%d") == day]
        assert told[day]["dagster/partition_row_count"] == len(of_day)
        assert told[day]["feast_assets/newest_event"] == of_day.finished_at.max().timestamp()
    # Driver 4 has no ride after the tenth, so a pass over all four days takes three drivers from the last and one
    # from the tenth.
    # What reads like a failure is not shown as a number, but explained.
    assert [told[d].get("feast_assets/latest_entities") for d in days] == [None, 1, None, 3]
    assert [told[d].get("feast_assets/rows_written") for d in days] == [None, 1, None, 3]
    assert [told[d].get("feast_assets/rows_ignored") for d in days] == [None] * 4
    newer = "Nothing to write: each entity has a newer row in a later partition of the run."
    assert [told[d].get("feast_assets/online") for d in days] == [newer, None, newer, None]
    assert len({told[d]["feast_assets/fingerprint"] for d in days}) == 4
    kept = {e.partition: e.metadata["dagster/partition_row_count"].value for e in events(instance, KEPT)}
    assert kept == dict(zip(days, [4, 4, 3, 3], strict=True))
    # Of a later pass over two of the days, the store keeps what is newer; of the fourth driver it has the same already.
    run(applied_root, instance, keys=("2024-01-10", "2024-01-11"))
    again = {e.partition: {k: v.value for k, v in e.metadata.items()} for e in events(instance, RIDE)[-2:]}
    for day in ("2024-01-10", "2024-01-11"):
        assert "feast_assets/rows_written" not in again[day]
        assert again[day].get("feast_assets/rows_ignored") == again[day].get("feast_assets/latest_entities")
        assert "Nothing to write" in again[day]["feast_assets/online"]


def test_single_partitions_in_any_order_end_as_one_range_does(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository()
    FeatureStore(root).apply_repository()
    for day in (7, 3, 9, 1, 10, 2, 8, 4, 6, 5, 3, 9):
        assert run(root, instance, key=f"2024-01-{day:02}").success
    assert_online(root, "2024-01-11")
    kept = pd.read_parquet(root / "data" / "kept_totals")
    assert len(kept) == 40
    assert len(kept.drop_duplicates(["driver_id", "finished_at"])) == 40


def test_an_older_range_does_not_overwrite_newer_values(applied_root: Path, instance: dg.DagsterInstance) -> None:
    run(applied_root, instance, keys=("2024-01-15", "2024-01-20"))
    run(applied_root, instance, keys=("2024-01-01", "2024-01-14"))
    assert_online(applied_root, "2024-01-21")


def test_partitions_without_rows_are_materialized_as_empty(applied_root: Path, instance: dg.DagsterInstance) -> None:
    assert run(applied_root, instance, keys=("2024-02-09", "2024-02-12")).success
    counts = {e.partition: e.metadata["dagster/partition_row_count"].value for e in events(instance, RIDE)}
    assert counts == {"2024-02-09": 6, "2024-02-10": 0, "2024-02-11": 0, "2024-02-12": 0}


def test_hourly_partitions_are_their_own_run(applied_root: Path, instance: dg.DagsterInstance) -> None:
    job = "materialize_taxi_hourly"
    assert run(applied_root, instance, job=job, keys=("2024-01-01-06:00", "2024-01-01-18:00")).success
    key = dg.AssetKey(["taxi", "hourly_ride"])
    counts = {e.partition: e.metadata["dagster/partition_row_count"].value for e in events(instance, key)}
    assert len(counts) == 13
    assert {k: v for k, v in counts.items() if v} == {"2024-01-01-06:00": 4, "2024-01-01-18:00": 4}
    assert online(applied_root, ["hourly_ride:fare"]).fare.tolist()[:4] == [101.0, 201.0, 301.0, 401.0]


def test_a_run_of_partitioned_views_without_partitions_says_to_choose_some(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.Failure, match=r"none were chosen for this run\. Choose one or a range"):
        run(applied_root, instance)
    result = run(applied_root, instance, raise_on_error=False)
    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    assert "non-partitioned" not in str(failure.event_specific_data)


def test_a_view_without_partitions_is_materialized_whole(applied_root: Path, instance: dg.DagsterInstance) -> None:
    assert run(applied_root, instance, job="materialize_taxi_without_partitions").success
    (event,) = events(instance, dg.AssetKey(["taxi", "vehicle"]))
    assert event.partition is None
    assert event.metadata["dagster/row_count"].value == 3
    plates = online(applied_root, ["vehicle:plate"]).plate
    assert plates.tolist()[:3] == ["A1", "B2", "C3"]
    assert plates.isna().tolist()[3:] == [True, True]


def test_only_what_is_selected_is_materialized(applied_root: Path, instance: dg.DagsterInstance) -> None:
    assert run(applied_root, instance, keys=("2024-01-01", "2024-01-05"), only=[RIDE]).success
    assert len(events(instance, RIDE)) == 5
    assert events(instance, TOTALS) == []
    found = online(applied_root)
    assert found.fare.notna().tolist() == [True, True, True, True, False]
    assert found.rides.isna().all()


@pytest.mark.parametrize(("asked", "other"), [(TOTALS, KEPT), (KEPT, TOTALS)])
def test_a_kept_result_and_its_latest_values_are_made_and_recorded_together(
    applied_root: Path, instance: dg.DagsterInstance, asked: dg.AssetKey, other: dg.AssetKey
) -> None:
    assert run(applied_root, instance, keys=("2024-01-01", "2024-01-03"), only=[asked]).success
    days = ["2024-01-01", "2024-01-02", "2024-01-03"]
    for key in (asked, other):
        found = {e.partition: e.metadata["dagster/partition_row_count"].value for e in events(instance, key)}
        assert found == dict.fromkeys(days, 4), key
    assert events(instance, RIDE) == []
    assert len(pd.read_parquet(applied_root / "data" / "kept_totals")) == 12
    assert online(applied_root).rides.tolist()[:4] == [2, 2, 2, 2]


def test_content_and_definition_decide_the_data_version_of_a_single_partition(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    file = applied_root / "data" / "rides.parquet"
    rides = pd.read_parquet(file)
    run(applied_root, instance, key="2024-01-02", only=[RIDE])
    run(applied_root, instance, key="2024-01-02", only=[RIDE])
    rides.assign(fare=rides.fare + 1).to_parquet(file, index=False)
    run(applied_root, instance, key="2024-01-02", only=[RIDE])
    code = applied_root / "taxi_features.py"
    code.write_text(
        code.read_text().replace('Field(name="minutes", dtype=Int64)', 'Field(name="minutes", dtype=Float64)')
    )
    FeatureStore(applied_root).apply_repository()
    run(applied_root, instance, key="2024-01-02", only=[RIDE])
    first, again, changed, redefined = ((e.tags or {})["dagster/data_version"] for e in events(instance, RIDE))
    assert first == again
    assert len({first, changed, redefined}) == 3


def test_a_range_does_not_give_one_partitions_version_to_another(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    run(applied_root, instance, key="2024-01-02", only=[RIDE])
    run(applied_root, instance, key="2024-01-03", only=[RIDE])
    run(applied_root, instance, keys=("2024-01-02", "2024-01-03"), only=[RIDE])
    second, third, *of_range = ((e.tags or {})["dagster/data_version"] for e in events(instance, RIDE))
    assert len(of_range) == 2
    assert set(of_range).isdisjoint({second, third})


def test_a_corrected_partition_replaces_its_values_online(applied_root: Path, instance: dg.DagsterInstance) -> None:
    run(applied_root, instance, keys=("2024-01-01", "2024-01-05"))
    file = applied_root / "data" / "rides.parquet"
    rides = pd.read_parquet(file)
    rides.assign(fare=rides.fare * 2).to_parquet(file, index=False)
    run(applied_root, instance, key="2024-01-05")
    assert_online(applied_root, "2024-01-06")


TIPS = """

    tips = FileSource(name="tips", path="data/tips.parquet", timestamp_field="finished_at")

    a_tip = FeatureView(
        name="a_tip",
        entities=[driver],
        source=tips,
        schema=[Field(name="tip", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )

    @batch_feature_view(
        mode="sql",
        entities=[driver],
        source=kept_totals,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="twice", dtype=Int64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )
    def a_doubled_total(kept_totals):
        return f"SELECT driver_id, finished_at, 2 * rides AS twice FROM {kept_totals}"
"""


@pytest.fixture
def root_with_tips(write_repository: Callable[..., Path]) -> Path:
    FeatureStore(write_repository()).apply_repository()
    # The view that reads the kept result can be applied once there is some of it.
    february = Window(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 2, tzinfo=UTC))
    FeatureStore(write_repository()).materialize_windows("ride_totals", [february])
    root = write_repository(TIPS)
    tips = pd.read_parquet(root / "data" / "rides.parquet").rename(columns={"fare": "tip"})
    tips[["driver_id", "finished_at", "tip"]].to_parquet(root / "data" / "tips.parquet", index=False)
    FeatureStore(root).apply_repository()
    return root


def test_a_view_that_fails_keeps_neither_the_others_nor_other_partitions_from_being_filled(
    root_with_tips: Path, instance: dg.DagsterInstance
) -> None:
    tips, tip = root_with_tips / "data" / "tips.parquet", dg.AssetKey(["taxi", "a_tip"])
    good = tips.read_bytes()
    run(root_with_tips, instance, key="2024-01-01")
    tips.write_bytes(b"not parquet")
    failed = run(root_with_tips, instance, key="2024-01-02", raise_on_error=False)
    assert not failed.success
    (failure,) = [e for e in failed.all_events if e.is_step_failure]
    assert "a_tip" in str(failure.step_failure_data.error)
    assert instance.get_materialized_partitions(tip) == {"2024-01-01"}
    assert instance.get_materialized_partitions(RIDE) == {"2024-01-01", "2024-01-02"}
    assert online(root_with_tips, ["ride:fare"]).fare.tolist()[:4] == [103.0, 203.0, 303.0, 403.0]
    assert online(root_with_tips, ["a_tip:tip"]).tip.tolist()[0] == 101.0

    tips.write_bytes(good)
    run(root_with_tips, instance, key="2024-01-03", only=[tip])
    run(root_with_tips, instance, key="2024-01-02", only=[tip])
    assert instance.get_materialized_partitions(tip) == {"2024-01-01", "2024-01-02", "2024-01-03"}
    assert FeatureStore(root_with_tips).materialization_intervals("a_tip") == [
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC))
    ]
    assert online(root_with_tips, ["a_tip:tip"]).tip.tolist()[0] == 105.0


def test_a_view_that_reads_a_kept_result_is_run_after_it(root_with_tips: Path, instance: dg.DagsterInstance) -> None:
    assert run(root_with_tips, instance, keys=("2024-01-01", "2024-01-04")).success
    kept = pd.read_parquet(root_with_tips / "data" / "kept_totals")
    assert len(kept) == 4 * 4 + 3
    counts = {e.partition: e.metadata["feast_assets/input_rows"].value for e in events(instance, DOUBLED)}
    assert counts == dict.fromkeys(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"], 4)
    assert online(root_with_tips, ["a_doubled_total:twice"]).twice.tolist()[:4] == [4, 4, 4, 4]


def test_a_view_that_reads_a_kept_result_is_not_run_when_that_fails(
    root_with_tips: Path, instance: dg.DagsterInstance
) -> None:
    (root_with_tips / "data" / "rides.parquet").write_bytes(b"not parquet")
    failed = run(root_with_tips, instance, key="2024-01-01", raise_on_error=False)
    (failure,) = [e for e in failed.all_events if e.is_step_failure]
    said = str(failure.step_failure_data.error)
    assert "ride_totals" in said
    assert "not run: a_doubled_total" in said
    assert events(instance, dg.AssetKey(["taxi", "a_tip"]))
    assert events(instance, DOUBLED) == []


def test_a_repository_that_was_never_applied_is_not_materialized(
    repository_root: Path, instance: dg.DagsterInstance
) -> None:
    with pytest.raises(dg.Failure, match=r"Feature view 'ride' has not been applied\. Apply the repository first"):
        run(repository_root, instance, key="2024-01-01")
    assert sorted(p.name for p in (repository_root / "data").iterdir()) == ["rides.parquet", "vehicles.parquet"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("sum(fare)", "max(fare)", "'ride_totals' has been changed since"),
        ('Field(name="minutes", dtype=Int64)', 'Field(name="minutes", dtype=Float64)', "'ride' has been changed since"),
        ("data/rides.parquet", "data/./rides.parquet", "'ride' has been changed since"),
    ],
)
def test_a_view_that_was_changed_since_it_was_applied_is_not_materialized(
    applied_root: Path, instance: dg.DagsterInstance, before: str, after: str, told: str
) -> None:
    file = applied_root / "taxi_features.py"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))
    with pytest.raises(dg.Failure, match=told):
        run(applied_root, instance, key="2024-01-01")
    assert events(instance, RIDE) == []
    FeatureStore(applied_root).apply_repository()
    assert run(applied_root, instance, key="2024-01-01").success


def test_descriptions_and_ttl_may_change_without_an_apply(applied_root: Path, instance: dg.DagsterInstance) -> None:
    file = applied_root / "taxi_features.py"
    changed = file.read_text().replace("The last ride.", "The ride before.").replace("timedelta(0)", "timedelta(1)")
    file.write_text(changed)
    assert run(applied_root, instance, key="2024-01-01").success


def test_other_partitions_than_were_applied_are_refused(applied_root: Path, instance: dg.DagsterInstance) -> None:
    file = applied_root / "taxi_features.py"
    file.write_text(file.read_text().replace('Partitions("daily"', 'Partitions("monthly"'))
    with pytest.raises(dg.Failure, match="has other partitions than when it was applied"):
        run(applied_root, instance, job="materialize_taxi_monthly", key="2024-01-01")


def test_a_view_whose_declaration_has_gone_is_refused(applied_root: Path, instance: dg.DagsterInstance) -> None:
    job = definitions(applied_root).resolve_job_def("materialize_taxi_without_partitions")
    file = applied_root / "taxi_features.py"
    file.write_text(
        file.read_text()
        .replace("    vehicle = FeatureView(", "    _ = dict(")
        .replace("vehicle = FeatureView(", "_ = dict(")
    )
    with pytest.raises(dg.Failure, match="'vehicle' is no longer declared"):
        job.execute_in_process(instance=instance)


KILLED = """
import os, signal, sys
import dagster as dg
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore

put_many, calls = SqliteOnlineStore.put_many, []

def put_and_die(self, table, batches):
    done = put_many(self, table, batches)
    calls.append(table)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return done

SqliteOnlineStore.put_many = put_and_die
defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=sys.argv[1])})
with dg.DagsterInstance.local_temp(sys.argv[2]) as instance:
    defs.resolve_job_def("materialize_taxi_daily").execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-20"},
    )
"""


@pytest.mark.parametrize("at_put", [1, 2])
def test_a_run_that_was_killed_is_made_good_by_running_it_again(
    applied_root: Path, tmp_path: Path, at_put: int
) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    environment = {**os.environ, "DAGSTER_DISABLE_TELEMETRY": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(applied_root), str(home), str(at_put)],
        env=environment,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    registry = FeatureStore(applied_root).registry
    settled = {v: sum(e.settled for e in registry.ledger(v)) for v in ("ride", "ride_totals")}
    assert settled == ({"ride": 0, "ride_totals": 0} if at_put == 1 else {"ride": 20, "ride_totals": 0})
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert run(applied_root, instance, keys=("2024-01-01", "2024-01-20")).success
    assert_online(applied_root, "2024-01-21")
    assert len(pd.read_parquet(applied_root / "data" / "kept_totals")) == 20 * 3 + 10


def test_a_decorated_function_materializes_chosen_views(applied_root: Path, instance: dg.DagsterInstance) -> None:
    resource: Any = FeatureStoreResource(repo_path=str(applied_root))

    @feature_view_assets(repository=FeatureRepository.load(resource), views=["ride"], name="only_ride")
    def assets(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource):
        yield from feature_store.materialize_views(context)

    result = dg.materialize(
        [assets], instance=instance, partition_key="2024-01-03", resources={"feature_store": resource}
    )
    assert result.success
    assert [e.partition for e in events(instance, RIDE)] == ["2024-01-03"]


def test_an_asset_that_stands_for_no_view_is_refused_by_name(applied_root: Path, instance: dg.DagsterInstance) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("stranger")])
    def assets(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource):
        yield from feature_store.materialize_views(context)

    resources: Any = {"feature_store": FeatureStoreResource(repo_path=str(applied_root))}
    with pytest.raises(dg.Failure, match="'stranger' stands for no feature view"):
        dg.materialize([assets], instance=instance, resources=resources)
