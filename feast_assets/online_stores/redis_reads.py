"""Reads of Redis in as little time as redis-py's own connections allow: one command's bytes, and what it brought back.

redis-py's ``mget`` looks at every key several times and its callers would copy every value. Here keys of one width,
which those of numbers are, become a command by one join, and values stay as they came until somebody wants a part.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feast_assets.errors import OnlineRowError
from feast_assets.online_stores.base import StoredRows

if TYPE_CHECKING:
    import redis
    import redis.asyncio

HEADER = struct.Struct(">QQ")
HEADER_WIDTH = HEADER.size
SIGN = 1 << 63
# Of timestamps that are 0.
_NO_STAMPS = (SIGN, SIGN)


class StampedRows(StoredRows):
    """Rows whose stored values begin with their times, which are taken apart only for who asks for a part.

    Args:
        values: n stored values; None where there is no row.
        server: which server they are from, for messages.
    """

    __slots__ = ("_server", "_values")

    def __init__(self, values: Sequence[bytes | None], server: str):
        self._values = values
        self._server = server

    @property
    def values(self) -> tuple[Sequence[bytes | None], int]:
        return self._values, HEADER_WIDTH

    @property
    def event_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [event - SIGN for event, _ in self._stamps()]

    @property
    def created_timestamps(self) -> Sequence[int]:  # type: ignore[override]
        return [created - SIGN for _, created in self._stamps()]

    @property
    def payloads(self) -> Sequence[bytes | None]:  # type: ignore[override]
        self._stamps()
        return [None if value is None else value[HEADER_WIDTH:] for value in self._values]

    def before(self, oldest: int) -> list[int]:
        # Values compare as their times do, and a longer one comes after what it begins with.
        bound = (oldest + SIGN).to_bytes(8, "big")
        try:
            if min(self._values) >= bound:  # type: ignore[type-var, operator]
                return []
        except (TypeError, ValueError):
            pass  # Some are not there, or all.
        return [place for place, value in enumerate(self._values) if value is not None and value < bound]

    def _stamps(self) -> list[tuple[int, int]]:
        try:
            return [_NO_STAMPS if value is None else HEADER.unpack_from(value) for value in self._values]
        except struct.error:
            raise OnlineRowError(f"Redis at {self._server} holds a value that this package did not write.") from None


def mget(arguments: Iterable[bytes], keys: int) -> bytes:
    """Returns an ``MGET`` as it is sent.

    Args:
        arguments: the keys, as `mget_arguments` has them.
        keys: how many keys they are.
    """
    return b"*%d\r\n$4\r\nMGET\r\n%b" % (keys + 1, b"".join(arguments))


def mget_arguments(prefix: bytes, keys: Sequence[bytes]) -> bytes:
    """Returns keys with what they all begin with, as bulk strings of a command.

    See https://redis.io/docs/latest/develop/reference/protocol-spec/.
    """
    widths = set(map(len, keys))
    if len(widths) == 1:
        begin = _beginning(prefix, widths.pop())
        return begin + (b"\r\n" + begin).join(keys) + b"\r\n"
    return b"".join([b"%b%b\r\n" % (_beginning(prefix, len(key)), key) for key in keys])


@lru_cache(maxsize=4096)
def _beginning(prefix: bytes, width: int) -> bytes:
    return b"$%d\r\n%b" % (len(prefix) + width, prefix)


def run(pool: redis.ConnectionPool, command: bytes) -> Any:
    """Returns the server's answer to a command that may be sent twice, on a connection of a pool.

    Raises:
        RedisError, OSError: as redis-py's own commands do, after as many tries as the connection's retry allows.
    """
    connection = pool.get_connection()

    def ask() -> Any:
        connection.send_packed_command([command])  # type: ignore[no-untyped-call]
        return connection.read_response()

    def give_up(error: Exception) -> None:
        connection.disconnect()  # type: ignore[no-untyped-call]

    try:
        return connection.retry.call_with_retry(ask, give_up)
    finally:
        pool.release(connection)


async def run_async(pool: redis.asyncio.ConnectionPool, command: bytes) -> Any:
    """As `run`, on a connection of the running event loop's pool."""
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]

    async def ask() -> Any:
        await connection.send_packed_command(command)
        return await connection.read_response()

    try:
        return await connection.retry.call_with_retry(ask, lambda error: connection.disconnect())
    finally:
        await pool.release(connection)
