"""Which settings the Postgres stores take, and what they make of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from feast_assets.config import RepoConfig, load_repo_config
from feast_assets.errors import ConfigError
from feast_assets.online_stores.postgres.config import PostgresOnlineStoreConfig

OF_FEAST = """
project: shop
registry: data/registry.db
online_store:
  type: postgres
  host: db.example.com
  port: 6543
  database: features
  db_schema: online
  user: ann
  password: hunter2
  sslmode: verify-full
  sslkey_path: client.key
  sslcert_path: client.crt
  sslrootcert_path: ca.crt
  keepalives_idle: 30
  conn_type: pool
  max_conn: 20
"""
URL = "postgresql://ann:hunter2@db.example.com:6543/features"


def config_of(**settings: Any) -> PostgresOnlineStoreConfig:
    settings = {"type": "postgres", **settings}
    return RepoConfig(project="shop", online_store=settings).online_store


def test_the_section_of_a_feast_repository_is_read_as_feast_does(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(OF_FEAST, encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = load_repo_config(tmp_path).online_store
    assert config.connection_parameters() == {
        "host": "db.example.com",
        "port": 6543,
        "dbname": "features",
        "user": "ann",
        "password": "hunter2",
        "sslmode": "verify-full",
        "sslkey": "client.key",
        "sslcert": "client.crt",
        "sslrootcert": "ca.crt",
        "keepalives_idle": 30,
        "connect_timeout": 10,
        "application_name": "feast-assets",
    }
    assert (config.db_schema, config.most_connections) == ("online", 20)


def test_tls_is_required_unless_said_otherwise_as_in_feast() -> None:
    config = config_of(host="h", database="d")
    assert config.connection_parameters()["sslmode"] == "require"
    assert "sslmode" not in config_of(host="h", database="d", sslmode=None).connection_parameters()
    assert "sslmode" not in config_of(connection_string=URL).connection_parameters()


def test_a_single_connection_is_a_pool_of_one() -> None:
    assert config_of(host="h", database="d", conn_type="singleton").most_connections == 1
    assert config_of(host="h", database="d").most_connections == 10


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_a_url_names_server_login_database_and_options(scheme: str) -> None:
    url = f"{scheme}://a%40n:p%2Fw@db.example.com:6543/my%20features?sslmode=verify-ca&connect_timeout=3"
    for config in (
        config_of(connection_string=url, db_schema="online"),
        RepoConfig(project="shop", online_store=url).online_store,
    ):
        parameters = config.connection_parameters()
        del parameters["application_name"]
        assert parameters == {
            "host": "db.example.com",
            "port": 6543,
            "dbname": "my features",
            "user": "a@n",
            "password": "p/w",
            "sslmode": "verify-ca",
            "connect_timeout": "3",
        }


def test_what_feast_has_and_this_store_does_not_is_warned_of() -> None:
    silent = {"min_conn": 1, "vector_enabled": False, "similarity": "cosine", "max_batched_result_rows": 2048}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config_of(host="h", database="d", **silent)
    for name, value in (
        ("min_conn", 3),
        ("vector_enabled", True),
        ("similarity", "l2"),
        ("max_batched_result_rows", 0),
    ):
        with pytest.warns(UserWarning, match=f"online_store.{name} is a setting of Feast's that has no effect here"):
            # Once for each origin in a process.
            PostgresOnlineStoreConfig.model_validate(
                {"host": "h", "database": "d", name: value}, context={"section": "online_store", "origin": f"of {name}"}
            )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "h"}, "online_store: lacks database; or give a URL as connection_string"),
        ({}, "lacks host and database"),
        ({"host": "", "database": "d"}, "online_store.host: String should have at least 1 character"),
        ({"host": "h", "database": "d", "port": 0}, "online_store.port"),
        ({"host": "h", "database": "d", "db_schema": ""}, "online_store.db_schema"),
        ({"host": "h", "database": "d", "sslmode": "on"}, "online_store.sslmode: Input should be 'disable', 'allow'"),
        ({"host": "h", "database": "d", "conn_type": "many"}, "conn_type: Input should be 'singleton' or 'pool'"),
        ({"host": "h", "database": "d", "max_conn": 0}, "online_store.max_conn"),
        ({"host": "h", "database": "d", "pasword": "hunter2"}, "unknown key 'pasword'.*Did you mean 'password'"),
        ({"connection_string": URL, "port": 3, "user": "bob"}, "has port, user as well as connection_string"),
        (
            {"connection_string": "postgresql://ann:hunter2@h:54x2/d"},
            "connection_string cannot be parsed unambiguously",
        ),
        ({"connection_string": "postgresql://ann:hunter2@h"}, "connection_string: a Postgres URL is postgresql://user"),
        ({"connection_string": "mysql://ann:hunter2@h/d"}, "connection_string: a Postgres URL is postgresql://user"),
        ({"connection_string": "host=h password=hunter2"}, "connection_string cannot be parsed unambiguously"),
    ],
)
def test_what_cannot_be_is_refused_without_its_secrets(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        config_of(**settings)
    assert "hunter2" not in str(caught.value)


def test_passwords_are_in_no_text_of_the_settings() -> None:
    for config in (config_of(host="h", database="d", password="hunter2"), config_of(connection_string=URL)):
        for text in (repr(config), str(config), str(config.model_dump()), config.model_dump_json()):
            assert "hunter2" not in text
        assert config.secrets()
