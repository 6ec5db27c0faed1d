"""Verifying access tokens of an OpenID Connect provider."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import time
from typing import Any

import jwt

from feast_assets.auth.discovery import discovery_of, requests_of
from feast_assets.auth.identity import Identity
from feast_assets.auth.key_set import ALGORITHMS, KeySet
from feast_assets.auth.settings import OidcAuthConfig
from feast_assets.auth.verifier import TokenVerifier, VerifiedIdentity
from feast_assets.errors import UnauthenticatedError, printable

logger = logging.getLogger("feast_assets.auth")

LEEWAY_SECONDS = 10
"""By how much clocks may differ."""

_INVALID = "Invalid or expired access token"
_LONGEST_TOKEN = 64 * 1024
_NAMES = ("preferred_username", "upn", "azp", "appid", "sub")


class OidcVerifier(TokenVerifier):
    """Takes tokens that the provider signed, for this server, and that are valid now.

    * The signature is of one of `ALGORITHMS`, by a key that the provider publishes.
    * ``exp`` must be there and not have passed; ``nbf`` and ``iat`` must have, where they are there.
    * ``iss`` is the configured issuer, or that of the discovery document.
    * ``aud`` is, or contains, the configured audience, where there is one.
    """

    def __init__(self, config: OidcAuthConfig):
        self._config = config
        requests = requests_of(config)
        self._discovery = discovery_of(config, requests)
        self._keys = KeySet(lambda: self._discovery.text("jwks_uri"), requests, config.jwks_cache_lifespan_seconds)
        if not config.audience:
            logger.warning(
                "auth.audience is not set, so tokens that %s gave for other services are taken as well.",
                config.auth_discovery_url,
            )

    def verify(self, token: str) -> VerifiedIdentity:
        """Returns whose token it is."""
        if len(token) > _LONGEST_TOKEN:
            raise UnauthenticatedError(_INVALID, "the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(_INVALID, f"it is no signed token: {printable(error, 200)}") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise UnauthenticatedError(_INVALID, f"its algorithm {printable(algorithm, 40)!r} is not taken")
        if key_id is not None and not isinstance(key_id, str):
            raise UnauthenticatedError(_INVALID, "its kid is no text")
        key = self._keys.key(key_id, algorithm)
        if key is None:
            raise UnauthenticatedError(
                _INVALID, f"the provider has no {algorithm} key {printable(key_id, 80)!r}: forged, or withdrawn"
            )
        claims = self._claims(token, algorithm, key.key)
        lasts = min(float(claims["exp"]) + LEEWAY_SECONDS - time(), self._config.jwks_cache_lifespan_seconds)
        return VerifiedIdentity(self._identity(claims), lasts)

    def _claims(self, token: str, algorithm: str, key: Any) -> dict[str, Any]:
        audience = self._config.audience
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self._config.issuer or self._discovery.text("issuer"),
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss"], "verify_aud": audience is not None},
            )
        except jwt.PyJWTError as error:
            raise UnauthenticatedError(_INVALID, printable(error, 200)) from None
        return claims

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        name = next((claims[c] for c in _NAMES if isinstance(claims.get(c), str) and claims[c]), None)
        if name is None:
            raise UnauthenticatedError(_INVALID, f"it names nobody: it has none of {', '.join(_NAMES)}")
        client = self._config.client_id
        roles = _texts(claims, "resource_access", client, "roles") if client else []
        return Identity(name, [*roles, *_texts(claims, "roles")], _texts(claims, "groups"))


def _texts(claims: Mapping[str, Any], *path: str) -> list[str]:
    """Returns the texts of a list in the claims; none where there is no such list."""
    value: Any = claims
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
