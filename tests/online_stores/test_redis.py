from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import redis

from feast_assets.online_stores.base import OnlineStore
from feast_assets.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast_assets.testing.online_store import OnlineStoreConformance, StoreFactory


def make_store(connection_string: str) -> OnlineStore:
    return RedisOnlineStore(RedisOnlineStoreConfig(connection_string=connection_string))


class TestRedis(OnlineStoreConformance):
    @pytest.fixture
    def store_factory(self, redis_server: tuple[str, int]) -> Iterator[StoreFactory]:
        host, port = redis_server
        with redis.Redis(host, port) as client:
            client.flushall()
        yield partial(make_store, f"{host}:{port}")
