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
        bound = HEADER.pack(max(oldest + SIGN, 0), 0)[:8]
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


def mget_command(keys_of: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """Returns an ``MGET`` as it is sent (https://redis.io/docs/latest/develop/reference/protocol-spec/).

    Args:
        keys_of: the keys, in groups with what all keys of a group begin with.
    """
    count = 1
    parts = [b""]
    for prefix, keys in keys_of:
        count += len(keys)
        parts.append(_bulk_strings(prefix, keys))
    parts[0] = b"*%d\r\n$4\r\nMGET\r\n" % count
    return b"".join(parts)


def _bulk_strings(prefix: bytes, keys: Sequence[bytes]) -> bytes:
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
        connection.send_packed_command([command])
        return connection.read_response()

    try:
        return connection.retry.call_with_retry(ask, lambda error: connection.disconnect())
    finally:
        pool.release(connection)
