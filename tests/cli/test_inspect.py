from __future__ import annotations

import json
from pathlib import Path

import yaml


def test_registry_dump_holds_every_object_in_readable_form(run, served_repo: Path) -> None:
    dump = json.loads(run("-c", str(served_repo), "registry-dump").output)
    assert dump["project"] == "taxis"
    assert dump["revision"] >= 1
    (view,) = dump["feature_views"]
    assert view["spec"]["partitions"]["grain"] == "daily"
    assert {f["name"]: f["dtype"] for f in view["spec"]["features"]}["trips_today"] == "Int64"
    assert view["spec"]["ttl"] is not None
    assert view["spec"]["owner"] is not None  # what is empty is said too
    assert '"$' not in json.dumps(dump)
    assert view["meta"]["created_timestamp"].endswith("Z")
    assert {o["spec"]["name"] for o in dump["feature_services"]} == {"trip_pricing_v1", "trip_pricing_v2"}
    assert len(dump["data_sources"]) == 5


def test_configuration_is_yaml_with_defaults_filled_in(run, repo: Path) -> None:
    config = yaml.safe_load(run("-c", str(repo), "configuration").output)
    assert config["project"] == "taxis"
    assert config["online_store"]["type"] == "sqlite"
    assert config["offline_store"]["type"] == "duckdb"


def test_configuration_hides_secrets(run, repo: Path, monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    (repo / "feature_store.yaml").write_text(
        "project: taxis\n"
        "registry: {registry_type: sql, path: 'postgresql://me:${DATABASE_PASSWORD}@db.example.com/features'}\n"
        "online_store: {type: redis, connection_string: 'cache.example.com:6379,password=${DATABASE_PASSWORD}'}\n"
    )
    output = run("-c", str(repo), "configuration").output
    assert "hunter2" not in output
    assert "taxis" in output
