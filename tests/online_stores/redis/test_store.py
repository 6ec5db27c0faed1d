from __future__ import annotations

import asyncio
import builtins
import gc
import importlib
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import ValidationError

from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.base import OnlineRead, PutResult
from feast_assets.online_stores.redis import puts as redis_puts
from feast_assets.online_stores.redis import store as redis_store
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.testing import (
    CanEvictConformance,
    CanExpireConformance,
    CanHoldForeignValuesConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanTellRestartsConformance,
    OnlineStoreConformance,
)
from feast_assets.testing.online_store import StoreFactory, encoded, read_rows, scanned, stamps

NOWHERE = Path()


def config_of(server: tuple[str, int], **settings: Any) -> RedisOnlineStoreConfig:
    return RedisOnlineStoreConfig.model_validate({"connection_string": f"{server[0]}:{server[1]}", **settings})


@pytest.fixture
def client(redis_server: tuple[str, int]) -> Iterator[redis.Redis]:
    with redis.Redis(*redis_server) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)


@pytest.fixture
def store(redis_server: tuple[str, int], client: redis.Redis) -> Iterator[RedisOnlineStore]:
    store = RedisOnlineStore(config_of(redis_server), NOWHERE)
    yield store
    store.close()


class TestRedis(
    OnlineStoreConformance,
    CanReplaceConformance,
    CanSampleConformance,
    CanExpireConformance,
    CanEvictConformance,
    CanTellRestartsConformance,
    CanHoldForeignValuesConformance,
):
    @pytest.fixture
    def rows_examined(self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
        """Counts the keys that SCAN looks at: of a sample at most 500, so that 40,000 rows are a large table."""
        monkeypatch.setattr(redis_store, "_STEPS_PER_SAMPLE", 5)
        monkeypatch.setattr(redis_store, "_KEYS_PER_SCAN", 100)
        client.config_resetstat()

        def examined() -> int:
            commands = client.info("commandstats")
            assert "cmdstat_keys" not in commands
            return 100 * commands.get("cmdstat_scan", {"calls": 0})["calls"]

        return examined

    @pytest.fixture
    def store_factory(self, redis_server: tuple[str, int], client: redis.Redis) -> StoreFactory:
        return partial(RedisOnlineStore, config_of(redis_server), NOWHERE)


class TestRedisWithExpiry(TestRedis):
    @pytest.fixture
    def store_factory(self, redis_server: tuple[str, int], client: redis.Redis) -> StoreFactory:
        return partial(RedisOnlineStore, config_of(redis_server, key_ttl_seconds=1000), NOWHERE)


def test_the_bytes_of_keys_and_values_never_change(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.put_many("p.view", [encoded([(b"i\x00", 1, -1, 0x0102, b"payload")])])
    assert sorted(client.keys()) == [b"fa:6:p.view:i\x00", b"fa:id:p.view"]
    stamps = b"\x80\0\0\0\0\0\0\x01" + b"\x7f" + b"\xff" * 7 + bytes(6) + b"\x01\x02"
    assert client.get(b"fa:6:p.view:i\x00") == stamps + b"payload"


def test_rows_expire_only_when_that_is_asked_for(
    store: RedisOnlineStore, client: redis.Redis, redis_server: tuple[str, int]
) -> None:
    expiring = RedisOnlineStore(config_of(redis_server, key_ttl_seconds=500), NOWHERE)
    expiring.put_many("t", [encoded([(b"a", 1, 0, 0, b"x")])])
    store.put_many("t", [encoded([(b"b", 1, 0, 0, b"x")])])
    assert 490 < client.ttl(b"fa:1:t:a") <= 500
    assert client.ttl(b"fa:1:t:b") == -1
    expiring.close()


def test_other_keys_of_the_server_are_left_alone(store: RedisOnlineStore, client: redis.Redis) -> None:
    client.set("fa:1:tx", "not ours")
    client.set("session", "not ours")
    store.put_many("t", [encoded([(b"a", 1, 0, 0, b"x")])])
    store.drop(["t"])
    assert sorted(client.keys()) == [b"fa:1:tx", b"session"]


def test_a_read_of_many_tables_is_one_command(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.put_many("a", [encoded([(b"k", 1, 0, 0, b"x")])])
    client.config_resetstat()
    store.get_many([OnlineRead("a", [b"k"] * 500), OnlineRead("b", [b"k", b"l"])])
    commands = {name: entry["calls"] for name, entry in client.info("commandstats").items()}
    assert commands.get("cmdstat_mget") == 1
    assert "cmdstat_get" not in commands


def test_reads_that_begin_together_on_an_event_loop_are_one_command(
    store: RedisOnlineStore, client: redis.Redis
) -> None:
    store.put_many("a", [encoded([(b"%d" % i, i, 0, 0, b"a%d" % i) for i in range(64)])])
    store.put_many("b", [encoded([(b"%d" % i, i, 0, 0, b"b%d" % i) for i in range(0, 64, 2)])])
    client.config_resetstat()

    async def read(number: int) -> list[bytes | None]:
        key = b"%d" % number
        a, b = await store.get_many_async([OnlineRead("a", [key]), OnlineRead("b", [key])])
        return [*a.payloads, *b.payloads]

    async def read_all() -> list[list[bytes | None]]:
        try:
            return await asyncio.gather(*[read(number) for number in range(64)])
        finally:
            await store.aclose()

    assert asyncio.run(read_all()) == [[b"a%d" % i, None if i % 2 else b"b%d" % i] for i in range(64)]
    assert client.info("commandstats")["cmdstat_mget"]["calls"] == 1


def test_scripts_that_the_server_forgot_are_loaded_again_and_counted_once(
    store: RedisOnlineStore, client: redis.Redis
) -> None:
    rows = [(b"k%d" % i, 1, 0, 0, b"x") for i in range(2500)]
    for _ in range(2):
        client.script_flush()
        client.flushall()
        result = store.put_many("t", [encoded(rows)])
        assert (result.written, result.ignored) == (2500, 0)

    async def put() -> None:
        client.script_flush()
        result = await store.put_many_async("t", [encoded(rows), encoded([(b"new", 1, 0, 0, b"x")])])
        assert (result.written, result.ignored) == (1, 2500)
        await store.aclose()

    asyncio.run(put())


def test_a_server_that_forgets_scripts_at_once_is_unavailable(
    store: RedisOnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_puts, "_SHA", "0" * 40)
    with pytest.raises(StoreUnavailableError, match="NOSCRIPT|No matching script"):
        store.put_many("t", [encoded([(b"a", 1, 0, 0, b"x")])])


def test_many_rows_that_are_all_new_are_compared_with_nothing(store: RedisOnlineStore, client: redis.Redis) -> None:
    rows = [(b"k%d" % i, i, 0, 0, b"x") for i in range(4001)]
    client.config_resetstat()
    assert store.put_many("t", [encoded(rows)]) == PutResult(4001, 0)
    commands = client.info("commandstats")
    assert "cmdstat_evalsha" not in commands or commands["cmdstat_evalsha"]["calls"] == 1  # the last row is alone
    assert store.identity("t")
    assert read_rows(store, "t", [b"k0", b"k4000"]) == [(0, 0, 0, b"x"), (4000, 0, 0, b"x")]


@pytest.mark.parametrize("place", [0, 499, 500, 1999, 2000, 2499])
def test_among_new_rows_the_newest_of_what_is_stored_is_kept(store: RedisOnlineStore, place: int) -> None:
    rows = [(b"k%d" % i, 5, 0, 0, b"x") for i in range(2500)]
    for time, written in ((9, 2499), (1, 2500)):
        store.drop(["t"])
        store.put_many("t", [encoded([(b"k%d" % place, time, 0, 0, b"old")])])
        result = store.put_many("t", [encoded(rows)])
        assert (result.written, result.ignored) == (written, 2500 - written)
        found = read_rows(store, "t", [key for key, *_ in rows])
        assert found.pop(place) == ((9, 0, 0, b"old") if time == 9 else (5, 0, 0, b"x"))
        assert set(found) == {(5, 0, 0, b"x")}


def test_a_server_that_is_down_is_named_without_its_password() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        text = f"127.0.0.1:{port},password=hunter2,socket_connect_timeout=0.2"
        store = RedisOnlineStore(RedisOnlineStoreConfig(connection_string=text), NOWHERE)  # type: ignore[arg-type]
        for work in (
            lambda: store.setup(["t"]),
            lambda: read_rows(store, "t", [b"k"]),
            lambda: store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])]),
            lambda: scanned(store, "t", 0, 1),
            lambda: store.replace_many("t", stamps([(b"k", 1, 0, 0, b"x")]), encoded([])),
            lambda: store.put_existing("t", [encoded([(b"k", 1, 0, 0, b"x")])]),
            lambda: store.sample_keys("t", 1, 0),
            lambda: store.drop(["t"]),
            lambda: asyncio.run(store.get_many_async([OnlineRead("t", [b"k"])])),
        ):
            with pytest.raises(StoreUnavailableError, match=f"Redis at 127.0.0.1:{port} cannot be used") as caught:
                work()
            assert "hunter2" not in str(caught.value)
            assert caught.value.__cause__ is None
    assert "hunter2" not in repr(store)


