"""Tokens that an emulated Kubernetes API reviews, and roles of its RoleBindings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import pytest

from feast_assets.auth.authentication import make_authenticator
from feast_assets.auth.identity import Identity
from feast_assets.auth.kubernetes import Cluster, KubernetesVerifier
from feast_assets.auth.settings import KubernetesAuthConfig
from feast_assets.errors import ConfigError, IdentityProviderError, UnauthenticatedError

RBAC = "rbac.authorization.k8s.io/v1"
REVIEWS = "post /apis/authentication.k8s.io/v1/tokenreviews"
KNOWN = {
    "account": {
        "username": "system:serviceaccount:models:trainer",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:models", "system:authenticated"],
    },
    "user": {"username": "ann@example.com", "groups": ["pricing", "system:authenticated"]},
    "odd": {"username": "system:serviceaccount:a:b:c", "groups": None},
    "nobody": {"groups": []},
}


def binding(
    name: str, role: str, *subjects: dict[str, str], namespace: str = "features", **more: Any
) -> dict[str, Any]:
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace, **more.get("metadata", {})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": more.get("kind", "Role"), "name": role},
        "subjects": list(subjects),
    }


ACCOUNT = {"kind": "ServiceAccount", "name": "trainer", "namespace": "models"}
BINDINGS = [
    binding("a", "reader", ACCOUNT),
    binding("b", "writer", {"kind": "ServiceAccount", "name": "trainer", "namespace": "elsewhere"}),
    binding("c", "by-group", {"kind": "Group", "name": "system:serviceaccounts:models"}),
    binding("d", "of-ann", {"kind": "User", "name": "ann@example.com"}),
    binding("e", "of-pricing", {"kind": "Group", "name": "pricing"}),
    binding("f", "nobody's"),
    binding("g", "in-another-namespace", ACCOUNT, {"kind": "User", "name": "ann@example.com"}, namespace="other"),
    binding("h", "admin", {"kind": "User", "name": "ann@example.com"}, namespace="projects", kind="ClusterRole"),
    binding(
        "dashboard-permissions-x",
        "edit",
        {"kind": "User", "name": "ann@example.com"},
        namespace="notebooks",
        metadata={"labels": {"opendatahub.io/dashboard": "true"}},
    ),
    binding("dashboard-permissions-y", "edit", {"kind": "User", "name": "ann@example.com"}, namespace="unlabelled"),
]


def reviewed(request: kmock.Request) -> dict[str, Any]:
    """Answers as the API server does."""
    assert isinstance(request.data, dict)
    user = KNOWN.get(request.data["spec"]["token"])
    status = {"authenticated": True, "user": user} if user else {"authenticated": False, "error": "unknown token"}
    return {**request.data, "status": status}


@pytest.fixture
def cluster(kmock: kmock.KubernetesEmulator, tmp_path: Path) -> Cluster:
    kmock.resources[f"{RBAC}/rolebindings"] = {"namespaced": True, "kind": "RoleBinding", "verbs": {"list"}}
    for each in BINDINGS:
        metadata = each["metadata"]
        kmock.objects[f"{RBAC}/rolebindings", metadata["namespace"], metadata["name"]] = each
    kmock[REVIEWS] << reviewed
    (tmp_path / "token").write_text("the server's own token\n")
    return Cluster(str(kmock.url).rstrip("/"), tmp_path / "token", "", "features")


async def identified(cluster: Cluster, token: str) -> Identity:
    verifier = KubernetesVerifier(cluster)
    return (await asyncio.to_thread(verifier.verify, token)).identity


async def test_a_service_account_has_the_roles_bound_to_it_or_its_groups_in_the_servers_namespace(
    cluster: Cluster, kmock: kmock.KubernetesEmulator
) -> None:
    identity = await identified(cluster, "account")
    assert identity.username == "models:trainer"
    assert identity.roles == {"reader", "by-group"}
    assert identity.namespaces == {"models"}
    assert "system:serviceaccounts:models" in identity.groups
    assert sent_tokens(kmock) == {"Bearer the server's own token"}


async def test_a_user_has_roles_groups_and_the_namespaces_where_it_is_a_member(cluster: Cluster) -> None:
    identity = await identified(cluster, "user")
    assert identity == Identity(
        "ann@example.com",
        ["of-ann", "of-pricing"],
        ["pricing", "system:authenticated"],
        ["projects", "notebooks"],
    )


async def test_a_name_that_only_looks_like_a_service_accounts_is_a_user(cluster: Cluster) -> None:
    assert await identified(cluster, "odd") == Identity("system:serviceaccount:a:b:c")


@pytest.mark.parametrize("token", ["forged", "nobody"])
async def test_a_token_that_kubernetes_does_not_know_is_refused(cluster: Cluster, token: str) -> None:
    with pytest.raises(UnauthenticatedError) as refused:
        await identified(cluster, token)
    assert token not in refused.value.reason.replace("nobody for", "")


async def test_a_token_that_claims_to_be_a_service_accounts_is_worth_nothing_unless_kubernetes_says_so(
    cluster: Cluster,
) -> None:
    """Feast reads such a token without verifying it, and gives it the account's roles."""
    import jwt

    forged = jwt.encode({"sub": "system:serviceaccount:models:trainer"}, "x" * 32, algorithm="HS256")
    with pytest.raises(UnauthenticatedError):
        await identified(cluster, forged)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda request: kmock.Response(status=403, payload={}), "needs the verb create of tokenreviews"),
        (lambda request: {"status": {"authenticated": "yes", "user": KNOWN["account"]}}, "Invalid or expired"),
        (lambda request: {"status": None}, "Invalid or expired"),
        (lambda request: b"<html>", "not a JSON object"),
    ],
)
async def test_anything_but_a_clear_yes_is_no_identity(
    kmock: kmock.KubernetesEmulator, tmp_path: Path, answer: Callable[[Any], Any], message: str
) -> None:
    kmock[REVIEWS] << answer
    (tmp_path / "token").write_text("own")
    cluster = Cluster(str(kmock.url).rstrip("/"), tmp_path / "token", "", "features")
    with pytest.raises((UnauthenticatedError, IdentityProviderError), match=message):
        await identified(cluster, "account")


