"""Feast's SDK, with tokens, against our feature server.

Runs only where FEAST_PYTHON names a Python interpreter that has Feast.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guarded_project import made
from issuer import Issuer

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from served_apps import serving

from feast_assets import FeatureStore, RepoConfig
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import RoleBasedPolicy
from feast_assets.serving.http.app import FeatureServer

FEAST_PYTHON = os.environ.get("FEAST_PYTHON", "")
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not FEAST_PYTHON, reason="FEAST_PYTHON does not name a Python that has Feast")


def told(folder: Path, url: str, auth: dict[str, Any], *tokens: str) -> list[dict[str, Any]]:
    folder.mkdir()
    command = [FEAST_PYTHON, "-W", "ignore", str(HERE / "feast_client.py"), str(folder), url, json.dumps(auth), *tokens]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "FEAST_USAGE": "0"})
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    outcomes: list[dict[str, Any]] = json.loads(line.removeprefix("TOLD "))
    return outcomes


def test_feasts_sdk_sends_tokens_and_gets_its_own_errors_where_it_may_not(issuer: Issuer, tmp_path: Path) -> None:
    root = tmp_path / "ours"
    root.mkdir()
    reads = Permission(
        "readers", name_patterns="rides", actions=AuthzedAction.READ_ONLINE, policy=RoleBasedPolicy(["reader"])
    )
    writes = Permission("writers", actions=AuthzedAction.WRITE_ONLINE, policy=RoleBasedPolicy(["writer"]))
    made(root, [reads, writes]).close()
    online = {"type": "sqlite", "path": "online.db"}
    config = RepoConfig(project="guarded", registry="registry.db", online_store=online, auth=issuer.settings())
    writer = {"resource_access": {"feature-store": {"roles": ["writer"]}}}
    with serving(FeatureServer(FeatureStore(root, config)), lifespan="on") as url:
        reading, writing, expired = told(
            tmp_path / "by token", url, {"type": "oidc"}, issuer.token(), issuer.token(**writer), issuer.token(exp=1)
        )
        asking = {
            "type": "oidc",
            "auth_discovery_url": issuer.discovery_url,
            "client_id": "feature-store",
            "client_secret": "hunter2",
        }
        (asked,) = told(tmp_path / "by secret", url, asking)
    assert reading == {"rides": [1.5], "users": "FeastPermissionError", "push": "FeastPermissionError"}
    assert writing == {"rides": "FeastPermissionError", "users": "FeastPermissionError", "push": None}
    assert "FeastPermissionError" not in expired.values()
    assert [1.5] not in expired.values()
    assert None not in expired.values()
    assert asked == reading
    assert [form["grant_type"] for form in issuer.forms][:1] == ["client_credentials"]
