"""What every server does first: from the token of a request to an identity."""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from time import monotonic

from feast_assets.auth.identity import Identity
from feast_assets.auth.settings import AuthConfig, KubernetesAuthConfig, OidcAuthConfig
from feast_assets.auth.verifier import TokenVerifier
from feast_assets.errors import ConfigError, UnauthenticatedError

logger = logging.getLogger("feast_assets.auth")

_KEPT = 10_000
_MISSING = "Missing authentication token"


class Authenticator:
    """Knows callers by their tokens. A token that was verified is known for a while without being verified again.

    Safe to share between threads.
    """

    def __init__(self, verifier: TokenVerifier):
        self._verifier = verifier
        # Digest of a header -> whose token it has, and until when: the tokens themselves are not kept.
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._lock = Lock()

    def known(self, authorization: str | bytes | None) -> Identity | None:
        """Returns whose token the header ``Authorization`` has, if that is known; None if it has to be verified.

        Asks nobody, so that an event loop may call it.

        Raises:
            UnauthenticatedError: there is no token.
        """
        if not authorization:
            raise UnauthenticatedError(_MISSING)
        return self._looked_up(_digest(authorization))

    def identify(self, authorization: str | bytes | None) -> Identity:
        """Returns whose token the header ``Authorization`` has. May ask another service, and so take seconds.

        Args:
            authorization: ``Bearer <token>``.

        Raises:
            UnauthenticatedError: there is no token, or it is not valid.
            IdentityProviderError: that cannot be found out now.
        """
        if not authorization:
            raise UnauthenticatedError(_MISSING)
        digest = _digest(authorization)
        identity = self._looked_up(digest)
        if identity is None:
            token = bearer_token(authorization)
            try:
                verified = self._verifier.verify(token)
            except UnauthenticatedError as error:
                logger.warning("A token was refused: %s", error.reason)
                raise
            identity = verified.identity
            with self._lock:
                self._known[digest] = (identity, monotonic() + verified.seconds)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return identity

    def identify_metadata(self, metadata: Iterable[tuple[str, str | bytes]] | Mapping[str, str | bytes]) -> Identity:
        """As `identify`, of the metadata of a gRPC or Arrow Flight call: its entry ``authorization``."""
        entries = metadata.items() if isinstance(metadata, Mapping) else metadata
        return self.identify(next((value for key, value in entries if key.lower() == "authorization"), None))

    def _looked_up(self, digest: bytes) -> Identity | None:
        known = self._known.get(digest)
        if known is None:
            return None
        if monotonic() < known[1]:
            return known[0]
        with self._lock:
            self._known.pop(digest, None)
        return None


def make_authenticator(config: AuthConfig) -> Authenticator | None:
    """Returns what knows the callers of a server with these settings; None for ``no_auth``.

    Raises:
        ConfigError: the settings are those of a client alone, a package is missing, or there is no cluster.
    """
    if isinstance(config, OidcAuthConfig):
        if not config.auth_discovery_url:
            raise ConfigError(
                "A server with auth type oidc needs auth.auth_discovery_url, the URL of the provider's discovery "
                "document; the settings have only what a client needs."
            )
        try:
            import cryptography  # noqa: F401
            import jwt  # noqa: F401
        except ModuleNotFoundError:
            raise ConfigError(
                "auth type oidc needs the packages PyJWT and cryptography: pip install 'feast-assets[auth]'."
            ) from None
        from feast_assets.auth.oidc import OidcVerifier

        return Authenticator(OidcVerifier(config))
    if isinstance(config, KubernetesAuthConfig):
        from feast_assets.auth.kubernetes import KubernetesVerifier

        return Authenticator(KubernetesVerifier())
    return None


def bearer_token(authorization: str | bytes | None) -> str:
    """Returns the token of a header ``Authorization: Bearer <token>``.

    Raises:
        UnauthenticatedError: there is none.
    """
    if isinstance(authorization, bytes):
        authorization = authorization.decode("latin-1")
    if not authorization:
        raise UnauthenticatedError(_MISSING)
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    # Neither spaces and line breaks nor anything beyond ASCII is part of a token.
    if scheme.lower() != "bearer" or not token or " " in token or not (token.isascii() and token.isprintable()):
        raise UnauthenticatedError("Invalid or expired access token", "the header is not 'Bearer <token>'")
    return token


def _digest(authorization: str | bytes) -> bytes:
    header = authorization if isinstance(authorization, bytes) else authorization.encode("utf-8", "surrogatepass")
    return hashlib.sha256(header).digest()
