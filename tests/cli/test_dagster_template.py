"""The project that the Dagster template writes, as Dagster's own commands see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral(), tags=tags, asset_selection=keys)
made = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
print(json.dumps({"success": result.success, "made": sorted(made)}))
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


def test_a_range_of_days_can_be_materialized_and_served(project: Path) -> None:
    feast_assets = (sys.executable, "-m", "feast_assets.cli", "-c", "feature_repo")
    _run(project, *feast_assets, "apply")
    first, last = (f"{datetime.now(UTC) - timedelta(days=back):%Y-%m-%d}" for back in (2, 1))
    output = _run(project, sys.executable, "-c", MATERIALIZE, first, last)
    assert json.loads(output[output.index('{"success"') :].splitlines()[0]) == {
        "success": True,
        # An on-demand view and a service have what their views have.
        "made": ["rides/driver_day", "rides/driver_stats", "rides/fare_estimate", "rides/services/trip_pricing_v1"],
    }
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
