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


def test_feasts_sdk_reads_writes_pushes_and_gets_its_own_errors(tmp_path: Path, start_server: Any) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
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
    server = start_server(ours)
    done = subprocess.run(
        [FEAST_PYTHON, str(HERE / "feast_client.py"), str(theirs), server.url],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FEAST_USAGE": "False"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    told = json.loads(line.removeprefix("TOLD "))
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
