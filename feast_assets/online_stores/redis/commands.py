"""Commands of Redis as they are sent, and their answers, on redis-py's own connections.

redis-py looks at every argument of a command several times. Here arguments of one width, such as keys of numbers and
the rows of most views, become a command by one join. Opening, sharing and retrying connections is left to redis-py.

The protocol is at https://redis.io/docs/latest/develop/reference/protocol-spec/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis
    import redis.asyncio


def mget(arguments: Iterable[bytes], keys: int) -> bytes:
    """Returns an ``MGET`` as it is sent.

    Args:
        arguments: the keys, as `bulk_strings` has them.
        keys: how many keys they are.
    """
    return b"*%d\r\n$4\r\nMGET\r\n%b" % (keys + 1, b"".join(arguments))


def evalsha(sha: str, keys: Sequence[bytes], key_count: int, arguments: Sequence[bytes], count: int) -> bytes:
    """Returns an ``EVALSHA`` as it is sent.

    Args:
        keys, arguments: as `bulk_strings` has them.
        key_count, count: how many keys and arguments they are.
    """
    name = bulk_strings(b"", [b"EVALSHA", sha.encode(), b"%d" % key_count])
    return b"".join([b"*%d\r\n" % (3 + key_count + count), name, *keys, *arguments])


def msetnx(prefix: bytes, keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Returns an ``MSETNX`` as it is sent.

    Args:
        keys: without the prefix that all of them share.
        values: as many.
    """
    pairs = zip(_beginnings(prefix, keys), keys, _beginnings(b"", values), values, strict=True)
    return b"*%d\r\n$6\r\nMSETNX%b\r\n" % (1 + 2 * len(keys), b"".join(chain.from_iterable(pairs)))


def command(words: Sequence[bytes]) -> bytes:
    """Returns a short command as it is sent."""
    return b"*%d\r\n%b" % (len(words), bulk_strings(b"", words))


def _beginnings(prefix: bytes, values: Sequence[bytes]) -> Iterable[bytes]:
    """Returns the bytes that are sent between one value and the next."""
    widths = list(map(len, values))
    if len(set(widths)) == 1:
        return repeat(b"\r\n" + _beginning(prefix, widths[0]), len(values))
    return [b"\r\n" + _beginning(prefix, width) for width in widths]


def bulk_strings(prefix: bytes, values: Sequence[bytes]) -> bytes:
    """Returns values as arguments of a command, each after a prefix that all of them share."""
    widths = set(map(len, values))
    if len(widths) == 1:
        begin = _beginning(prefix, widths.pop())
        return begin + (b"\r\n" + begin).join(values) + b"\r\n"
    return b"".join([b"%b%b\r\n" % (_beginning(prefix, len(value)), value) for value in values])


@lru_cache(maxsize=4096)
def _beginning(prefix: bytes, width: int) -> bytes:
    return b"$%d\r\n%b" % (len(prefix) + width, prefix)


def run(pool: redis.ConnectionPool, command: bytes) -> Any:
    """Returns the server's answer to a command that may be sent twice, on a connection of a pool.

    Raises:
        RedisError, OSError: as redis-py's own commands do, after as many tries as the connection's retry allows.
    """
    return checked(run_all(pool, [command]))[0]


def run_all(pool: redis.ConnectionPool, commands: Sequence[bytes]) -> list[object]:
    """Returns the answers to commands that are sent together; for each that the server refuses, the `ResponseError`.

    Raises:
        RedisError, OSError: as `run` does, where the connection fails; any of them may have been run by then.
    """
    from redis.exceptions import ResponseError

    connection = pool.get_connection()

    def ask() -> list[object]:
        connection.send_packed_command(commands)  # type: ignore[no-untyped-call]
        return [answer() for _ in commands]

    def answer() -> object:
        try:
            return connection.read_response()
        except ResponseError as error:
            return error

    try:
        answers: list[object] = connection.retry.call_with_retry(ask, lambda error: connection.disconnect())  # type: ignore[no-untyped-call]
        return answers
    finally:
        pool.release(connection)


async def run_async(pool: redis.asyncio.ConnectionPool, command: bytes) -> Any:
    """As `run`, on a connection of the running event loop's pool."""
    return checked(await run_all_async(pool, [command]))[0]


async def run_all_async(pool: redis.asyncio.ConnectionPool, commands: Sequence[bytes]) -> list[object]:
    """As `run_all`, on a connection of the running event loop's pool."""
    from redis.exceptions import ResponseError

    connection = await pool.get_connection()  # type: ignore[no-untyped-call]

    async def ask() -> list[object]:
        await connection.send_packed_command(commands)
        return [await answer() for _ in commands]

    async def answer() -> object:
        try:
            return await connection.read_response()
        except ResponseError as error:
            return error

    try:
        answers: list[object] = await connection.retry.call_with_retry(ask, lambda error: connection.disconnect())
        return answers
    finally:
        await pool.release(connection)


def checked(answers: list[object]) -> list[Any]:
    """Returns answers as they are, if none is an error; else raises the first."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
