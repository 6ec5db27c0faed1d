"""Stores that are named by the paths of their classes: in the repository's folder, or installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from feast_assets import FeatureStore, RepoConfig
from feast_assets.class_paths import load_class
from feast_assets.config import load_repo_config, make_offline_store, make_online_store, make_registry
from feast_assets.errors import ConfigError
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.registry.sql.store import SqlRegistry

STORES = """
from typing import Literal

from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry


class NamedOnlineStoreConfig(SqliteOnlineStoreConfig):
    type: str = "shop_stores.NamedOnlineStore"
    label: str = ""


class NamedOnlineStore(SqliteOnlineStore):
    config_class = NamedOnlineStoreConfig


class NamedOfflineStoreConfig(DuckDBOfflineStoreConfig):
    type: str = ""


class NamedOfflineStore(DuckDBOfflineStore):
    config_class = NamedOfflineStoreConfig


class NamedRegistryConfig(SqlRegistryConfig):
    registry_type: Literal["shop_stores.NamedRegistry"]


class NamedRegistry(SqlRegistry):
    config_class = NamedRegistryConfig


class StrictConfig(SqliteOnlineStoreConfig):
    type: Literal["strict"] = "strict"


class StrictOnlineStore(SqliteOnlineStore):
    config_class = StrictConfig


class UnsettledOnlineStore(SqliteOnlineStore):
    config_class = "NamedOnlineStoreConfig"


class OtherStore:
    pass


