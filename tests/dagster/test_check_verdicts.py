"""Each partition has its own verdict: red as long as it stands refused, green when it is healed, whoever healed it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from checked_visits import DAYS, FIRST, KEY, Project, checked_project, evaluations, visits
from dagster._core.loader import LoadingContext
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from ticks import Daemon, evaluated

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.errors import BrokenChecksError

OF_PARTITIONS = {"nulls", "ranges", "allowed_values", "uniqueness"}
BAD, OTHER = "2024-01-11", "2024-01-12"
_FAILED = AssetCheckExecutionRecordStatus.FAILED
GRID = dg.DailyPartitionsDefinition("2024-01-01", timezone="UTC")


@pytest.fixture
def project(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Project:
    made = checked_project(write_repository, instance, "")
    made.change(10, 3, score=1000.0)
    return made


class _Loading(LoadingContext):
    """What Dagster's pages read records with."""

    def __init__(self, instance: dg.DagsterInstance):
        self._instance = instance
        self._loaders: dict[object, object] = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict[object, object]:
        return self._loaders


def verdicts(instance: dg.DagsterInstance, check: str, key: dg.AssetKey = KEY) -> dict[str, set[str]]:
    """Returns the partitions of each status, as Dagster's pages show them."""
    state = instance.event_log_storage.get_asset_check_state([(dg.AssetCheckKey(key, check), GRID)])
    (found,) = state.values()
    subsets = {s.value: set(subset.subset_value.get_partition_keys()) for s, subset in found.subsets.items()}
    return {status: partitions for status, partitions in subsets.items() if partitions}


def records(instance: dg.DagsterInstance, check: str) -> Counter[tuple[str | None, str]]:
    """Returns how often each partition has a record of each status, whatever came after it."""
    history = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(KEY, check), limit=1000)
    return Counter((each.partition, each.status.value) for each in history)


def days(first: int, last: int) -> set[str]:
    return {f"2024-01-{day:02}" for day in range(first, last + 1)}


def test_a_refused_partition_is_red_and_those_beside_it_are_green(project: Project) -> None:
    assert not project.run(9, 11).success
    assert verdicts(project.instance, "ranges") == {"FAILED": {BAD}, "SUCCEEDED": {"2024-01-10", OTHER}}
    for check in OF_PARTITIONS - {"ranges"}:
        assert verdicts(project.instance, check) == {"SUCCEEDED": days(10, 12)}, check


def test_each_partition_of_a_run_has_one_record_of_each_check(project: Project) -> None:
    assert not project.run(9, 11).success
    assert project.run(0, 1).success
    for check in OF_PARTITIONS:
        found = records(project.instance, check)
        assert set(found.values()) == {1}, check
        assert {partition for partition, _ in found} == days(1, 2) | days(10, 12)
        assert {status for _, status in found} <= {"SUCCEEDED", "FAILED"}


def test_a_run_of_another_partition_leaves_the_refused_one_red(project: Project) -> None:
    assert not project.run(10, 10).success
    assert project.run(11, 11).success
    assert verdicts(project.instance, "ranges") == {"FAILED": {BAD}, "SUCCEEDED": {OTHER}}
    (last,) = project.instance.event_log_storage.get_asset_check_summary_records(
        [dg.AssetCheckKey(KEY, "ranges")]
    ).values()
    # Dagster colours what failed by the severity of the latest record, which is of the good partition.
    assert last.last_check_execution_record.evaluation.severity == dg.AssetCheckSeverity.ERROR


def test_a_partition_that_was_good_before_is_red_while_its_new_rows_are_refused(project: Project) -> None:
    bad = pd.read_parquet(project.root / "data" / "visits.parquet")
    project.write(visits())
    good = project.run()
    assert verdicts(project.instance, "ranges") == {"SUCCEEDED": days(1, DAYS)}
    project.write(bad)
    refused = project.run(10, 10)
    assert verdicts(project.instance, "ranges") == {"FAILED": {BAD}, "SUCCEEDED": days(1, DAYS) - {BAD}}
    about = evaluations(refused)["checked", "ranges"].target_materialization_data
    assert about.run_id == good.run_id
    told = evaluations(refused)["checked", "ranges"].description
    assert told.startswith("score maximum=100: 1 of 10 rows")
    assert told.endswith("what was served before stays.")


def test_a_run_heals_what_it_writes(project: Project) -> None:
    assert not project.run().success
    project.write(visits())
    assert project.run(10, 10).success
    assert verdicts(project.instance, "ranges") == {"SUCCEEDED": days(1, DAYS)}