def test_a_wrong_password_is_an_unavailable_store(redis_server: tuple[str, int]) -> None:
    config = RedisOnlineStoreConfig.model_validate(
        {"connection_string": f"{redis_server[0]}:{redis_server[1]},username=nobody,password=hunter2"}
    )
    with pytest.raises(StoreUnavailableError, match=r"WRONGPASS|invalid username") as caught:
        RedisOnlineStore(config, NOWHERE).setup(["t"])
    assert "hunter2" not in str(caught.value)


def test_a_full_server_refuses_new_rows_and_still_reads(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        store.put_many("t", [encoded([(b"k", 2, 0, 0, b"y")])])
    assert read_rows(store, "t", [b"k"]) == [(1, 0, 0, b"x")]


@pytest.mark.parametrize(
    ("policy", "expires", "evicts"),
    [
        ("noeviction", True, False),
        ("allkeys-lru", False, True),
        ("volatile-lru", False, False),
        ("volatile-ttl", True, True),
    ],
)
def test_a_policy_that_removes_rows_is_named_once_at_setup(
    client: redis.Redis, redis_server: tuple[str, int], policy: str, expires: bool, evicts: bool
) -> None:
    config = config_of(redis_server, key_ttl_seconds=500 if expires else None)
    client.config_set("maxmemory-policy", policy)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # Without a limit of memory nothing is removed.
            RedisOnlineStore(config).setup(["t"])
        client.config_set("maxmemory", 10**9)
        store = RedisOnlineStore(config)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for _ in range(3):
                store.setup(["t"])
        assert [f"maxmemory-policy {policy}" in str(w.message) for w in told] == ([True] if evicts else [])
        assert store.evicts() == (policy if evicts else "")
        store.close()
    finally:
        client.config_set("maxmemory-policy", "noeviction")


@pytest.mark.parametrize(("allowed", "policy"), [("+config|get", "allkeys-lru"), ("+info", "allkeys-lru"), ("", "")])
def test_a_server_that_refuses_to_tell_its_policy_is_used_all_the_same(
    client: redis.Redis, redis_server: tuple[str, int], allowed: str, policy: str
) -> None:
    client.config_set("maxmemory", 10**9)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.execute_command(
        "ACL", "SETUSER", "small", "on", ">word", "~*", "+@all", "-config", "-info", *allowed.split()
    )
    address = f"{redis_server[0]}:{redis_server[1]},username=small,password=word"
    store = RedisOnlineStore(RedisOnlineStoreConfig.model_validate({"connection_string": address}))
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            store.setup(["t"])
        assert len(told) == bool(policy)
        assert store.evicts() == policy
        assert store.identity("t")
    finally:
        store.close()
        client.execute_command("ACL", "DELUSER", "small")
        client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_was_flushed_has_other_identities(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.setup(["t"])
    first = store.identity("t")
    client.flushall()
    assert store.identity("t") == ""
    store.setup(["t"])
    assert store.identity("t") not in ("", first)


def test_identities_never_expire(client: redis.Redis, redis_server: tuple[str, int]) -> None:
    expiring = RedisOnlineStore(config_of(redis_server, key_ttl_seconds=500), NOWHERE)
    expiring.setup(["t"])
    expiring.put_many("put", [encoded([(b"a", 1, 0, 0, b"x")])])
    assert [client.ttl(b"fa:id:t"), client.ttl(b"fa:id:put")] == [-1, -1]
    expiring.close()


def test_setting_up_again_works_on_a_full_server(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.setup(["t"])
    client.config_set("maxmemory", 1)
    store.setup(["t"])
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        store.setup(["t", "new"])


def test_more_reads_at_once_than_there_are_connections_wait_for_one(
    store: RedisOnlineStore, client: redis.Redis
) -> None:
    store.put_many("t", [encoded([(b"k%d" % i, 1, 0, 0, b"%d" % i) for i in range(300)])])

    async def read(number: int) -> list[bytes | None]:
        # Too many keys to share a round trip.
        (found,) = await store.get_many_async([OnlineRead("t", [b"k%d" % number] * 600)])
        return list(found.payloads[:1])

    async def read_all() -> list[list[bytes | None]]:
        try:
            return await asyncio.gather(*[read(number) for number in range(300)])
        finally:
            await store.aclose()

    assert asyncio.run(read_all()) == [[b"%d" % number] for number in range(300)]
    with ThreadPoolExecutor(150) as threads:
        found = list(threads.map(lambda number: read_rows(store, "t", [b"k%d" % number]), range(300)))
    assert found == [[(1, 0, 0, b"%d" % number)] for number in range(300)]


def test_a_read_that_gets_no_connection_in_time_says_so(
    redis_server: tuple[str, int], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.online_stores.redis.store._POOL_SECONDS", 0.05)
    text = f"{redis_server[0]}:{redis_server[1]},max_connections=1"
    store = RedisOnlineStore(RedisOnlineStoreConfig.model_validate({"connection_string": text}), NOWHERE)
    taken = store._client.connection_pool.get_connection()
    with pytest.raises(StoreUnavailableError, match="No connection available"):
        read_rows(store, "t", [b"k"])
    store._client.connection_pool.release(taken)
    assert read_rows(store, "t", [b"k"]) == [None]
    store.close()


def test_a_connection_that_breaks_is_opened_again(store: RedisOnlineStore, client: redis.Redis) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
    expected = read_rows(store, "t", [b"k"])
    pool = store._client.connection_pool
    take = pool.get_connection

    def broken() -> Any:
        connection = take()
        client.client_kill_filter(_type="normal", skipme=True)
        return connection

    client.client_kill_filter(_type="normal", skipme=True)  # while it is idle
    assert read_rows(store, "t", [b"k"]) == expected
    pool.get_connection = broken  # when it is about to be used
    assert read_rows(store, "t", [b"k"]) == expected

    async def read() -> list[bytes | None]:
        asked = [OnlineRead("t", [b"k"])]
        try:
            (before,) = await store.get_many_async(asked)
            client.client_kill_filter(_type="normal", skipme=True)
            (after,) = await store.get_many_async(asked)
            return [*before.payloads, *after.payloads]
        finally:
            await store.aclose()

    assert asyncio.run(read()) == [b"x", b"x"]


def test_event_loops_do_not_share_connections(store: RedisOnlineStore) -> None:
    store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])

    async def read() -> list[bytes | None]:
        (found,) = await store.get_many_async([OnlineRead("t", [b"k"])])
        await store.aclose()
        await store.aclose()
        return list(found.payloads)

    assert [asyncio.run(read()) for _ in range(3)] == [[b"x"]] * 3


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "feast_assets.online_stores.redis.store"
    monkeypatch.delitem(sys.modules, name)
    actual_import = builtins.__import__

    def without_redis(module: str, *arguments: Any, **keywords: Any) -> Any:
        if module.split(".")[0] == "redis":
            raise ModuleNotFoundError("No module named 'redis'", name="redis")
        return actual_import(module, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_redis)
    with pytest.raises(ImportError, match=r"pip install 'feast-assets\[redis\]'"):
        importlib.import_module(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"redis_type": "redis_cluster"}, "redis_type 'redis_cluster' is not supported yet"),
        ({"redis_type": "redis_sentinel"}, "redis_type 'redis_sentinel' is not supported yet"),
        ({"key_ttl_seconds": 0}, "greater than 0"),
        ({"conection_string": "localhost:1,password=hunter2"}, "conection_string"),
        ({"connection_string": "a:1,b:2,password=hunter2"}, "should name one host:port, not 2"),
        ({"connection_string": "password=hunter2"}, "should name one host:port, not 0"),
        ({"connection_string": "localhost:port,password=hunter2"}, "should begin with host:port"),
        ({"connection_string": "localhost:1,pasword=hunter2"}, "no option 'pasword'. Did you mean 'password'"),
        ({"connection_string": "localhost:1,db=hunter2"}, "option 'db' has a value that cannot be read"),
        ({"connection_string": "localhost:1,max_connections=0,password=hunter2"}, "option 'max_connections'"),
        ({"connection_string": "localhost:1,ssl=maybe,password=hunter2"}, "option 'ssl'"),
        ({"connection_string": "localhost:1,password=a,hunter2=b"}, "no option of that name. Known: 'client_name'"),
        ({"connection_string": "u:hunter2@localhost:1"}, "should begin with host:port"),
        ({"connection_string": "unix://:hunter2@/tmp/redis.sock"}, "unix:// is not supported"),
        ({"connection_string": "https://:hunter2@h"}, "that begins with redis:// or rediss://"),
        ({"connection_string": "redis://:hunter2/x@h"}, "cannot be parsed unambiguously"),
        ({"connection_string": "redis://:hunter2@h,i:2"}, "cannot be parsed unambiguously"),
        ({"connection_string": "redis://:hunter2@h:99999"}, "cannot be parsed unambiguously"),
        ({"connection_string": "redis://:hunter2@h/name"}, "cannot be parsed unambiguously"),
        ({"connection_string": "redis://"}, "cannot be parsed unambiguously"),
        ({"connection_string": "redis://:hunter2@h/1?db=2"}, "gives db twice"),
        ({"connection_string": "redis://:hunter2@h?pasword=hunter2"}, "no option 'pasword'. Did you mean 'password'"),
        ({"connection_string": "redis://:hunter2@h?db=hunter2"}, "option 'db' has a value that cannot be read"),
    ],
)
def test_wrong_settings_are_named_and_secrets_are_not(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RedisOnlineStoreConfig.model_validate({"type": "redis", **settings})
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_connection_string_says_how_to_connect() -> None:
    text = "cache.internal:6390,ssl=true,username=u,password=hun=ter2,db=3,socket_timeout=0.5"
    config = RedisOnlineStoreConfig.model_validate({"connection_string": text, "full_scan_for_deletion": True})
    assert "hun=ter2" not in repr(config) + str(config) + repr(config.address) + config.model_dump_json()
    arguments = config.address.client_arguments()
    assert {k: arguments[k] for k in ("host", "port", "ssl", "username", "password", "db", "socket_timeout")} == {
        "host": "cache.internal",
        "port": 6390,
        "ssl": True,
        "username": "u",
        "password": "hun=ter2",
        "db": 3,
        "socket_timeout": 0.5,
    }
    assert RedisOnlineStore(config, NOWHERE)._client.connection_pool.connection_class is redis.SSLConnection
    assert RedisOnlineStoreConfig().address.host_port == "localhost:6379"
    assert RedisOnlineStoreConfig.model_validate({"connection_string": "[::1]:7000"}).address.host == "::1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://h", {"host": "h", "port": 6379}),
        ("redis://h:7000/", {"host": "h", "port": 7000}),
        ("  redis://h:7000\n", {"host": "h", "port": 7000}),
        ("redis://:pw@h", {"host": "h", "password": "pw"}),
        ("REDIS://ann:pw@h/3", {"host": "h", "username": "ann", "password": "pw", "db": 3}),
        ("rediss://ann@[::1]:7/0", {"host": "::1", "port": 7, "username": "ann", "db": 0, "ssl": True}),
        ("redis://a%3Ab:p%40%2F%23%3F%25w@h", {"username": "a:b", "password": "p@/#?%w"}),
        ("redis://:p,w=x:y z@h?db=2&client_name=a%20b", {"password": "p,w=x:y z", "db": 2, "client_name": "a b"}),
        ("redis://h?password=p%26w&ssl=true&ssl_cert_reqs=none", {"password": "p&w", "ssl": True}),
    ],
)
def test_a_url_says_how_to_connect(text: str, expected: dict[str, Any]) -> None:
    config = RedisOnlineStoreConfig.model_validate({"connection_string": text})
    arguments = config.address.client_arguments()
    assert {name: arguments[name] for name in expected} == expected
    assert "password" in expected or "password" not in arguments


