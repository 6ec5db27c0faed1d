"""The resources: how a feature store is put together from its parts, and that secrets stay secret."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import (
    FeatureStoreResource,
    OfflineStoreResource,
    OnlineStoreResource,
    RegistryResource,
    definitions_for,
)
from feast_assets.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SECRET = "hunter2-is-secret"


@pytest.fixture
def resource_sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The project's module resources, freshly imported."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield importlib.import_module("resources")
    for name in [n for n in sys.modules if n == "resources" or n.startswith("resources.")]:
        del sys.modules[name]


def test_parts_that_are_left_out_are_what_the_file_says(repository_root: Path) -> None:
    config = FeatureStoreResource(repo_path=str(repository_root)).config()
    assert config.project == "taxi"
    assert config.registry.path == "data/registry.db"
    assert config.online_store.path == "data/online.db"
    assert config.offline_store.type == "duckdb"


def test_a_given_part_stands_instead_of_the_file_s(repository_root: Path) -> None:
    resource = FeatureStoreResource(
        repo_path=str(repository_root),
        project="bikes",
        online_store=OnlineStoreResource(path="data/elsewhere.db"),
        offline_store=OfflineStoreResource(options={"memory_limit": "1GB", "threads": 2}),
    )
    with dg.build_resources({"feature_store": resource}) as resources:
        store = resources.feature_store.get_store()
        assert store.project == "bikes"
        assert store.config.registry.path == "data/registry.db"
        assert store.config.online_store.path == "data/elsewhere.db"
        assert store.config.offline_store.memory_limit == "1GB"
        assert store.config.offline_store.threads == 2


def test_a_store_that_is_given_whole_needs_no_file(tmp_path: Path) -> None:
    resource = FeatureStoreResource(
        repo_path=str(tmp_path),
        project="bikes",
        registry=RegistryResource(path="registry.db", options={"cache_ttl_seconds": 5}),
        online_store=OnlineStoreResource(),
        offline_store=OfflineStoreResource(),
    )
    config = resource.config()
    assert config.project == "bikes"
    assert config.registry.cache_ttl_seconds == 5
    assert not list(tmp_path.iterdir())


def test_a_wrong_setting_is_an_error_that_names_it(repository_root: Path) -> None:
    resource = FeatureStoreResource(
        repo_path=str(repository_root), online_store=OnlineStoreResource(options={"pth": "x.db"})
    )
    with pytest.raises(ConfigError, match=r"unknown key 'pth' in online_store\. Did you mean 'path'"):
        _ = resource.config().online_store


def test_a_project_without_an_online_store_loads(repository_root: Path) -> None:
    file = repository_root / "feature_store.yaml"
    file.write_text(file.read_text().replace("{type: sqlite, path: data/online.db}", "null"))
    resource = FeatureStoreResource(repo_path=str(repository_root))
    assert resource.described().online_store is None
    spec = {s.key.path[-1]: s for s in definitions_for({"feature_store": resource}).resolve_all_asset_specs()}["ride"]
    assert spec.kinds == {"feature_view", "duckdb"}


def test_one_step_has_one_store_and_it_is_closed_in_the_end(
    applied_root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[FeatureStore] = []
    closed: list[FeatureStore] = []
    close = FeatureStore.close
    monkeypatch.setattr(FeatureStore, "close", lambda self: (closed.append(self), close(self))[1])

    @dg.asset
    def probe(feature_store: FeatureStoreResource) -> dg.MaterializeResult:
        seen.extend([feature_store.get_store(), feature_store.get_store()])
        assert not closed
        return dg.MaterializeResult()

    resource = FeatureStoreResource(repo_path=str(applied_root))
    assert dg.materialize([probe], instance=instance, resources={"feature_store": resource}).success
    assert seen[0] is seen[1]
    assert closed == [seen[0]]


def test_the_local_deployment_is_the_default_and_uses_files(
    resource_sets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FEAST_ASSETS_DEPLOYMENT", raising=False)
    described = resource_sets.deployment_resources()["feature_store"].described()
    assert (described.offline_store, described.online_store) == ("duckdb", "sqlite")
    assert described.project == "nyc_flights"


def test_an_unknown_deployment_is_refused(resource_sets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEAST_ASSETS_DEPLOYMENT", "prod")
    with pytest.raises(ValueError, match="FEAST_ASSETS_DEPLOYMENT is 'prod'; it must be one of local, production"):
        resource_sets.deployment_resources()


def test_production_materializes_into_redis_by_a_registry_in_postgres(
    resource_sets: ModuleType,
    repository_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
    postgres_url: str,
    redis_server: tuple[str, int],
) -> None:
    host, port = redis_server
    monkeypatch.setenv("FEAST_ASSETS_DEPLOYMENT", "production")
    monkeypatch.setenv("FEAST_ASSETS_REGISTRY_URL", postgres_url)
    monkeypatch.setenv("FEAST_ASSETS_REDIS", f"{host}:{port}")
    production = importlib.import_module("resources.production")
    monkeypatch.setattr(production, "FEATURE_REPO", repository_root)
    resources = resource_sets.deployment_resources()
    assert set(resources) == {"registry", "offline_store", "online_store", "feature_store"}

    assert definitions_for(resources).resolve_job_def("apply_taxi").execute_in_process(instance=instance).success
    defs = definitions_for(resources)
    ran = defs.resolve_job_def("materialize_taxi_daily").execute_in_process(
        instance=instance,
        tags={"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-10"},
    )
    assert ran.success
    with dg.build_resources({k: v for k, v in resources.items() if k == "feature_store"}) as live:
        store = live.feature_store.get_store()
        assert store.config.online_store.type == "redis"
        found = store.get_online_features(["ride:fare", "ride_totals:rides"], [{"driver_id": 1}, {"driver_id": 9}])
        assert found.to_dict() == {"driver_id": [1, 9], "fare": [119.0, None], "rides": [2, None]}
        assert len(store.registry.ledger("ride")) == 10
    assert sorted(p.name for p in (repository_root / "data").iterdir()) == [
        "kept_totals",
        "rides.parquet",
        "vehicles.parquet",
    ]


def test_secrets_are_neither_shown_nor_recorded(
    repository_root: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    monkeypatch.setenv("TAXI_REDIS", f"127.0.0.1:1,password={SECRET}")
    registry = RegistryResource(path="data/registry.db")
    online_store = OnlineStoreResource(type="redis", connection_string=dg.EnvVar("TAXI_REDIS"))
    resource = FeatureStoreResource(repo_path=str(repository_root), registry=registry, online_store=online_store)
    defs = definitions_for({"feature_store": resource, "online_store": online_store})

    with dg.build_resources({"feature_store": resource}) as live:
        # The parts do hold it, or there would be nothing to hide.
        assert SECRET in live.feature_store.online_store.section()["connection_string"]
        assert SECRET not in repr(live.feature_store)
        assert SECRET not in str(live.feature_store)
        assert SECRET not in repr(live.feature_store.config())
    result = defs.resolve_job_def("apply_taxi").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert any("127.0.0.1:1" in str(e) for e in result.all_events)
    told = [r.event_log_entry.to_json() for r in instance.get_records_for_run(result.run_id).records]
    assert told
    assert SECRET not in json.dumps(told)
    specs = [str(s.metadata) for s in defs.resolve_all_asset_specs()]
    assert SECRET not in "".join(specs)


@pytest.mark.parametrize(
    "planted",
    [
        {"online_store": f"redis://:{SECRET}@127.0.0.1:1"},
        {"online_store": f"redis://:{SECRET}/x@127.0.0.1:1"},
        {"online_store": f"127.0.0.1:1,pasword={SECRET}"},
        {"registry": f"postgresql://u:{SECRET}@127.0.0.1:1/d"},
        {"registry": f"postgresql://u:{SECRET}/x@127.0.0.1:1/d"},
        {"registry": f"postgresql:u:{SECRET}@127.0.0.1/d"},
    ],
)
def test_no_event_and_no_metadata_holds_a_secret_however_it_is_written(
    repository_root: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance, planted: dict[str, str]
) -> None:
    for name, value in {"registry": "data/registry.db", "online_store": "127.0.0.1:1", **planted}.items():
        monkeypatch.setenv(f"TAXI_{name.upper()}", value)
    resource = FeatureStoreResource(
        repo_path=str(repository_root),
        registry=RegistryResource(path=dg.EnvVar("TAXI_REGISTRY")),
        online_store=OnlineStoreResource(type="redis", connection_string=dg.EnvVar("TAXI_ONLINE_STORE")),
    )
    defs = definitions_for({"feature_store": resource})
    result = defs.resolve_job_def("apply_taxi").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    told = [r.event_log_entry.to_json() for r in instance.get_records_for_run(result.run_id).records]
    told += [str(s.metadata) for s in defs.resolve_all_asset_specs()] + [str(e) for e in result.all_events]
    with dg.build_resources({"feature_store": resource}) as live:
        parts = (live.feature_store, live.feature_store.registry, live.feature_store.online_store)
        told += [text for part in parts for text in (repr(part), str(part), str(part.model_dump()))]
        told += [repr(live.feature_store.config()), str(live.feature_store.config().model_dump())]
    assert SECRET not in json.dumps(told)
    assert not [p.name for p in repository_root.iterdir() if "postgres" in p.name]


def test_a_password_that_dagster_would_show_is_warned_of(repository_root: Path) -> None:
    plain = OnlineStoreResource(type="redis", connection_string=f"127.0.0.1:1,password={SECRET}")
    with pytest.warns(UserWarning, match="online_store holds a password.*dagster.EnvVar") as warned:
        FeatureStoreResource(repo_path=str(repository_root), online_store=plain).described()
    assert SECRET not in str(warned[0].message) + repr(plain) + str(plain.model_dump())


@pytest.mark.filterwarnings("error")
def test_a_part_without_a_password_is_not_warned_of(repository_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_REDIS", f"127.0.0.1:1,password={SECRET}")
    for connection_string in ("127.0.0.1:6379", "redis://127.0.0.1:6379/0", dg.EnvVar("TAXI_REDIS")):
        part = OnlineStoreResource(type="redis", connection_string=connection_string)
        described = FeatureStoreResource(repo_path=str(repository_root), online_store=part).described()
        assert described.online_store == "redis"


def test_the_secrets_of_stores_are_not_needed_to_load(repository_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAXI_REDIS", raising=False)
    online_store = OnlineStoreResource(type="redis", connection_string=dg.EnvVar("TAXI_REDIS"))
    resource = FeatureStoreResource(repo_path=str(repository_root), online_store=online_store)
    specs = definitions_for({"feature_store": resource}).resolve_all_asset_specs()
    assert {s.key.path[-1]: s for s in specs}["ride"].kinds == {"feature_view", "duckdb", "redis"}
