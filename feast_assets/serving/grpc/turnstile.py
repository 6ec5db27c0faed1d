"""Has reads begin together, so that they share a round trip to the store."""

from __future__ import annotations

import asyncio

# So that no read waits long for one that is slow.
_LONGEST_WAIT_SECONDS = 0.001


class Turnstile:
    """Lets a read pass at once if no other is under way. Others wait until one has ended, or for a millisecond.

    gRPC hands over calls one by one, even such that came together. Reads that begin in one turn of the event loop share
    a round trip; those let pass together do.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        if self._under_way:
            loop = asyncio.get_running_loop()
            if self._timer is None:
                self._timer = loop.call_later(_LONGEST_WAIT_SECONDS, self._open)
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.append(future)
            await future
        self._under_way += 1

    async def __aexit__(self, *_: object) -> None:
        self._under_way -= 1
        self._open()

    def _open(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
