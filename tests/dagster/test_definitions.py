"""What a feature repository becomes in Dagster, before anything is run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import (
    FeastTranslator,
    FeatureRepository,
    FeatureStoreResource,
    FeatureViewTranslatorData,
    RegistryResource,
    build_feature_view_assets,
    definitions_for,
    feature_view_assets,
)
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.errors import ConfigError, DefinitionError, FeatureViewNotFoundException, StoreUnavailableError

UNDATED = """

    undated_ride = FeatureView(
        name="undated_ride", entities=[driver], source=rides, schema=[Field(name="fare", dtype=Float64)]
    )
"""
LATER = """

    later_ride = FeatureView(
        name="later_ride",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("daily", start=datetime(2024, 1, 9, tzinfo=UTC)),
    )
"""


def feature_store(root: Path) -> FeatureStoreResource:
    return FeatureStoreResource(repo_path=str(root))


def definitions(root: Path, translator: FeastTranslator | None = None) -> dg.Definitions:
    return definitions_for({"feature_store": feature_store(root)}, translator=translator)


def specs(root: Path) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in definitions(root).resolve_all_asset_specs()}


def runnable(root: Path) -> set[str]:
    graph = definitions(root).resolve_asset_graph()
    return {k.to_user_string() for k in graph.materializable_asset_keys}


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if "__pycache__" not in p.parts}


def test_loading_creates_and_changes_nothing(write_repository: Callable[..., Path]) -> None:
    root = write_repository(UNDATED)
    before = files(root)
    definitions(root).resolve_all_job_defs()
    assert files(root) == before


def test_every_view_and_every_source_is_an_asset(repository_root: Path) -> None:
    found = specs(repository_root)
    assert set(found) == {
        "taxi/ride",
        "taxi/ride_totals",
        "taxi/vehicle",
        "taxi/hourly_ride",
        "taxi/archived_ride",
        "taxi/sources/rides",
        "taxi/sources/vehicles",
        "taxi/sources/kept_totals",
    }
    upstream = {name: sorted(d.asset_key.to_user_string() for d in s.deps) for name, s in found.items()}
    assert upstream["taxi/ride_totals"] == ["taxi/sources/kept_totals"]
    assert upstream["taxi/sources/kept_totals"] == ["taxi/sources/rides"]
    assert upstream["taxi/vehicle"] == ["taxi/sources/vehicles"]
    assert upstream["taxi/sources/rides"] == []


def test_runs_make_views_that_go_online_and_results_that_are_kept(repository_root: Path) -> None:
    made = {"taxi/ride", "taxi/ride_totals", "taxi/vehicle", "taxi/hourly_ride", "taxi/sources/kept_totals"}
    assert runnable(repository_root) == made
    assert "not online" in specs(repository_root)["taxi/archived_ride"].metadata["feast_assets/not_materialized"]


def test_each_grid_is_one_multi_asset_whose_ranges_are_single_runs(repository_root: Path) -> None:
    assets = build_feature_view_assets(FeatureRepository.load(feature_store(repository_root)))
    assert [a.op.name for a in assets] == [
        "taxi_daily",
        "taxi_hourly",
        "taxi_without_partitions",
    ]
    daily, hourly, whole = assets
    assert {k.path[-1] for k in daily.keys} == {"ride", "ride_totals", "kept_totals"}
    assert daily.backfill_policy == hourly.backfill_policy == dg.BackfillPolicy.single_run()
    assert daily.can_subset
    assert isinstance(daily.partitions_def, dg.DailyPartitionsDefinition)
    assert isinstance(hourly.partitions_def, dg.HourlyPartitionsDefinition)
    assert whole.partitions_def is None
    assert whole.backfill_policy is None


def test_views_of_one_grain_with_different_starts_keep_their_own_partitions(
    write_repository: Callable[..., Path],
) -> None:
    root = write_repository(LATER)
    first = {n: s.partitions_def.get_first_partition_key() for n, s in specs(root).items() if s.partitions_def}
    assert first["taxi/ride"] == "2024-01-01"
    assert first["taxi/later_ride"] == "2024-01-09"
    jobs = {j.name for j in definitions(root).resolve_all_job_defs()}
    assert {"materialize_taxi_daily_from_2024_01_01", "materialize_taxi_daily_from_2024_01_09"} <= jobs


def test_a_view_without_a_start_can_be_run_when_apply_has_fixed_it(write_repository: Callable[..., Path]) -> None:
    root = write_repository(UNDATED)
    waiting = specs(root)["taxi/undated_ride"]
    assert "taxi/undated_ride" not in runnable(root)
    assert "awaits its first apply" in waiting.metadata["feast_assets/not_materialized"]
    FeatureStore(root).apply_repository()
    applied = specs(root)["taxi/undated_ride"]
    assert "taxi/undated_ride" in runnable(root)
    assert applied.partitions_def == dg.DailyPartitionsDefinition(
        start_date=datetime(2024, 1, 1, tzinfo=UTC), timezone="UTC"
    )
    assert [c.name for c in applied.metadata["dagster/column_schema"].columns] == ["driver_id", "fare"]


def test_the_apply_job_makes_the_registry_what_is_declared(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = write_repository(UNDATED)
    job = definitions(root).resolve_job_def("apply_taxi")
    assert job.execute_in_process(instance=instance).success
    names = {v.name for v in FeatureStore(root).list_feature_views()}
    assert names == {"ride", "ride_totals", "vehicle", "hourly_ride", "archived_ride", "undated_ride"}
    write_repository()
    result = job.execute_in_process(instance=instance)
    assert "undated_ride" not in {v.name for v in FeatureStore(root).list_feature_views()}
    (output,) = [e for e in result.all_events if e.is_successful_output]
    metadata = output.step_output_data.metadata
    assert metadata["revision"].value == 2
    assert "undated_ride" in metadata["changes"].md_str


def test_a_schedule_runs_each_window_when_it_has_ended(repository_root: Path) -> None:
    defs = definitions(repository_root)
    daily = defs.resolve_schedule_def("materialize_taxi_daily_schedule")
    hourly = defs.resolve_schedule_def("materialize_taxi_hourly_schedule")
    assert daily.cron_schedule == "0 0 * * *"
    assert hourly.cron_schedule == "0 * * * *"
    assert daily.default_status is dg.DefaultScheduleStatus.STOPPED
    for schedule, moment, key in [
        (daily, datetime(2024, 1, 10, tzinfo=UTC), "2024-01-09"),
        (hourly, datetime(2024, 1, 10, 5, tzinfo=UTC), "2024-01-10-04:00"),
    ]:
        context = dg.build_schedule_context(scheduled_execution_time=moment, repository_def=defs.get_repository_def())
        (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.partition_key == key
    assert {s.name for s in defs.schedules or []} == {
        "audit_taxi_schedule",
        "materialize_taxi_daily_schedule",
        "materialize_taxi_hourly_schedule",
        "observe_taxi_sources_hourly_schedule",
        "observe_taxi_sources_without_partitions_schedule",
    }


def test_a_translator_of_ones_own_renames_assets_and_runs_still_find_their_views(
    applied_root: Path, instance: dg.DagsterInstance
) -> None:
    class Renaming(FeastTranslator):
        def get_asset_spec(self, data):  # type: ignore[no-untyped-def]
            made = super().get_asset_spec(data)
            if isinstance(data, FeatureViewTranslatorData):
                made = made.replace_attributes(key=f"v_{data.view.name}", metadata={}, code_version="mine")
            return made

    defs = definitions(applied_root, Renaming())
    job = defs.resolve_job_def("materialize_taxi_daily")
    assert job.execute_in_process(instance=instance, partition_key="2024-01-03").success
    assert instance.get_materialized_partitions(dg.AssetKey("v_ride")) == {"2024-01-03"}
    assert instance.get_materialized_partitions(dg.AssetKey("v_ride_totals")) == {"2024-01-03"}


def test_two_assets_of_one_key_are_refused_by_name(repository_root: Path) -> None:
    class Careless(FeastTranslator):
        def get_asset_spec(self, data):  # type: ignore[no-untyped-def]
            made = super().get_asset_spec(data)
            return made.replace_attributes(key="x") if isinstance(data, FeatureViewTranslatorData) else made

    with pytest.raises(DefinitionError, match=r"'x' stands both for feature view 'ride' and for feature view 'ride_t"):
        definitions(repository_root, Careless())


def test_views_of_different_grids_cannot_share_an_asset_function(repository_root: Path) -> None:
    repository = FeatureRepository.load(feature_store(repository_root))
    with pytest.raises(DefinitionError, match=r"'ride' \(daily from 2024-01-01.*\) and 'hourly_ride' \(hourly from"):
        feature_view_assets(repository=repository, views=["ride", "hourly_ride"])


def test_views_that_cannot_be_materialized_are_refused_with_the_reason(write_repository: Callable[..., Path]) -> None:
    repository = FeatureRepository.load(feature_store(write_repository(UNDATED)))
    with pytest.raises(DefinitionError, match="'archived_ride' cannot be materialized: it is disabled or not online"):
        feature_view_assets(repository=repository, views=["archived_ride"])
    with pytest.raises(DefinitionError, match="'undated_ride' has no partitions yet"):
        feature_view_assets(repository=repository, views=["undated_ride"])
    with pytest.raises(FeatureViewNotFoundException, match="Did you mean 'ride_totals'"):
        feature_view_assets(repository=repository, views=["ride_total"])


def test_the_backfill_policy_may_bound_what_one_run_does(repository_root: Path) -> None:
    policy = dg.BackfillPolicy.multi_run(7)
    assets = build_feature_view_assets(FeatureRepository.load(feature_store(repository_root)), backfill_policy=policy)
    assert [a.backfill_policy for a in assets] == [policy, policy, None]


def test_resources_without_a_feature_store_are_refused() -> None:
    with pytest.raises(ConfigError, match="need a FeatureStoreResource under the key 'feature_store'; found registry"):
        definitions_for({"registry": RegistryResource(path="x.db")})


def test_a_registry_that_is_needed_and_cannot_be_reached_is_an_error_not_a_guess(
    write_repository: Callable[..., Path],
) -> None:
    root = write_repository(UNDATED)
    registry = RegistryResource(path="postgresql://me:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError) as caught:
        definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root), registry=registry)})
    assert "hunter2" not in str(caught.value)


def test_a_registry_is_not_needed_where_everything_is_declared(repository_root: Path) -> None:
    """Join keys are not in the schemas; the entity says their type."""
    registry = RegistryResource(path="postgresql://me:hunter2@127.0.0.1:1/none")
    store = FeatureStoreResource(repo_path=str(repository_root), registry=registry)
    found = {s.key.path[-1]: s for s in definitions_for({"feature_store": store}).resolve_all_asset_specs()}
    columns = found["ride"].metadata["dagster/column_schema"].columns
    assert [(c.name, c.type) for c in columns] == [("driver_id", "Int64"), ("fare", "Float64"), ("minutes", "Int64")]


def test_what_is_shown_before_apply_is_what_apply_registers(repository_root: Path) -> None:
    before = {name: s.code_version for name, s in specs(repository_root).items()}
    FeatureStore(repository_root).apply_repository()
    registered = {f"taxi/{v.name}": definition_hash(v) for v in FeatureStore(repository_root).list_feature_views()}
    assert registered.items() <= before.items()
    assert len(registered) == 5


def test_a_registry_is_needed_for_the_type_of_a_join_key_that_nothing_declares(repository_root: Path) -> None:
    file = repository_root / "taxi_features.py"
    file.write_text(file.read_text().replace(", value_type=ValueType.INT64", ""))
    registry = RegistryResource(path="postgresql://me:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError):
        definitions_for({"feature_store": FeatureStoreResource(repo_path=str(repository_root), registry=registry)})
