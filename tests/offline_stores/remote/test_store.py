"""The remote offline store, against an offline server over DuckDB."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.offline_stores.base import History, OfflineStore
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.remote.config import RemoteOfflineStoreConfig
from feast_assets.offline_stores.remote.messages import HistoryMessage
from feast_assets.offline_stores.remote.store import RemoteOfflineStore
from feast_assets.serving.flight.known_sources import KnownSources
from feast_assets.serving.flight.options import OfflineServerOptions
from feast_assets.serving.flight.server import OfflineServer
from feast_assets.testing.offline_store import (
    CanProfileConformance,
    CanReplaceWindowsConformance,
    OfflineStoreConformance,
    Put,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
    WritesOnceConformance,
)


class Served:
    """An offline server of this process whose store each test chooses."""

    def __init__(self, options: OfflineServerOptions) -> None:
        self.holder = SimpleNamespace(offline_store=None, project="shop")
        self.holder.snapshot = lambda: SimpleNamespace(data_sources=[])
        self.server = OfflineServer(self.holder, options)  # type: ignore[arg-type]


def _client(served: Served, **settings: Any) -> RemoteOfflineStore:
    config = RemoteOfflineStoreConfig(host="127.0.0.1", port=served.server.port, **settings)
    return RemoteOfflineStore(config, Path())


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served(OfflineServerOptions(port=0, any_source=True))
    yield server
    server.server.shutdown()


@pytest.fixture
def behind(served: Served, tmp_path: Path) -> OfflineStore:
    """The store that the server has."""
    served.holder.offline_store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)
    return served.holder.offline_store


def _source(path: str, table: pa.Table) -> FileSource:
    created = "created" if "created" in table.column_names else None
    return FileSource(name=path, path=path, timestamp_field="event_timestamp", created_timestamp_column=created)


class TestRemote(
    OfflineStoreConformance,
    CanProfileConformance,
    CanReplaceWindowsConformance,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
    WritesOnceConformance,
):
    @pytest.fixture
    def store(self, served: Served, behind: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfflineStore]:
        # A function never travels. What the suite makes is in no repository, so the server is given it here.
        functions: list[Transformation] = []
        message_of = HistoryMessage.of

        def noticed(history: History) -> HistoryMessage:
            functions.extend([history.transformation] if history.transformation is not None else [])
            return message_of(history)

        def known(sources: KnownSources, view: str, named: Transformation) -> Transformation:
            return next(each for each in reversed(functions) if each == named)

        monkeypatch.setattr(HistoryMessage, "of", noticed)
        monkeypatch.setattr(KnownSources, "transformation", known)
        store = _client(served)
        yield store
        store.close()

    @pytest.fixture
    def put(self, tmp_path: Path) -> Put:
        numbers = itertools.count()

        def put(table: pa.Table) -> DataSource:
            path = f"trips_{next(numbers)}.parquet"
            pq.write_table(table, tmp_path / path)
            return _source(path, table)

        return put

    @pytest.fixture
    def sink(self) -> DataSource:
        return FileSource(name="sink", path="kept/trips", timestamp_field="event_timestamp")

    @pytest.fixture
    def put_as_text(self, tmp_path: Path) -> Put:
        numbers = itertools.count()

        def put(table: pa.Table) -> DataSource:
            path = f"trips_{next(numbers)}.csv"
            csv.write_csv(table, tmp_path / path)
            return _source(path, table)

        return put
