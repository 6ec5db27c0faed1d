"""Connections: what slow, large and unusual requests do to each other, with an application that answers when told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("uvicorn")

import uvicorn

from feast_assets.serving.http.connections import ConnectionLimits, LimitedConfig, LimitedConnection, without_upgrade

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"


class Echo:
    """Answers requests with their bodies, once it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.answered = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        self.asked.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
        self.answered += 1


@asynccontextmanager
async def connected(
    echo: Echo, seconds: float = 60, keep_alive: int = 60
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = LimitedConfig(echo, http=LimitedConnection, ws="none", lifespan="off", log_config=None, host="127.0.0.1")
    config.with_limits(ConnectionLimits(seconds, 10_000)).load()
    config.port = 0
    config.timeout_keep_alive = keep_alive
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        echo.may_answer.set()
        writer.close()
        await server.shutdown()


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Returns the status line and the body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    return head.split(b"\r\n")[0], await reader.readexactly(int(length))


async def test_a_request_is_answered_although_the_next_one_on_its_connection_is_late() -> None:
    echo = Echo()
    async with connected(echo, seconds=1) as (reader, writer):
        writer.write(HEAD + b"content-length: 5\r\n\r\nfirst" + HEAD)
        await echo.asked.wait()
        await asyncio.sleep(1.5)
        echo.may_answer.set()
        assert await answer(reader) == (b"HTTP/1.1 200 OK", b"first")
        assert b" 408 " in (await answer(reader))[0]
        assert await reader.read() == b""


async def test_a_request_is_answered_although_the_head_of_the_next_one_is_too_large() -> None:
    echo = Echo()
    async with connected(echo) as (reader, writer):
        writer.write(HEAD + b"content-length: 5\r\n\r\nfirst" + HEAD)
        await echo.asked.wait()
        writer.write(b"x: " + b"a" * 20_000)
        await writer.drain()
        await asyncio.sleep(0.05)
        echo.may_answer.set()
        assert await answer(reader) == (b"HTTP/1.1 200 OK", b"first")


async def test_what_follows_a_body_is_limited_as_a_head_is() -> None:
    async with connected(Echo()) as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\nx: ")
        for _ in range(11):
            await asyncio.sleep(0.01)  # so that it comes in by itself
            writer.write(b"a" * 1_000)
        assert b" 431 " in (await answer(reader))[0]
        assert await reader.read() == b""


async def test_a_client_that_asks_on_and_does_not_read_is_cut_off() -> None:
    echo = Echo()
    async with connected(echo, keep_alive=1) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        body = b"b" * 20_000_000
        writer.write(2 * (HEAD + b"content-length: %d\r\n\r\n" % len(body) + body))
        echo.may_answer.set()
        async with asyncio.timeout(30):
            while echo.answered < 2:
                await asyncio.sleep(0.05)


async def test_a_body_may_be_larger_than_a_head() -> None:
    echo = Echo()
    echo.may_answer.set()
    async with connected(echo) as (reader, writer):
        for _ in range(2):
            body = b"b" * 50_000
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body[:20])
            await writer.drain()
            writer.write(body[20:])
            assert await answer(reader) == (b"HTTP/1.1 200 OK", body)


async def test_a_request_that_wishes_for_another_protocol_is_read_as_it_is() -> None:
    """As Java's HTTP client sends all its requests."""
    echo = Echo()
    echo.may_answer.set()
    async with connected(echo) as (reader, writer):
        wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        for _ in range(2):
            writer.write(HEAD + wish + b"content-length: 5\r\n\r\nfirst")
            assert await answer(reader) == (b"HTTP/1.1 200 OK", b"first")


async def test_a_body_that_was_not_read_is_not_taken_for_a_request() -> None:
    echo = Echo()
    async with connected(echo) as (reader, writer):
        smuggled = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
        # The head comes in two pieces, so that the wish in the second one is not seen in time.
        writer.write(HEAD)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: %d\r\n\r\n" % len(smuggled))
        await echo.asked.wait()
        writer.write(smuggled)
        await writer.drain()
        await asyncio.sleep(0.05)
        echo.may_answer.set()
        await answer(reader)
        assert await reader.read() == b""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b"GET / HTTP/1.1\r\nUPGRADE : h2c\r\n\r\nx\r\nupgrade:",
            b"GET / HTTP/1.1\r\nx-grade : h2c\r\n\r\nx\r\nupgrade:",
        ),
        (b"GET /upgrade: HTTP/1.1\r\nx-upgrade: 1\r\n\r\n", b"GET /upgrade: HTTP/1.1\r\nx-upgrade: 1\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nupgrade: ", b"GET / HTTP/1.1\r\nx-grade: "),
    ],
)
def test_only_the_wish_itself_is_renamed(data: bytes, expected: bytes) -> None:
    assert without_upgrade(data) == expected