def test_a_run_without_checks_heals_too(project: Project) -> None:
    assert not project.run(10, 10).success
    project.write(visits())
    defs = project.definitions()
    (assets,) = [a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition) and KEY in a.keys]
    selected = dg.AssetSelection.assets(KEY).without_checks()
    result = dg.materialize(
        [assets],
        instance=project.instance,
        resources={"feature_store": FeatureStoreResource(repo_path=str(project.root))},
        partition_key=BAD,
        selection=selected,
    )
    assert result.success
    assert verdicts(project.instance, "ranges") == {"SUCCEEDED": {BAD}}


def test_what_the_library_writes_heals_at_the_next_tick(project: Project) -> None:
    assert not project.run(9, 11).success
    daemon = Daemon(project.root, project.instance, "late_data_taxi")
    project.write(visits())
    FeatureStore(project.root).materialize_incremental(FIRST + timedelta(days=DAYS, microseconds=-1), ["checked"])
    assert verdicts(project.instance, "ranges")["FAILED"] == {BAD}
    resource = FeatureStoreResource(repo_path=str(project.root))
    ticked = evaluated(definitions_for({"feature_store": resource}), resource, project.instance, daemon.sensor)
    assert ticked.run_requests == []
    for event in ticked.asset_events:
        project.instance.report_runless_asset_event(event)
    assert verdicts(project.instance, "ranges") == {"SUCCEEDED": days(10, 12)}
    # It is told once.
    assert not evaluated(
        definitions_for({"feature_store": resource}), resource, project.instance, daemon.sensor
    ).asset_events


def test_what_the_library_writes_heals_with_the_next_run_of_another_partition(project: Project) -> None:
    assert not project.run(10, 10).success
    project.write(visits())
    FeatureStore(project.root).materialize_incremental(FIRST + timedelta(days=DAYS, microseconds=-1), ["checked"])
    assert project.run(11, 11).success
    assert verdicts(project.instance, "ranges") == {"SUCCEEDED": {BAD, OTHER}}


def test_what_the_library_refuses_as_well_heals_nothing(project: Project) -> None:
    assert not project.run(10, 10).success
    with pytest.raises(BrokenChecksError):
        FeatureStore(project.root).materialize_incremental(FIRST + timedelta(days=DAYS, microseconds=-1), ["checked"])
    assert project.run(11, 11).success
    assert verdicts(project.instance, "ranges") == {"FAILED": {BAD}, "SUCCEEDED": {OTHER}}


def test_a_single_partition_has_one_record_of_the_checks_of_a_run_too(project: Project) -> None:
    project.write(visits())
    assert project.run(2, 2).success
    for check in ("schema", "keys_and_times", "row_count"):
        assert records(project.instance, check) == {("2024-01-03", "SUCCEEDED"): 1}


@pytest.mark.parametrize(("first", "last"), [(2, 2), (2, 3)])
def test_a_source_with_another_schema_is_seen_whichever_partitions_were_run(
    project: Project, first: int, last: int
) -> None:
    project.write(visits())
    assert project.run(0, 5).success
    project.write(visits().rename(columns={"place": "location"}))
    assert not project.run(first, last).success
    check = dg.AssetCheckKey(KEY, "schema")
    (last_record,) = project.instance.event_log_storage.get_asset_check_execution_history(
        check, limit=1, status={_FAILED}
    )
    assert asyncio.run(last_record.targets_latest_materialization(_Loading(project.instance)))
    # Nobody has looked at the rows.
    assert verdicts(project.instance, "ranges")["EXECUTION_FAILED"] == days(first + 1, last + 1)


COMPUTED = """

    @batch_feature_view(
        mode="sql", entities=[driver], source=rides, partitions=Partitions("daily", start=NEW_YEAR),
        lookback=timedelta(days=3),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="minutes", dtype=Int64)],
    )
    def recent_rides(rides):
        return f"SELECT driver_id, finished_at, minutes FROM {rides}"
"""
RECENT = dg.AssetKey(["taxi", "recent_rides"])


def test_row_count_of_a_computed_view_compares_what_a_partition_made_and_not_what_it_read(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository(COMPUTED)
    rides = pd.read_parquet(root / "data" / "rides.parquet")
    tenth = rides.finished_at.dt.strftime("%Y-%m-%d") == "2024-01-10"
    assert tenth.any()
    rides[~tenth].to_parquet(root / "data" / "rides.parquet", index=False)
    FeatureStore(root).apply_repository()
    resource = FeatureStoreResource(repo_path=str(root))
    job = definitions_for({"feature_store": resource}, profile=False).resolve_job_def("materialize_taxi_daily")
    for first, last in (("2024-01-01", "2024-01-09"), ("2024-01-10", "2024-01-11")):
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        result = job.execute_in_process(instance=instance, tags=tags, asset_selection=[RECENT])
    (found,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "row_count"]
    assert not found.passed
    assert str(found.description).startswith("2024-01-10: 0 rows, expected")
    assert "2024-01-11" not in str(found.description)
