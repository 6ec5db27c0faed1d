"""The project that the Dagster template writes, as Dagster's own commands see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from feast_assets.cli.scaffold import scaffold

pytest.importorskip("dagster")

MATERIALIZE = """
import json, sys
import dagster as dg
from definitions import defs

first, last = sys.argv[1:]
keys = [k for k in defs.resolve_asset_graph().materializable_asset_keys]
job = defs.resolve_implicit_global_asset_job_def()
with dg.DagsterInstance.ephemeral() as instance:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    scores = dg.AssetKey("busy_scores")
    job.execute_in_process(instance=instance, tags=tags, asset_selection=[k for k in keys if k != scores])
    job.execute_in_process(instance=instance, partition_key=last, asset_selection=[scores])
    made = {
        key.to_user_string(): len(instance.get_materialized_partitions(key))
        or len(instance.fetch_materializations(key, limit=9).records)
        for key in defs.resolve_asset_graph().get_all_asset_keys()
    }
print(json.dumps(made))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    target = tmp_path / "rides"
    scaffold("dagster", target, "rides")
    return target


def _run(project: Path, *command: str) -> str:
    home = project.parent / "dagster_home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    scripts = str(Path(sys.executable).parent)
    env = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", ["dagster definitions validate", "dg check defs", "dg check yaml"])
def test_dagsters_own_check_passes(project: Path, command: str) -> None:
    assert "success" in _run(project, *command.split())


def test_ingest_features_training_set_model_and_scores_are_made_and_served(project: Path) -> None:
    feast_assets = (sys.executable, "-m", "feast_assets.cli", "-c", "feature_repo")
    _run(project, *feast_assets, "apply")
    first, last = (f"{datetime.now(UTC) - timedelta(days=back):%Y-%m-%d}" for back in (2, 1))
    output = _run(project, sys.executable, "-c", MATERIALIZE, first, last)
    assert json.loads(output[output.index('{"') :].splitlines()[0]) == {
        # Without partitions, how often; an on-demand view and a service have what their views have.
        "raw/driver_hours": 2,
        "rides/driver_day": 2,
        "rides/driver_stats": 2,
        "rides/fare_estimate": 1,
        "rides/services/trip_pricing_v1": 1,
        "busy_days": 2,
        "busy_model": 1,
        "busy_scores": 1,
    }
    data = project / "feature_repo" / "data"
    assert sorted(file.stem for file in (data / "training_sets" / "busy_days").iterdir()) == [first, last]
    scores = pq.read_table(data / "busy_scores" / f"{last}.parquet")
    assert scores["driver_id"].to_pylist() == [1001, 1002, 1003, 1004, 1005]
    assert scores["score"].null_count == 0
    request = ("-e", "driver_id=1001", "-e", "distance_km=2", "-e", "surge=1", "-s", "trip_pricing_v1")
    served = _run(project, *feast_assets, "get-online-features", *request)
    values = json.loads(served[served.index("{") : served.rindex("}") + 1])
    assert all(values[name] != [None] for name in ("trips_today", "rating", "rating_24h", "busiest_24h", "fare"))


def test_an_unknown_deployment_is_refused_with_those_there_are(project: Path) -> None:
    probe = "import resources\ntry: resources.deployment_resources()\nexcept ValueError as e: print(e)"
    env = {**os.environ, "FEAST_ASSETS_DEPLOYMENT": "staging", "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=project, env=env, capture_output=True, text=True, check=True
    )
    assert "must be one of local, production" in done.stdout


def test_the_first_apply_says_what_is_not_there_yet_and_shows_no_code(project: Path) -> None:
    said = _run(project, "feast-assets", "-c", "feature_repo", "apply")
    (warned,) = [line for line in said.splitlines() if "there is no file" in line]
    assert warned.startswith(
        "Warning: Source 'driver_hours' (data/drivers.duckdb, table driver_hours): there is no file"
    )
    assert warned.endswith("It is applied as declared, and checked when it is read.")
    assert ".py" not in said
