"""What a materialization costs: queries, transactions and batches that do not grow with windows or rows."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pytest
from small_project import START, SmallProject, hours, row

from feast_assets.offline_stores.duckdb import engine as duckdb_engine
from feast_assets.offline_stores.duckdb import latest as duckdb_latest
from feast_assets.offline_stores.duckdb import row_parts as duckdb_row_parts
from feast_assets.offline_stores.duckdb import statistics as duckdb_statistics
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.registry.sql.store import SqlRegistry


@pytest.fixture
def counted(monkeypatch):
    """Counts passes over the source, and what is asked of the registry: a transaction each."""
    counts: Counter[str] = Counter()

    def count(where, name, subject):
        real = getattr(where, name)

        def counting(*args, **kwargs):
            counts[subject] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(where, name, counting)

    count(duckdb_statistics, "read_all", "passes for statistics")
    count(duckdb_row_parts, "read_all", "passes for statistics")
    count(duckdb_latest, "stream", "passes for rows")
    for verb in ("claim", "settle"):
        count(SqlRegistry, verb, verb)
    return counts


@pytest.mark.parametrize("days", [3, 400])
def test_one_pass_for_statistics_and_one_for_rows_whatever_the_number_of_windows(project, counted, days):
    project.write([row(day % 7, 24 * day, day) for day in range(days)])
    project.apply()
    counted.clear()
    (result,) = project.store.materialize(START, hours(24 * days))
    assert len(result.windows) == days
    passes = {"passes for statistics": 1, "passes for rows": 1}
    assert counted == {**passes, "claim": 1, "settle": 1}
    counted.clear()
    (result,) = project.store.materialize_incremental(hours(24 * days))
    assert result.windows == ()
    assert counted == {}, "what was read of the file is kept"


def test_days_without_rows_divide_no_pass(project, counted):
    project.write([row(day % 7, 24 * day, day) for day in range(28) if day % 7 < 5])
    project.apply()
    counted.clear()
    (result,) = project.store.materialize(START, hours(24 * 28))
    assert len(result.windows) == 20
    assert counted == {"passes for statistics": 1, "passes for rows": 1, "claim": 1, "settle": 1}
    counted.clear()
    # The last day that is up to date lies between what came late and what is new.
    project.write([row(day % 7, 24 * day, day) for day in range(30) if day % 7 < 5 or day == 5])
    (result,) = project.store.materialize_incremental(hours(24 * 30))
    assert [w.window.start for w in result.windows] == [hours(24 * 5), hours(24 * 28), hours(24 * 29)]
    # The entity of the late day is not in the store, so it is looked for in the days after it as well.
    assert counted == {"passes for statistics": 1, "passes for rows": 3, "claim": 2, "settle": 2}


def test_batches_on_the_way_do_not_grow_with_the_entities(project, monkeypatch):
    monkeypatch.setattr(duckdb_engine, "BATCH_ROWS", 2048)
    entities = 20_000
    project.write([row(i, 0, i) for i in range(entities)])
    project.apply()
    sizes: list[int] = []
    real = SqliteOnlineStore.put_many

    def watching(self, table, batches):
        def watched():
            for batch in batches:
                sizes.append(len(batch))
                assert sorted(batch.keys) == batch.keys
                yield batch

        return real(self, table, watched())

    monkeypatch.setattr(SqliteOnlineStore, "put_many", watching)
    (result,) = project.store.materialize(START, hours(1))
    assert result.written == entities == sum(sizes)
    assert max(sizes) <= 2048 + 2 and len(sizes) >= entities // 2050


def test_arrow_on_the_way_does_not_grow_with_the_entities(tmp_path):
    """Of ten times the entities, the same memory is held at a time beside the source's own."""

    def most(entities: int) -> int:
        folder = tmp_path / str(entities)
        folder.mkdir()
        project = SmallProject(folder)
        project.write([row(i, 0, i) for i in range(entities)])
        project.apply()
        peak = 0
        real = SqliteOnlineStore.put_many

        def watching(self, table, batches):
            def watched():
                nonlocal peak
                for batch in batches:
                    peak = max(peak, pa.total_allocated_bytes() - before)
                    yield batch

            return real(self, table, watched())

        before = pa.total_allocated_bytes()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duckdb_engine, "BATCH_ROWS", 2048)
            patch.setattr(SqliteOnlineStore, "put_many", watching)
            project.store.materialize(START, hours(1))
        project.close()
        return peak

    assert most(40_000) < 2 * most(8_000) + 100_000


def test_pandas_is_not_loaded(tmp_path):
    """It would take longer than to materialize a hundred thousand rows."""
    made = SmallProject(tmp_path)
    made.write([row(i % 5, i, None if i % 3 == 0 else i, None if i % 4 == 0 else "text") for i in range(100)])
    made.apply()
    made.close()
    code = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from feast_assets import FeatureStore, RepoConfig
config = RepoConfig(project="small", registry="registry.db", provider="local", online_store="sqlite")
store = FeatureStore(Path({str(tmp_path)!r}), config)
(result,) = store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
assert result.written == 5, result
assert "pandas" not in sys.modules
store.materialize_windows("stats", [window.window for window in result.windows], profile=True)
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
