"""Tokens of an OpenID Connect provider: which are taken, which are refused, and how often the provider is asked."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from issuer import AUDIENCE, Issuer, Key, by_hand

from feast_assets.auth import key_set, refreshed
from feast_assets.auth.authentication import Authenticator, bearer_token, make_authenticator
from feast_assets.auth.identity import Identity
from feast_assets.auth.oidc import OidcVerifier
from feast_assets.auth.settings import NoAuthConfig, OidcAuthConfig, OidcClientAuthConfig
from feast_assets.errors import ConfigError, IdentityProviderError, UnauthenticatedError

ANN = Identity("ann", roles=["reader"], groups=["pricing"])


def verifier(issuer: Issuer, /, **more: Any) -> OidcVerifier:
    return OidcVerifier(OidcAuthConfig.model_validate(issuer.settings(**more)))


def identified(issuer: Issuer, token: str, /, **more: Any) -> Identity:
    return verifier(issuer, **more).verify(token).identity


def refusal(issuer: Issuer, token: str, /, **more: Any) -> str:
    """Returns why a token is refused, as the server's log has it."""
    with pytest.raises(UnauthenticatedError) as refused:
        verifier(issuer, **more).verify(token)
    assert str(refused.value) == "Invalid or expired access token"
    assert token not in refused.value.reason
    return refused.value.reason


def test_a_valid_token_tells_name_roles_and_groups(issuer: Issuer) -> None:
    assert identified(issuer, issuer.token()) == ANN


@pytest.mark.parametrize(
    "key",
    [
        Key("k", rsa.generate_private_key(65537, 2048), "RS512"),
        Key("k", rsa.generate_private_key(65537, 2048), "PS256"),
        Key.curve("k", ec.SECP256R1(), "ES256"),
        Key.curve("k", ec.SECP384R1(), "ES384"),
        Key.edwards("k"),
    ],
    ids=lambda key: key.algorithm,
)
def test_signatures_of_public_key_algorithms_are_taken(issuer: Issuer, key: Key) -> None:
    issuer.keys = [key]
    assert identified(issuer, issuer.token()) == ANN


def altered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return ".".join([head, issuer.token(preferred_username="root").split(".")[1], signature])


