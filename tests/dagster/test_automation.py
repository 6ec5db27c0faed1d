"""Automation that a view declares: which partitions Dagster asks for, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

RIDE = dg.AssetKey(["taxi", "ride"])
RIDES = dg.AssetKey(["taxi", "sources", "rides"])
NOON = datetime(2024, 1, 10, 12, tzinfo=UTC)


@pytest.fixture
def automated(write_repository: Callable[..., Path]) -> Callable[[str], Path]:
    """Writes the small repository with an automation for the view ride."""

    def write(automation: str) -> Path:
        root = write_repository()
        file = root / "taxi_features.py"
        text = file.read_text().replace('owner="team:rides",', f'owner="team:rides",\n    automation={automation},')
        file.write_text(text.replace("BatchFeatureView, Entity", "Automation, BatchFeatureView, Entity"))
        return root

    return write


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


class Evaluation:
    """Evaluates the conditions again and again, as the daemon does."""

    def __init__(self, root: Path, instance: dg.DagsterInstance):
        self.defs = definitions(root)
        self.instance = instance
        self.cursor: object = None

    def at(self, moment: datetime) -> dict[str, list[str | None]]:
        """Returns the partitions asked for, by the last part of the assets' keys."""
        result = dg.evaluate_automation_conditions(
            defs=self.defs,
            instance=self.instance,
            cursor=self.cursor,  # type: ignore[arg-type]
            evaluation_time=moment,
        )
        self.cursor = result.cursor
        found = {}
        for each in result.results:
            subset = result.get_requested_partitions(each.key) if isinstance(each.key, dg.AssetKey) else None
            if subset:
                found[each.key.path[-1]] = sorted(subset, key=str)
        return found


def schedules_of(root: Path, asset: dg.AssetKey) -> set[str]:
    """Returns the schedules of which a tick would run an asset."""
    defs = definitions(root)
    names = [s.name for s in defs.get_repository_def().schedule_defs if s.name.startswith("materialize")]
    return {n for n in names if asset in _keys(defs, n)}


def _keys(defs: dg.Definitions, schedule: str) -> set[dg.AssetKey]:
    job = defs.resolve_job_def(defs.resolve_schedule_def(schedule).job_name)
    return set(job.asset_layer.executable_asset_keys)


def test_a_view_on_a_cron_is_asked_for_once_for_each_time(
    automated: Callable[[str], Path], instance: dg.DagsterInstance
) -> None:
    evaluation = Evaluation(automated('Automation.on_cron("0 6 * * *")'), instance)
    assert evaluation.at(NOON) == {}
    assert evaluation.at(NOON + timedelta(hours=1)) == {}
    assert evaluation.at(NOON + timedelta(hours=19)) == {"ride": ["2024-01-10"]}
    assert evaluation.at(NOON + timedelta(hours=20)) == {}


def test_an_eager_view_is_asked_for_when_a_window_has_ended_and_when_its_source_changes(
    automated: Callable[[str], Path], instance: dg.DagsterInstance
) -> None:
    def observed(hour: str, version: str) -> None:
        event = dg.AssetObservation(RIDES, partition=hour, tags={"dagster/data_version": version})
        instance.report_runless_asset_event(event)

    evaluation = Evaluation(automated("Automation.eager()"), instance)
    evaluation.at(NOON)
    assert evaluation.at(NOON + timedelta(days=1)) == {"ride": ["2024-01-10"]}
    instance.report_runless_asset_event(dg.AssetMaterialization(RIDE, partition="2024-01-10"))
    assert evaluation.at(NOON + timedelta(days=1, minutes=5)) == {}
    observed("2024-01-10-07:00", "a")
    assert evaluation.at(NOON + timedelta(days=1, minutes=10)) == {"ride": ["2024-01-10"]}
    instance.report_runless_asset_event(dg.AssetMaterialization(RIDE, partition="2024-01-10"))
    observed("2024-01-02-07:00", "b")
    assert evaluation.at(NOON + timedelta(days=1, minutes=15)) == {}


def test_a_view_on_late_data_is_the_sensors(automated: Callable[[str], Path], instance: dg.DagsterInstance) -> None:
    evaluation = Evaluation(automated("Automation.on_late_data()"), instance)
    assert evaluation.at(NOON) == evaluation.at(NOON + timedelta(days=1)) == {}


def test_a_view_with_an_automation_is_not_in_its_grains_schedule(automated: Callable[[str], Path]) -> None:
    root = automated("Automation.eager()")
    totals = dg.AssetKey(["taxi", "ride_totals"])
    assert schedules_of(root, RIDE) == set()
    assert schedules_of(root, totals) == {"materialize_taxi_daily_schedule"}
    defs = definitions(root)
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 1, 10, tzinfo=UTC), repository_def=defs.get_repository_def()
    )
    (request,) = defs.resolve_schedule_def("materialize_taxi_daily_schedule").evaluate_tick(context).run_requests or []
    assert request.partition_key == "2024-01-09"


def test_without_automations_the_schedules_run_all_views_of_their_grain(repository_root: Path) -> None:
    assert schedules_of(repository_root, RIDE) == {"materialize_taxi_daily_schedule"}
    assert schedules_of(repository_root, dg.AssetKey(["taxi", "hourly_ride"])) == {"materialize_taxi_hourly_schedule"}


def test_an_automation_is_registered_and_makes_nothing_stale(automated: Callable[[str], Path]) -> None:
    root = automated('Automation.on_cron("0 6 * * *")')
    store = FeatureStore(root)
    store.apply_repository()
    assert str(store.get_feature_view("ride").automation) == "on cron 0 6 * * *"
    file = root / "taxi_features.py"
    file.write_text(file.read_text().replace('"0 6 * * *"', '"0 7 * * *"'))
    plan = store.plan_repository()
    assert str(plan.registry_diff) == "Updated feature view ride\n\tautomation.cron: 0 6 * * * -> 0 7 * * *"
    states = store.change_tokens()
    store.apply_plan(plan)
    assert store.change_tokens() == states
