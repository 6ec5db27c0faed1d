"""The conformance suites of feast_assets, as a package from outside runs them on its own backends."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from journal_backends.offline import LoggedOfflineStore, LoggedOfflineStoreConfig
from journal_backends.online import JournalOnlineStore, JournalOnlineStoreConfig
from journal_backends.registry import AnnouncedRegistry, AnnouncedRegistryConfig

from feast_assets import FileSource
from feast_assets.testing import OfflineStoreConformance, OnlineStoreConformance, RegistryConformance


class TestJournalOnlineStore(OnlineStoreConformance):
    @pytest.fixture
    def store_factory(self, tmp_path: Path):
        return partial(JournalOnlineStore, JournalOnlineStoreConfig(), tmp_path)


class TestLoggedOfflineStore(OfflineStoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path):
        return LoggedOfflineStore(LoggedOfflineStoreConfig(), tmp_path)

    @pytest.fixture
    def put(self, tmp_path: Path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}.parquet"
            pq.write_table(table, tmp_path / path)
            created = "created" if "created" in table.column_names else None
            return FileSource(path=path, timestamp_field="event_timestamp", created_timestamp_column=created)

        return put


class TestAnnouncedRegistry(RegistryConformance):
    @pytest.fixture
    def registry_factory(self, tmp_path: Path):
        return partial(AnnouncedRegistry, AnnouncedRegistryConfig(path="data/registry.db"), tmp_path)
