"""The command audit: a table for people, JSON for programs, and an exit code for schedulers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from feast_assets import FeatureStore
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.testing.online_store import remove_rows
from feast_assets.types import Int64


def _lose_a_driver(repo: Path) -> None:
    store = FeatureStore(repo)
    (key,) = encode_keys(["driver_id"], [Int64], [[1001]])
    remove_rows(store.online_store, store.get_feature_view("driver_stats").online_table(store.project), [key])
    store.close()


def test_a_consistent_project_is_a_table_and_exit_code_0(run, served_repo: Path) -> None:
    result = run("-c", str(served_repo), "audit")
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["VIEW", "ENTITIES", "VALUES", "EQUAL"]
    (stats,) = (line.split() for line in rows if line.startswith("driver_stats "))
    assert int(stats[1]) == 5
    assert stats[2] == stats[3]


def test_what_nobody_can_explain_is_exit_code_1(run, served_repo: Path) -> None:
    _lose_a_driver(served_repo)
    result = run("-c", str(served_repo), "audit", "--view", "driver_stats", exit_code=1)
    assert "UNEXPLAINED" in result.stdout
    assert "driver_id:1001" in result.stdout
    run("-c", str(served_repo), "audit", "--fail-on", "never")
    document = json.loads(run("-c", str(served_repo), "audit", "-v", "driver_stats", "--json", exit_code=1).stdout)
    assert [v["feature_view"] for v in document["views"]] == ["driver_stats"]
    assert {m["cause"] for m in document["mismatches"]} == {"unexplained"}
    assert {tuple(m["entity"].items()) for m in document["mismatches"]} == {(("driver_id", 1001),)}
    assert datetime.fromisoformat(document["at"]).tzinfo is not None


def test_what_has_a_reason_fails_only_if_asked(run, served_repo: Path) -> None:
    path = served_repo / "data" / "driver_stats.parquet"
    rows = pq.read_table(path)
    newest = max(rows["event_timestamp"].to_pylist())
    at = newest.replace(tzinfo=UTC) - timedelta(hours=3)
    result = run("-c", str(served_repo), "audit", "-v", "driver_stats", "--at", at.isoformat())
    assert "AHEAD" in result.stdout
    run("-c", str(served_repo), "audit", "-v", "driver_stats", "--at", at.isoformat(), "--fail-on", "any", exit_code=1)


def test_wrong_arguments(run, served_repo: Path) -> None:
    assert "driver_stat" in run("-c", str(served_repo), "audit", "-v", "driver_stat", exit_code=1).output
    run("-c", str(served_repo), "audit", "--sample", "0", exit_code=2)
    run("-c", str(served_repo), "audit", "--at", "yesterday", exit_code=2)