def test_a_url_reads_and_writes(redis_server: tuple[str, int], client: redis.Redis) -> None:
    host, port = redis_server
    url = f"redis://default:any@{host}:{port}/5?socket_timeout=2"
    client.config_set("requirepass", "any")
    try:
        store = RedisOnlineStore(RedisOnlineStoreConfig.model_validate({"connection_string": url}), NOWHERE)
        store.put_many("t", [encoded([(b"k", 1, 0, 0, b"x")])])
        assert read_rows(store, "t", [b"k"])
        store.close()
    finally:
        redis.Redis(host, port, password="any").config_set("requirepass", "")
    assert client.dbsize() == 0
    assert redis.Redis(host, port, db=5).dbsize() == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_event_loops_that_end_without_closing_leave_nothing_open(redis_server: tuple[str, int]) -> None:
    host, port = redis_server
    store = RedisOnlineStore(RedisOnlineStoreConfig(connection_string=f"{host}:{port}"))

    def files_after(calls: int) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(calls):
                asyncio.run(store.get_many_async([OnlineRead("t", [b"key"])]))
                gc.collect()
        return len(os.listdir("/proc/self/fd"))

    assert files_after(12) - files_after(3) <= 1
    store.close()


def test_as_many_rows_as_are_put_whole_are_one_command() -> None:
    """Redis runs a command as a whole, so a push of so many rows needs no note of what is left to do."""
    most = RedisOnlineStore.rows_put_whole
    assert most is not None
    for rows, expected in ((most, 1), (most + 1, 4)):  # a round trip has four of 500 rows
        batch = encoded([(b"%d" % i, i, i, 0, b"payload") for i in range(rows)])
        trips = redis_puts.Put(b"p:", b"identity", lambda: b"drawn", 0, False, lambda key: None).round_trips([batch])
        new = next(trips)
        assert [command.count(b"MSETNX") for command in new.commands] == [0, *[1] * expected]
        new.take([b"OK", *[0] * expected])  # refused, as a row is there
        compared = next(trips)
        assert len(compared.commands) == expected
        trips.close()


