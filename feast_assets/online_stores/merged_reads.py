"""Reads that begin at the same time on one event loop share a round trip, so that many small requests are fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

# Enough to make the cost of a round trip small, few enough that no request waits for a large answer of others.
_KEYS_PER_ROUND_TRIP = 1000

_Part = TypeVar("_Part")
_Value = TypeVar("_Value")


class MergedReads(Generic[_Part, _Value]):
    """Merges the reads of one event loop that begin in one turn of it. Not to be shared between event loops.

    A request's keys are never split, so that it still sees one state of the store.

    Attributes:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, read: Callable[[list[_Part], int], Awaitable[list[_Value]]]):
        """Creates it.

        Args:
            read: makes the round trip: takes the parts of all requests, and the number of their keys; returns one value
                per key, in order.
        """
        self.loop = loop
        self._read = read
        self._waiting: list[tuple[_Part, int, asyncio.Future[list[_Value]]]] = []
        self._keys = 0
        # An event loop keeps no strong reference to its tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, part: _Part, keys: int) -> asyncio.Future[list[_Value]]:
        """Returns a future of one value per key, in order, or of the error of the round trip; to be awaited at once.

        Args:
            part: the request's keys, in the form that the round trip takes.
            keys: how many they are.
        """
        if self._keys + keys > _KEYS_PER_ROUND_TRIP:
            self._send()
        if not self._waiting:
            self.loop.call_soon(self._send)
        future: asyncio.Future[list[_Value]] = self.loop.create_future()
        self._waiting.append((part, keys, future))
        self._keys += keys
        return future

    def _send(self) -> None:
        # Requests may have been cancelled meanwhile, or sent already because there were many.
        waiting = [each for each in self._waiting if not each[2].done()]
        self._waiting, self._keys = [], 0
        if waiting:
            task = self.loop.create_task(self._answer(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: Sequence[tuple[_Part, int, asyncio.Future[list[_Value]]]]) -> None:
        try:
            values = await self._read([each[0] for each in waiting], sum([each[1] for each in waiting]))
        except BaseException as error:
            for *_, future in waiting:
                if not future.done():
                    if isinstance(error, asyncio.CancelledError):
                        future.cancel()
                    else:
                        future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        begin = 0
        for _, keys, future in waiting:
            end = begin + keys
            if not future.done():
                future.set_result(values[begin:end])
            begin = end