NumberStore = 3
"""

YAML = """
project: shop
registry: {registry_type: shop_stores.NamedRegistry, path: data/registry.db}
online_store: {type: shop_stores.NamedOnlineStore, label: fast}
offline_store: {type: shop_stores.NamedOfflineStore, threads: 1}
"""


def repository(folder: Path, text: str = YAML, stores: str = STORES) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(text, encoding="utf-8")
    (folder / "shop_stores.py").write_text(stores, encoding="utf-8")
    return folder


def test_classes_of_the_repository_are_its_stores(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    config = load_repo_config(root)
    assert (config.online_store.label, config.offline_store.threads) == ("fast", 1)
    store, history, registry = (
        make_online_store(config, root),
        make_offline_store(config, root),
        make_registry(config, root),
    )
    assert isinstance(store, SqliteOnlineStore)
    assert isinstance(history, DuckDBOfflineStore)
    assert isinstance(registry, SqlRegistry)
    assert {type(x).__module__ for x in (store, history, registry)} == {"shop_stores"}
    # The same class each time.
    assert type(make_online_store(config, root)) is type(store)
    assert type(FeatureStore(root).online_store) is type(store)
    assert str(root) not in sys.path


def test_a_configuration_in_python_finds_the_classes_of_the_stores_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path / "repo")
    settings: dict[str, Any] = {
        "project": "shop",
        "registry": {"registry_type": "shop_stores.NamedRegistry", "path": "r.db"},
        "online_store": "shop_stores.NamedOnlineStore",
    }
    store = FeatureStore(root, RepoConfig(**settings))
    assert type(store.online_store).__name__ == "NamedOnlineStore"
    assert store.config.online_store.type == "shop_stores.NamedOnlineStore"
    assert RepoConfig(**settings, repo_path=root).online_store.type == "shop_stores.NamedOnlineStore"
    monkeypatch.chdir(root)
    assert type(FeatureStore(config=RepoConfig(**settings)).registry).__name__ == "NamedRegistry"


def test_another_file_of_settings_finds_the_classes_of_the_repository(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(YAML, encoding="utf-8")
    assert load_repo_config(root, elsewhere).online_store.label == "fast"
    with pytest.raises(ConfigError, match=r"elsewhere\.yaml: online_store\.type 'shop_stores.*there is no module"):
        _ = load_repo_config(elsewhere).online_store


def test_modules_of_the_same_name_in_two_repositories_keep_apart(tmp_path: Path) -> None:
    one = repository(tmp_path / "one")
    other = repository(tmp_path / "other", stores=STORES.replace('label: str = ""', 'color: str = "red"'))
    (other / "feature_store.yaml").write_text(YAML.replace("label: fast", "color: blue"), encoding="utf-8")
    for _ in range(2):
        assert load_repo_config(one).online_store.label == "fast"
        assert load_repo_config(other).online_store.color == "blue"


def test_a_module_of_the_repository_may_import_others(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo", stores="from shop_parts.labels import LABEL\n" + STORES)
    (root / "shop_parts").mkdir()
    (root / "shop_parts" / "labels.py").write_text("LABEL = 1\n", encoding="utf-8")
    assert load_repo_config(root).online_store.label == "fast"


def test_a_class_of_an_installed_package_is_found_without_a_folder(tmp_path: Path) -> None:
    path = "feast_assets.online_stores.sqlite.store.SqliteOnlineStore"
    assert load_class(path, None) is load_class(path, tmp_path) is SqliteOnlineStore


def test_the_command_line_finds_the_repositorys_classes(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    command = [sys.executable, "-m", "feast_assets.cli", "-c", str(root)]
    applied = subprocess.run([*command, "apply"], capture_output=True, text=True, cwd=tmp_path)
    assert applied.returncode == 0, applied.stderr
    shown = subprocess.run([*command, "configuration"], capture_output=True, text=True, cwd=tmp_path)
    assert "type: shop_stores.NamedOnlineStore" in shown.stdout
    assert "label: fast" in shown.stdout


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("feast.infra.online_stores.redis.RedisOnlineStore", RedisOnlineStore),
        ("feast_assets.infra.online_stores.redis.RedisOnlineStore", RedisOnlineStore),
        ("feast.infra.online_stores.sqlite.SqliteOnlineStore", SqliteOnlineStore),
        ("feast_assets.online_stores.redis.store.RedisOnlineStore", RedisOnlineStore),
    ],
)
def test_feasts_paths_and_ours_mean_the_types(tmp_path: Path, path: str, expected: type) -> None:
    config = RepoConfig(project="shop", online_store=path)
    assert config.online_store.type == {RedisOnlineStore: "redis", SqliteOnlineStore: "sqlite"}[expected]
    assert type(make_online_store(config, tmp_path)) is expected


def test_feasts_paths_of_the_other_stores_mean_the_types(tmp_path: Path) -> None:
    config = RepoConfig(
        project="shop",
        registry={"registry_type": "feast.infra.registry.sql.SqlRegistry", "path": "r.db"},
        online_store={
            "type": "feast.infra.online_stores.postgres_online_store.postgres.PostgreSQLOnlineStore",
            "host": "h",
            "database": "d",
        },
        offline_store="feast.infra.offline_stores.dask.DaskOfflineStore",
    )
    assert (config.registry.registry_type, config.online_store.type) == ("sql", "postgres")
    assert config.offline_store.type == "duckdb"


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "online_store: nowhere_at_all.NamedOnlineStore",
            r"online_store.type 'nowhere_at_all.NamedOnlineStore': there is no module 'nowhere_at_all' in .*repo or",
        ),
        ("online_store: feast_assets.nowhere.NamedOnlineStore", r"there is no module 'feast_assets.nowhere'"),
        (
            "online_store: shop_stores.NamedOnlinStore",
            r"there is no NamedOnlinStore in .*shop_stores\.py. Did you mean 'NamedOnlineStore'\?",
        ),
        ("online_store: shop_stores.NumberStore", r"NumberStore in .*shop_stores\.py is not a class, but of type int"),
        (
            "online_store: shop_stores.OtherStore",
            r"does not derive from feast_assets.online_stores.base.OnlineStore. docs/write-a-backend.md",
        ),
        (
            "offline_store: shop_stores.NamedOnlineStore",
            "does not derive from feast_assets.offline_stores.base.Of",
        ),
        (
            "online_store: shop_stores.UnsettledOnlineStore",
            "does not say which settings it has. Give it a",
        ),
        (
            "online_store: shop_stores.StrictOnlineStore",
            "must take 'shop_stores.StrictOnlineStore' as its type",
        ),
        ("online_store: {type: shop_stores.NamedOnlineStore, lable: x}", "unknown key 'lable'.*Did you mean 'label'"),
        ("online_store: feast.infra.online_stores.hbase_online_store.hbase.HbaseOnlineStore", "is a class of Feast's"),
        (
            "online_store: shop_broken.BrokenOnlineStore",
            r"does not import: ZeroDivisionError at .*shop_broken\.py:2",
        ),
        ("online_store: shop_needy.NeedyOnlineStore", "its module needs the package 'not_installed_here'"),
        (
            "provider: my.module.MyProvider",
            "provider: 'my.module.MyProvider' is not supported.*chosen by online_store",
        ),
    ],
)
def test_what_leads_to_no_store_says_why(tmp_path: Path, section: str, said: str) -> None:
    root = repository(tmp_path / "repo", f"project: shop\n{section}\n")
    (root / "shop_broken.py").write_text("one = 1\none / 0\n", encoding="utf-8")
    (root / "shop_needy.py").write_text("import not_installed_here\n", encoding="utf-8")

    def read() -> None:
        config = load_repo_config(root)
        _ = config.online_store, config.offline_store

    with pytest.raises(ConfigError, match=said) as caught:
        read()
    assert str(caught.value).startswith(f"{root}/feature_store.yaml: ")


def test_a_store_without_all_methods_says_which_are_missing(tmp_path: Path) -> None:
    stores = textwrap.dedent(
        """
        from feast_assets.online_stores.base import OnlineStore
        from feast_assets.settings.model import Settings

        class HalfOnlineStoreConfig(Settings):
            type: str

        class HalfOnlineStore(OnlineStore):
            pass
        """
    )
    root = repository(tmp_path / "repo", "project: shop\nonline_store: shop_stores.HalfOnlineStore\n", stores)
    config = load_repo_config(root)
    # As in Feast, settings are found by their name beside the class.
    assert type(config.online_store).__name__ == "HalfOnlineStoreConfig"
    with pytest.raises(ConfigError, match=r"shop_stores\.HalfOnlineStore, which lacks .*get_many.* Write them"):
        make_online_store(config, root)


def test_a_class_that_derives_from_feasts_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = type(sys)("feast.infra.online_stores.online_store")
    exec("class OnlineStore:\n    pass\n", vars(theirs))
    monkeypatch.setitem(sys.modules, theirs.__name__, theirs)
    stores = f"import sys\nBase = sys.modules[{theirs.__name__!r}].OnlineStore\nclass MyOnlineStore(Base): pass\n"
    root = repository(tmp_path / "repo", "project: shop\nonline_store: shop_stores.MyOnlineStore\n", stores)
    with pytest.raises(ConfigError, match="It derives from Feast's class, which has other methods"):
        _ = load_repo_config(root).online_store
