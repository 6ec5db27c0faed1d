"""Rows that are written under a key are in a source once, whatever the source is made of."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets import DeltaFormat, FileSource
from feast_assets.errors import InputError, NotSupportedError, StoreUnavailableError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.testing.offline_store import WritesOnceConformance, trips

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def make_store(root) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), root)


class _OnDuckDB(WritesOnceConformance):
    @pytest.fixture
    def store(self, tmp_path):
        return make_store(tmp_path)


class TestOneFile(_OnDuckDB):
    @pytest.fixture
    def put(self, tmp_path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}.parquet"
            pq.write_table(table, tmp_path / path)
            return FileSource(path=path, timestamp_field="event_timestamp")

        return put


class TestFolder(_OnDuckDB):
    pattern = ""

    @pytest.fixture
    def put(self, tmp_path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            folder = f"trips_{next(numbers)}"
            (tmp_path / folder).mkdir()
            pq.write_table(table, tmp_path / folder / "old.pq.parquet")
            return FileSource(path=f"{folder}{self.pattern}", timestamp_field="event_timestamp")

        return put


class TestGlob(TestFolder):
    pattern = "/*.parquet"


class TestDelta(_OnDuckDB):
    @pytest.fixture
    def put(self, tmp_path):
        import deltalake

        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}"
            deltalake.write_deltalake(tmp_path / path, table)
            return FileSource(path=path, timestamp_field="event_timestamp", file_format=DeltaFormat())

        return put


def csv_rows(path) -> list[dict]:
    return sorted(pa_csv.read_csv(path).to_pylist(), key=repr)


@pytest.mark.parametrize("name", ["trips.csv", "trips.csv.gz"])
def test_a_csv_file_gets_the_rows_that_it_lacks(tmp_path, name):
    store, source = make_store(tmp_path), FileSource(path=name, timestamp_field="event_timestamp")
    first = trips([(1, T0, 1.5, 'quote " and, comma'), (2, T0, None, ""), (3, T0, float("nan"), None)])
    second = trips([(3, T0, float("nan"), None), (4, T0, 1e300, "line\nbreak"), (4, T0, 1e300, "line\nbreak")])
    assert not store.has_written(source, first, "a")
    for rows, key in ((first, "a"), (first, "a"), (second, "b"), (first, "a"), (second, "b")):
        store.write_once(source, rows, key)
        assert store.has_written(source, rows, key)
    text = pa_csv.read_csv(tmp_path / name)
    assert sorted(text["driver"].to_pylist()) == [1, 2, 3, 4, 4], "a row that is twice in one write is there twice"


def test_a_csv_file_refuses_beforehand_what_it_cannot_hold(tmp_path):
    store, source = make_store(tmp_path), FileSource(path="trips.csv", timestamp_field="event_timestamp")
    lists = trips([(1, T0, 1.0, "x")]).append_column("more", pa.array([[1]]))
    with pytest.raises(InputError, match="cannot be written as CSV"):
        store.check_write(source, lists)
    assert not (tmp_path / "trips.csv").exists()


def test_the_first_rows_make_the_source(tmp_path):
    store = make_store(tmp_path)
    rows = trips([(1, T0, 1.0, "x")])
    for path in ("new.parquet", "new/", "deep/new.csv"):
        source = FileSource(path=path, timestamp_field="event_timestamp")
        store.check_write(source, rows)
        assert not (tmp_path / path.rstrip("/")).exists(), "checking writes nothing"
        store.write_once(source, rows, "a")
        store.write_once(source, rows, "a")
        assert store.has_written(source, rows, "a")
    assert pq.read_table(tmp_path / "new.parquet").num_rows == 1
    assert [p.name for p in (tmp_path / "new").glob("*.parquet")] == ["push_a.parquet"]


def test_a_file_that_lost_rows_to_a_replaced_window_is_written_again(tmp_path):
    store, source = make_store(tmp_path), FileSource(path="kept", timestamp_field="event_timestamp")
    rows = trips([(1, T0, 1.0, "x"), (2, T0 + timedelta(days=1), 2.0, "y")])
    (tmp_path / "kept").mkdir()
    store.write_once(source, rows, "a")
    pq.write_table(rows.slice(1), tmp_path / "kept" / "push_a.parquet")
    assert not store.has_written(source, rows, "a")
    store.write_once(source, rows, "a")
    assert pq.read_table(tmp_path / "kept" / "push_a.parquet").num_rows == 2


def test_rows_that_are_there_leave_the_file_as_it_is(tmp_path):
    """So that no window becomes stale by a repeat."""
    store = make_store(tmp_path)
    (tmp_path / "many").mkdir()
    for path in ("one.parquet", "many"):
        source = FileSource(path=path, timestamp_field="event_timestamp")
        store.write_once(source, trips([(1, T0, 1.0, "x")]), "a")
        written = tmp_path / path / "push_a.parquet" if path == "many" else tmp_path / path
        before = os.stat(written)
        store.write_once(source, trips([(1, T0, 1.0, "x")]), "a")
        assert (os.stat(written).st_ino, os.stat(written).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_system_without_links_does_as_well(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    store, source = make_store(tmp_path), FileSource(path="many", timestamp_field="event_timestamp")
    (tmp_path / "many").mkdir()
    for _ in range(2):
        store.write_once(source, trips([(1, T0, 1.0, "x")]), "a")
    assert [p.name for p in (tmp_path / "many").iterdir()] == ["push_a.parquet"]


def test_what_cannot_be_appended_to_is_refused_beforehand(tmp_path):
    store, rows = make_store(tmp_path), trips([(1, T0, 1.0, "x")])
    (tmp_path / "hive" / "city=x").mkdir(parents=True)
    pq.write_table(rows, tmp_path / "hive" / "city=x" / "a.parquet")
    (tmp_path / "semicolons.csv").write_text("driver;event_timestamp\n1;2024-01-01\n")
    for path in ("hive", "s3://bucket/x.parquet", "a*/b.parquet", "semicolons.csv"):
        with pytest.raises(NotSupportedError):
            store.check_write(FileSource(path=path, timestamp_field="event_timestamp"), rows)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_unavailable(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreUnavailableError):
        make_store(tmp_path).write_once(
            FileSource(path="many", timestamp_field="event_timestamp"), trips([(1, T0, 1.0, "x")]), "a"
        )


VALUES = {
    "integer": st.none() | st.integers(-(2**63), 2**63 - 1),
    "number": st.none() | st.floats(),
    "text": st.none() | st.text(max_size=3),
    "list": st.none() | st.lists(st.none() | st.integers(0, 3), max_size=2),
    "struct": st.none() | st.fixed_dictionaries({"a": st.none() | st.integers(0, 2)}),
}
TYPES = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "list": pa.list_(pa.int64()),
    "struct": pa.struct([("a", pa.int64())]),
}
SAVED = st.fixed_dictionaries({**VALUES, "event_timestamp": st.integers(0, 3).map(lambda h: T0 + timedelta(hours=h))})
SCHEMA = pa.schema([*TYPES.items(), ("event_timestamp", pa.timestamp("us", "UTC"))])


def comparable(rows: pa.Table) -> list[str]:
    """Returns texts that equal rows share; a zero has no sign, and every NaN is one."""
    found = []
    for row in rows.to_pylist():
        number = row["number"]
        found.append(repr({**row, "number": number + 0.0 if number is not None else None}))
    return sorted(found)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.lists(SAVED, max_size=4), new=st.lists(SAVED, min_size=1, max_size=4), shared=st.integers(0, 3))
def test_a_single_file_gets_just_the_rows_that_it_lacks(tmp_path, old, new, shared):
    stored, added = pa.Table.from_pylist(old, SCHEMA), pa.Table.from_pylist([*new, *old[:shared]], SCHEMA)
    path = tmp_path / "random.parquet"
    pq.write_table(stored, path)
    source = FileSource(path="random.parquet", timestamp_field="event_timestamp")
    store = make_store(tmp_path)
    for _ in range(2):
        store.write_once(source, added, "a")
    held = set(comparable(stored))
    expected = [*comparable(stored), *(row for row in comparable(added) if row not in held)]
    assert comparable(pq.read_table(path)) == sorted(expected)
