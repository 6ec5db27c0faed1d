"""The settings of the Postgres offline store: what is wrong is named, what is secret is not shown."""

from __future__ import annotations

import pytest

from feast_assets.config import load_repo_config
from feast_assets.errors import ConfigError


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("sslmode: maybe", r"offline_store\.sslmode"),
        ("hostname: x", "unknown key 'hostname' in offline_store"),
        ("conn_type: singleton\n  port: 0", r"offline_store\.port"),
        ("sslkey_path: 'x://ann:hush-hush@y'", r"offline_store\.sslkey_path: must be a path"),
    ],
)
def test_settings_that_are_wrong_are_named_without_the_password(tmp_path, wrong, why):
    text = "project: rides\nregistry: registry.db\nprovider: local\noffline_store:\n  type: postgres\n  host: h\n"
    file = tmp_path / "feature_store.yaml"
    file.write_text(f"{text}  database: d\n  user: u\n  password: hush-hush\n  {wrong}\n")
    with pytest.raises(ConfigError, match=why) as caught:
        _ = load_repo_config(file).offline_store
    assert "hush" not in str(caught.value)


def test_settings_show_no_password_and_reach_the_driver_as_they_are(tmp_path):
    file = tmp_path / "feature_store.yaml"
    file.write_text(
        "project: rides\nregistry: registry.db\nprovider: local\noffline_store:\n  type: postgres\n  host: /run/pg\n"
        "  database: my db\n  user: ann\n  password: 'hush&hush=?'\n  sslcert_path: /keys/c.pem\n"
    )
    config = load_repo_config(file)
    assert "hush" not in repr(config) + str(config.offline_store) + str(config.model_dump())
    # Feast's default: a connection that is not encrypted is refused.
    assert config.offline_store.uri() == (
        "postgresql:///?host=%2Frun%2Fpg&port=5432&dbname=my%20db&user=ann&password=hush%26hush%3D%3F&sslmode=require"
        "&sslcert=%2Fkeys%2Fc.pem&connect_timeout=10&application_name=feast-assets"
    )
