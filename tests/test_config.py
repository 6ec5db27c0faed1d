"""``feature_store.yaml`` and the stores it names."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from feast_assets import backends
from feast_assets.config import RepoConfig, find_config_file, load_repo_config, make_online_store, make_registry
from feast_assets.errors import ConfigError
from feast_assets.online_stores.base import OnlineStore
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.settings.registry_config import RegistryConfig

MINIMAL = "project: shop\nregistry: data/registry.db\nprovider: local\n"


def load(tmp_path: Path, text: str) -> RepoConfig:
    file = tmp_path / "feature_store.yaml"
    file.write_text(text)
    return load_repo_config(tmp_path)


def refused(tmp_path: Path, text: str, said: str) -> None:
    """Checks that a file is refused, when read or when its stores are asked for, by a message that names the file."""

    def read() -> None:
        config = load(tmp_path, text)
        for section in ("registry", "online_store", "offline_store"):
            getattr(config, section)

    with pytest.raises(ConfigError, match=said) as failed:
        read()
    assert "feature_store.yaml" in str(failed.value)


# --- reading


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.project == "shop"
    assert config.provider == "local"
    assert config.registry == SqlRegistryConfig(registry_type="file", path="data/registry.db")
    assert config.registry.cache_ttl_seconds == 600
    assert config.online_store.type == "sqlite"
    assert config.online_store.path == "data/online.db"


def test_sections_become_the_stores_own_settings(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
project: shop
project_description: sells things
registry:
  registry_type: sql
  path: postgresql://ann:pw@h/d
  cache_ttl_seconds: 5
  cache_mode: thread
online_store:
  type: sqlite
  path: other.db
entity_key_serialization_version: 3
auth:
  type: no_auth
""",
    )
    assert config.registry.cache_ttl_seconds == 5
    assert config.registry.cache_mode == "thread"
    assert config.online_store.path == "other.db"
    assert config.project_description == "sells things"


@pytest.mark.parametrize("none", ["null", "none", "'none'", "{type: none}"])
def test_the_online_store_can_be_turned_off(tmp_path: Path, none: str) -> None:
    config = load(tmp_path, f"{MINIMAL}online_store: {none}\n")
    assert config.online_store is None
    assert make_online_store(config, tmp_path) is None


def test_settings_can_be_made_in_python() -> None:
    config = RepoConfig(
        project="shop",
        registry=SqlRegistryConfig(path="a.db"),
        provider="local",
        online_store=None,
        offline_store="file",
    )
    assert config.registry.path == "a.db"
    assert config.online_store is None
    assert RepoConfig(project="shop", registry={"path": "a.db"}).registry.path == "a.db"
    with pytest.raises(ConfigError, match=r"RepoConfig: unknown key 'projekt'.*'project'"):
        RepoConfig(project="shop", registry="a.db", projekt="x")


def test_environment_variables_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "there.db")
    assert load(tmp_path, "project: shop\nregistry: ${PLACE} # ${UNSET_ELSEWHERE}\n").registry.path == "there.db"
    assert load(tmp_path, "project: shop\nregistry: data/$PLACE\n").registry.path == "data/there.db"


def test_numbers_and_booleans_may_come_from_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDS", "5")
    monkeypatch.setenv("FLAG", "false")
    config = load(
        tmp_path,
        "project: shop\nregistry: {path: r.db, cache_ttl_seconds: $SECONDS}\nenforce_online_ttl: ${FLAG}\n"
        "online_store: {type: redis, key_ttl_seconds: '${SECONDS}'}\noffline_store: {threads: ${SECONDS}}\n",
    )
    assert config.registry.cache_ttl_seconds == config.online_store.key_ttl_seconds == config.offline_store.threads == 5
    assert config.enforce_online_ttl is False


def test_an_unset_variable_is_named_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    refused(tmp_path, "project: shop\nregistry:\n  path: x/${NOT_THERE}\n", r"registry\.path uses \$\{NOT_THERE\}")
    assert load(tmp_path, "project: shop\nregistry: cost$NOT_THERE.db\n").registry.path == "cost$NOT_THERE.db"


