"""Commands as they are sent are those that redis-py would send; answers are those that it would give."""

from __future__ import annotations

import asyncio

import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import NoScriptError, ResponseError

from feast_assets.online_stores.redis.commands import (
    bulk_strings,
    command,
    evalsha,
    mget,
    msetnx,
    run,
    run_all,
    run_all_async,
    run_async,
)

groups_of_keys = st.lists(st.tuples(st.binary(max_size=20), st.lists(st.binary(max_size=12), max_size=20)), max_size=4)


def packed(*arguments: bytes | str) -> bytes:
    return b"".join(redis.Connection().pack_command(*arguments))


@given(groups_of_keys)
def test_a_read_is_what_redis_py_would_send(groups: list[tuple[bytes, list[bytes]]]) -> None:
    keys = [prefix + key for prefix, of_group in groups for key in of_group]
    sent = mget((bulk_strings(prefix, of_group) for prefix, of_group in groups), len(keys))
    assert sent == packed("MGET", *keys)


@given(st.binary(max_size=9), st.lists(st.binary(max_size=9)), st.lists(st.binary(max_size=9)))
def test_a_script_is_what_redis_py_would_send(prefix: bytes, keys: list[bytes], arguments: list[bytes]) -> None:
    sent = evalsha("5ha", [bulk_strings(prefix, keys)], len(keys), [bulk_strings(b"", arguments)], len(arguments))
    assert sent == packed("EVALSHA", "5ha", str(len(keys)), *[prefix + key for key in keys], *arguments)


@given(st.binary(max_size=9), st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))))
def test_new_rows_are_what_redis_py_would_send(prefix: bytes, rows: list[tuple[bytes, bytes]]) -> None:
    sent = msetnx(prefix, [key for key, _ in rows], [value for _, value in rows])
    assert sent == packed("MSETNX", *[part for key, value in rows for part in (prefix + key, value)])


@given(st.lists(st.binary(max_size=9)))
def test_a_short_command_is_what_redis_py_would_send(words: list[bytes]) -> None:
    assert command([b"SET", *words]) == packed("SET", *words)


def test_commands_sent_together_are_answered_one_by_one(redis_server: tuple[str, int]) -> None:
    host, port = redis_server
    commands = [
        packed("SET", "a", "1"),
        evalsha("0" * 40, [], 0, [], 0),
        packed("INCR", "a"),
        packed("HGET", "a", "b"),
        packed("GET", "a"),
    ]

    def check(answers: list[object]) -> None:
        assert answers[:1] + answers[2:3] + answers[4:] == [b"OK", 2, b"2"]
        assert isinstance(answers[1], NoScriptError)
        assert isinstance(answers[3], ResponseError)

    client = redis.Redis(host=host, port=port)
    check(run_all(client.connection_pool, commands))
    assert run(client.connection_pool, packed("GET", "a")) == b"2"
    with pytest.raises(ResponseError):
        run(client.connection_pool, packed("HGET", "a", "b"))

    async def together() -> None:
        asynchronous = redis.asyncio.Redis(host=host, port=port)
        check(await run_all_async(asynchronous.connection_pool, commands))
        assert await run_async(asynchronous.connection_pool, packed("GET", "a")) == b"2"
        await asynchronous.aclose()

    asyncio.run(together())
    client.delete("a")
    client.close()
