"""The whole round through real processes, in the project that the local template writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

COMMAND = [sys.executable, "-m", "feast_assets.cli"]


def _run(*arguments: str, cwd: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def test_init_apply_materialize_read_teardown(tmp_path: Path) -> None:
    _run("init", "rides", cwd=tmp_path)
    repo = tmp_path / "rides" / "feature_repo"
    assert "Created feature view driver_stats" in _run("apply", cwd=repo).stdout
    table = _run("materialize-incremental", datetime.now(UTC).isoformat(), cwd=repo).stdout
    assert "driver_stats" in table
    read = ("get-online-features", "-e", "driver_id=1001", "-f", "driver_stats:rating")
    assert 1 <= json.loads(_run(*read, cwd=repo).stdout)["rating"][0] <= 5
    _run("teardown", cwd=repo)
    gone = _run(*read, cwd=repo, exit_code=1)
    assert gone.stderr.startswith("Error: ")
    assert "Traceback" not in gone.stderr


def test_the_written_workflow_runs(repo: Path, tmp_path: Path) -> None:
    # The workflow calls the command by its name; here that is this interpreter's.
    command = tmp_path / "bin" / "feast-assets"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m feast_assets.cli "$@"\n')
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "test_workflow.py"], cwd=repo, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = done.stdout.split("--- ")
    assert len(steps) == 9
    assert "Created feature view driver_stats" in steps[1]
    assert "fare" in steps[2]
    assert "NaN" not in steps[2]
    assert "driver_stats: 5 entities written" in steps[3]
    for step in (steps[4], steps[5]):
        assert "None" not in step
    assert "trips_today: [99, " in steps[6]
    assert "'type': 'minivan'" in steps[6]
    assert "recommended: [True, None]" in steps[7]
    assert "Removed project taxis" in steps[8]
