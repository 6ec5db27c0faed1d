"""What a client says of itself with each request."""

from __future__ import annotations

from typing import Protocol


class Caller(Protocol):
    """Gives the headers that say who asks; `feast_assets.auth.client_tokens.ClientTokens` is one."""

    def headers(self) -> dict[str, str]:
        """Returns the headers of the next request."""
        ...

    def token(self) -> str:
        """Returns the token that they carry."""
        ...

    def refused(self, token: str) -> bool:
        """Notes that a server did not take a token; returns whether the request is worth a second try."""
        ...
