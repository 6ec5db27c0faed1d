"""Secrets planted in every setting that may hold one are in nothing that anybody is shown.

Each case is a configuration with a secret somewhere in it. Everything that it can be made to say is collected: text and
dumps, errors with all that led to them, warnings, logs, and the command line's output.
"""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from feast_assets import Entity, FeatureStore, RepoConfig
from feast_assets.cli.main import cli
from feast_assets.errors import ConfigError, FeastAssetsError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.online_stores.base import OnlineRead
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.registry.sql.config import SqlRegistryConfig

# Both halves are secret: what is split at a character in the middle must not be shown either.
FIRST, SECOND = "Hunter2SECRETxyz", "qPlanted7w"
NOBODY = "127.0.0.1:1"  # where no server listens


def secrets() -> Iterator[str]:
    yield FIRST
    yield from (f"{FIRST}{mark}{SECOND}" for mark in "/#?@: ,=%[]'\"\\")


REGISTRIES: list[Any] = [
    *(f"postgresql://u:{secret}@{NOBODY}/d" for secret in secrets()),
    *(f"{scheme}://u:{FIRST}@{NOBODY}/d" for scheme in ("postgres", "postgresql+psycopg", "postgresql+psycopg2")),
    f"mysql+pymysql://u:{FIRST}@{NOBODY}/d",
    f"mysql://u:{FIRST}@{NOBODY}/d?ssl_key={FIRST}",
    f"postgresql:u:{FIRST}@h/d",
    f"postgresql:/u:{FIRST}@h/d",
    f"u:{FIRST}@h/d",
    f"host=h user=u password={FIRST} dbname=d",
    f"{{path: 'postgresql://u:{FIRST}@h/d'}}",
    f" postgresql://u:{FIRST}@h/d",
    f"postgresql://u:{FIRST}@{NOBODY}/d\n",
    f"postgresql://u:{FIRST}@h:54x2/d",
    f"postgresql://{NOBODY}/d?user=u&password={FIRST}",
    f"postgresql://{NOBODY}/d?pasword={FIRST}",
    f"postgresql://{NOBODY}/d?sslpassword={FIRST}&sslmode=disable",
    f"postgresql://{NOBODY}/d?password=%48unter2SECRETxyz",
    f"postgresql://u:%48unter2SECRETxyz@{NOBODY}/d",
    f"mysql://u:{FIRST}@h/d",
    f"mysql+pymysql://u:{FIRST}/x@h/d",
    f"s3://u:{FIRST}@bucket/registry.db",
    {"registry_type": f"postgresql://u:{FIRST}@h/d"},
    {"registry_type": {"type": FIRST}, "path": "r.db"},
    {"registry_type": "sql", "pth": f"postgresql://u:{FIRST}@h/d"},
    {"registry_type": "sql", "path": [f"postgresql://u:{FIRST}@h/d"]},
    {"registry_type": "sql", "path": {"url": f"postgresql://u:{FIRST}@h/d"}},
    {"path": f"postgresql://u:{FIRST}@{NOBODY}/d", "cache_ttl_seconds": -1},
    {"path": "r.db", "cache_mode": f"password={FIRST}"},
    {"path": "r.db", "cache_ttl_seconds": f"redis://:{FIRST}@h"},
    {"path": "r.db", "read_path": f"postgresql://u:{FIRST}@h/d"},
    {"path": "r.db", "sqlalchemy_config_kwargs": {"connect_args": {"password": FIRST}}},
    {"path": "r.db", "s3_additional_kwargs": {"SSECustomerKey": FIRST}},
    {"path": "r.db", "password": FIRST},
    {"path": "feast", "registry_store_type": "PostgreSQLRegistryStore", "host": "h", "user": "u", "password": FIRST},
    {"registry_type": "snowflake.registry", "password": FIRST},
    {f"path:postgresql://u:{FIRST}@h/d": None},
    {"path": "r.db", f"password:{FIRST}": None},
]
ONLINE_STORES: list[Any] = [
    *({"type": "redis", "connection_string": f"redis://u:{secret}@{NOBODY}/0"} for secret in secrets()),
    *({"type": "redis", "connection_string": f"{NOBODY},password={secret}"} for secret in secrets()),
    *({"type": "redis", "connection_string": f"{NOBODY},username=u,password={s},db=1"} for s in secrets()),
    *(f"{scheme}://:{FIRST}@{NOBODY}" for scheme in ("redis", "rediss", "REDIS", "unix", "redis+sentinel")),
    f"redis://{FIRST}@{NOBODY}",
    f"redis:{FIRST}@h",
    f"{NOBODY},password={FIRST}",
    {"type": "redis", "connection_string": f"redis://{NOBODY}?password={FIRST}"},
    {"type": "redis", "connection_string": f"redis://{NOBODY}?pasword={FIRST}"},
    {"type": "redis", "connection_string": f"redis://u:{FIRST}@{NOBODY}?password={FIRST}"},
    {"type": "redis", "connection_string": f"redis://u:{FIRST}@{NOBODY}?db={FIRST}"},
    {"type": "redis", "connection_string": f"redis://u:{FIRST}@{NOBODY}/{FIRST}"},
    {"type": "redis", "connection_string": f"unix://u:{FIRST}@/tmp/redis.sock?db=0"},
    {"type": "redis", "connection_string": f"rediss://u:{FIRST}@{NOBODY}?ssl_cert_reqs={FIRST}"},
    {"type": "redis", "connection_string": f"u:{FIRST}@{NOBODY}"},
    {"type": "redis", "connection_string": f"{FIRST}@{NOBODY}"},
    {"type": "redis", "connection_string": [f"redis://u:{FIRST}@{NOBODY}"]},
    {"type": "redis", "conection_string": f"redis://u:{FIRST}@{NOBODY}"},
    {"type": "redis", "password": FIRST},
    {"type": "redis", "options": {"password": FIRST}},
    {"type": "redis", "key_ttl_seconds": f"redis://:{FIRST}@h"},
    {"type": "redis", "redis_type": "redis_cluster", "connection_string": f"{NOBODY},password={FIRST}"},
    {"type": "redis", "sentinel_master": f"redis://:{FIRST}@h", "connection_string": f"{NOBODY},password={FIRST}"},
    {"type": f"redis://:{FIRST}@h"},
    {"type": {"password": FIRST}},
    {"type": "sqlite", "path": f"redis://:{FIRST}@h"},
    {"type": "sqlite", "password": FIRST},
    {"path": f"postgresql://u:{FIRST}@h/d"},
    {"connection_string": f"redis://:{FIRST}@h"},
    {"type": "dynamodb", "secret_access_key": FIRST},
    *({"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "password": s} for s in secrets()),
    *({"type": "postgres", "connection_string": f"postgresql://u:{secret}@{NOBODY}/d"} for secret in secrets()),
    *(f"{scheme}://u:{FIRST}@{NOBODY}/d" for scheme in ("postgresql", "postgres", "postgresql+psycopg")),
    {"type": "postgres", "host": "h", "password": FIRST},
    {"type": "postgres", "host": "h", "database": "d", "pasword": FIRST},
    {"type": "postgres", "host": f"postgresql://u:{FIRST}@h/d", "database": "d"},
    {"type": "postgres", "host": "h", "database": f"postgresql://u:{FIRST}@h/d"},
    {"type": "postgres", "host": "h", "database": "d", "sslmode": f"password={FIRST}"},
    {"type": "postgres", "connection_string": f"host=h user=u password={FIRST} dbname=d"},
    {"type": "postgres", "connection_string": f"postgresql://{NOBODY}/d?user=u&password={FIRST}"},
    {"type": "postgres", "connection_string": f"postgresql://{NOBODY}/d?pasword={FIRST}"},
    {"type": "postgres", "connection_string": f"postgresql://{NOBODY}/d?sslpassword={FIRST}&sslmode=disable"},
    {"type": "postgres", "connection_string": f"postgresql://u:%48unter2SECRETxyz@{NOBODY}/d"},
    {"type": "postgres", "connection_string": f"postgresql://u:{FIRST}@{NOBODY}/d", "password": SECOND},
    {"type": "postgres", "connection_string": [f"postgresql://u:{FIRST}@{NOBODY}/d"]},
    {"type": "redis", f"connection_string:redis://:{FIRST}@h": None},
    {f"type:redis,connection_string:{NOBODY},password={FIRST}": None},
    {"type": "sqlite", f"password={FIRST}": "${NOT_SET}"},
]
OFFLINE_STORES: list[Any] = [
    f"postgresql://u:{FIRST}@h/d",
    {"type": "postgres", "password": FIRST},
    {"type": "snowflake.offline", "private_key_content": FIRST},
    {"type": "duckdb", "temp_directory": f"s3://u:{FIRST}@bucket"},
    {"type": "duckdb", "motherduck_token": FIRST},
    {"type": "duckdb", "staging_location": f"s3://u:{FIRST}@bucket"},
    {"type": "duckdb", "threads": f"postgresql://u:{FIRST}@h"},
    {"type": f"postgresql://u:{FIRST}@h/d"},
    {"type": "duckdb", f"motherduck_token:{FIRST}": 1},
    {"type": "duckdb", "readable_paths": [f"s3://u:{FIRST}@bucket"]},
]
OTHERS: list[dict[str, Any]] = [
    {"auth": {"type": "oidc", "client_secret": FIRST}},
    {"auth": {"type": "oidc", "token": FIRST}},
    {"auth": {"type": "oidc", "token_env_var": f"{FIRST} {FIRST}"}},
    {"auth": {"type": "oidc", "token": FIRST, "client_secret": SECOND}},
    {
        "auth": {
            "type": "oidc",
            "auth_discovery_url": "http://127.0.0.1:9/x",
            "client_id": "c",
            "client_secret": FIRST,
            "username": "u",
            "password": SECOND,
        }
    },
    {"auth": {"type": "kubernetes", "user_token": FIRST}},
    {"auth": {"type": "oidc", "auth_discovery_url": "https://h", f"token:{FIRST}": 1}},
    {"auth": {"type": FIRST}},
    {"auth": FIRST},
    {"auth": {"type": "no_auth", "token": FIRST}},
    {"provider": f"aws://{FIRST}"},
    {"batch_engine": {"type": "snowflake.engine", "password": FIRST}},
    {"batch_engine": f"spark://u:{FIRST}@h"},
    {"batch_engine": {"type": {"password": FIRST}}},
    {"batch_engine": {"password": FIRST}},
    {"feature_server": {"type": f"http://u:{FIRST}@h"}},
    {"feature_server": {"type": "local", "transformation_service_endpoint": f"http://u:{FIRST}@h"}},
    {"feature_server": f"http://u:{FIRST}@h"},
    {"openlineage": {"enabled": True, "api_key": FIRST, "consumer": {"connection_string": FIRST}}},
    {"openlineage": {"enabled": True, "consumer": {"conection_string": FIRST}}},
    {"mlflow": {"enabled": True, "tracking_uri": f"http://u:{FIRST}@h"}},
    {"mlflow": f"http://u:{FIRST}@h"},
    {"embedding_model": {"provider": FIRST, "model": FIRST}},
    {"materialization": f"http://u:{FIRST}@h"},
    {"flags": {"token": FIRST}},
    {"go_feature_serving": FIRST},
    {"registri": f"postgresql://u:{FIRST}@h/d"},
    {"password": FIRST},
    {"coerce_tz_aware": FIRST},
    {"entity_key_serialization_version": FIRST},
    {"project_description": {"password": FIRST}},
    {f"registry:postgresql://u:{FIRST}@h/d": None},
    {"openlineage": {"enabled": True, f"api_key:{FIRST}": None}},
    {"batch_engine": {"type": "local", f"password:{FIRST}": None}},
    {"mlflow": {f"password={FIRST}": "${NOT_SET}"}},
]


def configurations() -> Iterator[Any]:
    for name, sections in (
        ("registry", REGISTRIES),
        ("online_store", ONLINE_STORES),
        ("offline_store", OFFLINE_STORES),
    ):
        for section in sections:
            yield pytest.param({name: section}, id=f"{name}-{sections.index(section)}")
    for number, settings in enumerate(OTHERS):
        yield pytest.param(settings, id=f"other-{number}")


class Told:
    """What somebody could read."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def of(self, call: Callable[[], Any]) -> Any:
        """Notes what a call returns or raises, and returns it."""
        try:
            returned = call()
        except (FeastAssetsError, ValidationError) as error:
            self.error(error)
            return None
        self.texts += [repr(returned), str(returned)]
        return returned

    def error(self, error: BaseException) -> None:
        self.texts += traceback.format_exception(error)
        seen: set[int] = set()
        left: list[BaseException | None] = [error]
        while left:
            each = left.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            self.texts += [str(each), repr(each), repr(each.args), repr(vars(each)), *getattr(each, "__notes__", ())]
            if isinstance(each, ValidationError):
                self.texts += [repr(each.errors()), each.json()]
            left += [each.__cause__, each.__context__, getattr(each, "orig", None)]

    def leaks(self) -> list[str]:
        return [text for text in self.texts if FIRST in text or SECOND in text or FIRST[1:] in text]


def use(told: Told, root: Path, config: RepoConfig) -> None:
    """Does with a configuration what its stores can be made to do."""
    told.of(config.model_dump)
    told.of(lambda: config.model_dump(mode="json"))
    told.of(config.model_dump_json)
    told.of(lambda: config.model_copy(deep=True))
    told.of(lambda: dict(config))
    for name in ("registry", "online_store", "offline_store"):
        settings = told.of(lambda name=name: getattr(config, name))
        if settings is not None:
            told.of(settings.model_dump)
            told.of(settings.model_dump_json)
    store = told.of(lambda: FeatureStore(root, config))
    if store is None:
        return
    told.of(lambda: store.registry)
    told.of(store.list_feature_views)
    told.of(store.list_unfinished_pushes)
    told.of(lambda: store.drop_unfinished_push("x"))
    told.of(lambda: store.registry.known_marks("v", "i"))
    told.of(lambda: store.apply([Entity(name="driver", join_keys=["driver_id"])]))
    told.of(lambda: store.offline_store)
    online = told.of(lambda: store.online_store)
    if online is not None:
        told.of(lambda: online.setup(["t"]))
        told.of(lambda: online.get_many([OnlineRead("t", [b"k"])]))
    store.close()


@pytest.mark.parametrize("settings", configurations())
def test_a_planted_secret_is_nowhere_in_what_is_shown(
    tmp_path: Path, settings: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    caplog.set_level(logging.DEBUG)
    root = tmp_path / "repo"
    root.mkdir()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        config = told.of(lambda: RepoConfig(project="shop", **settings))
        if config is not None:
            use(told, root, config)
        (root / "feature_store.yaml").write_text(yaml.safe_dump({"project": "shop", **settings}))
        for command in (["configuration"], ["plan"], ["apply"], ["migrate", str(root)]):
            result = CliRunner().invoke(
                cli, ["--log-level", "debug", "-c", str(root), *command], prog_name="feast-assets"
            )
            told.texts += [result.output, result.stderr]
            if result.exception is not None:
                told.error(result.exception)
    told.texts += [str(w.message) for w in warned] + [caplog.text]
    told.texts += [str(path.relative_to(root)) for path in root.rglob("*")]
    assert told.leaks() == []
    assert any(told.texts)


def flat(sections: list[Any]) -> list[dict[str, Any]]:
    """Returns the sections that have no list or mapping where a text belongs."""
    texts = ("type", "registry_type", "path", "connection_string")
    return [s for s in sections if isinstance(s, dict) and all(isinstance(s.get(name, ""), str) for name in texts)]


@pytest.mark.parametrize(
    ("model", "values"),
    [
        *((SqlRegistryConfig, {"path": path}) for path in REGISTRIES if isinstance(path, str)),
        *((SqlRegistryConfig, section) for section in flat(REGISTRIES)),
        *((RedisOnlineStoreConfig, section) for section in flat(ONLINE_STORES)),
        *((SqliteOnlineStoreConfig, section) for section in flat(ONLINE_STORES)),
        *((DuckDBOfflineStoreConfig, section) for section in flat(OFFLINE_STORES)),
    ],
)
def test_typed_settings_show_no_secret_whether_they_are_right_or_wrong(model: Any, values: dict[str, Any]) -> None:
    told = Told()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for make in (lambda: model(**values), lambda: model.model_validate(values)):
            made = told.of(make)
            if made is not None:
                for dump in (made.model_dump, made.model_dump_json, made.model_copy):
                    told.of(dump)
    told.texts += [str(w.message) for w in warned]
    assert told.leaks() == []


@pytest.mark.parametrize("values", [{"registri": FIRST}, {"registry": [FIRST]}, {"auth": {"type": FIRST}}])
def test_pydantics_own_ways_to_make_a_configuration_hold_no_values_in_their_errors(values: dict[str, Any]) -> None:
    told = Told()
    for make in (RepoConfig.model_validate, lambda v: RepoConfig.model_validate_json(json.dumps(v))):
        with pytest.raises(ConfigError) as failed:
            make({"project": "shop", **values})
        told.error(failed.value)
    assert told.leaks() == []


def test_a_key_that_swallowed_a_value_is_not_shown(tmp_path: Path) -> None:
    """YAML takes what lacks the blank after a colon for a key."""
    told = Told()
    for text in (
        f"online_store: {{type: redis, connection_string:redis://:{FIRST}@h}}",
        f"registry: {{path:postgresql://u:{FIRST}@h/d}}",
        f"? password:{FIRST}\n? password:{FIRST}",
        f"online_store: {{password:{FIRST}: $NO, password:{FIRST}: ${{NO}}}}",
        f"online_store: {{password:{FIRST}: ${{NO}}}}",
        f"? registry:postgresql://u:{FIRST}@h/d",
    ):
        (tmp_path / "feature_store.yaml").write_text(f"project: shop\n{text}\n")
        for command in (["configuration"], ["migrate", str(tmp_path)]):
            result = CliRunner().invoke(cli, ["-c", str(tmp_path), *command], prog_name="feast-assets")
            told.texts += [result.output, result.stderr]
            assert isinstance(result.exception, SystemExit) or command[0] == "migrate"
            if result.exception is not None:
                told.error(result.exception)
    assert told.leaks() == []
    assert any("unknown key that is not shown" in text for text in told.texts)


def test_a_malformed_url_makes_no_folder(tmp_path: Path) -> None:
    for registry in (f"postgresql:u:{FIRST}@h/d", f"postgres:{FIRST}/d", "mysql:u@h/d", "redis:h/0"):
        with pytest.raises(ConfigError, match=r"registry\.path: cannot be parsed unambiguously"):
            FeatureStore(tmp_path, RepoConfig(project="shop", registry=registry)).apply([])
    assert list(tmp_path.iterdir()) == []


def test_the_secrets_do_arrive_where_they_are_needed(tmp_path: Path) -> None:
    """Or there would be nothing to hide."""
    config = RepoConfig(
        project="shop",
        registry=SecretStr(f"postgresql+psycopg2://u:{FIRST}%2F{SECOND}@db/d"),
        online_store=f"rediss://u:{FIRST}%2F{SECOND}@cache:7000/3?socket_timeout=0.5",
    )
    assert config.registry.server_url() == f"postgresql+psycopg://u:{FIRST}%2F{SECOND}@db/d"
    arguments = config.online_store.address.client_arguments()
    assert arguments["password"] == f"{FIRST}/{SECOND}"
    assert (arguments["host"], arguments["port"], arguments["db"], arguments["ssl"]) == ("cache", 7000, 3, True)


def test_servers_that_refuse_do_not_get_the_secret_into_errors(
    tmp_path: Path, redis_server: tuple[str, int], postgres_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host, port = redis_server
    told = Told()
    login = postgres_server.replace("s3cret-word", FIRST)
    for settings in (
        {"registry": f"{login}/nowhere"},
        {"registry": f"{login}/nowhere?options=-c%20{FIRST}%3D1"},
        {"registry": f"{login.replace('postgres:', 'nobody:')}/postgres"},
        {"online_store": f"redis://nobody:{FIRST}@{host}:{port}"},
        {"online_store": f"redis://{FIRST}:{FIRST}@{host}:{port}"},
        {"online_store": f"redis://:{FIRST}@{host}:{port}/99999"},
        {"online_store": f"rediss://:{FIRST}@{host}:{port}?socket_timeout=0.2&socket_connect_timeout=0.2"},
    ):
        use(told, tmp_path, RepoConfig(project="shop", **settings))
        if "nobody:" in settings.get("online_store", ""):
            online = FeatureStore(tmp_path, RepoConfig(project="shop", **settings)).online_store
            told.of(lambda online=online: online.marks(["t"]))
            told.of(lambda online=online: online.advance("t", 0, 5))
            told.of(lambda online=online: online.foreign("t", [b"k"]))
            for ask in (online.restart_token, online.evicts_marks, online.evicts):
                told.of(ask)
            online.close()
    told.texts.append(caplog.text)
    assert told.leaks() == []
    assert any("nowhere" in text for text in told.texts)
