"""What a person reads first where a run fails: the library's own words, before any stack trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for, training_set_asset

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def first_line(root: Path, instance: dg.DagsterInstance, job: str, **arguments: Any) -> str:
    """Returns what is shown first of the step that fails in a run of a job."""
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
    result = defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **arguments)
    return _told(result)


def _told(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    name, _, message = error.message.partition(": ")
    assert name == "dagster._core.definitions.events.Failure"
    return message.splitlines()[0]


def test_a_repository_that_was_not_applied(repository_root: Path, instance: dg.DagsterInstance) -> None:
    told = first_line(repository_root, instance, "materialize_taxi_daily", partition_key="2024-01-01")
    assert told.startswith("Feature view 'ride' has not been applied. Apply the repository first")


def test_a_store_that_cannot_be_reached(applied_root: Path, instance: dg.DagsterInstance) -> None:
    file = applied_root / "feature_store.yaml"
    reached = "online_store: {type: sqlite, path: data/online.db}"
    lost = "online_store: {type: redis, connection_string: '127.0.0.1:1'}"
    file.write_text(file.read_text().replace(reached, lost))
    told = first_line(applied_root, instance, "materialize_taxi_daily", partition_key="2024-01-01")
    assert "127.0.0.1:1" in told
    assert "127.0.0.1:1" in first_line(applied_root, instance, "audit_taxi")


def test_a_source_that_cannot_be_read(applied_root: Path, instance: dg.DagsterInstance) -> None:
    (applied_root / "data" / "rides.parquet").write_bytes(b"not parquet")
    told = first_line(applied_root, instance, "materialize_taxi_daily", partition_key="2024-01-01")
    assert told.startswith("Could not materialize")


def test_an_apply_that_is_refused(applied_root: Path, instance: dg.DagsterInstance) -> None:
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(applied_root))})
    file = applied_root / "taxi_features.py"
    file.write_text(file.read_text().replace('Field(name="fare", dtype=Float64)', 'Field(name="fore", dtype=Float64)'))
    result = defs.resolve_job_def("apply_taxi").execute_in_process(instance=instance, raise_on_error=False)
    assert "fore" in _told(result)


def test_a_training_set_without_its_service(applied_root: Path, instance: dg.DagsterInstance) -> None:
    resource: Any = FeatureStoreResource(repo_path=str(applied_root))
    asset = training_set_asset(
        name="rows",
        entity_df="SELECT driver_id, finished_at AS event_timestamp FROM 'data/rides.parquet'",
        feature_service="prizing",
    )
    result = dg.materialize([asset], instance=instance, resources={"feature_store": resource}, raise_on_error=False)
    assert _told(result).startswith("There is no feature service 'prizing'")


# No range to a far end: Dagster plans each partition of each check before the run begins.
@pytest.mark.parametrize(("key", "ranged"), [("2023-12-31", False), ("2999-01-01", False), ("2023-12-31", True)])
def test_a_partition_that_there_is_not(
    applied_root: Path, instance: dg.DagsterInstance, key: str, ranged: bool
) -> None:
    tags = dict(zip(RANGE, sorted([key, "2024-01-03"]), strict=True)) if ranged else {"dagster/partition": key}
    told = first_line(applied_root, instance, "materialize_taxi_daily", tags=tags)
    assert told.startswith(f"There is no partition '{key}' of these feature views: they go from '2024-01-01' to '20")
    assert FeatureStore(applied_root).registry.ledger("ride") == []
