"""Data sources as observable assets: which partitions they have, and what observing them records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from taxi_rides import rides

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureRepository, FeatureStoreResource, build_source_assets, definitions_for

RIDES = dg.AssetKey(["taxi", "sources", "rides"])
VEHICLES = dg.AssetKey(["taxi", "sources", "vehicles"])
OBSERVE_VEHICLES = "observe_taxi_sources_without_partitions"


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


def repository(root: Path) -> FeatureRepository:
    return FeatureRepository.load(FeatureStoreResource(repo_path=str(root)))


def versions(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[tuple[str | None, str]]:
    """Returns the observations of a source, oldest first."""
    records = instance.fetch_observations(key, limit=1000).records
    found = [r.asset_observation for r in reversed(records)]
    return [(o.partition, o.tags["dagster/data_version"]) for o in found if o is not None]


@pytest.fixture
def daily_root(write_repository: Callable[..., Path]) -> Path:
    """The small repository without its hourly view, in days that have ended, applied."""
    root = write_repository()
    file = root / "taxi_features.py"
    text = file.read_text()
    start = text.index("hourly_ride = FeatureView(")
    text = text[:start] + text[text.index("archived_ride = FeatureView(") :]
    end = 'Partitions("daily", start=NEW_YEAR, end=datetime(2024, 1, 31, tzinfo=UTC))'
    file.write_text(text.replace('Partitions("daily", start=NEW_YEAR)', end))
    FeatureStore(root).apply_repository()
    return root


def observe(root: Path, instance: dg.DagsterInstance, job: str, **options: object) -> dg.ExecuteInProcessResult:
    return definitions(root).resolve_job_def(job).execute_in_process(instance=instance, **options)  # type: ignore[arg-type]


def test_a_source_has_the_finest_partitions_of_the_views_that_read_it(repository_root: Path) -> None:
    found = {
        k: a.specs_by_key[k].partitions_def for a in build_source_assets(repository(repository_root)) for k in a.keys
    }
    assert found == {
        RIDES: dg.HourlyPartitionsDefinition(start_date=datetime(2024, 1, 1, tzinfo=UTC), timezone="UTC"),
        VEHICLES: None,
    }


def test_weeks_and_months_of_one_source_are_seen_by_days(write_repository: Callable[..., Path]) -> None:
    root = write_repository()
    text = (root / "taxi_features.py").read_text()
    (root / "taxi_features.py").write_text(
        text.replace('Partitions("hourly", start=NEW_YEAR)', 'Partitions("monthly", start=NEW_YEAR)').replace(
            'Partitions("daily", start=NEW_YEAR)', 'Partitions("weekly", start=datetime(2023, 12, 31, tzinfo=UTC))'
        )
    )
    (partitioned, _) = sorted(build_source_assets(repository(root)), key=lambda a: a.op.name)
    assert partitioned.partitions_def == dg.DailyPartitionsDefinition(
        start_date=datetime(2023, 12, 31, tzinfo=UTC), timezone="UTC"
    )


def test_partitions_of_views_map_onto_those_of_their_sources(repository_root: Path) -> None:
    graph = definitions(repository_root).resolve_asset_graph()
    ride = graph.get(dg.AssetKey(["taxi", "ride"]))
    mapping = ride.partition_mappings.get(RIDES, dg.TimeWindowPartitionMapping())
    hours = mapping.get_upstream_mapped_partitions_result_for_partitions(
        ride.partitions_def.subset_with_partition_keys(["2024-01-03"]),
        ride.partitions_def,
        graph.get(RIDES).partitions_def,
    )
    assert len(list(hours.partitions_subset.get_partition_keys())) == 24


def test_partitions_depend_on_what_of_their_sources_lies_within_the_lookback(
    write_repository: Callable[..., Path],
) -> None:
    root = write_repository()
    text = (root / "taxi_features.py").read_text()
    (root / "taxi_features.py").write_text(text.replace("offline=True,", "offline=True, lookback=timedelta(days=2),"))
    graph = definitions(root).resolve_asset_graph()
    kept = graph.get(dg.AssetKey(["taxi", "sources", "kept_totals"]))
    hours = [
        len(
            list(
                kept.partition_mappings[RIDES]
                .get_upstream_mapped_partitions_result_for_partitions(
                    kept.partitions_def.subset_with_partition_keys([day]),
                    kept.partitions_def,
                    graph.get(RIDES).partitions_def,
                )
                .partitions_subset.get_partition_keys()
            )
        )
        for day in ("2024-01-01", "2024-01-09")
    ]
    assert hours == [24, 72]


def test_observing_records_a_version_for_each_partition_with_rows_and_then_only_changes(
    daily_root: Path, instance: dg.DagsterInstance
) -> None:
    (job,) = [j.name for j in definitions(daily_root).resolve_all_job_defs() if "sources_daily" in j.name]
    assert observe(daily_root, instance, job).success
    first = versions(instance, RIDES)
    assert sorted(p or "" for p, _ in first) == [f"2024-01-{d:02}" for d in range(1, 31)]
    assert observe(daily_root, instance, job).success
    assert versions(instance, RIDES) == first
    frame = rides()
    frame.loc[frame.finished_at.dt.strftime("%m-%d") == "01-07", "fare"] = 1.0
    frame = frame[frame.finished_at.dt.strftime("%m-%d") != "01-09"]
    frame.to_parquet(daily_root / "data" / "rides.parquet", index=False)
    assert observe(daily_root, instance, job).success
    changed = dict(versions(instance, RIDES)[len(first) :])
    assert set(changed) == {"2024-01-07", "2024-01-09"}
    assert changed["2024-01-09"] == "no rows"
    assert changed["2024-01-07"] not in {v for _, v in first}


def test_a_range_can_be_observed_alone(daily_root: Path, instance: dg.DagsterInstance) -> None:
    (job,) = [j.name for j in definitions(daily_root).resolve_all_job_defs() if "sources_daily" in j.name]
    tags = {
        "dagster/asset_partition_range_start": "2024-01-03",
        "dagster/asset_partition_range_end": "2024-01-04",
    }
    assert observe(daily_root, instance, job, tags=tags).success
    assert {p for p, _ in versions(instance, RIDES)} == {"2024-01-03", "2024-01-04"}


def test_a_source_without_partitions_has_one_version(daily_root: Path, instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        assert observe(daily_root, instance, OBSERVE_VEHICLES).success
    (before,) = versions(instance, VEHICLES)
    vehicles = daily_root / "data" / "vehicles.parquet"
    pd.read_parquet(vehicles).assign(plate=["X", "Y", "Z"]).to_parquet(vehicles, index=False)
    assert observe(daily_root, instance, OBSERVE_VEHICLES).success
    first, second = versions(instance, VEHICLES)
    assert first == before
    assert first[0] is second[0] is None
    assert first[1] != second[1]


def test_a_source_that_cannot_be_read_fails_the_run_and_is_named(
    daily_root: Path, instance: dg.DagsterInstance
) -> None:
    (daily_root / "data" / "vehicles.parquet").unlink()
    result = observe(daily_root, instance, OBSERVE_VEHICLES, raise_on_error=False)
    assert not result.success
    assert "'vehicles'" in str(result.failure_data_for_node("taxi_sources_without_partitions"))


def test_the_schedule_looks_every_hour(daily_root: Path) -> None:
    defs = definitions(daily_root)
    schedule = defs.resolve_schedule_def(f"{OBSERVE_VEHICLES}_schedule")
    assert schedule.cron_schedule == "0 * * * *"
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 2, 1, tzinfo=UTC), repository_def=defs.get_repository_def()
    )
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key is None
