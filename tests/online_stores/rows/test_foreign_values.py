"""Values that somebody else wrote under the keys of rows: they block nothing, are named, and are overwritten."""

from __future__ import annotations

import asyncio
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis

from feast_assets.errors import ForeignValueWarning
from feast_assets.online_stores.base import OnlineRead
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.online_stores.rows.codec import RowDecoder, RowSchema, encode_rows
from feast_assets.online_stores.rows.foreign_values import ForeignValues
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.testing.online_store import encoded, read_rows, scanned, stamps
from feast_assets.types import Int64

ROWS = [(b"key-%d" % i, 5, 0, 0, bytes(30)) for i in range(6)]
OTHERS = [ROWS[0], *ROWS[2:]]


@pytest.fixture
def client(redis_server: tuple[str, int]) -> Iterator[redis.Redis]:
    with redis.Redis(*redis_server) as client:
        client.flushall()
        yield client


@pytest.fixture(params=[None, 1000], ids=["kept", "expiring"])
def store(request: pytest.FixtureRequest, redis_server: tuple[str, int], client: redis.Redis) -> Iterator[Any]:
    config = RedisOnlineStoreConfig(
        connection_string=f"{redis_server[0]}:{redis_server[1]}", key_ttl_seconds=request.param
    )
    store = RedisOnlineStore(config)
    store.put_many("t", [encoded(ROWS)])
    yield store
    store.close()


PLANTED = {
    "an empty string": lambda client, key: client.set(key, b""),
    "a short string": lambda client, key: client.set(key, b"abc"),
    "23 bytes": lambda client, key: client.set(key, bytes(23)),
    "a list": lambda client, key: client.lpush(key, "x"),
    "a hash": lambda client, key: client.hset(key, "field", "x"),
    "a set": lambda client, key: client.sadd(key, "x"),
    "a sorted set": lambda client, key: client.zadd(key, {"x": 1}),
    "a stream": lambda client, key: client.xadd(key, {"x": 1}),
}


@pytest.fixture(params=list(PLANTED))
def planted(request: pytest.FixtureRequest, store: Any, client: redis.Redis) -> str:
    client.delete(b"fa:1:t:key-1")
    PLANTED[request.param](client, b"fa:1:t:key-1")
    return request.param


def test_reads_go_on_without_it(store: RedisOnlineStore, planted: str) -> None:
    keys = [row[0] for row in ROWS]
    expected = [row[1:] if row in OTHERS else None for row in ROWS]
    assert read_rows(store, "t", keys) == expected

    async def read() -> list[list[bytes | None]]:
        found = await asyncio.gather(*[store.get_many_async([OnlineRead("t", [key])]) for key in keys])
        await store.aclose()
        return [list(rows.payloads) for (rows,) in found]

    assert asyncio.run(read()) == [[row[4]] if row in OTHERS else [None] for row in ROWS]


def test_scans_samples_and_withdrawals_go_on_without_it(store: RedisOnlineStore, planted: str) -> None:
    assert {row[0] for row in scanned(store, "t", 0, 10)} == {row[0] for row in OTHERS}
    assert set(store.sample_keys("t", 100, 0)) == {row[0] for row in ROWS}
    assert store.replace_many("t", stamps(ROWS), encoded([(b"key-2", 3, 0, 0, bytes(20))])) == len(OTHERS)
    assert [row is not None for row in read_rows(store, "t", [row[0] for row in ROWS])] == [
        row[0] == b"key-2" for row in ROWS
    ]
    # Another row, or none, would be left as well.
    assert list(store.foreign("t", [row[0] for row in ROWS])) == [b"key-1"]


@pytest.mark.parametrize("only_existing", [False, True])
def test_a_put_overwrites_it_and_names_its_key_once(
    store: RedisOnlineStore, planted: str, client: redis.Redis, only_existing: bool
) -> None:
    older = [(key, 2, 0, 0, bytes(20)) for key, *_ in ROWS]
    if only_existing:
        put = store.put_existing("t", [encoded(older)])
        assert (put.written, put.absent) == (0, (b"key-1",))
        assert list(store.foreign("t", [row[0] for row in ROWS])) == [b"key-1"]
    with pytest.warns(ForeignValueWarning, match=r"table 't'.*b'key-1'.*overwritten") as warned:
        assert store.put_many("t", [encoded(older)]).written == 1
    assert len(warned) == 1
    assert read_rows(store, "t", [b"key-0", b"key-1"]) == [(5, 0, 0, bytes(30)), (2, 0, 0, bytes(20))]
    assert store.foreign("t", [row[0] for row in ROWS]) == {}
    assert (client.ttl("fa:1:t:key-1") > 0) == (client.ttl("fa:1:t:key-0") > 0)
    client.set(b"fa:1:t:key-1", b"again")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.put_many("t", [encoded(older)]).written == 1


def test_a_put_of_many_new_rows_overwrites_it(store: RedisOnlineStore, planted: str) -> None:
    many = [(b"key-%d" % i, 2, 0, 0, bytes(20)) for i in range(2_500)]
    with pytest.warns(ForeignValueWarning, match="key-1"):
        assert store.put_many("t", [encoded(many)]).written == 2_500 - len(OTHERS)


