"""Branch deployments: one project, the same sources, and production as it was to the last byte."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from ticks import Daemon, days, spans

from feast_assets import FeatureStore, PushMode
from feast_assets.dagster import FeatureStoreResource, branch_deployment, definitions_for
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.errors import InputError

DAILY = "materialize_taxi_daily"
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-10",
}
FEATURES = ["ride:fare", "ride_totals:fares", "reader:fares"]
READER = """
    reader = FeatureView(
        name="reader",
        entities=[driver],
        source=FileSource(name="totals_by_another_name", path="data/kept_totals", timestamp_field="finished_at"),
        schema=[Field(name="fares", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )
"""


def resource(root: Path, deployment: str = "") -> FeatureStoreResource:
    return FeatureStoreResource(repo_path=str(root), deployment=deployment)


def run(root: Path, instance: dg.DagsterInstance, deployment: str, job: str, **options: Any) -> None:
    defs = definitions_for({"feature_store": resource(root, deployment)})
    assert defs.resolve_job_def(job).execute_in_process(instance=instance, **options).success


def materialize(root: Path, instance: dg.DagsterInstance, deployment: str) -> None:
    """Applies and runs ten days; the reader's last, as it does not say that it reads a kept result."""
    run(root, instance, deployment, "apply_taxi")
    kept = dg.AssetKey(["taxi", "sources", "kept_totals"])
    for names in (["ride", "ride_totals"], ["reader"]):
        selected = [dg.AssetKey(["taxi", name]) for name in names] + [kept] * ("ride_totals" in names)
        run(root, instance, deployment, DAILY, tags=RANGE, asset_selection=selected)


def store(root: Path, deployment: str = "") -> FeatureStore:
    return FeatureStore(root, config=resource(root, deployment).config())


def served(root: Path, deployment: str = "") -> dict[str, list[Any]]:
    return store(root, deployment).get_online_features(FEATURES, {"driver_id": [1, 2, 3, 4]}, True).to_dict()


def production(root: Path) -> dict[str, Any]:
    """Returns everything that production consists of, as it is stored."""
    of = store(root)
    files = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in (root / "data" / "kept_totals").rglob("*")}
    views = of.list_feature_views()
    return {
        "files": files | {n: hashlib.sha256((root / "data" / n).read_bytes()).hexdigest() for n in ("rides.parquet",)},
        "revision": of.registry.revision(),
        "views": [v.to_spec() for v in views],
        "ledger": {v.name: of.registry.ledger(v.name) for v in views},
    }


def online_rows(root: Path) -> set[tuple[Any, ...]]:
    """Returns every row of every table of the online store, each with its table."""
    with closing(sqlite3.connect(root / "data" / "online.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {(table, *row) for table in tables for row in connection.execute(f'SELECT * FROM "{table}"')}


@pytest.fixture
def root(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Path:
    """The small repository in production, with ten days materialized."""
    made = write_repository(READER)
    materialize(made, instance, "")
    return made


def double_fares(root: Path) -> None:
    file = root / "taxi_features.py"
    file.write_text(file.read_text().replace("sum(fare) AS fares", "sum(fare) * 2 AS fares"))


def test_a_branch_has_its_own_rows_and_results_and_production_stays_as_it_is(
    root: Path, instance: dg.DagsterInstance
) -> None:
    before, rows, stored = production(root), served(root), online_rows(root)
    double_fares(root)
    with dg.DagsterInstance.ephemeral() as branch:
        materialize(root, branch, "feature/double")
    found = served(root, "feature/double")
    assert found["ride__fare"] == rows["ride__fare"]
    for name in ("ride_totals__fares", "reader__fares"):
        assert found[name] == [v and v * 2 for v in rows[name]]
    assert production(root) == before
    assert served(root) == rows
    assert stored < online_rows(root)


def test_a_branch_is_taken_down_by_itself(root: Path) -> None:
    before, stored = production(root), online_rows(root)
    branch = store(root, "feature/double")
    branch.apply_repository()
    branch.materialize_windows("ride", days(1, 2))
    assert online_rows(root) > stored
    branch.teardown()
    assert production(root) == before
    assert online_rows(root) == stored
    assert store(root, "feature/double").registry.revision() == 0


def test_its_assets_are_called_as_in_production(root: Path) -> None:
    def keys(deployment: str) -> set[dg.AssetKey]:
        defs = definitions_for({"feature_store": resource(root, deployment)})
        return {s.key for s in defs.resolve_all_asset_specs()}

    assert keys("b") == keys("")


def test_its_sensors_watch_its_own_ledger(root: Path, instance: dg.DagsterInstance) -> None:
    branch = store(root, "b")
    branch.apply_repository()
    late = Daemon(root, instance, "late_data_taxi", deployment="b")
    assert late.settle() == []
    branch.materialize_windows("ride", days(3, 4))
    assert spans(late.settle()) == {"2024-01-01...2024-01-02": {"ride"}}


def test_handed_in_rows_reach_its_online_rows_and_no_shared_history(
    write_repository: Callable[..., Path],
) -> None:
    root = write_repository(
        """
    from feast_assets import PushSource

    pushed = FeatureView(
        name="pushed",
        entities=[driver],
        source=PushSource(name="pushes", batch_source=rides),
        schema=[Field(name="fare", dtype=Float64)],
        partitions=Partitions("daily", start=NEW_YEAR),
    )
        """
    )
    branch = store(root, "b")
    branch.apply_repository()
    rows = {"driver_id": [9], "fare": [1.0], "finished_at": [pd.Timestamp("2024-01-01", tz="UTC")], "minutes": [1]}
    before = (root / "data" / "rides.parquet").read_bytes()
    for write in (
        lambda: branch.push("pushes", rows, to=PushMode.ONLINE_AND_OFFLINE),
        lambda: branch.push("pushes", rows, to=PushMode.OFFLINE),
        lambda: branch.write_to_offline_store("pushed", rows),
    ):
        with pytest.raises(InputError, match="deployment 'b' reads the sources of project 'taxi' and writes none"):
            write()
    branch.push("pushes", rows)
    assert branch.get_online_features(["pushed:fare"], [{"driver_id": 9}]).to_dict()["fare"] == [1.0]
    assert (root / "data" / "rides.parquet").read_bytes() == before


def test_the_file_can_name_the_deployment_too(
    write_repository: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRANCH", "try/this")
    root = write_repository(READER)
    file = root / "feature_store.yaml"
    file.write_text(file.read_text() + "deployment: ${BRANCH}\n")
    of_file = FeatureStore(root)
    of_file.apply_repository()
    assert of_file.project.startswith("taxi__try_this_")
    view = of_file.get_feature_view("ride_totals")
    assert isinstance(view, BatchFeatureView) and view.sink_source is not None
    assert view.sink_source.path == f"data/.deployments/{of_file.project.removeprefix('taxi__')}/kept_totals"
    of_file.apply([view])
    assert of_file.get_feature_view("ride_totals") == view


def test_the_branch_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FEAST_ASSETS_BRANCH", "DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT", "DAGSTER_CLOUD_GIT_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    assert branch_deployment() == ""
    monkeypatch.setenv("DAGSTER_CLOUD_GIT_BRANCH", "main")
    assert branch_deployment() == ""
    monkeypatch.setenv("DAGSTER_CLOUD_IS_BRANCH_DEPLOYMENT", "1")
    assert branch_deployment() == "main"
    monkeypatch.setenv("FEAST_ASSETS_BRANCH", "mine")
    assert branch_deployment() == "mine"
