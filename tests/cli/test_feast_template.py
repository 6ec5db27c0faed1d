"""A repository that the real Feast writes, on this package, against the real Feast.

Runs only where FEAST_PYTHON names a Python interpreter that has Feast. ``test_workflow.py`` always runs the same
constructs.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")

pytestmark = pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")

READ = """
import json, sys
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode

store = FeatureStore(repo_path=".")
rows = pd.read_parquet("data/driver_stats.parquet")
newest = rows.event_timestamp.max().to_pydatetime()

def records(frame):
    frame = frame.sort_values(["driver_id", "event_timestamp"]).reset_index(drop=True)
    frame["event_timestamp"] = pd.to_datetime(frame.event_timestamp, utc=True).map(lambda t: t.isoformat())
    return json.loads(frame[sorted(frame.columns)].to_json(orient="records", double_precision=12))

def historical(times):
    entity_df = pd.DataFrame({
        "driver_id": [1001, 1002, 1003],
        "event_timestamp": times,
        "label": [1, 5, 3],
        "val_to_add": [1, 2, 3],
        "val_to_add_2": [10, 20, 30],
    })
    return records(store.get_historical_features(entity_df=entity_df, features=[
        "driver_hourly_stats:conv_rate",
        "driver_hourly_stats:acc_rate",
        "driver_hourly_stats:avg_daily_trips",
        "driver_hourly_stats:driver_metadata",
        "driver_hourly_stats:driver_config",
        "driver_hourly_stats:driver_profile",
        "transformed_conv_rate:conv_rate_plus_val1",
        "transformed_conv_rate:conv_rate_plus_val2",
    ]).to_df())

def online(features):
    entity_rows = [
        {"driver_id": 1001, "val_to_add": 1000, "val_to_add_2": 2000},
        {"driver_id": 1002, "val_to_add": 1001, "val_to_add_2": 2002},
        {"driver_id": 9999, "val_to_add": 1001, "val_to_add_2": 2002},
    ]
    return store.get_online_features(features=features, entity_rows=entity_rows).to_dict()

result = {
    "history_2021": historical([datetime(2021, 4, 12, *t) for t in ((10, 59, 42), (8, 12, 10), (16, 40, 26))]),
    "history_now": historical([newest] * 3),
    "history_between": historical([newest - timedelta(hours=h, minutes=13) for h in (1, 30, 200)]),
}
store.materialize_incremental(end_date=newest + timedelta(hours=1))
result["online"] = online([
    "driver_hourly_stats:acc_rate",
    "driver_hourly_stats:driver_metadata",
    "driver_hourly_stats:driver_config",
    "driver_hourly_stats:driver_profile",
    "transformed_conv_rate:conv_rate_plus_val1",
    "transformed_conv_rate:conv_rate_plus_val2",
])
for service in ("driver_activity_v1", "driver_activity_v2", "driver_activity_v3"):
    result[service] = online(store.get_feature_service(service))
pushed = newest + timedelta(minutes=7)
store.push("driver_stats_push_source", pd.DataFrame({
    "driver_id": [1001], "event_timestamp": [pushed], "created": [pushed],
    "conv_rate": [1.0], "acc_rate": [1.0], "avg_daily_trips": [1000],
    "driver_metadata": [{"vehicle_type": "truck", "rating": "5.0"}],
    "driver_config": [json.dumps({"max_distance_km": 500, "preferred_zones": ["north"]})],
    "driver_profile": [{"name": "driver_1001_updated", "age": "30"}],
}), to=PushMode.ONLINE_AND_OFFLINE)
result["online_after_push"] = online(store.get_feature_service("driver_activity_v3"))
result["history_after_push"] = historical([pushed + timedelta(minutes=1)] * 3)
store.push("driver_quality_labels_push", pd.DataFrame({
    "driver_id": [1002], "event_timestamp": [pushed], "is_reliable": [1], "quality_score": [0.5],
    "reviewer_notes": ["fine"], "labeler": ["me"],
}))
result["labels"] = online(["driver_quality_labels:is_reliable", "driver_quality_labels:reviewer_notes"])
print("RESULT " + json.dumps(result))
"""


def _rename_imports(folder: Path) -> None:
    """Does what the documentation tells users of Feast to do."""
    migrate = [sys.executable, "-m", "feast_assets.cli", "migrate", str(folder), "--write"]
    done = subprocess.run(migrate, check=True, capture_output=True, text=True)
    assert "The command 'feast' is 'feast-assets' here." in done.stdout
    for file in folder.rglob("*.py"):
        # The template's workflow also calls the command by its name.
        file.write_text(file.read_text().replace('["feast", ', '["feast-assets", '))


def _bin(tmp_path: Path) -> str:
    command = tmp_path / "bin" / "feast-assets"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m feast_assets.cli "$@"\n')
    command.chmod(0o755)
    return f"{command.parent}{os.pathsep}{Path(FEAST_PYTHON).parent}{os.pathsep}{os.environ['PATH']}"


def _run(*command: str, cwd: Path, tmp_path: Path) -> str:
    env = {**os.environ, "PATH": _bin(tmp_path), "FEAST_USAGE": "False"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repositories(tmp_path: Path) -> tuple[Path, Path]:
    """Feast's own template, and a copy of it with its imports renamed."""
    _run("feast", "init", "-t", "local", "drivers", cwd=tmp_path, tmp_path=tmp_path)
    theirs = tmp_path / "drivers" / "feature_repo"
    shutil.rmtree(theirs / "__pycache__", ignore_errors=True)
    # Beside the repository, not in it: apply imports every file there.
    (tmp_path / "drivers" / "read.py").write_text(READ)
    ours = Path(shutil.copytree(tmp_path / "drivers", tmp_path / "renamed")) / "feature_repo"
    _rename_imports(ours.parent)
    return theirs, ours


def _result(output: str) -> dict[str, Any]:
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    assert isinstance(found, dict)
    return found


def _differences(theirs: Any, ours: Any, path: str = "") -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [d for key in {*theirs, *ours} for d in _differences(theirs.get(key), ours.get(key), f"{path}.{key}")]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [d for i in range(len(ours)) for d in _differences(theirs[i], ours[i], f"{path}[{i}]")]
    if isinstance(theirs, float) and isinstance(ours, float):
        same = math.isclose(theirs, ours, rel_tol=1e-6) or (math.isnan(theirs) and math.isnan(ours))
    else:
        same = theirs == ours
    return [] if same else [f"{path}: Feast {theirs!r}, here {ours!r}"]


def test_the_renamed_template_reads_the_same_values_as_feast(repositories, tmp_path: Path) -> None:
    theirs, ours = repositories
    _run("feast", "apply", cwd=theirs, tmp_path=tmp_path)
    _run("feast-assets", "apply", cwd=ours, tmp_path=tmp_path)
    expected = _result(_run(FEAST_PYTHON, "../read.py", cwd=theirs, tmp_path=tmp_path))
    found = _result(_run(sys.executable, "../read.py", cwd=ours, tmp_path=tmp_path))
    # One difference is meant: Feast does not know a label view's key type, and so gives text back.
    expected["labels"]["driver_id"] = [int(key) for key in expected["labels"]["driver_id"]]
    differences = _differences(expected, found)
    assert not differences, "\n".join(differences)


def test_the_renamed_templates_own_workflow_runs(repositories, tmp_path: Path) -> None:
    _, ours = repositories
    output = _run(sys.executable, "test_workflow.py", cwd=ours, tmp_path=tmp_path)
    assert "Created feature view driver_hourly_stats" in output
    assert "driver_1001_updated" in output
    assert "Removed project drivers" in output