def test_the_file_is_looked_up_as_feast_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEAST_FS_YAML_FILE_PATH", raising=False)
    assert find_config_file(tmp_path) == tmp_path / "feature_store.yaml"
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(tmp_path / "other.yaml"))
    assert find_config_file(tmp_path) == tmp_path / "other.yaml"
    assert find_config_file(tmp_path, tmp_path / "third.yaml") == tmp_path / "third.yaml"
    (tmp_path / "other.yaml").write_text(MINIMAL)
    assert load_repo_config(tmp_path).project == "shop"


def test_loading_loads_no_store(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(MINIMAL)
    code = (
        "import sys; from pathlib import Path; from feast_assets.config import load_repo_config;"
        "load_repo_config(Path(sys.argv[1]));"
        "assert not {'sqlalchemy', 'pyarrow', 'pandas', 'duckdb', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


# --- what is wrong


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds nothing"),
        ("- a\n- b", "holds a list"),
        ("project: [", "is not YAML: line"),
        ("project: a\nproject: b\nregistry: r.db", "line 2, column 1: the key 'project' is given twice"),
        ("registry: r.db", "the key 'project' is missing"),
        ("project: shop\nregistry: ''", "registry: must say where"),
        ("project: shop\nregistry:", "registry: must say where"),
        (f"{MINIMAL}registri: x", r"unknown key 'registri'\. Did you mean 'registry'\?"),
        (f"{MINIMAL}online_sotre: sqlite", r"unknown key 'online_sotre'\. Did you mean 'online_store'\?"),
        ("project: _shop\nregistry: r.db", "project: Project name '_shop' is not valid"),
        ("project: my shop\nregistry: r.db", "'my shop' is not valid"),
        ("project: 7\nregistry: r.db", "project: "),
        ("project: shop\nprovider: gpc", "provider: is not known. Did you mean 'gcp'"),
        (
            "project: shop\nprovider: chronon",
            "provider: 'chronon' is not supported. Known: 'aws', 'azure', 'gcp', 'local'",
        ),
        (
            "project: shop\nprovider: my.module.Provider",
            "provider: 'my.module.Provider' is not supported.*path of a class",
        ),
        (
            f"{MINIMAL}batch_engine: spark.engin",
            r"batch_engine\.type 'spark\.engin' is not known\. Did you mean 'spark",
        ),
        (f"{MINIMAL}batch_engine: {{kind: local}}", "batch_engine has no 'type'"),
        (f"{MINIMAL}feature_server:\n  type: mpc", r"feature_server\.type 'mpc' is not known\. Did you mean 'mcp'"),
        (f"{MINIMAL}feature_server:\n  metrics: {{enbled: true}}", r"unknown key 'enbled' in feature_server\.metrics"),
        (f"{MINIMAL}feature_server: true", "feature_server should be a section"),
        (f"{MINIMAL}materialization: {{pull_latest: true}}", "unknown key 'pull_latest' in materialization"),
        (f"{MINIMAL}openlineage: {{consumer: {{api_kee: x}}}}", r"unknown key 'api_kee' in openlineage\.consumer"),
        (f"{MINIMAL}mlflow: {{traking_uri: x}}", r"unknown key 'traking_uri' in mlflow\. Did you mean 'tracking_uri'"),
        (f"{MINIMAL}embedding_model: {{modl: x}}", "unknown key 'modl' in embedding_model"),
        (f"{MINIMAL}data_quality_monitoring: {{auto: true}}", "unknown key 'auto' in data_quality_monitoring"),
        (f"{MINIMAL}feature_sever: {{}}", r"unknown key 'feature_sever'\. Did you mean 'feature_server'"),
        (f"{MINIMAL}go_feature_servin: true", r"unknown key 'go_feature_servin'\. Did you mean 'go_feature_serving'"),
        (f"{MINIMAL}auth: kubernetes", "auth: must be no_auth, or a mapping with type 'kubernetes'"),
        (f"{MINIMAL}auth: {{type: odic}}", r"auth\.type 'odic' is not known\. The types are no_auth, oidc, kubernetes"),
        (f"{MINIMAL}auth: {{type: no_auth, token: x}}", "unknown key 'token' in auth"),
        (
            f"{MINIMAL}auth: {{type: oidc, client_secret: x}}",
            "to ask the provider for a token, give client_secr",
        ),
        (
            f"{MINIMAL}auth: {{type: oidc, token: x, token_env_var: X}}",
            "give only one of token and token_env_var",
        ),
        (f"{MINIMAL}auth: {{type: oidc, auth_discovery_url: ftp://h}}", r"auth\.auth_discovery_url: must be a URL"),
        (
            f"{MINIMAL}auth: {{type: oidc, auth_discovery_url: 'https://h', audiense: x}}",
            "unknown key 'audiense' in auth. Did you mean 'audience'",
        ),
        (f"{MINIMAL}coerce_tz_aware: false", "coerce_tz_aware: false is not supported"),
        (f"{MINIMAL}entity_key_serialization_version: 9", "entity_key_serialization_version"),
        (f"{MINIMAL}online_store: [a]", "online_store: must be"),
        (f"{MINIMAL}online_store: redsi", r"online_store\.type 'redsi' is not known\. Did you mean 'redis'\?"),
        (
            f"{MINIMAL}online_store: dynamodb",
            r"online_store\.type 'dynamodb' is not supported\. Known: 'postgres', 'redis', 'remote', 'sqlite'",
        ),
        (
            f"{MINIMAL}online_store:\n  connection_string: x",
            r"unknown key 'connection_string' in online_store.*online_store\.type is left out, which means sqlite",
        ),
        (f"{MINIMAL}online_store: localhost:6379", "online_store: must be a type such as sqlite, or a section"),
        (
            f"{MINIMAL}online_store:\n  path: s3://bucket/online.db",
            r"online_store\.path: must be a path of this machine",
        ),
        (
            f"{MINIMAL}online_store: {{type: redis, connection_string: 'unix:///tmp/redis.sock'}}",
            r"online_store\.connection_string: connection_string: unix:// is not supported",
        ),
        ("project: shop\nregistry: postgresql:u:pw@h/d", r"registry\.path: cannot be parsed unambiguously"),
        ("project: shop\nregistry: {registry_type: sql, host: h, user: u}", r"registry: host, port.*of an old plug-in"),
        (f"{MINIMAL}online_store: my.module.MyOnlineStore", "'my.module.MyOnlineStore': there is no module 'my'"),
        (
            f"{MINIMAL}online_store:\n  type: sqlite\n  pth: x",
            r"unknown key 'pth' in online_store\. Did you mean 'path'\?",
        ),
        (
            f"{MINIMAL}offline_store:\n  type: duckdb\n  readable_paths: ['labels/*.csv']",
            r"offline_store\.readable_paths: must list local files and folders",
        ),
        (f"{MINIMAL}offline_store:\n  type: duckdb\n  readable_paths: [3]", r"offline_store\.readable_paths\.0"),
        (f"{MINIMAL}offline_store: bigquery", r"offline_store\.type 'bigquery' is not supported"),
        ("project: shop\nregistry:\n  registry_type: remote\n  path: x", r"registry_type 'remote' is not supported"),
        ("project: shop\nregistry:\n  registry_type: snowflake.registry", "'snowflake.registry' is not supported"),
        ("project: shop\nregistry:\n  registry_type: slq\n  path: x", r"'slq' is not known.*Did you mean 'sql'"),
        ("project: shop\nregistry: hdfs://host/r.db", "registry.path: registries at hdfs:// are not supported"),
        ("project: shop\nregistry:\n  registry_type: sql", r"the key 'registry\.path' is missing"),
        (
            "project: shop\nregistry:\n  path: x\n  cache_ttl_second: 3",
            r"unknown key 'cache_ttl_second' in registry\. Did you mean 'cache_ttl_seconds'\?",
        ),
        (
            "project: shop\nregistry:\n  path: x\n  cache_ttl_seconds: -1",
            r"registry\.cache_ttl_seconds: must be 0 or more",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    refused(tmp_path, text, said)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="feast-assets init"):
        load_repo_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="Cannot read"):
        load_repo_config(tmp_path)


@pytest.mark.parametrize(
    "section",
    [
        "{registry_type: sql, path: 'oracle://ann:s3cret-word@h/d'}",
        "{path: 'postgresql://ann:s3cret-word@h/d', no: s3cret-word}",
    ],
)
def test_messages_and_reprs_hold_no_secrets(tmp_path: Path, section: str) -> None:
    config = load(tmp_path, f"project: shop\nregistry: {section}\n")
    with pytest.raises(ConfigError) as failed:
        _ = config.registry
    assert "s3cret-word" not in str(failed.value)
    assert "s3cret-word" not in repr(config) + str(config)
    assert failed.value.__cause__ is None


# --- Feast's keys


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("flags: {alpha_features: true}", "flags have no effect"),
        ("go_feature_serving: true", "go_feature_serving has no effect"),
        ("feature_server: {type: local, metrics: {enabled: true}}", "feature_server is not supported yet"),
        ("feature_server: {type: mcp, mcp_enabled: true}", "feature_server is not supported yet"),
        ("batch_engine: spark.engine", "batch_engine 'spark.engine' is not supported yet"),
        ("batch_engine: {type: k8s, namespace: x}", "batch_engine 'k8s' is not supported yet"),
        (
            "batch_engine: feast.infra.compute_engines.spark.compute.SparkComputeEngine",
            "SparkComputeEngine' is not supported yet",
        ),
        ("materialization: {online_write_batch_size: 100}", "materialization is not supported yet"),
        ("openlineage: {enabled: true, transport_url: 'http://h'}", "openlineage is not supported yet"),
        ("mlflow: {enabled: true, tracking_uri: 'http://h'}", "mlflow is not supported yet"),
        ("embedding_model: {model: all-MiniLM-L6-v2}", "embedding_model is not supported yet"),
    ],
)
def test_what_of_feast_has_no_effect_is_named_once_for_each_file(tmp_path: Path, line: str, said: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for _ in range(2):
                assert load(tmp_path / folder, f"{MINIMAL}{line}\n").project == "shop"
        assert len(warned) == 1
        assert said in str(warned[0].message)
        assert str(tmp_path / folder / "feature_store.yaml") in str(warned[0].message)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("registry: {path: r.db, registry_store_type: LocalRegistryStore}", "registry.registry_store_type"),
        ("registry: {path: r.db, read_path: s.db}", "registry.read_path"),
        ("registry: {path: r.db, sqlalchemy_config_kwargs: {pool_pre_ping: true}}", "sqlalchemy_config_kwargs"),
        ("online_store: {vector_enabled: true}", "online_store.vector_enabled"),
        ("online_store: {type: redis, skip_dedup: true}", "online_store.skip_dedup"),
        ("offline_store: {type: duckdb, staging_location: s3://b}", "offline_store.staging_location"),
    ],
)
def test_settings_of_feasts_stores_without_effect_are_named_once(tmp_path: Path, section: str, said: str) -> None:
    config = load(tmp_path, f"project: shop\n{section}\n")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(3):
            for name in ("registry", "online_store", "offline_store"):
                getattr(config, name)
    assert len(warned) == 1
    assert f"{said} is a setting of Feast's that has no effect here" in str(warned[0].message)


