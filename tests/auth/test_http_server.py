"""The feature server of HTTP in front of callers who have to say who they are."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from guarded_project import made
from issuer import Issuer, Key, by_hand

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from servers import Answered, ask

from feast_assets import FeatureStore
from feast_assets.auth.authentication import Authenticator
from feast_assets.auth.identity import Identity
from feast_assets.auth.verifier import TokenVerifier, VerifiedIdentity
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import RoleBasedPolicy
from feast_assets.errors import ConfigError, FeastError
from feast_assets.online_stores.remote import messages
from feast_assets.remote.message_client import CONTENT_TYPE, FORMAT_HEADER, MESSAGE_FORMAT, encode_message
from feast_assets.serving.http.app import FeatureServer
from feast_assets.serving.http.options import ServerOptions

A = AuthzedAction
READ = {"features": ["rides:fare"], "entities": {"id": [1]}}
JSON_ROWS = {"id": [3], "fare": [3.5], "at": ["2024-01-02T00:00:00Z"]}
SPAN = {"start_ts": "2024-01-01", "end_ts": "2024-01-03", "feature_views": ["rides"]}
PERMISSIONS = [
    Permission("readers", name_patterns=["rides", "both"], actions=[A.READ_ONLINE], policy=RoleBasedPolicy(["reader"])),
    Permission("writers", actions=[A.WRITE_ONLINE], policy=RoleBasedPolicy(["writer"])),
    Permission("archivists", actions=[A.WRITE_OFFLINE], policy=RoleBasedPolicy(["archivist"])),
]


class Names(TokenVerifier):
    """Takes tokens that are a name and roles, such as ``ann+reader``; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def verify(self, token: str) -> VerifiedIdentity:
        self.asked += 1
        name, *roles = token.split("+")
        return VerifiedIdentity(Identity(name, roles), 60)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("guarded")
    made(root, PERMISSIONS).close()
    return root


def opened_store(root: Path, auth: dict[str, Any] | None = None) -> FeatureStore:
    from feast_assets import RepoConfig

    config = RepoConfig(
        project="guarded",
        registry="registry.db",
        online_store={"type": "sqlite", "path": "online.db"},
        auth=auth or {"type": "no_auth"},
    )
    return FeatureStore(root, config)


@asynccontextmanager
async def server(root: Path, **how: Any) -> AsyncIterator[FeatureServer]:
    auth = how.pop("auth", None)
    authenticator = how.pop("authenticator", None)
    app = FeatureServer(opened_store(root, auth), ServerOptions(**how), authenticator)
    await app.open()
    try:
        yield app
    finally:
        await app.close()


async def asked_as(
    app: FeatureServer, token: str | None, path: str, body: Any = None, method: str = "POST"
) -> Answered:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await ask(app, method, path, body, headers=headers)


