from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

PERMISSIONS = """
from feast_assets import DataSource, FeatureService, FeatureView
from feast_assets.permissions.action import CRUD, READ, AuthzedAction
from feast_assets.permissions.permission import Permission
from feast_assets.permissions.policy import CombinedGroupNamespacePolicy, RoleBasedPolicy

readers = Permission(
    name="readers",
    types=[FeatureView, FeatureService],
    name_patterns="driver.*",
    actions=READ,
    policy=RoleBasedPolicy(roles=["reader", "analyst"]),
    tags={"team": "pricing"},
)
owners = Permission(
    name="owners",
    types=DataSource,
    actions=CRUD,
    policy=CombinedGroupNamespacePolicy(groups=["data"], namespaces=["prod"]),
    required_tags={"layer": "raw"},
)
"""


@pytest.fixture
def guarded(repo: Path, run) -> str:
    (repo / "permissions.py").write_text(PERMISSIONS)
    result = run("-c", str(repo), "apply")
    assert "Created permission owners" in result.output
    return str(repo)


def test_list_shows_what_permissions_grant_and_to_whom(run, guarded: str) -> None:
    records = json.loads(run("-c", guarded, "permissions", "list", "-o", "json").output)
    assert [record["name"] for record in records] == ["owners", "readers"]
    assert records[1] == {
        "name": "readers",
        "types": ["FeatureView", "FeatureService"],
        "name_patterns": ["driver.*"],
        "actions": ["READ_OFFLINE", "READ_ONLINE"],
        "granted_to": "roles analyst, reader",
        "required_tags": {},
    }
    assert records[0]["granted_to"] == "groups data or namespaces prod"
    assert records[0]["required_tags"] == {"layer": "raw"}
    only = json.loads(run("-c", guarded, "permissions", "list", "--tags", "team:pricing", "-o", "json").output)
    assert [record["name"] for record in only] == ["readers"]


def test_list_shows_the_objects_that_a_permission_applies_to(run, guarded: str) -> None:
    records = json.loads(run("-c", guarded, "permissions", "list", "--verbose", "-o", "json").output)
    assert records == [
        {
            "permission": "readers",
            "granted_to": "roles analyst, reader",
            "type": "FeatureView",
            "objects": ["driver_stats"],
        }
    ]
    assert "driver_stats" in run("-c", guarded, "permissions", "list", "-v").output


def test_describe_shows_one(run, guarded: str) -> None:
    data = yaml.safe_load(run("-c", guarded, "permissions", "describe", "readers").output)
    assert data["policy"] == {"kind": "RoleBasedPolicy", "roles": ["analyst", "reader"]}
    assert data["actions"] == ["READ_OFFLINE", "READ_ONLINE"]
    wrong = run("-c", guarded, "permissions", "describe", "reader", exit_code=1)
    assert "permission 'reader'" in wrong.stderr
    assert "Did you mean 'readers'" in wrong.stderr


def test_check_shows_what_nobody_may_do(run, guarded: str) -> None:
    records = {r["name"]: r for r in json.loads(run("-c", guarded, "permissions", "check", "-o", "json").output)}
    assert records["driver"]["has_permissions"] is False
    assert len(records["driver"]["actions_without_permission"]) == 8
    assert records["driver_stats"]["has_permissions"] is True
    assert "READ_ONLINE" not in records["driver_stats"]["actions_without_permission"]
    assert "DESCRIBE" in records["driver_stats"]["actions_without_permission"]
    assert records["driver_stats_source"]["has_permissions"] is False


def test_roles_are_listed_with_what_they_may_do(run, guarded: str) -> None:
    assert run("-c", guarded, "permissions", "list-roles").output.split() == ["ROLE", "analyst", "reader"]
    records = json.loads(run("-c", guarded, "permissions", "list-roles", "--verbose", "-o", "json").output)
    permitted = {(r["role"], r["name"]): r["permitted_actions"] for r in records}
    assert permitted["reader", "driver_stats"] == ["READ_ONLINE", "READ_OFFLINE"]
    assert permitted["reader", "driver"] == []


def test_a_repository_without_permissions_shows_none(run, served_repo: Path) -> None:
    assert json.loads(run("-c", str(served_repo), "permissions", "list", "-o", "json").output) == []
    assert json.loads(run("-c", str(served_repo), "permissions", "list-roles", "-o", "json").output) == []
    checked = json.loads(run("-c", str(served_repo), "permissions", "check", "-o", "json").output)
    assert all(not record["has_permissions"] for record in checked)