def test_a_put_without_blocking_overwrites_it(store: RedisOnlineStore, planted: str) -> None:
    async def put() -> int:
        written = (await store.put_many_async("t", [encoded([(b"key-1", 2, 0, 0, bytes(20))])])).written
        await store.aclose()
        return written

    with pytest.warns(ForeignValueWarning, match="key-1"):
        assert asyncio.run(put()) == 1


@pytest.mark.parametrize("plant", PLANTED.values(), ids=list(PLANTED))
def test_an_identity_of_another_type_is_drawn_anew(store: RedisOnlineStore, client: redis.Redis, plant: Any) -> None:
    client.delete("fa:id:t")
    plant(client, "fa:id:t")
    store.identity("t")  # of a string, it is what the string says
    store.setup(["t"])
    if client.type("fa:id:t") == b"string":
        assert store.identity("t") == client.get("fa:id:t").decode() != ""
    plant(client, "fa:id:new")
    store.put_many("new", [encoded(ROWS)])
    store.setup(["new"])
    assert store.identity("new") != ""
    store.drop(["t", "new"])
    assert client.keys() == []


# --- SQLite

CELLS = {
    "event_ts": ["text", b"blob", 1.5],
    "created_ts": ["text", b"blob", 1.5],
    "version": ["text", b"blob", 1.5],
    "content": ["text", 7, 1.5],
}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteOnlineStore]:
    store = SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), tmp_path)
    store.put_many("t", [encoded(ROWS)])
    yield store
    store.close()


@pytest.mark.parametrize(("column", "value"), [(column, value) for column in CELLS for value in CELLS[column]])
def test_cells_of_other_types_are_not_there(
    sqlite: SqliteOnlineStore, tmp_path: Path, column: str, value: object
) -> None:
    with closing(sqlite3.connect(tmp_path / "online.db")) as connection, connection:
        connection.execute(f"UPDATE rows_t SET {column} = ? WHERE key = ?", (value, b"key-1"))
        connection.execute("INSERT INTO rows_t VALUES ('text', 5, 0, 0, x'00'), (12, 5, 0, 0, x'00')")
    keys = [row[0] for row in ROWS]
    assert read_rows(sqlite, "t", keys) == [row[1:] if row in OTHERS else None for row in ROWS]
    assert read_rows(sqlite, "t", [b"key-1"]) == [None]
    assert list(sqlite.foreign("t", keys)) == [b"key-1"]
    (rows,) = sqlite.get_many([OnlineRead("t", keys)])
    assert list(rows.foreign()) == [1] and rows.foreign()[1] == sqlite.foreign("t", keys)[b"key-1"]
    assert {row[0] for row in scanned(sqlite, "t", 0, 10)} >= {row[0] for row in OTHERS}
    assert b"key-1" not in {row[0] for row in scanned(sqlite, "t", 0, 10)}
    assert set(sqlite.sample_keys("t", 100, 0)) == set(keys)
    assert sqlite.replace_many("t", stamps(ROWS[1:2]), encoded([])) == 0
    put = sqlite.put_existing("t", [encoded([(b"key-1", 6, 0, 0, b"x")])])
    assert put.absent == (b"key-1",)
    newer = encoded([(b"key-1", 6, 0, 0, b"healed"), (b"key-0", 1, 0, 0, b"")])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert sqlite.put_many("t", [newer]).written == 1
    # Where its event time is a number, the row is simply newer.
    assert [str(w.message).count("b'key-1'") for w in told] == ([1] if column == "event_ts" and value != 1.5 else [])
    assert read_rows(sqlite, "t", [b"key-1", b"key-0"]) == [(6, 0, 0, b"healed"), ROWS[0][1:]]


@pytest.mark.parametrize("payload", [*CELLS["content"], "a longer text than any row has bytes", b"", b"abc"])
@pytest.mark.parametrize("keys", [[b"a"], [b"a", b"b"], [b"b", b"a"]], ids=["alone", "first", "second"])
def test_a_payload_that_is_none_is_not_found_wherever_it_is(
    sqlite: SqliteOnlineStore, tmp_path: Path, payload: object, keys: list[bytes]
) -> None:
    schema = RowSchema((("n", Int64),))
    (sound,) = encode_rows(schema, pa.table({"n": [7]}))
    sqlite.put_many("t", [encoded([(b"a", 5, 0, 2, sound), (b"b", 5, 0, 2, sound)])])
    with closing(sqlite3.connect(tmp_path / "online.db")) as connection, connection:
        connection.execute("UPDATE rows_t SET content = ? WHERE key = ?", (payload, b"a"))
    decoder = RowDecoder({schema.schema_id: schema}, [("n", Int64)])
    (stored,) = sqlite.get_many([OnlineRead("t", keys)])
    found = decoder.decode_stored(stored)
    assert found.to_pylists()[0] == [7 if key == b"b" else None for key in keys]
    assert list(found.damaged) == [keys.index(b"a")]


# --- warnings


def test_keys_are_named_once_shortened_and_not_without_end() -> None:
    values = ForeignValues("Store")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ForeignValueWarning)
        for _ in range(3):
            values.warn("t", b"\x00" * 5_000, "it is a list")
        for number in range(3_000):
            values.warn("t", b"%d" % number, "it is a list")
    assert len(warned) == 1_001
    assert len(str(warned[0].message)) < 400 and "(5000 bytes)" in str(warned[0].message)
    assert "further ones are not named" in str(warned[-1].message)