VERBS: dict[str, tuple[str, dict[str, Any], str]] = {
    "read": ("/get-online-features", READ, "reader"),
    "read a service": (
        "/get-online-features",
        {"feature_service": "both", "entities": {"id": [1]}, "full_feature_names": True},
        "reader",
    ),
    "push": ("/push", {"push_source_name": "live", "df": JSON_ROWS}, "writer"),
    "push to history": ("/push", {"push_source_name": "live", "df": JSON_ROWS, "to": "offline"}, "archivist"),
    "write": ("/write-to-online-store", {"feature_view_name": "rides", "df": JSON_ROWS}, "writer"),
    "materialize": ("/materialize", SPAN, "writer"),
    "materialize in the background": ("/materialize?async=true&force=true", SPAN, "writer"),
    "materialize incrementally": (
        "/materialize-incremental",
        {"end_ts": "2024-01-03", "feature_views": ["rides"]},
        "writer",
    ),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_an_endpoint_wants_a_token_and_a_permission(verb: str, project: Path) -> None:
    path, body, role = VERBS[verb]
    async with server(project, authenticator=Authenticator(Names())) as app:
        nobody = await asked_as(app, None, path, body)
        assert (nobody.status, nobody.json()) == (401, {"detail": "Missing authentication token"})
        assert nobody.headers["www-authenticate"] == "Bearer"
        for other in {"reader", "writer", "archivist"} - {role}:
            denied = await asked_as(app, f"eve+{other}", path, body)
            assert denied.status == 403, denied.body
            assert denied.error["class"] == "FeastPermissionError"
            assert "'eve' may not" in denied.error["message"]
        allowed = await asked_as(app, f"ann+{role}", path, body)
        assert allowed.status in (200, 202), allowed.body


async def test_a_push_to_both_needs_both_permissions(project: Path) -> None:
    body = {"push_source_name": "live", "df": JSON_ROWS, "to": "online_and_offline"}
    async with server(project, authenticator=Authenticator(Names())) as app:
        assert (await asked_as(app, "eve+writer", "/push", body)).status == 403
        assert (await asked_as(app, "eve+archivist", "/push", body)).status == 403


async def test_a_view_that_is_not_permitted_is_not_read(project: Path) -> None:
    async with server(project, authenticator=Authenticator(Names())) as app:
        both = {"features": ["rides:fare", "users:fare"], "entities": {"id": [1]}, "full_feature_names": True}
        denied = await asked_as(app, "ann+reader", "/get-online-features", both)
        assert denied.status == 403
        assert "feature view 'users'" in denied.error["message"]
        assert FeastError.from_error_detail(denied.json()).http_status == 403  # type: ignore[union-attr]


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/openapi.json"])
async def test_what_tells_nothing_of_features_needs_no_token(path: str, project: Path) -> None:
    async with server(project, authenticator=Authenticator(Names())) as app:
        assert (await asked_as(app, None, path, method="GET")).status == 200


async def test_the_openapi_document_says_where_a_token_is_needed(project: Path) -> None:
    async with server(project, authenticator=Authenticator(Names())) as app:
        document = (await asked_as(app, None, "/openapi.json", method="GET")).json()
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert document["paths"]["/push"]["post"]["security"] == [{"token": []}]
    assert "401" in document["paths"]["/push"]["post"]["responses"]
    assert "security" not in document["paths"]["/health"]["get"]
    async with server(project) as app:
        document = (await asked_as(app, None, "/openapi.json", method="GET")).json()
    assert "securitySchemes" not in document["components"]
    assert "security" not in document["paths"]["/push"]["post"]


async def test_without_authorization_in_the_settings_nobody_is_asked_for_a_token(project: Path) -> None:
    async with server(project) as app:
        assert (await asked_as(app, None, "/get-online-features", READ)).json()["results"][1]["values"] == [1.5]
        assert (await asked_as(app, "whatever", "/get-online-features", READ)).status == 200


async def test_requests_at_the_same_time_act_for_their_own_callers(project: Path) -> None:
    async with server(project, authenticator=Authenticator(Names())) as app:
        tokens = ["ann+reader", "eve+writer", None] * 20
        answers = await asyncio.gather(
            *(asyncio.create_task(asked_as(app, token, "/get-online-features", READ)) for token in tokens)
        )
    assert [answer.status for answer in answers] == [200, 403, 401] * 20


async def test_a_token_is_verified_once_and_a_permission_decided_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets.auth import access

    decided: list[str] = []
    decide = access.decide
    monkeypatch.setattr(access, "decide", lambda *given: (decided.append("x"), decide(*given))[1])
    names = Names()
    async with server(project, authenticator=Authenticator(names)) as app:
        for _ in range(10):
            assert (await asked_as(app, "ann+reader", "/get-online-features", READ)).status == 200
    assert (names.asked, len(decided)) == (1, 1)


async def test_a_permission_that_is_applied_holds_when_the_registry_is_read_again(tmp_path: Path) -> None:
    store = made(tmp_path, PERMISSIONS)
    async with server(tmp_path, authenticator=Authenticator(Names())) as app:
        assert (await asked_as(app, "ann+reader", "/get-online-features", READ)).status == 200
        store.apply(Permission("readers", name_patterns="users", actions=A.READ_ONLINE))
        await asyncio.to_thread(app.api.store.refresh_registry)
        assert (await asked_as(app, "ann+reader", "/get-online-features", READ)).status == 403
    store.close()


async def raw(app: FeatureServer, token: str | None, method: str, message: Any) -> Answered:
    headers = {"content-type": CONTENT_TYPE, FORMAT_HEADER: str(MESSAGE_FORMAT)}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return await ask(app, "POST", messages.PREFIX + method, encode_message(message), headers=headers)


async def test_rows_as_stored_need_the_permission_for_the_view_that_they_are_of(project: Path) -> None:
    store = opened_store(project)
    table = store.get_feature_view("rides").online_table("guarded")
    users = store.get_feature_view("users").online_table("guarded")
    store.close()
    async with server(project, authenticator=Authenticator(Names())) as app:
        sample = messages.Sample(table, 10, 0)
        assert (await raw(app, None, "sample", sample)).status == 401
        assert (await raw(app, "eve+writer", "sample", sample)).status == 403
        assert (await raw(app, "ann+reader", "sample", sample)).status == 200
        assert (await raw(app, "ann+reader", "sample", messages.Sample(users, 10, 0))).status == 403
        for method in ("setup", "drop"):
            assert (await raw(app, "ann+reader", method, messages.Tables([table]))).status == 403
        assert (await raw(app, "ann+reader", "setup", messages.Tables(["guarded:more:1"]))).status == 403
        assert (await raw(app, "eve+writer", "setup", messages.Tables(["guarded:more:1"]))).status == 403
        assert (await raw(app, "eve+writer", "marks", messages.Tables([table]))).status == 200


async def test_tokens_of_a_provider_are_asked_for(issuer: Issuer, project: Path) -> None:
    async with server(project, auth=issuer.settings()) as app:
        assert (await asked_as(app, issuer.token(), "/get-online-features", READ)).status == 200
        forged = {
            "expired": issuer.token(exp=int(time.time()) - 60),
            "for another service": issuer.token(aud="other"),
            "of another issuer": issuer.token(iss="https://elsewhere"),
            "not signed": by_hand({"alg": "none"}, issuer.claims(), None),
            "signed with the public key": by_hand(
                {"alg": "HS256", "kid": "first"}, issuer.claims(), issuer.keys[0].pem
            ),
            "of an unknown key": issuer.token(Key.rsa("unknown", 1)),
            "of a key that took the name of another": issuer.token(Key.rsa("first", 1)),
            "no token": "hunter2",
        }
        for what, token in forged.items():
            answer = await asked_as(app, token, "/get-online-features", READ)
            assert (answer.status, answer.json()) == (401, {"detail": "Invalid or expired access token"}), what


async def test_a_token_without_a_signature_that_names_feasts_own_servers_is_refused(
    issuer: Issuer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTRA_COMMUNICATION_BASE64", "shared")
    async with server(project, auth=issuer.settings()) as app:
        token = by_hand({"alg": "none"}, {"preferred_username": "shared"}, None)
        assert (await asked_as(app, token, "/get-online-features", READ)).status == 401


async def test_while_the_provider_is_down_known_callers_are_served_and_others_told_to_come_again(
    issuer: Issuer, project: Path
) -> None:
    async with server(project, auth=issuer.settings()) as app:
        known = issuer.token()
        assert (await asked_as(app, known, "/get-online-features", READ)).status == 200
        issuer.answers["/keys"] = (500, b"")
        app._callers._authenticator._verifier._keys._keys.forget()  # type: ignore[union-attr]
        assert (await asked_as(app, known, "/get-online-features", READ)).status == 200
        answer = await asked_as(app, issuer.token(jti="another"), "/get-online-features", READ)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert (await asked_as(app, None, "/health", method="GET")).status == 200


async def test_a_provider_that_hangs_keeps_nobody_waiting_who_is_known(issuer: Issuer, project: Path) -> None:
    async with server(project, auth=issuer.settings(jwks_request_timeout_seconds=60)) as app:
        known = issuer.token()
        assert (await asked_as(app, known, "/get-online-features", READ)).status == 200
        app._callers._authenticator._verifier._keys._keys.forget()  # type: ignore[union-attr]
        issuer.released.clear()
        tokens = [issuer.token(jti=str(number)) for number in range(20)]
        waiting = [asyncio.create_task(asked_as(app, token, "/get-online-features", READ)) for token in tokens]
        for _ in range(20):
            assert (await asked_as(app, known, "/get-online-features", READ)).status == 200
        assert not any(task.done() for task in waiting)
        issuer.answers["/keys"] = (500, b"")
        issuer.released.set()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {503}


async def test_nothing_of_a_body_is_read_of_somebody_who_is_not_known(project: Path) -> None:
    async with server(project, authenticator=Authenticator(Names())) as app:
        answer = await ask(app, "POST", "/push", pieces=[b"x", None])  # type: ignore[list-item]
        assert answer.status == 401
        assert answer.headers["connection"] == "close"


def test_a_server_needs_more_than_the_settings_of_a_client(project: Path) -> None:
    store = opened_store(project, {"type": "oidc", "token": "hunter2"})
    with pytest.raises(ConfigError, match=r"needs auth\.auth_discovery_url") as refused:
        FeatureServer(store)
    assert "hunter2" not in str(refused.value)
    store.close()


def test_the_python_api_of_a_served_store_is_closed_to_nobody_but_its_server(project: Path) -> None:
    store = opened_store(project)
    FeatureServer(store, authenticator=Authenticator(Names()))
    assert store.list_entities() == []
    store.close()
