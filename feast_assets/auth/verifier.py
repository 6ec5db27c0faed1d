"""What turns a token into an identity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from feast_assets.auth.identity import Identity


@dataclass(frozen=True, slots=True)
class VerifiedIdentity:
    """An identity, and until when it may be relied on without verifying the token again.

    Attributes:
        seconds: from now; at most until the token expires.
    """

    identity: Identity
    seconds: float


class TokenVerifier(ABC):
    """Verifies tokens. Safe to share between threads."""

    @abstractmethod
    def verify(self, token: str) -> VerifiedIdentity:
        """Returns whose token it is. May ask another service.

        Raises:
            UnauthenticatedError: the token is not valid.
            IdentityProviderError: that cannot be found out now.
        """
