"""The public keys of an OpenID Connect provider (a JSON Web Key Set)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt

from feast_assets.auth.http_requests import HttpRequests
from feast_assets.auth.refreshed import Refreshed
from feast_assets.errors import IdentityProviderError

ALGORITHMS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", ""),
}
"""Signatures that are taken -> the type of key, and the curve, that they need. None of them can be made with what is
public: neither ``none`` nor those with a shared secret (``HS256``) are among them."""

_SECONDS_BETWEEN_REFRESHES = 10.0
_LARGEST_SET = 200
_WEAKEST_RSA_BITS = 2048
_WHAT = "Reading the keys of the identity provider"


class PublicKey:
    """One key that verifies signatures.

    Attributes:
        key_id: ``kid``; "" where it has none.
        algorithm: the only one that it is for; "" for any of its type.
        key: as PyJWT takes it.
    """

    __slots__ = ("_curve", "_type", "algorithm", "key", "key_id")

    def __init__(self, described: Mapping[str, Any]):
        """Reads a key of a set.

        Raises:
            ValueError: it is of an unknown type, damaged, too weak, or not for signatures.
        """
        if described.get("use", "sig") != "sig" or "verify" not in described.get("key_ops", ["verify"]):
            raise ValueError("it is not for signatures")
        self._type, self._curve = str(described.get("kty", "")), str(described.get("crv", ""))
        self.key_id, self.algorithm = str(described.get("kid", "")), str(described.get("alg", ""))
        candidates = [name for name in ALGORITHMS if self._fits(name)]
        if not candidates:
            raise ValueError("no algorithm that is taken uses it")
        try:
            self.key = jwt.PyJWK(dict(described), algorithm=candidates[0]).key
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise ValueError(str(error)) from error
        if self._type == "RSA" and getattr(self.key, "key_size", 0) < _WEAKEST_RSA_BITS:
            raise ValueError("it has less than 2048 bits")

    def verifies(self, algorithm: str) -> bool:
        """Returns whether it can verify signatures of an algorithm."""
        return self._fits(algorithm)

    def _fits(self, algorithm: str) -> bool:
        kind, curve = ALGORITHMS.get(algorithm, ("", ""))
        return kind == self._type and curve in ("", self._curve) and self.algorithm in ("", algorithm)


class KeySet:
    """The keys of a provider: kept for a time, and read again where a token names a key that is not among them.

    The latter happens at most once in ten seconds, however many such tokens come.

    Args:
        url_of: returns where the keys are.
        lifespan_seconds: after which they are read again, so that a withdrawn key is refused.
    """

    def __init__(self, url_of: Callable[[], str], requests: HttpRequests, lifespan_seconds: float):
        self._url_of = url_of
        self._requests = requests
        self._lifespan = lifespan_seconds
        self._keys = Refreshed(self._read)

    def key(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """Returns the key of a token; None if the provider has none that fits.

        Args:
            key_id: as the token names it; None where it does not: then the only one that fits.

        Raises:
            IdentityProviderError: the provider cannot be asked.
        """
        chosen = _chosen(self._keys.get(), key_id, algorithm)
        if chosen is None:
            chosen = _chosen(self._keys.get_newer(_SECONDS_BETWEEN_REFRESHES), key_id, algorithm)
        return chosen

    def _read(self) -> tuple[Sequence[PublicKey], float]:
        described = self._requests.get_json(_WHAT, self._url_of()).get("keys")
        if not isinstance(described, list):
            raise IdentityProviderError(f"{_WHAT}: the answer has no list of keys.")
        keys = []
        for each in described[:_LARGEST_SET]:
            try:
                keys.append(PublicKey(each))
            except (ValueError, AttributeError, TypeError):
                continue  # Sets may hold keys for other purposes.
        if not keys:
            raise IdentityProviderError(f"{_WHAT}: none of them can verify signatures.")
        return keys, self._lifespan


def _chosen(keys: Sequence[PublicKey], key_id: str | None, algorithm: str) -> PublicKey | None:
    fitting = [key for key in keys if key.verifies(algorithm) and key_id in (None, key.key_id)]
    return fitting[0] if len(fitting) == 1 or (fitting and key_id is not None) else None
