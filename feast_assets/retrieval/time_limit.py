"""Work that is given up after some time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from feast_assets.errors import InputError, RetrievalTimeoutError, shown

_T = TypeVar("_T")


class TimeLimit:
    """How long a retrieval may take.

    The work runs in a thread of its own. When the time is up, the caller gets an error at once, and the thread ends at
    its next `check`; what it was computing until then is lost.

    Args:
        seconds: None for no limit.
    """

    def __init__(self, seconds: float | None):
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if seconds is not None and not (is_number and seconds >= 0):
            raise InputError(f"timeout must be a number of seconds or None, not {shown(seconds)}.")
        self._seconds = seconds
        self._given_up = threading.Event()

    def check(self) -> None:
        """Raises RetrievalTimeoutError once the time is up."""
        if self._given_up.is_set():
            raise RetrievalTimeoutError(self._seconds or 0)

    def run(self, work: Callable[[], _T]) -> _T:
        """Returns what the work returns, or raises what it raises.

        Raises:
            RetrievalTimeoutError: the time was up first.
        """
        if self._seconds is None:
            return work()
        results: list[_T] = []
        errors: list[BaseException] = []

        def worker() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised by the caller's thread
                if not self._given_up.is_set():  # nobody asks any more, and it would keep alive what the work holds
                    errors.append(error)

        thread = threading.Thread(target=worker, name="retrieval", daemon=True)
        thread.start()
        thread.join(min(self._seconds, threading.TIMEOUT_MAX))
        if errors:
            raise errors[0]
        if not results:
            self._given_up.set()
            raise RetrievalTimeoutError(self._seconds)
        return results[0]
