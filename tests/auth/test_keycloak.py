"""Tokens of a real Keycloak, from the client's settings to the server's answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from guarded_project import made
from keycloak import CLIENT, PASSWORD, SECRET, USER, Keycloak

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from servers import ask

from feast_assets import FeatureStore, RepoConfig
from feast_assets.auth.client_tokens import ClientTokens, client_tokens
from feast_assets.auth.identity import Identity
from feast_assets.auth.oidc import OidcVerifier
from feast_assets.auth.settings import OidcAuthConfig
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import GroupBasedPolicy, RoleBasedPolicy
from feast_assets.errors import IdentityProviderError, UnauthenticatedError
from feast_assets.serving.http.app import FeatureServer

READ = {"features": ["rides:fare"], "entities": {"id": [1]}}
PUSH = {"push_source_name": "live", "df": {"id": [3], "fare": [3.5], "at": ["2024-01-02T00:00:00Z"]}}


def tokens(keycloak: Keycloak, **more: Any) -> ClientTokens:
    config = RepoConfig(
        project="p",
        auth={
            "type": "oidc",
            "auth_discovery_url": keycloak.discovery_url,
            "client_id": CLIENT,
            "client_secret": SECRET,
            **more,
        },
    )
    made_of_settings = client_tokens(config.auth)
    assert made_of_settings is not None
    return made_of_settings


def test_a_user_signs_in_by_password_and_has_the_roles_and_groups_of_the_realm(keycloak: Keycloak) -> None:
    verifier = OidcVerifier(OidcAuthConfig.model_validate(keycloak.settings()))
    token = tokens(keycloak, username=USER, password=PASSWORD).token()
    assert verifier.verify(token).identity == Identity(USER, ["reader"], ["pricing"])


def test_a_service_signs_in_by_its_secret(keycloak: Keycloak) -> None:
    verifier = OidcVerifier(OidcAuthConfig.model_validate(keycloak.settings()))
    given = tokens(keycloak)
    identity = verifier.verify(given.token()).identity
    assert (identity.username, identity.roles) == ("service-account-feature-store", {"writer"})
    assert given.token() == given.token()


def test_a_token_for_another_service_is_refused(keycloak: Keycloak) -> None:
    verifier = OidcVerifier(OidcAuthConfig.model_validate(keycloak.settings()))
    other = tokens(keycloak, client_id="other", client_secret="another secret").token()
    with pytest.raises(UnauthenticatedError):
        verifier.verify(other)


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "hunter2"}, {"username": USER, "password": "hunter2"}, {"client_id": "nobody"}]
)
def test_a_wrong_secret_is_named_without_being_shown(keycloak: Keycloak, wrong: dict[str, str]) -> None:
    with pytest.raises(IdentityProviderError, match=r"status 40\d .*Check client_id, client_secret") as refused:
        tokens(keycloak, **wrong).token()
    assert "hunter2" not in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_a_server_lets_each_caller_do_what_its_roles_permit(keycloak: Keycloak, tmp_path: Path) -> None:
    made(
        tmp_path,
        [
            Permission("readers", actions=AuthzedAction.READ_ONLINE, policy=RoleBasedPolicy(["reader"])),
            Permission("writers", actions=AuthzedAction.WRITE_ONLINE, policy=RoleBasedPolicy(["writer"])),
            Permission("pricing", actions=AuthzedAction.DESCRIBE, policy=GroupBasedPolicy(["pricing"])),
        ],
    ).close()
    config = RepoConfig(
        project="guarded",
        registry="registry.db",
        online_store={"type": "sqlite", "path": "online.db"},
        auth=keycloak.settings(),
    )
    app = FeatureServer(FeatureStore(tmp_path, config))
    await app.open()
    user, service = tokens(keycloak, username=USER, password=PASSWORD).headers(), tokens(keycloak).headers()
    other = tokens(keycloak, client_id="other", client_secret="another secret").headers()
    statuses = {
        path: [(await ask(app, "POST", path, body, headers=headers)).status for headers in (user, service, other, {})]
        for path, body in (("/get-online-features", READ), ("/push", PUSH))
    }
    await app.close()
    assert statuses == {"/get-online-features": [200, 403, 401, 401], "/push": [403, 200, 401, 401]}
