"""Feast's real SDK is a client of our offline server: its remote offline store reads, writes, validates, materializes.

Runs only where FEAST_PYTHON names a Python interpreter that has Feast.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from pairs import OTHER_ROWS, ROWS

from feast_assets import FeatureStore
from feast_assets.serving.flight.options import OfflineServerOptions
from feast_assets.serving.flight.server import OfflineServer

FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")


def test_feasts_sdk_reads_writes_validates_and_gets_its_own_errors(tmp_path: Path) -> None:
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
    server = OfflineServer(store, OfflineServerOptions(port=0))
    try:
        done = subprocess.run(
            [FEAST_PYTHON, str(HERE / "feast_offline_client.py"), str(theirs), str(server.port)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "FEAST_USAGE": "False"},
        )
    finally:
        server.shutdown()
        store.close()
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    told = json.loads(line.removeprefix("TOLD "))
    history = told["history"]
    assert history["driver_id"] == [1, 3, 2, 99]
    # Driver 2 has no row yet at its moment, driver 99 has none at all.
    for name in ("few", "exact", "city", "active", "marks", "shares", "words"):
        assert history[name] == [ROWS[name][0], ROWS[name][2], None, None], name
    assert history["since"][:2] == ["2024-01-01 00:00:00+00:00", "1970-01-01 00:00:01+00:00"]
    assert told["names"]["stats__trips"][0] == 10 and told["names"]["other__trips"][:2] == [7, None]
    assert told["service"]["total"] == [pytest.approx(0.6), pytest.approx(-2.0), None, None]
    assert told["query"]["trips"] == [10]
    assert told["materialized"] == {"driver_id": [1, 2, 3], "trips": ROWS["trips"], "city": ROWS["city"]}
    assert told["written"]["trips"] == [555]
    assert [name for name, _ in told["columns"]] == ["driver_id", "event_timestamp", "trips"]
    assert told["unknown source"].startswith("feast.errors.DataSourceObjectNotFoundException: ")
    assert told["unknown view"].startswith("feast.errors.FeatureViewNotFoundException: ")
    assert told["wrong rows"].startswith("feast.errors.FeastEntityDFMissingColumnsError: ")
    assert told["bad query"].startswith("feast.errors.FeastError: The entity query reads 'nope'")
