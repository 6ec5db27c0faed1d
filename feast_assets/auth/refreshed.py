"""Something that another service says, and that is asked for again from time to time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

from feast_assets.errors import IdentityProviderError

_T = TypeVar("_T")

_FAILED_FOR_SECONDS = 3.0


class Refreshed(Generic[_T]):
    """A value that expires. One thread at a time reads it; the others wait for that, and share its failure: if the
    service hangs, nobody waits longer than for one answer.

    Args:
        read: returns the value, and for how many seconds it holds.
        failed_for: seconds in which a failure is not tried again.
    """

    def __init__(self, read: Callable[[], tuple[_T, float]], failed_for: float = _FAILED_FOR_SECONDS):
        self._read = read
        self._failed_for = failed_for
        self._lock = threading.Lock()
        # The value and until when it holds, always together.
        self._held: tuple[_T, float] | None = None
        self._read_at = float("-inf")
        self._failure: IdentityProviderError | None = None

    def get(self) -> _T:
        """Returns the value; reads it first where there is none, or it has expired.

        Raises:
            IdentityProviderError: it cannot be read.
        """
        held = self._held
        if held is not None and monotonic() < held[1]:
            return held[0]
        with self._lock:
            held = self._held
            if held is not None and monotonic() < held[1]:
                return held[0]
            return self._read_now()

    def get_newer(self, seconds: float) -> _T:
        """Returns the value as it is now, unless it was read within so many seconds: then that one.

        Raises:
            IdentityProviderError: it cannot be read.
        """
        with self._lock:
            held = self._held
            if held is not None and monotonic() < min(held[1], self._read_at + seconds):
                return held[0]
            return self._read_now()

    def forget(self) -> None:
        """Has the next `get` read the value."""
        with self._lock:
            self._held = None

    def _read_now(self) -> _T:
        if self._failure is not None and monotonic() < self._read_at + self._failed_for:
            raise type(self._failure)(*self._failure.args)
        try:
            value, seconds = self._read()
        except IdentityProviderError as error:
            self._failure = error
            self._read_at = monotonic()
            raise
        self._failure = None
        self._read_at = monotonic()
        self._held = (value, self._read_at + seconds)
        return value
