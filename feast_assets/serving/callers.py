"""Who calls a server: the first step of every door."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from feast_assets.auth.authentication import Authenticator, make_authenticator
from feast_assets.auth.identity import Identity, acting_as

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore

_THREADS = 8


class Callers:
    """Knows the callers of a server by their tokens, as the section ``auth`` of ``feature_store.yaml`` says.

    With ``no_auth`` nobody is asked for a token, and nothing is checked. Otherwise the feature store denies everything
    to code that acts on behalf of nobody. So a door does for each request::

        identity = callers.identify(request.headers.get("authorization"))
        with callers.acting(identity):
            ...  # verbs of the feature store

    Args:
        store: the feature store that is served.
        authenticator: what knows callers; left out, it is made of the store's settings.

    Raises:
        ConfigError: the settings do not suffice for a server, see `make_authenticator`.
    """

    def __init__(self, store: FeatureStore, authenticator: Authenticator | None = None):
        self._authenticator = authenticator or make_authenticator(store.config.auth)
        # Threads of its own: an identity provider that hangs must not take those that reads and writes need.
        self._threads = ThreadPoolExecutor(_THREADS, "feast-assets-identify")
        if self._authenticator is not None:
            store.access.require_identity()

    @property
    def are_known(self) -> bool:
        """Whether callers have to say who they are."""
        return self._authenticator is not None

    def identify(self, authorization: str | bytes | None) -> Identity | None:
        """Returns whose token a header ``Authorization`` has; None where nobody is asked. May block for seconds.

        Args:
            authorization: ``Bearer <token>``; of gRPC and Arrow Flight, the metadata ``authorization``.

        Raises:
            UnauthenticatedError: there is no valid token: HTTP 401, gRPC ``UNAUTHENTICATED``.
            IdentityProviderError: that cannot be found out now: HTTP 503, gRPC ``UNAVAILABLE``.
        """
        return None if self._authenticator is None else self._authenticator.identify(authorization)

    async def identify_async(self, authorization: str | bytes | None) -> Identity | None:
        """As `identify`, without blocking the event loop."""
        if self._authenticator is None:
            return None
        known = self._authenticator.known(authorization)
        if known is not None:
            return known
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._authenticator.identify, authorization
        )

    def acting(self, identity: Identity | None) -> AbstractContextManager[object]:
        """Lets the code of a ``with`` block act on behalf of a caller."""
        return nullcontext() if identity is None else acting_as(identity)

    def close(self) -> None:
        """Waits for nobody any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