FORGED: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "signed by somebody else under the key's name": (lambda i: i.token(Key.rsa("first", 1)), "Signature verification"),
    "claims altered after signing": (altered, "Signature verification"),
    "a key that nobody knows": (lambda i: i.token(Key.rsa("unknown", 1)), "no RS256 key 'unknown'"),
    "no algorithm": (lambda i: by_hand({"alg": "none", "kid": "first"}, i.claims(), None), "'none' is not taken"),
    "no algorithm, in other letters": (lambda i: by_hand({"alg": "NoNe"}, i.claims(), None), "'NoNe' is not taken"),
    "HS256 with the public key as the secret": (
        lambda i: by_hand({"alg": "HS256", "kid": "first"}, i.claims(), i.keys[0].pem),
        "'HS256' is not taken",
    ),
    "RS256 said, HS256 made with the public key": (
        lambda i: by_hand({"alg": "RS256", "kid": "first"}, i.claims(), i.keys[0].pem),
        "Signature verification",
    ),
    "an algorithm that is no text": (
        lambda i: by_hand({"alg": ["RS256"]}, i.claims(), b"x"),
        "no signed token|not taken",
    ),
    "a key name that is no text": (
        lambda i: by_hand({"alg": "RS256", "kid": 1}, i.claims(), b"x"),
        "kid|no signed token",
    ),
    "its own key brought along": (
        lambda i: i.token(Key.rsa("mine", 1), {"jwk": Key.rsa("mine", 1).public, "jku": f"{i.url}/mine"}),
        "no RS256 key 'mine'",
    ),
    "expired": (lambda i: i.token(exp=int(time.time()) - 60), "Signature has expired"),
    "without an end": (lambda i: i.token(exp=None), 'missing the "exp" claim'),
    "an end that is no number": (lambda i: i.token(exp="never"), "exp"),
    "not valid yet": (lambda i: i.token(nbf=int(time.time()) + 600), "not yet valid"),
    "made in the future": (lambda i: i.token(iat=int(time.time()) + 600), "not yet valid"),
    "for another service": (lambda i: i.token(aud="other"), "Audience doesn't match"),
    "for nobody": (lambda i: i.token(aud=None), 'missing the "aud" claim'),
    "of another issuer": (lambda i: i.token(iss="https://elsewhere"), "Invalid issuer"),
    "without an issuer": (lambda i: i.token(iss=None), 'missing the "iss" claim'),
    "of nobody": (lambda i: i.token(sub=None, preferred_username=None), "names nobody"),
    "no token at all": (lambda i: "hunter2", "no signed token"),
    "too many parts": (lambda i: i.token() + ".x.y", "no signed token"),
    "a part that is no text": (lambda i: "\xff.\xff.\xff", "no signed token"),
    "huge": (lambda i: i.token(padding="x" * 100_000), "too long"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_token_that_is_not_valid_is_refused(what: str, issuer: Issuer) -> None:
    make, reason = FORGED[what]
    assert re.search(reason, refusal(issuer, make(issuer)))


def test_clocks_may_differ_by_some_seconds(issuer: Issuer) -> None:
    now = int(time.time())
    assert identified(issuer, issuer.token(exp=now - 3, nbf=now + 3, iat=now + 3)) == ANN


def test_the_audience_is_only_verified_where_one_is_configured(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    assert identified(issuer, issuer.token(aud="other"), audience=None) == ANN
    assert "audience is not set" in caplog.text
    assert identified(issuer, issuer.token(aud=AUDIENCE)) == ANN


def test_a_configured_issuer_takes_the_place_of_the_documents(issuer: Issuer) -> None:
    token = issuer.token(iss="https://public.example")
    assert identified(issuer, token, issuer="https://public.example") == ANN
    assert "Invalid issuer" in refusal(issuer, issuer.token(), issuer="https://public.example")


@pytest.mark.parametrize(
    ("changed", "identity"),
    [
        ({"preferred_username": None, "upn": "u"}, Identity("u", ["reader"], ["pricing"])),
        ({"preferred_username": 7, "azp": "app"}, Identity("app", ["reader"], ["pricing"])),
        ({"preferred_username": "", "appid": "app"}, Identity("app", ["reader"], ["pricing"])),
        ({"preferred_username": None}, Identity("1234", ["reader"], ["pricing"])),
        ({"resource_access": {"other": {"roles": ["admin"]}}}, Identity("ann", [], ["pricing"])),
        ({"resource_access": "admin", "groups": "pricing"}, Identity("ann")),
        ({"resource_access": {AUDIENCE: {"roles": "admin"}}, "groups": [1, "a"]}, Identity("ann", [], ["a"])),
        ({"roles": ["top"]}, Identity("ann", ["reader", "top"], ["pricing"])),
    ],
)
def test_names_roles_and_groups_are_read_as_feast_reads_them(
    issuer: Issuer, changed: dict[str, Any], identity: Identity
) -> None:
    assert identified(issuer, issuer.token(**changed)) == identity


def test_without_a_client_id_only_the_roles_of_the_token_itself_count(issuer: Issuer) -> None:
    assert identified(issuer, issuer.token(roles=["top"]), client_id=None) == Identity("ann", ["top"], ["pricing"])


def test_keys_are_read_once_for_many_tokens(issuer: Issuer) -> None:
    ours = verifier(issuer)
    for number in range(20):
        assert ours.verify(issuer.token(jti=str(number))).identity == ANN
    assert issuer.count("/keys") == 1
    assert issuer.count("/.well-known/openid-configuration") == 1


def test_a_new_key_is_found_at_once_and_keys_that_nobody_knows_do_not_flood_the_provider(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = verifier(issuer)
    assert ours.verify(issuer.token()).identity == ANN
    monkeypatch.setattr(key_set, "_SECONDS_BETWEEN_REFRESHES", 0.0)
    issuer.keys.append(Key.rsa("second", 1))
    assert ours.verify(issuer.token(issuer.keys[1])).identity == ANN
    assert issuer.count("/keys") == 2
    monkeypatch.setattr(key_set, "_SECONDS_BETWEEN_REFRESHES", 3600.0)
    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            ours.verify(issuer.token(Key.rsa(f"unknown {number}", 2)))
    assert issuer.count("/keys") == 2


def test_a_key_that_was_replaced_is_refused_once_the_kept_ones_have_expired(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(refreshed, "monotonic", lambda: now[0])
    ours = verifier(issuer, jwks_cache_lifespan_seconds=300)
    old = issuer.keys[0]
    assert ours.verify(issuer.token(old)).seconds <= 300
    issuer.keys = [Key.rsa("first", 1)]  # the same name, another key
    assert ours.verify(issuer.token(old)).identity == ANN
    now[0] += 301
    with pytest.raises(UnauthenticatedError):
        ours.verify(issuer.token(old))
    assert ours.verify(issuer.token()).identity == ANN


def test_without_a_key_name_the_only_key_that_fits_is_taken(issuer: Issuer) -> None:
    token = jwt.encode(issuer.claims(), issuer.keys[0].private, algorithm="RS256")
    assert identified(issuer, token) == ANN
    issuer.keys.append(Key.rsa("second", 1))
    assert "no RS256 key" in refusal(issuer, token)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use": "enc"}, "cannot be|none of them"),
        ({"alg": "RS512"}, "no RS256 key"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "none of them"),
        ({"n": "!!"}, "none of them"),
        ({"key_ops": ["sign"]}, "none of them"),
    ],
)
def test_a_published_key_is_used_for_nothing_but_what_it_is_for(
    issuer: Issuer, change: dict[str, Any], reason: str
) -> None:
    issuer.published = {"keys": [{**issuer.keys[0].public, **change}]}
    with pytest.raises((UnauthenticatedError, IdentityProviderError)) as refused:
        verifier(issuer).verify(issuer.token())
    assert re.search(reason, getattr(refused.value, "reason", str(refused.value)))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_short_rsa_key_is_not_used(issuer: Issuer) -> None:
    weak = Key("weak", rsa.generate_private_key(65537, 1024))
    issuer.published = {"keys": [weak.public]}
    with pytest.raises(IdentityProviderError, match="none of them can verify"):
        verifier(issuer).verify(issuer.token(weak))


def test_keys_of_unknown_kinds_beside_a_good_one_do_no_harm(issuer: Issuer) -> None:
    issuer.published = {"keys": [None, 7, {}, {"kty": "XYZ"}, {"kty": "RSA"}, issuer.keys[0].public]}
    assert identified(issuer, issuer.token()) == ANN


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/.well-known/openid-configuration", (500, b"hunter2"), "answered with status 500"),
        ("/.well-known/openid-configuration", (200, b"hunter2"), "not a JSON object"),
        ("/.well-known/openid-configuration", (200, b"[" * 100_000), "not a JSON object"),
        ("/.well-known/openid-configuration", (200, b"{}"), "has no 'jwks_uri'"),
        ("/.well-known/openid-configuration", (302, b"http://127.0.0.1:1/"), "status 302"),
        ("/.well-known/openid-configuration", (200, b'{"jwks_uri": "file:///etc/passwd"}'), "not an http or https URL"),
        ("/keys", (404, b""), "answered with status 404"),
        ("/keys", (200, b"[]"), "not a JSON object"),
        ("/keys", (200, b'{"keys": 1}'), "no list of keys"),
        ("/keys", (200, b'{"keys": []}'), "none of them can verify"),
        ("/keys", (200, b"x" * 5_000_000), "too large"),
    ],
)
def test_a_provider_that_answers_wrongly_is_no_refusal_of_the_token(
    issuer: Issuer, path: str, answer: tuple[int, bytes], message: str
) -> None:
    issuer.answers[path] = answer
    with pytest.raises(IdentityProviderError, match=message) as failed:
        verifier(issuer).verify(issuer.token())
    assert "hunter2" not in str(failed.value)
    assert failed.value.http_status == 503


