"""Rows of parts in memory are found while other threads read and forget some."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import Field, FileSource, Int64
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.files import open_source
from feast_assets.offline_stores.duckdb.read_parts import ReadParts
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.parts import Part


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often_switching")
def test_threads_read_parts_while_others_look_for_some(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "at": pa.array([0], pa.timestamp("us"))}), tmp_path / "rows.parquet")
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), tmp_path)
    source = FileSource(name="s", path="rows.parquet", timestamp_field="at")
    history = History("v", (source,), (Field(name="id", dtype=Int64),), (), "at", only=(Part("unknown", "1", size=1),))
    read_parts = ReadParts()
    with store._engine.cursor() as cursor:
        paths = [str(tmp_path / "rows.parquet")]
        table = open_source(cursor, source, tmp_path, only=paths, part_numbers=True)
        kept = read_parts.read(cursor, history, table, [Part(paths[0], "1", size=1)])
        assert kept is not None
        errors: list[Exception] = []
        until = time.monotonic() + 0.3

        def add() -> None:
            while time.monotonic() < until:
                others = [type(kept)(kept.source, kept.rows, {}) for _ in range(50)]
                for other in others:
                    read_parts._columns[other] = None

        def look() -> None:
            while time.monotonic() < until and not errors:
                try:
                    assert read_parts.table_of(cursor, history) is None
                except (AssertionError, RuntimeError) as error:
                    errors.append(error)

        threads = [threading.Thread(target=each) for each in (add, look, look)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
