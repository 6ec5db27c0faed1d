"""Rows of a newer format in an online store are refused, by readers and writers, sync and async."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
import redis

from feast_assets.errors import StoredFormatError
from feast_assets.online_stores.base import EncodedRows, OnlineRead, OnlineStore
from feast_assets.online_stores.postgres.config import PostgresOnlineStoreConfig
from feast_assets.online_stores.postgres.store import PostgresOnlineStore
from feast_assets.online_stores.redis.config import RedisOnlineStoreConfig
from feast_assets.online_stores.redis.store import RedisOnlineStore
from feast_assets.online_stores.sqlite.config import SqliteOnlineStoreConfig
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore

ROWS = EncodedRows([b"k"], *(np.array([i], np.int64) for i in (2, 1, 0)), [b"payload"])
READ = [OnlineRead("t", [b"k"])]

Make = Callable[[], OnlineStore]
SetFormat = Callable[[int], None]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Make, SetFormat]:
    """How a handle on one store is made, and how another version of the package sets the number of its format."""
    if request.param == "sqlite":

        def in_file(number: int) -> None:
            with closing(sqlite3.connect(tmp_path / "online.db")) as connection:
                connection.execute(f"PRAGMA user_version = {number}")

        return lambda: SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), tmp_path), in_file
    if request.param == "redis":
        host, port = request.getfixturevalue("redis_server")
        redis.Redis(host, port).flushall()
        config = RedisOnlineStoreConfig(connection_string=f"{host}:{port}")
        return lambda: RedisOnlineStore(config), lambda number: bool(redis.Redis(host, port).set("fa:format", number))
    url = request.getfixturevalue("postgres_url")
    user, _, rest = url.removeprefix("postgresql://").partition("@")
    address, _, database = rest.partition("/")
    server, _, server_port = address.partition(":")
    name, _, password = user.partition(":")
    settings = PostgresOnlineStoreConfig(
        host=server, port=int(server_port), database=database, user=name, password=password, sslmode="disable"
    )

    def as_comment(number: int) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(f"COMMENT ON TABLE feast_assets_tables IS 'feast-assets format {number}'")

    return lambda: PostgresOnlineStore(settings), as_comment


async def test_a_newer_format_is_refused_whatever_is_done_first(place: tuple[Make, SetFormat]) -> None:
    make, set_format = place
    writer = make()
    writer.setup(["t"])
    writer.put_many("t", [ROWS])
    writer.close()
    set_format(1)
    for use in ("get_many", "get_many_async"):
        store = make()
        (rows,) = store.get_many(READ) if use == "get_many" else await store.get_many_async(READ)
        assert list(rows.payloads) == [b"payload"]
        store.close()
        await store.aclose()
    set_format(2)
    said = r"nline store .* has format 2; .* Use the version of feast-assets that wrote it, or a newer one"
    uses: list[Callable[[OnlineStore], object]] = [
        lambda store: store.get_many(READ),
        lambda store: store.put_many("t", [ROWS]),
        lambda store: store.setup(["t", "u"]),
        lambda store: store.marks(["t"]),
    ]
    for use_it in uses:
        store = make()
        with pytest.raises(StoredFormatError, match=said):
            use_it(store)
        store.close()
    store = make()
    with pytest.raises(StoredFormatError, match=said):
        await store.get_many_async(READ)
    with pytest.raises(StoredFormatError, match=said):
        await store.put_many_async("t", [ROWS])
    store.close()
    await store.aclose()


def test_a_comment_or_value_of_others_is_no_format(
    place: tuple[Make, SetFormat], request: pytest.FixtureRequest
) -> None:
    make, _ = place
    writer = make()
    writer.setup(["t"])
    writer.put_many("t", [ROWS])
    writer.close()
    if isinstance(writer, RedisOnlineStore):
        host, port = request.getfixturevalue("redis_server")
        redis.Redis(host, port).set("fa:format", "ours")
    elif isinstance(writer, PostgresOnlineStore):
        with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
            connection.execute("COMMENT ON TABLE feast_assets_tables IS 'tables of the feature store'")
    store = make()
    assert list(store.get_many(READ)[0].payloads) == [b"payload"]
    store.close()
