"""The tokens that clients send: where they come from, and how long they are used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from issuer import Issuer

from feast_assets import RepoConfig
from feast_assets.auth import client_tokens as module
from feast_assets.auth import refreshed
from feast_assets.auth.client_tokens import ClientTokens, SendsTokens, client_tokens
from feast_assets.config import _with_tokens as with_tokens
from feast_assets.errors import ConfigError, IdentityProviderError


def of(**auth: Any) -> ClientTokens:
    tokens = client_tokens(RepoConfig(project="p", auth=auth).auth)
    assert tokens is not None
    return tokens


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("FEAST_OIDC_TOKEN", "LOCAL_K8S_TOKEN", "MY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "token"
    monkeypatch.setattr(module, "SERVICE_ACCOUNT_TOKEN", file)
    return file


def test_without_authorization_no_token_is_sent() -> None:
    assert client_tokens(RepoConfig(project="p").auth) is None


def test_a_token_of_the_settings_is_sent() -> None:
    assert of(type="oidc", token="abc").headers() == {"authorization": "Bearer abc"}
    assert of(type="kubernetes", user_token="abc").token() == "abc"


def test_a_token_of_the_environment_is_looked_up_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = of(type="oidc", token_env_var="MY_TOKEN")
    with pytest.raises(ConfigError, match="names the environment variable MY_TOKEN, which is not set"):
        tokens.token()
    monkeypatch.setenv("MY_TOKEN", "one")
    assert tokens.token() == "one"
    assert not tokens.refused("one")
    monkeypatch.setenv("MY_TOKEN", "two")
    assert tokens.refused("one")
    assert tokens.token() == "two"


@pytest.mark.parametrize(
    ("auth", "variable"),
    [
        ({"type": "oidc"}, "FEAST_OIDC_TOKEN"),
        ({"type": "oidc", "auth_discovery_url": "https://h/x", "client_id": "c"}, "FEAST_OIDC_TOKEN"),
        ({"type": "kubernetes"}, "LOCAL_K8S_TOKEN"),
    ],
)
def test_what_the_settings_leave_out_is_in_the_environment_or_the_pod(
    auth: dict[str, Any], variable: str, monkeypatch: pytest.MonkeyPatch, nothing_is_set: Path
) -> None:
    tokens = of(**auth)
    with pytest.raises(ConfigError, match=variable):
        tokens.token()
    nothing_is_set.write_text("of the pod\n")
    assert tokens.token() == "of the pod"
    if auth["type"] == "kubernetes":
        nothing_is_set.unlink()  # As in Feast, the pod's token comes first there.
    monkeypatch.setenv(variable, "of the environment")
    assert tokens.token() == "of the environment"


def asking(issuer: Issuer, **more: Any) -> ClientTokens:
    return of(type="oidc", auth_discovery_url=issuer.discovery_url, client_id="c", client_secret="hunter2", **more)


def test_a_client_asks_the_provider_by_its_secret_and_keeps_the_token(issuer: Issuer) -> None:
    tokens = asking(issuer)
    assert len({tokens.token() for _ in range(5)}) == 1
    assert issuer.forms == [{"grant_type": "client_credentials", "client_id": "c", "client_secret": "hunter2"}]


def test_a_user_signs_in_by_password(issuer: Issuer) -> None:
    asking(issuer, username="ann", password="pass word&").token()
    assert issuer.forms == [
        {
            "grant_type": "password",
            "client_id": "c",
            "client_secret": "hunter2",
            "username": "ann",
            "password": "pass word&",
        }
    ]


def test_a_token_is_not_used_in_its_last_seconds(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(refreshed, "monotonic", lambda: now[0])
    tokens = asking(issuer, token_refresh_margin_seconds=60)
    first = tokens.token()
    now[0] += 200
    assert tokens.token() == first
    now[0] += 60
    assert tokens.token() != first
    assert len(issuer.forms) == 2


def test_a_token_that_lasts_no_longer_than_the_margin_is_used_once(issuer: Issuer) -> None:
    issuer.token_seconds = 20
    tokens = asking(issuer)
    assert tokens.token() != tokens.token()


def test_a_refused_token_is_forgotten(issuer: Issuer) -> None:
    tokens = asking(issuer)
    first = tokens.token()
    assert tokens.refused(first)
    assert tokens.token() != first


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, b'{"error": "invalid_client", "error_description": "hunter2"}'), r"status 401 \(invalid_client\)"),
        ((500, b"hunter2"), "status 500"),
        ((307, b"http://127.0.0.1:1/elsewhere"), "status 307"),
        ((200, b"{}"), "no access_token"),
        ((200, b'{"access_token": 7}'), "no access_token"),
        ((200, b"hunter2"), "not a JSON object"),
    ],
)
def test_a_provider_that_gives_no_token_is_named_and_secrets_are_not(
    issuer: Issuer, answer: tuple[int, bytes], message: str
) -> None:
    issuer.answers["/token"] = answer
    with pytest.raises(IdentityProviderError, match=message) as failed:
        asking(issuer).token()
    assert "hunter2" not in str(failed.value)


def test_a_provider_that_is_down_is_asked_again_a_little_later(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(refreshed, "monotonic", lambda: now[0])
    issuer.answers["/token"] = (503, b"")
    tokens = asking(issuer)
    for _ in range(3):
        with pytest.raises(IdentityProviderError):
            tokens.token()
    assert len(issuer.forms) == 1
    del issuer.answers["/token"]
    now[0] += 5
    assert tokens.token()


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "a.e30.c", "a.eyJleHAiOiAiWCJ9.c"])
def test_the_end_of_a_token_that_does_not_tell_it_is_what_the_provider_says(token: str) -> None:
    assert module._expiry(token, 100) == pytest.approx(time.time() + 100, abs=5)
    assert module._expiry(token, None) == 0.0
    assert module._expiry(token, True) == 0.0


def test_a_backend_that_sends_tokens_gets_them_where_it_is_made() -> None:
    class Backend(SendsTokens):
        tokens: ClientTokens | None = None

        def send_tokens(self, tokens: ClientTokens) -> None:
            self.tokens = tokens

    assert with_tokens(Backend(), RepoConfig(project="p")).tokens is None
    sending = with_tokens(Backend(), RepoConfig(project="p", auth={"type": "oidc", "token": "abc"}))
    assert sending.tokens is not None
    assert sending.tokens.token() == "abc"


def test_no_secret_is_in_what_is_shown_of_tokens_and_settings() -> None:
    config = RepoConfig(project="p", auth={"type": "oidc", "token": "hunter2"})
    tokens = client_tokens(config.auth)
    for text in (repr(config), repr(config.auth), str(config.auth), repr(tokens), repr(config.model_dump())):
        assert "hunter2" not in text
    assert "hunter2" not in config.model_dump_json(by_alias=True)
