"""Rows that version 0.1 put into Redis, where a payload began with the version, are read and compared as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from feast_assets.online_stores.base import OnlineRead
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.online_stores.rows.codec import RowDecoder, RowSchema, encode_rows
from feast_assets.online_stores.rows.keys import encode_keys
from feast_assets.testing.online_store import encoded, read_rows, scanned, stamps
from feast_assets.types import Array, Float32, Int64, String
from feast_assets.types.python import to_arrow_column

OLD = Path(__file__).with_name("rows_of_0_1.json")
TABLE = "shop_driver_stats"
SCHEMA = RowSchema((("trips", Int64), ("city", String), ("embedding", Array(Float32))))
KEYS = encode_keys(["driver_id"], [Int64], [[1001, 1002, 1003, -5]])
DAY = 86_400_000_000
START = 1_704_067_200_000_000
STAMPS = [
    (START + 1, START, START + 2 * DAY),
    (START + DAY, -(2**63), START + 2 * DAY + 2),
    (START + 2 * DAY, START + 1, START + 3 * DAY + 1),
    (-START, 0, 0),
]
VALUES = [[10, None, 30, -1], ["Oslo", "", "Bergen", None], [[1.5, 2.5], None, [], [0.0]]]


@pytest.fixture
def client(redis_server: tuple[str, int]) -> Iterator[redis.Redis]:
    """A server with the keys that version 0.1 left."""
    with redis.Redis(*redis_server) as client:
        client.flushall()
        for key, value in json.loads(OLD.read_text(encoding="utf-8")).items():
            client.set(bytes.fromhex(key), bytes.fromhex(value))
        yield client


@pytest.fixture
def store(redis_server: tuple[str, int], client: redis.Redis) -> Iterator[RedisOnlineStore]:
    host, port = redis_server
    store = RedisOnlineStore(RedisOnlineStoreConfig.model_validate({"connection_string": f"{host}:{port}"}))
    yield store
    store.close()


def test_rows_read_as_before(store: RedisOnlineStore) -> None:
    (stored,) = store.get_many([OnlineRead(TABLE, KEYS)])
    decoder = RowDecoder({SCHEMA.schema_id: SCHEMA}, SCHEMA.fields)
    assert decoder.decode_stored(stored).to_pylists() == VALUES
    assert [content and content[:3] for content in read_rows(store, TABLE, KEYS)] == STAMPS
    assert store.mark(TABLE).number == START + 4 * DAY


def test_the_same_rows_are_stored_as_the_same_bytes(store: RedisOnlineStore, client: redis.Redis) -> None:
    """So that processes of both versions can use one server."""
    import pyarrow as pa

    columns = {
        name: to_arrow_column(values, dtype, name) for (name, dtype), values in zip(SCHEMA.fields, VALUES, strict=True)
    }
    payloads = encode_rows(SCHEMA, pa.table(columns))
    rows = [(key, *row, payload) for key, row, payload in zip(KEYS, STAMPS, payloads, strict=True)]
    put = store.put_many(TABLE, [encoded(rows)])
    assert (put.written, put.ignored) == (0, 4)
    store.put_many("again", [encoded(rows)])
    for key in KEYS:
        assert client.get(b"fa:5:again:" + key) == client.get(b"fa:17:shop_driver_stats:" + key)


def test_rows_compare_as_before(store: RedisOnlineStore) -> None:
    event, created, version = STAMPS[1]
    put = store.put_many(TABLE, [encoded([(KEYS[1], event, created, version - 1, b"\xff" * 9)])])
    assert (put.written, put.ignored) == (0, 1)
    newer = (event, created, version + 1, b"\0\0\0\0")
    assert store.put_many(TABLE, [encoded([(KEYS[1], *newer)])]).written == 1
    assert read_rows(store, TABLE, [KEYS[1]]) == [newer]


def test_scans_find_rows_by_their_versions_and_replace_them(store: RedisOnlineStore) -> None:
    assert scanned(store, TABLE, 0, 2**62, START + 3 * DAY) == {(KEYS[i], *STAMPS[i]) for i in (0, 1)}
    held = stamps([(key, *row, b"") for key, row in zip(KEYS, STAMPS, strict=True)])
    assert store.replace_many(TABLE, held, encoded([(KEYS[0], 1, 2, 3, b"older")])) == 4
    assert read_rows(store, TABLE, KEYS) == [(1, 2, 3, b"older"), None, None, None]


def test_what_could_not_be_a_row_before_cannot_be_one_now(store: RedisOnlineStore) -> None:
    decoder = RowDecoder({SCHEMA.schema_id: SCHEMA}, SCHEMA.fields)
    (stored,) = store.get_many([OnlineRead(TABLE, [b"short", b"other", KEYS[0]])])
    decoded = decoder.decode_stored(stored)
    assert set(decoded.damaged) == {0, 1}
    assert decoded.to_pylists()[0] == [None, None, 10]
