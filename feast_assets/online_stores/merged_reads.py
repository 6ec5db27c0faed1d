"""Reads that are asked for at the same time, in one round trip: many small requests on one event loop become fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

# Enough to make the cost of a round trip small, few enough that no request waits for a large answer of others.
_KEYS_PER_ROUND_TRIP = 1000

_Values = list[bytes | None]


class MergedReads:
    """Merges the reads of one event loop that begin in one turn of it. Not to be shared between event loops.

    A request's keys are never split, so that it still sees one state of the store.
    """

    def __init__(self, read: Callable[[list[bytes]], Awaitable[_Values]]):
        """Creates it.

        Args:
            read: makes the round trip: gives one value per key, in order.
        """
        self._read = read
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[_Values]]] = []
        self._keys = 0
        # An event loop keeps no strong reference to its tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[bytes]) -> _Values:
        """Returns one value per key, in order; raises what the round trip raised."""
        loop = asyncio.get_running_loop()
        if self._keys + len(keys) > _KEYS_PER_ROUND_TRIP:
            self._send()
        if not self._waiting:
            loop.call_soon(self._send)
        future: asyncio.Future[_Values] = loop.create_future()
        self._waiting.append((keys, future))
        self._keys += len(keys)
        return await future

    def _send(self) -> None:
        # Given up meanwhile, or sent already since there were enough.
        waiting = [(keys, future) for keys, future in self._waiting if not future.done()]
        self._waiting, self._keys = [], 0
        if waiting:
            task = asyncio.get_running_loop().create_task(self._answer(waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, waiting: Sequence[tuple[Sequence[bytes], asyncio.Future[_Values]]]) -> None:
        try:
            values = await self._read(list(chain.from_iterable(keys for keys, _ in waiting)))
        except BaseException as error:
            for _, future in waiting:
                if not future.done():
                    if isinstance(error, asyncio.CancelledError):
                        future.cancel()
                    else:
                        future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        begin = 0
        for keys, future in waiting:
            end = begin + len(keys)
            if not future.done():
                future.set_result(values[begin:end])
            begin = end
