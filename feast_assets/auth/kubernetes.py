"""Verifying tokens of Kubernetes service accounts and users."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from feast_assets.auth.http_requests import HttpRequests, json_object
from feast_assets.auth.identity import Identity
from feast_assets.auth.verifier import TokenVerifier, VerifiedIdentity
from feast_assets.errors import ConfigError, IdentityProviderError, UnauthenticatedError, printable

_INVALID = "Invalid or expired access token"
_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_ACCOUNT = "system:serviceaccount:"
_ACCOUNTS = "system:serviceaccounts:"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_SECONDS_TO_ANSWER = 10.0
_SECONDS_RELIED_ON = 60.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the Kubernetes API is, and who this server is there.

    Attributes:
        url: such as ``https://10.0.0.1:443``.
        token_file: this server's token; read for every request, since Kubernetes replaces it.
        ca_path: a PEM file; "" for the system's authorities.
        namespace: this server's; its RoleBindings give the roles.
    """

    url: str
    token_file: Path
    ca_path: str
    namespace: str

    @classmethod
    def of_this_pod(cls) -> Cluster:
        """Returns the cluster that this process runs in.

        Raises:
            ConfigError: it runs in no pod.
        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            namespace = (_FOLDER / "namespace").read_text().strip()
        except OSError:
            namespace = ""
        if not host or not namespace:
            raise ConfigError(
                "auth type kubernetes needs the service account of a pod (KUBERNETES_SERVICE_HOST and "
                f"{_FOLDER}/namespace), and this process has none. Run the server in the cluster, or use auth type "
                "oidc."
            )
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", _FOLDER / "token", str(_FOLDER / "ca.crt"), namespace)


class KubernetesVerifier(TokenVerifier):
    """Has the Kubernetes API review tokens (TokenReview), and reads roles from the RoleBindings of the server's
    namespace.

    The name of a service account is ``namespace:name``, that of a user as Kubernetes has it. Roles are the names of
    what is bound to the account, the user, or one of their groups. Namespaces are the account's own; of a user those in
    which the user is bound to the ClusterRole ``admin``, or is a member of a project of Open Data Hub.
    """

    def __init__(self, cluster: Cluster | None = None):
        self._cluster = cluster or Cluster.of_this_pod()
        self._requests = HttpRequests(_SECONDS_TO_ANSWER, ca_path=self._cluster.ca_path, is_proxied=False)

    def verify(self, token: str) -> VerifiedIdentity:
        """Returns whose token it is."""
        user = self._reviewed(token)
        username = str(user.get("username") or "")
        if not username:
            raise UnauthenticatedError(_INVALID, "Kubernetes names nobody for the token")
        given = user.get("groups")
        groups = [group for group in given if isinstance(group, str)] if isinstance(given, list) else []
        namespaces = {g.removeprefix(_ACCOUNTS) for g in groups if g.startswith(_ACCOUNTS)}
        parts = username.removeprefix(_ACCOUNT).split(":")
        is_account = username.startswith(_ACCOUNT) and len(parts) == 2
        if is_account:
            namespaces.add(parts[0])
            subject = ("ServiceAccount", parts[1], parts[0])
            name = f"{parts[0]}:{parts[1]}"
        else:
            subject = ("User", username, "")
            name = username
            namespaces |= self._namespaces_of_user(username)
        own = quote(self._cluster.namespace, safe="")
        bindings = self._bindings(f"{_RBAC}/namespaces/{own}/rolebindings")
        roles = {_role(binding) for binding in bindings if _binds(binding, subject, groups)}
        return VerifiedIdentity(Identity(name, roles - {""}, groups, namespaces), _SECONDS_RELIED_ON)

    def _reviewed(self, token: str) -> Mapping[str, Any]:
        purpose = "The review of a token by Kubernetes"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status, body = self._requests.send(
            purpose,
            self._cluster.url + _REVIEWS,
            json.dumps(review).encode(),
            {**self._headers(), "content-type": "application/json"},
        )
        if status not in (200, 201):
            raise IdentityProviderError(
                f"{purpose} was answered with status {status}. The server's service account needs the verb create of "
                "tokenreviews.authentication.k8s.io, as the ClusterRole system:auth-delegator has it."
            )
        answer = json_object(purpose, body).get("status")
        if not isinstance(answer, dict) or answer.get("authenticated") is not True:
            said = answer.get("error") if isinstance(answer, dict) else ""
            raise UnauthenticatedError(_INVALID, f"Kubernetes does not know the token. {printable(said or '', 200)}")
        user = answer.get("user")
        return user if isinstance(user, dict) else {}

    def _namespaces_of_user(self, username: str) -> set[str]:
        try:
            bindings = self._bindings(f"{_RBAC}/rolebindings")
        except IdentityProviderError:
            return set()  # The server may list those of its own namespace alone; then a user has no namespaces.
        return {
            str(binding.get("metadata", {}).get("namespace", ""))
            for binding in bindings
            if _makes_member(binding) and _binds(binding, ("User", username, ""), ())
        } - {""}

    def _bindings(self, path: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        going_on = ""
        while True:
            query = urlencode({"limit": _PAGE, **({"continue": going_on} if going_on else {})})
            page = self._requests.get_json(
                "Listing RoleBindings of Kubernetes", f"{self._cluster.url}{path}?{query}", self._headers()
            )
            items, metadata = page.get("items"), page.get("metadata")
            listed.extend(item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict))
            going_on = str((metadata if isinstance(metadata, dict) else {}).get("continue") or "")
            if not going_on:
                return listed

    def _headers(self) -> dict[str, str]:
        try:
            own = self._cluster.token_file.read_text().strip()
        except OSError as error:
            raise IdentityProviderError(
                f"The server's own token of Kubernetes cannot be read: {printable(error, 200)}."
            ) from None
        return {"authorization": f"Bearer {own}", "accept": "application/json"}


def _role(binding: Mapping[str, Any]) -> str:
    role = binding.get("roleRef")
    return str(role.get("name") or "") if isinstance(role, dict) else ""


def _binds(binding: Mapping[str, Any], subject: tuple[str, str, str], groups: Collection[object]) -> bool:
    """Returns whether a binding names a subject (kind, name, namespace), or one of its groups."""
    kind, name, namespace = subject
    for each in binding.get("subjects") or ():
        if not isinstance(each, dict):
            continue
        if each.get("kind") == kind and each.get("name") == name and (each.get("namespace") or "") == namespace:
            return True
        if each.get("kind") == "Group" and each.get("name") in groups:
            return True
    return False


def _makes_member(binding: Mapping[str, Any]) -> bool:
    metadata, role = binding.get("metadata") or {}, binding.get("roleRef") or {}
    if role.get("kind") == "ClusterRole" and role.get("name") == "admin":
        return True
    labels = metadata.get("labels") or {}
    return str(metadata.get("name", "")).startswith("dashboard-permissions-") and (
        labels.get("opendatahub.io/dashboard") == "true"
    )
