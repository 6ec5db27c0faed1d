"""Which registry a path means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from feast_assets import RepoConfig
from feast_assets.config import make_registry
from feast_assets.errors import ConfigError, StoreUnavailableError
from feast_assets.registry.file.config import FileRegistryConfig
from feast_assets.registry.file.objects import objects_at
from feast_assets.registry.file.store import FileRegistry
from feast_assets.registry.sql.store import SqlRegistry

SECRET = "hunter2-is-secret"


@pytest.mark.parametrize(
    "registry",
    [
        "s3://bucket/registry.db",
        "gs://bucket/registry.db",
        "az://container/registry.db",
        "abfss://container@account.dfs.core.windows.net/registry.db",
        "file:///srv/registry",
        {"path": "s3://bucket/registry.db", "cache_ttl_seconds": 60, "cache_mode": "sync"},
        {"registry_type": "file", "path": "s3://bucket/a", "s3_additional_kwargs": {"ServerSideEncryption": "AES256"}},
        {"registry_type": "feast.infra.registry.registry.Registry", "path": "gs://bucket/registry.db"},
    ],
)
def test_a_path_in_an_object_store_means_a_registry_of_files(tmp_path: Path, registry: object) -> None:
    config = RepoConfig(project="shop", registry=registry)
    assert isinstance(config.registry, FileRegistryConfig)
    assert isinstance(make_registry(config, tmp_path), FileRegistry)


@pytest.mark.parametrize(
    "registry",
    [
        "data/registry.db",
        {"registry_type": "file", "path": "data/registry.db"},
        {"registry_type": "sql", "path": "sqlite:///data/registry.db"},
        {"registry_type": "file", "path": "postgresql://u:p@h/d"},
        {"path": "/srv/registry.db"},
    ],
)
def test_a_plain_path_or_a_database_goes_on_meaning_sql(tmp_path: Path, registry: object) -> None:
    assert isinstance(make_registry(RepoConfig(project="shop", registry=registry), tmp_path), SqlRegistry)


@pytest.mark.parametrize(
    ("registry", "problem"),
    [
        ("s3://bucket", "must name a bucket and a path in it"),
        ("gs:///x", "must name a bucket and a path in it"),
        ("file://", "must name a folder"),
        ("file://../x", "without '..'"),
        (f"s3://key:{SECRET}@bucket/registry.db", "must hold no login"),
        (f"az://c/r?sig={SECRET}", "must hold no login"),
        ({"path": "s3://b/r", "storage_option": {"key": SECRET}}, "unknown key 'storage_option' in registry"),
        ({"path": "s3://b/r", "storage_options": SECRET}, "storage_options"),
        ({"path": "s3://b/r", "cache_ttl_seconds": -1}, "greater than or equal to 0"),
        ({"registry_type": "sql", "path": "s3://b/r"}, "registries at s3:// are of registry_type: file"),
        ("hdfs://h/r", r"registries at hdfs:// are not supported; .*s3://"),
    ],
)
def test_what_is_wrong_is_said_without_what_may_be_secret(registry: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        _ = RepoConfig(project="shop", registry=registry).registry
    assert SECRET not in str(refused.value)


def test_storage_options_are_never_shown(tmp_path: Path) -> None:
    section = {
        "path": "s3://bucket/r",
        "storage_options": {"key": "k", "secret": SECRET, "client_kwargs": {"x": SECRET}},
    }
    config = RepoConfig(project="shop", registry=section)
    for shown in (repr(config), repr(config.registry), str(config.model_dump()), config.registry.model_dump_json()):
        assert SECRET not in shown
    assert config.registry.storage_options["secret"] == SECRET


def test_errors_of_the_object_store_name_the_registry_and_hold_no_secret(tmp_path: Path) -> None:
    options = {
        "key": "k",
        "secret": SECRET,
        "endpoint_url": "http://127.0.0.1:1",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    objects = objects_at(FileRegistryConfig(path="s3://bucket/r", storage_options=options), tmp_path)
    objects._files.retries = 1  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailableError, match="Registry s3://bucket/r cannot be used") as failed:
        objects.read("x")
    assert SECRET not in str(failed.value)


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.registry.file.objects.find_spec", lambda name: name == "fsspec" or None)
    with pytest.raises(ConfigError, match=r"needs the package 'gcsfs'.*pip install 'feast-assets\[gcs\]'"):
        make_registry(RepoConfig(project="shop", registry="gs://bucket/r"), tmp_path)


def test_parts_of_a_connection_string_are_secrets_too(tmp_path: Path) -> None:
    options = {"connection_string": f"AccountName=shop;AccountKey={SECRET};BlobEndpoint=http://127.0.0.1:1/shop"}
    objects = objects_at(FileRegistryConfig(path="az://container/r", storage_options=options), tmp_path)
    with pytest.raises(StoreUnavailableError) as failed, objects._in_words():  # type: ignore[attr-defined]
        raise ValueError(f"the key {SECRET} is wrong")
    assert SECRET not in str(failed.value)
    assert failed.value.__cause__ is None
