from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from itertools import chain
from typing import Any

import pytest

from feast_assets.online_stores import merged_reads
from feast_assets.online_stores.merged_reads import MergedReads


class Server:
    """Answers each key with its double, and remembers the round trips."""

    def __init__(self) -> None:
        self.round_trips: list[list[bytes]] = []
        self.error: BaseException | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def read(self, parts: list[Sequence[bytes]], count: int) -> list[bytes | None]:
        keys = list(chain.from_iterable(parts))
        assert count == len(keys)
        self.round_trips.append(keys)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [None if key == b"missing" else key * 2 for key in keys]

    def merged(self) -> Callable[[Sequence[bytes]], Coroutine[Any, Any, list[bytes | None]]]:
        """Returns what reads keys together with others."""
        reads = MergedReads[Sequence[bytes], bytes | None](asyncio.get_running_loop(), self.read)
        self.tasks = reads._tasks

        async def get(keys: Sequence[bytes]) -> list[bytes | None]:
            return await reads.get(keys, len(keys))

        return get


async def test_reads_that_begin_together_are_one_round_trip_and_each_gets_its_own() -> None:
    server = Server()
    get = server.merged()
    asked: list[Sequence[bytes]] = [[b"a"], [b"b", b"missing", b"b"], [b"a"]]
    assert await asyncio.gather(*[get(keys) for keys in asked]) == [[b"aa"], [b"bb", None, b"bb"], [b"aa"]]
    assert server.round_trips == [[b"a", b"b", b"missing", b"b", b"a"]]
    assert await get([b"c"]) == [b"cc"]
    assert len(server.round_trips) == 2


async def test_a_read_does_not_wait_for_a_round_trip_that_is_under_way() -> None:
    server = Server()
    get = server.merged()
    server.open.clear()
    first = asyncio.create_task(get([b"a"]))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(get([b"b"]))
    await asyncio.sleep(0.01)
    assert server.round_trips == [[b"a"], [b"b"]]
    server.open.set()
    assert [await first, await second] == [[b"aa"], [b"bb"]]


async def test_large_reads_stay_apart_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_reads, "_KEYS_PER_ROUND_TRIP", 4)
    server = Server()
    get = server.merged()
    sizes = [3, 1, 9, 1, 2, 2]
    found = await asyncio.gather(*[get([b"%d" % n] * n) for n in sizes])
    assert [len(values) for values in found] == sizes
    assert [len(keys) for keys in server.round_trips] == [4, 9, 3, 2]


async def test_an_error_reaches_everyone_who_waits_and_nobody_later() -> None:
    server = Server()
    get = server.merged()
    server.error = OSError("gone")
    found = await asyncio.gather(*[get([b"a"]) for _ in range(3)], return_exceptions=True)
    assert [str(error) for error in found] == ["gone"] * 3
    server.error = None
    assert await get([b"a"]) == [b"aa"]


async def test_who_gives_up_does_not_disturb_the_others() -> None:
    server = Server()
    get = server.merged()
    server.open.clear()
    leaves, never, stays = (asyncio.create_task(get([key])) for key in (b"l", b"n", b"s"))
    await asyncio.sleep(0)
    never.cancel()
    await asyncio.sleep(0.01)
    assert server.round_trips == [[b"l", b"s"]]
    leaves.cancel()
    await asyncio.sleep(0.01)
    server.open.set()
    assert await asyncio.wait_for(stays, 10) == [b"ss"]
    for task in (leaves, never):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_round_trip_that_is_cancelled_cancels_who_waits() -> None:
    server = Server()
    get = server.merged()
    server.open.clear()
    waiting = asyncio.create_task(get([b"a"]))
    await asyncio.sleep(0.01)
    for task in list(server.tasks):
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
