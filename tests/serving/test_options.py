"""Settings of a server, checked before anything is opened."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from feast_assets import FeatureStore, RepoConfig
from feast_assets.cli.main import cli
from feast_assets.errors import ConfigError, NotSupportedError
from feast_assets.serving.http.options import ServerOptions


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"server": "nginx"}, "uvicorn, granian"),
        ({"tls_key_path": "key.pem"}, "both"),
        ({"port": 65536}, "65536"),
        ({"metrics_port": 65536}, "65536"),
        ({"workers": -2}, "-2"),
        ({"max_requests": -1}, "max_requests"),
        ({"worker_connections": 0}, "worker_connections"),
        ({"request_seconds": float("nan")}, "request_seconds"),
        ({"body_bytes": -1}, "body_bytes"),
        ({"registry_seconds": 0}, "registry_seconds"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ServerOptions(**settings)


def test_other_kinds_of_server_are_not_there_yet() -> None:
    with pytest.raises(NotSupportedError, match="'grpc'"):
        ServerOptions(kind="grpc")


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_who_can_connect_is_known(host: str, is_loopback: bool) -> None:
    assert ServerOptions(host=host).is_loopback == is_loopback


def test_workers_need_settings_that_they_can_read(tmp_path: Any) -> None:
    store = FeatureStore(tmp_path, RepoConfig(project="inline", registry="registry.db"))
    with pytest.raises(ConfigError, match="feature_store.yaml"):
        store.serve(port=0, workers=2)
    with pytest.raises(NotSupportedError, match="grpc"):
        store.serve(port=0, type_="grpc")
    store.close()


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        ("serve", "msgspec", "server"),
        ("serve_registry", "uvicorn", "server"),
        ("listen", "grpc_health", "grpc"),
        ("serve_offline", "msgspec", "remote"),
    ],
)
def test_a_command_names_the_extra_whose_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, module: str, extra: str
) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith("feast_assets.serving.flight")]:
        monkeypatch.delitem(sys.modules, name)
    done = CliRunner().invoke(cli, ["-c", str(tmp_path), command])
    assert done.exit_code == 1
    assert f"{module}, not installed here: pip install 'feast-assets[{extra}]'." in done.output
