"""A repository whose registry is in S3: applied and served by the command line, materialized by Dagster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from feast_assets import FeatureStore
from feast_assets.cli.main import cli
from feast_assets.dagster import FeatureStoreResource, RegistryResource, definitions_for

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DEFINITIONS = """
from datetime import UTC, datetime, timedelta
from feast_assets import Entity, FeatureService, FeatureView, Field, FileSource, Float64, Partitions, ValueType

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=FileSource(name="stats_source", path="stats.parquet", timestamp_field="at"),
    schema=[Field(name="fare", dtype=Float64)],
    ttl=timedelta(0),
    partitions=Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 4, tzinfo=UTC)),
)
"""


@pytest.fixture(params=["folder", "s3"])
def registry(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "folder":
        return {"registry_type": "file", "path": "file://data/registry"}
    section: dict[str, Any] = request.getfixturevalue("s3_registry")
    return section


@pytest.fixture
def repository(tmp_path: Path, registry: dict[str, Any]) -> Path:
    settings = {"project": "taxi", "registry": registry, "online_store": {"type": "sqlite", "path": "online.db"}}
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (tmp_path / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    rows = pd.DataFrame({"driver_id": [1, 2, 1], "at": [NOON, NOON, NOON + timedelta(days=1)], "fare": [1.0, 2.0, 3.0]})
    rows.to_parquet(tmp_path / "stats.parquet")
    return tmp_path


def invoke(repository: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["-c", str(repository), *arguments], prog_name="feast-assets")
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def fares(store: FeatureStore) -> list[float | None]:
    answer = store.get_online_features(["stats:fare"], [{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3}])
    values: list[float | None] = answer.to_dict()["fare"]
    return values


def test_the_command_line_and_dagster_work_over_a_registry_of_files(repository: Path, registry: dict[str, Any]) -> None:
    assert "stats" in invoke(repository, "apply")
    assert "No changes" in invoke(repository, "plan")
    options = {name: value for name, value in registry.items() if name not in ("registry_type", "path")}
    resource = FeatureStoreResource(
        repo_path=str(repository), registry=RegistryResource(path=registry["path"], options=options)
    )
    built = definitions_for({"feature_store": resource})
    job = built.resolve_job_def("materialize_taxi_daily")
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2024-01-01", "2024-01-02"):
            assert job.execute_in_process(instance=instance, partition_key=day).success
    store = FeatureStore(repo_path=str(repository))
    assert fares(store) == [3.0, 2.0, None]
    assert store.registry.revision() == 1
    first_days = [(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))]
    assert store.registry.materialization_intervals("stats") == first_days
    assert "stats" in invoke(repository, "feature-views", "list")
    invoke(repository, "materialize-incremental", "2024-01-04T00:00:00")
    assert fares(store) == [3.0, 2.0, None]
    invoke(repository, "teardown")
    assert FeatureStore(repo_path=str(repository)).registry.revision() == 0