def test_a_provider_that_is_down_is_told_once_and_asked_again_later(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(refreshed, "monotonic", lambda: now[0])
    ours = verifier(issuer)
    issuer.answers["/keys"] = (500, b"")
    for _ in range(5):
        with pytest.raises(IdentityProviderError):
            ours.verify(issuer.token())
    assert issuer.count("/keys") == 1
    del issuer.answers["/keys"]
    now[0] += 10
    assert ours.verify(issuer.token()).identity == ANN


def test_who_comes_while_the_provider_hangs_waits_no_longer_than_for_one_answer(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshed, "monotonic", lambda: 1000.0)  # However slow this machine is.
    ours = verifier(issuer, jwks_request_timeout_seconds=0.5)
    issuer.released.clear()
    failures: list[str] = []
    token = issuer.token()

    def ask() -> None:
        try:
            ours.verify(token)
        except IdentityProviderError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(failures) == 16
    # All were told by the one request that waited.
    assert len(issuer.requests) == 1


def authenticator(issuer: Issuer, **more: Any) -> Authenticator:
    made = make_authenticator(OidcAuthConfig.model_validate(issuer.settings(**more)))
    assert made is not None
    return made


def test_a_known_token_is_not_verified_again_until_it_expires(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("feast_assets.auth.authentication.monotonic", lambda: now[0])
    ours = authenticator(issuer)
    header = f"Bearer {issuer.token(exp=int(time.time()) + 60)}"
    assert ours.known(header) is None
    assert ours.identify(header) == ANN
    assert ours.known(header) is ours.identify(header)
    now[0] += 71
    assert ours.known(header) is None


def test_a_refused_token_is_refused_again_and_the_log_says_why_without_it(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    ours = authenticator(issuer)
    token = issuer.token(aud="other")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(UnauthenticatedError):
                ours.identify(f"Bearer {token}")
    assert "Audience doesn't match" in caplog.text
    assert token not in caplog.text
    assert ours.known(f"Bearer {token}") is None


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), (b"bearer  abc ", "abc"), ("BEARER a.b-c_d~e+f/g=", "a.b-c_d~e+f/g=")],
)
def test_the_token_of_a_header_is_read(header: str | bytes, token: str) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Missing"),
        ("", "Missing"),
        (b"", "Missing"),
        ("Basic YTpi", "Invalid"),
        ("Bearer", "Invalid"),
        ("Bearer ", "Invalid"),
        ("Bearer a b", "Invalid"),
        ("Bearer a\nb", "Invalid"),
        (b"Bearer \xff", "Invalid"),
        ("abc", "Invalid"),
    ],
)
def test_a_header_without_a_token_is_refused(header: str | bytes | None, message: str) -> None:
    with pytest.raises(UnauthenticatedError, match=message):
        bearer_token(header)


