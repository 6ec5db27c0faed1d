"""Feast's real SDK is a client of our server: its remote online store reads, writes, pushes and materializes.

Runs only where FEAST_PYTHON names a Python interpreter that has Feast.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pairs import OTHER_ROWS, ROWS

from feast_assets import FeatureStore

FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")


def made_pairs(ours: Path) -> Path:
    """Writes the repository of the pairs to a new folder and applies it."""
    ours.mkdir()
    (ours / "feature_store.yaml").write_text("project: pairs\nregistry: registry.db\nonline_store: sqlite\n")
    definitions = (HERE / "pairs_repository.py").read_text(encoding="utf-8").replace("FEAST", "feast_assets")
    (ours / "definitions.py").write_text(definitions, encoding="utf-8")
    for name, rows in (("stats", ROWS), ("other", OTHER_ROWS)):
        frame = pd.DataFrame(rows)
        frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
        frame.to_parquet(ours / f"{name}.parquet")
    store = FeatureStore(ours)
    store.apply_repository()
    store.close()
    return ours


def told_by(script: str, *arguments: str) -> Any:
    """Returns what a script that Feast's Python runs tells."""
    done = subprocess.run(
        [FEAST_PYTHON, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FEAST_USAGE": "False"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    return json.loads(line.removeprefix("TOLD "))


def test_feasts_sdk_reads_writes_pushes_and_gets_its_own_errors(tmp_path: Path, start_server: Any) -> None:
    ours, theirs = made_pairs(tmp_path / "ours"), tmp_path / "theirs"
    theirs.mkdir()
    server = start_server(ours)
    told = told_by("feast_client.py", str(theirs), server.url)
    read = told["written and read"]
    for name in ("trips", "few", "rate", "exact", "city", "active", "since", "marks", "shares", "words"):
        expected = [pytest.approx(v) if name == "rate" else v for v in ROWS[name]]
        assert read[name][:3] == expected, name
        assert read[name][3] is None, name
    assert told["pushed"]["trips"] == [77], "the newer row stays"
    assert told["service"]["total"] == [pytest.approx(0.6)]
    assert (told["materialized"], told["incremental"]) == ("", "")
    assert told["other"]["trips"] == [7]
    assert told["errors"] == {
        "view": "feast.errors.FeatureViewNotFoundException",
        "service": "feast.errors.FeatureServiceNotFoundException",
        "key": "feast.errors.FeastError",
        "collision": "feast.errors.FeatureNameCollisionError",
    }


def test_feasts_stubs_of_grpc_read_and_write(tmp_path: Path, start_server: Any) -> None:
    import grpc

    server = start_server(made_pairs(tmp_path / "ours"), command="listen")
    # Only that package, not what else this Python has.
    only = tmp_path / "packages"
    only.mkdir()
    (only / "grpc").symlink_to(Path(grpc.__file__).parent, target_is_directory=True)
    told = told_by("feast_grpc_client.py", server.url.removeprefix("grpc://"), str(only))
    assert (told["pushed"], told["written"], told["version"]) == (True, True, True)
    assert told["same"] == told["read"]
    read = told["read"]
    assert list(read) == ["driver_id", "trips", "rate", "city", "marks", "active", "since"]
    values = {name: column["values"] for name, column in read.items()}
    assert values["driver_id"] == [1, 99]
    assert {name: each[1] for name, each in values.items() if name != "driver_id"} == dict.fromkeys(list(read)[1:])
    assert [values[name][0] for name in ("trips", "rate", "city", "marks", "active")] == [10, 0.5, "Köln", [1, 2], True]
    assert values["since"][0] == "2024-01-01 00:00:00+00:00"
    assert all(column["statuses"] == ["PRESENT", "NOT_FOUND"] for name, column in read.items() if name != "driver_id")
    assert read["trips"]["seconds"] == [1704067200, 0]
    assert told["other"]["trips"]["values"] == [7]
    assert told["service"]["total"]["values"] == [pytest.approx(0.6)]
    assert (told["unknown"], told["both"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
