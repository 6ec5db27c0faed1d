from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from feast_assets.online_stores.base import OnlineStore
from feast_assets.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig
from feast_assets.testing.online_store import OnlineStoreConformance, StoreFactory


def make_store(root: Path) -> OnlineStore:
    return SqliteOnlineStore(SqliteOnlineStoreConfig(path="online.db"), root)


class TestSqlite(OnlineStoreConformance):
    @pytest.fixture
    def store_factory(self, tmp_path: Path) -> StoreFactory:
        return partial(make_store, tmp_path)