def test_the_token_of_metadata_is_read_whatever_letters_its_name_has(issuer: Issuer) -> None:
    ours = authenticator(issuer)
    header = f"Bearer {issuer.token()}"
    assert ours.identify_metadata([("x", "y"), ("Authorization", header)]) == ANN
    assert ours.identify_metadata({"authorization": header.encode()}) == ANN
    with pytest.raises(UnauthenticatedError, match="Missing"):
        ours.identify_metadata({})


def test_settings_of_a_client_are_not_enough_for_a_server() -> None:
    with pytest.raises(ConfigError, match="needs auth.auth_discovery_url"):
        make_authenticator(OidcClientAuthConfig.model_validate({"type": "oidc", "token": "x"}))
    assert make_authenticator(NoAuthConfig()) is None


def test_a_provider_with_a_certificate_of_its_own_needs_ca_cert_path(issuer: Issuer, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="certificates in .* cannot be used"):
        verifier(issuer, ca_cert_path=str(tmp_path / "missing.pem"))
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("x")
    with pytest.raises(ConfigError, match="cannot be used"):
        verifier(issuer, ca_cert_path=str(damaged))


def test_documents_of_a_provider_may_hold_more_than_is_read(issuer: Issuer) -> None:
    document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", "scopes_supported": ["openid"], "x": {"y": 1}}
    issuer.answers["/.well-known/openid-configuration"] = (200, json.dumps(document).encode())
    assert identified(issuer, issuer.token()) == ANN
