"""Stretches of a stream in a folder of files: there once, whoever appends them, and put together later."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import FeatureView, Field, FileSource, Int64
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import StoreUnavailableError
from feast_assets.offline_stores.base import history_of
from feast_assets.offline_stores.duckdb import store as duckdb_store
from feast_assets.offline_stores.duckdb import stream_ranges
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.streams.history import StreamHistory

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
SOURCE = FileSource(name="rides", path="rides", timestamp_field="at")


@pytest.fixture
def store(tmp_path: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(), tmp_path)


def rows(numbers: Any) -> pa.Table:
    listed = list(numbers)
    return pa.table(
        {"n": pa.array(listed, pa.int64()), "at": pa.array([NOON] * len(listed), pa.timestamp("us", "UTC"))}
    )


def held(root: Path) -> list[int]:
    return sorted(ds.dataset(root / "rides").to_table().column("n").to_pylist())


def append(store: DuckDBOfflineStore, start: int, end: int) -> int:
    """Appends messages whose numbers are their offsets, as a consumer does that has read them."""
    history = StreamHistory(store, SOURCE, "topic", "0" * 32)
    return history.append("0", start, end, list(range(start, end)), rows(range(start, end)))


def test_a_stretch_that_is_there_is_met_and_only_the_rest_is_appended(store, tmp_path):
    assert append(store, 0, 10) == 10
    assert append(store, 0, 10) == 0
    assert append(store, 0, 15) == 5
    assert append(store, 5, 12) == 0
    assert append(store, 20, 30) == 10
    assert append(store, 12, 40) == 15
    assert held(tmp_path) == list(range(40))


@settings(max_examples=40)
@given(data=st.data())
def test_whatever_is_appended_again_or_put_together_each_message_is_there_once(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("ranges")
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)
    reached = 0
    for _ in range(data.draw(st.integers(1, 12))):
        start = data.draw(st.integers(0, reached))
        end = data.draw(st.integers(start, reached + 5))
        append(store, start, end)
        reached = max(reached, end)
        if data.draw(st.integers(0, 2)) == 0:
            store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0)
    assert (held(root) if reached else []) == list(range(reached))


def test_small_files_are_put_together(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_ranges, "_FEWEST", 2)
    for start in range(0, 100, 10):
        append(store, start, start + 10)
    assert store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 3600) == 0
    assert store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0) == 9
    (file,) = (tmp_path / "rides").glob("*.parquet")
    assert pq.read_metadata(file).num_row_groups == 1
    assert held(tmp_path) == list(range(100))
    assert append(store, 50, 100) == 0
    assert append(store, 90, 120) == 20
    assert held(tmp_path) == list(range(120))


def test_files_are_not_put_together_beyond_a_size_or_over_a_gap(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_ranges, "_FEWEST", 2)
    for start in (0, 10, 30, 40):
        append(store, start, start + 10)
    assert store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0) == 2
    assert append(store, 0, 50) == 10
    monkeypatch.setattr(stream_ranges, "_LARGE", 1)
    assert store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0) == 0
    assert held(tmp_path) == list(range(50))


def test_a_killed_compaction_is_completed_by_the_next(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_ranges, "_FEWEST", 2)
    for start in range(0, 50, 10):
        append(store, start, start + 10)

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _after(1, Path.unlink, crash))
        with pytest.raises(KeyboardInterrupt):
            store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0)
    assert len(held(tmp_path)) > 50, "some rows are there twice for the moment"
    assert append(store, 20, 60) == 10
    store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0)
    assert held(tmp_path) == list(range(60))


def test_rows_are_counted_once_while_files_are_put_together(store, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_ranges, "_FEWEST", 2)
    for start in range(0, 50, 10):
        append(store, start, start + 10)

    def compact() -> None:
        store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0)

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _after(0, Path.unlink, crash))
        with pytest.raises(KeyboardInterrupt):
            compact()
    real = duckdb_store._check_unmixed
    checks = []

    def after_the_rest_is_removed(*args: Any) -> None:
        if not checks:
            compact()
        checks.append(args)
        real(*args)

    monkeypatch.setattr(duckdb_store, "_check_unmixed", after_the_rest_is_removed)
    number = Field(name="n", dtype=Int64)
    history = history_of(FeatureView(name="rides", entities=[], source=SOURCE, schema=[number]))
    (statistics,) = store.statistics(history, [ALWAYS])
    assert (statistics.rows, len(checks)) == (50, 2)


def _after(count: int, real: Callable[..., None], then: Callable[..., None]) -> Callable[..., None]:
    calls = [0]

    def call(*args: Any, **kwargs: Any) -> None:
        calls[0] += 1
        (real if calls[0] <= count else then)(*args, **kwargs)

    return call


def test_a_consumer_that_was_slow_meets_a_file_that_was_put_together_meanwhile(store, tmp_path, monkeypatch):
    """It looked at the folder, and then others appended its stretch and put it together with the one before."""
    monkeypatch.setattr(stream_ranges, "_FEWEST", 2)
    append(store, 0, 10)
    real = stream_ranges.publish_once

    def slow(temporary: Path, path: Path) -> bool:
        monkeypatch.setattr(stream_ranges, "publish_once", real)
        append(store, 10, 20)
        store.compact_ranges(SOURCE, f"topic-{'0' * 12}_0", 0)
        return real(temporary, path)

    monkeypatch.setattr(stream_ranges, "publish_once", slow)
    assert append(store, 10, 20) == 0
    assert held(tmp_path) == list(range(20))


@pytest.mark.parametrize(("slow", "quick"), [((0, 20), (10, 30)), ((10, 30), (0, 20))])
def test_of_stretches_that_overlap_and_are_appended_at_once_each_message_is_there_once(
    store, tmp_path, monkeypatch, slow, quick
):
    real = stream_ranges.publish_once

    def while_another_appends(temporary: Path, path: Path) -> bool:
        monkeypatch.setattr(stream_ranges, "publish_once", real)
        append(store, *quick)
        return real(temporary, path)

    monkeypatch.setattr(stream_ranges, "publish_once", while_another_appends)
    append(store, *slow)
    assert held(tmp_path) == list(range(30))


def test_only_folders_of_parquet_files_take_stretches(store, tmp_path):
    (tmp_path / "data.csv").write_text("n,at\n")
    os.makedirs(tmp_path / "parts" / "dt=2024-01-01")
    pq.write_table(rows([1]), tmp_path / "parts" / "dt=2024-01-01" / "a.parquet")

    def takes(path: str) -> bool:
        return store.takes_ranges(FileSource(path=path, timestamp_field="at"))

    assert takes("rides") and takes("new/*.parquet")
    assert not takes("data.csv") and not takes("parts") and not takes("a.parquet")


@pytest.mark.parametrize(
    "error", [pa.ArrowInvalid("damaged"), FileNotFoundError("gone"), StoreUnavailableError("away")]
)
def test_files_that_cannot_be_put_together_end_no_consumer(store, tmp_path, monkeypatch, error, caplog):
    def compact(*_: Any) -> int:
        raise error

    monkeypatch.setattr(store, "compact_ranges", compact)
    history = StreamHistory(store, SOURCE, "topic", "0" * 32)
    for start in range(33):
        history.append("0", start, start + 1, [start], rows([start]))
    assert "The small files of stream topic" in caplog.text
    assert held(tmp_path) == list(range(33))