def test_a_restart_token_is_the_run_and_the_history_of_the_server(
    store: RedisOnlineStore, client: redis.Redis, redis_server: tuple[str, int]
) -> None:
    run, history = client.info("server")["run_id"], client.info("replication")["master_replid"]
    assert store.restart_token() == f"{run}:{history}"
    client.acl_setuser("plain", enabled=True, passwords=["+word"], keys=["*"], commands=["+@all", "-info"])
    plain = RedisOnlineStore(
        config_of(redis_server, connection_string="{}:{},username=plain,password=word".format(*redis_server)), NOWHERE
    )
    assert plain.restart_token() == ""
    assert not plain.evicts_marks()
    plain.close()
    client.acl_deluser("plain")


@pytest.mark.parametrize(
    ("maxmemory", "policy", "evicts"),
    [(0, "allkeys-lru", False), (2**30, "allkeys-random", True), (2**30, "volatile-lru", False)],
)
def test_only_a_server_that_may_remove_keys_for_ever_evicts_marks(
    store: RedisOnlineStore, client: redis.Redis, maxmemory: int, policy: str, evicts: bool
) -> None:
    client.config_set("maxmemory", maxmemory)
    client.config_set("maxmemory-policy", policy)
    assert store.evicts_marks() == evicts
    client.config_set("maxmemory-policy", "noeviction")


def test_a_mark_never_expires_and_is_read_in_one_command(client: redis.Redis, redis_server: tuple[str, int]) -> None:
    store = RedisOnlineStore(config_of(redis_server, key_ttl_seconds=500), NOWHERE)
    tables = [f"t{i}" for i in range(200)]
    store.setup(tables)
    store.advance("t0", 1, 7)
    assert (client.get("fa:mark:t0"), client.ttl("fa:mark:t0"), client.ttl("fa:id:t0")) == (b"7", -1, -1)
    client.config_resetstat()
    assert [m.number for m in store.marks(tables)] == [7] + [1] * 199
    calls = {name: entry["calls"] for name, entry in client.info("commandstats").items()}
    assert calls["cmdstat_mget"] == 1
    store.close()