@pytest.mark.parametrize("provider", ["aws", "gcp", "azure"])
def test_a_cloud_provider_chooses_no_store_as_in_feast(tmp_path: Path, provider: str) -> None:
    with pytest.warns(UserWarning, match=f"provider {provider} chooses no store.*SQLite file on this machine"):
        config = load(tmp_path, f"{MINIMAL.replace('local', provider)}")
    assert (config.provider, config.online_store.type, config.offline_store.type) == (provider, "sqlite", "duckdb")


@pytest.mark.filterwarnings("error")
def test_a_cloud_provider_with_its_stores_named_works(tmp_path: Path) -> None:
    text = f"{MINIMAL.replace('local', 'aws')}online_store: {{type: redis}}\noffline_store: {{type: file}}\n"
    assert load(tmp_path, text).online_store.type == "redis"
    config = load(tmp_path, f"{MINIMAL.replace('local', 'aws')}online_store: {{type: dynamodb, region: eu-west-1}}\n")
    with pytest.raises(
        ConfigError,
        match=r"'dynamodb' is not supported\. Known: 'postgres', 'redis', 'remote', 'sqlite'\. Name one of these",
    ):
        _ = config.online_store


def test_what_is_left_out_is_as_in_feast(tmp_path: Path) -> None:
    config = load(tmp_path, "project: shop\nonline_store: {path: x.db}\noffline_store: {threads: 2}\n")
    assert config.registry.path == "data/registry.db"
    assert (config.online_store.type, config.online_store.path) == ("sqlite", "x.db")
    assert (config.offline_store.type, config.offline_store.threads) == ("duckdb", 2)
    assert load(tmp_path, "project: shop\nonline_store: {}\n").online_store.path == "data/online.db"
    assert RepoConfig(project="shop").registry.path == "data/registry.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_name_of_postgres_is_read_by_one_driver(scheme: str) -> None:
    config = RepoConfig(project="shop", registry=f"{scheme}://ann:pw@h/d")
    assert config.registry.server_url() == "postgresql+psycopg://ann:pw@h/d"
    assert config.registry.display_path == f"{scheme}://ann:***@h/d"