async def test_role_bindings_that_cannot_be_listed_are_no_refusal(
    kmock: kmock.KubernetesEmulator, tmp_path: Path
) -> None:
    kmock[REVIEWS] << reviewed
    kmock["get /apis/rbac.authorization.k8s.io/v1/namespaces/features/rolebindings"] << kmock_status(500)
    (tmp_path / "token").write_text("own")
    cluster = Cluster(str(kmock.url).rstrip("/"), tmp_path / "token", "", "features")
    with pytest.raises(IdentityProviderError, match="Listing RoleBindings .* status 500"):
        await identified(cluster, "account")


def kmock_status(status: int) -> Any:
    return kmock.Response(status=status, payload={})


async def test_long_lists_of_role_bindings_are_read_page_by_page(
    kmock: kmock.KubernetesEmulator, tmp_path: Path
) -> None:
    def page(request: kmock.Request) -> dict[str, Any]:
        if request.params.get("continue") == "a b&c":
            return {"metadata": {}, "items": [binding("b", "second", ACCOUNT)]}
        return {"metadata": {"continue": "a b&c"}, "items": [binding("a", "first", ACCOUNT)]}

    kmock[REVIEWS] << reviewed
    kmock["get /apis/rbac.authorization.k8s.io/v1/namespaces/features/rolebindings"] << page
    (tmp_path / "token").write_text("own")
    cluster = Cluster(str(kmock.url).rstrip("/"), tmp_path / "token", "", "features")
    assert (await identified(cluster, "account")).roles == {"first", "second"}


@pytest.mark.kmock(cls=kmock.RawHandler)
async def test_the_servers_own_token_is_read_again_for_each_review(kmock: kmock.RawHandler, tmp_path: Path) -> None:
    kmock[REVIEWS] << reviewed
    kmock["get /apis/rbac.authorization.k8s.io/v1/namespaces/features/rolebindings"] << {"items": []}
    cluster = Cluster(str(kmock.url).rstrip("/"), tmp_path / "token", "", "features")
    for own in ("the first", "the next"):
        cluster.token_file.write_text(own)
        await identified(cluster, "account")
    assert sent_tokens(kmock) == {"Bearer the first", "Bearer the next"}
    cluster.token_file.unlink()
    with pytest.raises(IdentityProviderError, match="own token of Kubernetes cannot be read"):
        await identified(cluster, "account")


def sent_tokens(server: Any) -> set[str]:
    return {value for request in server for name, value in request.headers.items() if name.lower() == "authorization"}


def test_outside_of_a_pod_a_server_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="needs the service account of a pod"):
        make_authenticator(KubernetesAuthConfig())


def test_in_a_pod_the_cluster_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("feast_assets.auth.kubernetes._FOLDER", tmp_path)
    (tmp_path / "namespace").write_text("features\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    found = Cluster.of_this_pod()
    assert found == Cluster("https://[fd00::1]:6443", tmp_path / "token", str(tmp_path / "ca.crt"), "features")
    assert json.dumps(str(found))