def test_an_online_store_may_be_a_redis_url(tmp_path: Path) -> None:
    config = load(tmp_path, f"{MINIMAL}online_store: rediss://ann:p%40ss@cache:7000/2?socket_timeout=3\n")
    arguments = config.online_store.address.client_arguments()
    assert {n: arguments[n] for n in ("host", "port", "username", "password", "db", "ssl", "socket_timeout")} == {
        "host": "cache",
        "port": 7000,
        "username": "ann",
        "password": "p@ss",
        "db": 2,
        "ssl": True,
        "socket_timeout": 3.0,
    }
    assert config.store_type("online_store") == "redis"


@pytest.mark.parametrize(
    "line",
    [
        "batch_engine: local",
        "feature_server: null",
        "feature_server: {enabled: false}",
        "mlflow: {enabled: false}",
        "openlineage: {enabled: false, transport_url: x}",
        "materialization: {pull_latest_features: false}",
        "data_quality_monitoring: {auto_baseline: true}",
        "flags: null",
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_off_is_accepted(tmp_path: Path, line: str) -> None:
    assert load(tmp_path, f"{MINIMAL}{line}\n").project == "shop"


# --- backends


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes installed packages offer online stores: (type, class path) pairs."""

    installed = backends.entry_points

    def offering(*entries: tuple[str, str]) -> None:
        ours = "feast_assets.online_stores"
        found = [EntryPoint(name, path, ours) for name, path in entries]
        monkeypatch.setattr(backends, "entry_points", lambda group: found if group == ours else installed(group=group))
        backends._entry_points.cache_clear()

    yield offering
    backends._entry_points.cache_clear()


class ToyConfig(BaseModel):
    type: str = "toy"
    size: int = 1


class ToyStore:
    config_class = ToyConfig

    def __init__(self, config: ToyConfig, root: Path):
        self.config, self.root = config, root


class DriverlessStore(ToyStore):
    def __init__(self, config: ToyConfig, root: Path):
        import redis_that_is_not_installed  # noqa: F401


@pytest.fixture
def toy_module(monkeypatch: pytest.MonkeyPatch) -> str:
    module = type(sys)("toy_stores")
    module.ToyStore, module.DriverlessStore = ToyStore, DriverlessStore  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_stores", module)
    return "toy_stores"


def test_a_store_of_another_package_is_found(tmp_path: Path, offer: Any, toy_module: str) -> None:
    offer(("toy", f"{toy_module}:ToyStore"))
    config = load(tmp_path, f"{MINIMAL}online_store: {{type: toy, size: 3}}\n")
    store: Any = make_online_store(config, tmp_path)
    assert isinstance(store, ToyStore)
    assert (store.config.size, store.root) == (3, tmp_path)


def test_two_packages_with_one_type_are_named(tmp_path: Path, offer: Any, toy_module: str) -> None:
    offer(("toy", f"{toy_module}:ToyStore"), ("toy", "other_toys:ToyStore"))
    refused(
        tmp_path, f"{MINIMAL}online_store: toy\n", "'toy' is offered by other_toys:ToyStore and toy_stores:ToyStore"
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_package:Store", "'toy' needs the package 'no_such_package', which is not installed"),
        ("toy_stores:DriverlessStore", "needs the package 'redis_that_is_not_installed'"),
    ],
)
def test_a_missing_driver_is_named(tmp_path: Path, offer: Any, toy_module: str, path: str, said: str) -> None:
    offer(("toy", path))
    config = load(tmp_path, f"{MINIMAL}online_store: toy\n")
    with pytest.raises(ConfigError, match=said):
        make_online_store(config, tmp_path)


def test_a_missing_driver_of_ours_names_the_extra(
    tmp_path: Path, offer: Any, toy_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(("redis", "redis:Redis"))
    monkeypatch.setitem(sys.modules, "redis", None)
    refused(tmp_path, f"{MINIMAL}online_store: redis\n", r"pip install 'feast-assets\[redis\]'")


def test_a_store_that_lacks_a_verb_is_named_with_what_it_lacks(
    tmp_path: Path, offer: Any, toy_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OldStore(OnlineStore):
        config_class = ToyConfig

    monkeypatch.setattr(sys.modules[toy_module], "OldStore", OldStore, raising=False)
    offer(("toy", f"{toy_module}:OldStore"))
    config = load(tmp_path, f"{MINIMAL}online_store: toy\n")
    with pytest.raises(ConfigError, match="'toy' is .*OldStore, which lacks .*advance, .*marks, .*write-a-backend.md"):
        make_online_store(config, tmp_path)


def test_the_registry_is_made_for_the_project(tmp_path: Path) -> None:
    registry = make_registry(load(tmp_path, MINIMAL), tmp_path)
    assert repr(registry) == f"SqlRegistry('{tmp_path}/data/registry.db', project='shop')"
    assert list(tmp_path.iterdir()) == [tmp_path / "feature_store.yaml"]


def test_passwords_are_not_dumped(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "project: shop\nregistry: {registry_type: sql, path: 'postgresql://ann:hunter2@host/features'}\n"
        "online_store: {type: redis, connection_string: 'host:6379,password=hunter3'}\n",
    )
    for dumped in (repr(config), config.model_dump_json(), str(config.model_dump()), str(config.registry.model_dump())):
        assert "hunter" not in dumped
    assert config.model_dump()["registry_section"]["path"] == "postgresql://ann:***@host/features"
    assert config.registry.server_url() == "postgresql+psycopg://ann:hunter2@host/features"


def test_feasts_class_of_the_registrys_settings_is_taken_like_a_mapping(tmp_path: Path) -> None:
    settings = RegistryConfig(registry_type="sql", path="postgresql://user:hidden@host/db", cache_ttl_seconds=5)
    config = RepoConfig(project="shop", registry=settings)
    assert "hidden" not in repr(settings) + repr(config)
    assert (config.registry.cache_ttl_seconds, config.registry.cache_mode) == (5, "thread")
    assert RepoConfig(project="shop", registry=RegistryConfig(path="other.db")).registry.path == "other.db"
    with pytest.raises(ConfigError, match="registry"):
        _ = RepoConfig(project="shop", registry=RegistryConfig(path="other.db", cache_ttl_second=5)).registry
