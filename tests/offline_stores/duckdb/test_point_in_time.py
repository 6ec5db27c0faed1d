"""The join and the newest rows against an oracle in plain Python, on random data."""

from __future__ import annotations

import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import InputError
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, History
from feast_assets.offline_stores.duckdb import as_of as duckdb_as_of
from feast_assets.offline_stores.duckdb import engine as duckdb_engine
from feast_assets.offline_stores.duckdb import point_in_time as duckdb_point_in_time
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import DAY, TIME, joined
from feast_assets.types import Float64, Int64, String

DRIVER = Field(name="driver", dtype=Int64)
ZONE = Field(name="zone", dtype=String)
FEATURES = (Field(name="fare", dtype=Float64), Field(name="city", dtype=String))

# Few moments, at distances of odd microseconds, so that ties and exact ttl boundaries happen all the time.
STEP = timedelta(microseconds=7)
moments = st.one_of(st.none(), st.sampled_from([0, 1, 2, 2, 2, 3, 3, 8]).map(lambda n: DAY + n * STEP))
drivers = st.sampled_from([None, 1, 1, 1, 2])
zones = st.sampled_from([None, "a", "a", "b"])
source_rows = st.lists(
    st.fixed_dictionaries(
        {
            "driver": drivers,
            "zone": zones,
            "at": moments,
            "created": moments,
            "fare": st.sampled_from([None, 1.0, 2.0]),
            "city": st.sampled_from([None, "", "x"]),
        }
    ),
    max_size=20,
)
spine_rows = st.lists(st.fixed_dictionaries({"who": drivers, "zone": zones, "at": moments}), max_size=8)
ttls = st.sampled_from([None, timedelta(0), STEP, STEP - timedelta(microseconds=1), 3 * STEP, timedelta(days=400)])

TYPES = {
    "driver": pa.int64(),
    "zone": pa.string(),
    "at": TIME,
    "created": TIME,
    "fare": pa.float64(),
    "city": pa.string(),
}


def table_of(rows, types):
    return pa.table({name: pa.array([row[name] for row in rows], t) for name, t in types.items()})


@pytest.fixture(scope="module")
def store():
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), Path.cwd())


class View:
    """A view over random rows, with its oracle."""

    def __init__(self, folder, name, rows, keys, created, ttl, shape="file"):
        path = Path(folder) / f"{name}.parquet"
        if shape == "file":
            pq.write_table(table_of(rows, TYPES), path)
        elif shape == "files":
            path.mkdir()
            for i in range(3):
                pq.write_table(table_of(rows[i::3], TYPES), path / f"part_{i}.parquet")
        else:
            # A column that hides where DuckDB says that rows are, so that they have no ids of their own.
            table = table_of(rows, TYPES)
            pq.write_table(table.append_column("file_row_number", pa.nulls(len(rows), pa.int32())), path)
        self.rows, self.keys, self.ttl, self.created = rows, keys, ttl, created
        source = FileSource(
            path=str(path),
            timestamp_field="at",
            created_timestamp_column="created" if created else None,
        )
        self.history = History(name, (source,), keys, FEATURES, "at", "created" if created else "")

    def order(self, row):
        """Event time, created time, then content: the view's features by name, null last."""
        content = tuple((row[n] is None, "" if row[n] is None else row[n]) for n in sorted(f.name for f in FEATURES))
        created = row["created"] if self.created else None
        return (row["at"], created is not None, created or DAY, content)

    def newest(self, key, moment, known_only=False, ttl=None):
        """The row that counts, or None."""
        counting = [
            row
            for row in self.rows
            if row["at"] is not None
            and tuple(row[f.name] for f in self.keys) == key
            and row["at"] <= moment
            and (not ttl or row["at"] >= moment - ttl)
            and (not (known_only and self.created) or (row["created"] is not None and row["created"] <= moment))
        ]
        return max(counting, key=self.order, default=None)


@settings(max_examples=120, deadline=None)
@given(
    data=st.tuples(source_rows, source_rows),
    spine=spine_rows,
    view_ttls=st.tuples(ttls, ttls),
    created=st.tuples(st.booleans(), st.booleans()),
    known_only=st.booleans(),
    shapes=st.tuples(*[st.sampled_from(["file", "files", "without ids"])] * 2),
)
def test_join_is_what_the_oracle_says(store, data, spine, view_ttls, created, known_only, shapes):
    with tempfile.TemporaryDirectory() as folder:
        views = [
            View(folder, f"v{i}", rows, keys, has_created, ttl, shape)
            for i, (rows, keys, has_created, ttl, shape) in enumerate(
                zip(data, [(DRIVER,), (DRIVER, ZONE)], created, view_ttls, shapes, strict=True)
            )
        ]
        views.append(View(folder, "keyless", data[0], (), created[0], view_ttls[1]))
        joins = [
            PointInTimeJoin(
                v.history, {f.name: f"{v.history.view}__{f.name}" for f in FEATURES}, {"driver": "who"}, v.ttl
            )
            for v in views
        ]
        table = table_of(spine, {"who": pa.int64(), "zone": pa.string(), "at": TIME})
        found = joined(store, table, joins, time_column="at", filter_by_created_timestamp=known_only)
    assert found.select(table.column_names).equals(table)
    for row in found.to_pylist():
        values = {"driver": row["who"], "zone": row["zone"]}
        for view in views:
            key = tuple(values[f.name] for f in view.keys)
            chosen = None
            if row["at"] is not None and None not in key:
                chosen = view.newest(key, row["at"], known_only, view.ttl)
            for f in FEATURES:
                expected = None if chosen is None else chosen[f.name]
                assert row[f"{view.history.view}__{f.name}"] == expected


@settings(max_examples=100, deadline=None)
@given(rows=source_rows.filter(lambda rows: len(rows) > 4), ttl=ttls)
def test_the_created_filter_is_what_the_oracle_says_at_every_moment(store, rows, ttl):
    with tempfile.TemporaryDirectory() as folder:
        view = View(folder, "v", rows, (DRIVER,), True, ttl)
        times = [DAY + n * STEP for n in range(10)]
        spine = pa.table({"driver": pa.array([1] * 10), "event_timestamp": pa.array(times, TIME)})
        found = joined(store, spine, [PointInTimeJoin(view.history, {}, {}, ttl)], filter_by_created_timestamp=True)
    chosen = [view.newest((1,), t, True, ttl) for t in times]
    for f in FEATURES:
        assert found[f.name].to_pylist() == [None if row is None else row[f.name] for row in chosen]


@settings(max_examples=100, deadline=None)
@given(rows=source_rows, created=st.booleans(), bounds=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_latest_is_what_the_oracle_says(store, rows, created, bounds):
    start, end = (DAY + n * STEP for n in sorted(bounds))
    with tempfile.TemporaryDirectory() as folder:
        view = View(folder, "v", rows, (DRIVER, ZONE), created, None)
        found = store.latest(view.history, [Window(start, end)]).read_all().to_pylist()
    inside = [r for r in rows if None not in (r["driver"], r["zone"], r["at"]) and start <= r["at"] < end]
    best = {}
    for row in inside:
        key = (row["driver"], row["zone"])
        if key not in best or view.order(row) > view.order(best[key]):
            best[key] = row
    assert {(r["driver"], r["zone"]): r for r in found} == {
        key: {
            "driver": row["driver"],
            "zone": row["zone"],
            "fare": row["fare"],
            "city": row["city"],
            EVENT_TIMESTAMP: row["at"],
            CREATED_TIMESTAMP: row["created"] if created else None,
        }
        for key, row in best.items()
    }
    assert len(found) == len(best)


@settings(max_examples=60, deadline=None)
@given(
    rows=source_rows,
    created=st.booleans(),
    at=st.integers(0, 8),
    names=st.sampled_from([["fare"], ["city"], ["city", "fare"]]),
)
def test_what_is_materialized_up_to_a_moment_is_what_a_join_at_that_moment_gives(store, rows, created, at, names):
    moment = DAY + at * STEP
    with tempfile.TemporaryDirectory() as folder:
        view = View(folder, "v", rows, (DRIVER,), created, None)
        online = store.latest(view.history, [Window(ALWAYS.start, moment + timedelta(microseconds=1))]).read_all()
        spine = pa.table({"driver": pa.array([1, 2]), "event_timestamp": pa.array([moment] * 2, TIME)})
        join = PointInTimeJoin(view.history.with_features(names), {}, {})
        offline = joined(store, spine, [join]).to_pylist()
    stored = {row["driver"]: row for row in online.to_pylist()}
    for row in offline:
        assert [row[n] for n in names] == [stored.get(row["driver"], {}).get(n) for n in names]


@settings(max_examples=60, deadline=None)
@given(rows=source_rows, edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4))
def test_statistics_are_those_of_the_scanned_rows(store, rows, edges):
    windows = [Window(*(DAY + n * STEP for n in sorted(pair))) for pair in edges]
    with tempfile.TemporaryDirectory() as folder:
        view = View(folder, "v", rows, (DRIVER,), True, None)
        found = store.statistics(view.history, windows)
        scans = [store.scan(view.history, w).read_all().to_pylist() for w in windows]
    by_content = {}
    for window, statistic, scan in zip(windows, found, scans, strict=True):
        times = [row[EVENT_TIMESTAMP] for row in scan]
        created = [row[CREATED_TIMESTAMP] for row in scan if row[CREATED_TIMESTAMP] is not None]
        assert statistic.window == window
        assert statistic.rows == len(scan)
        assert statistic.oldest_event == min(times, default=None)
        assert statistic.newest_event == max(times, default=None)
        assert statistic.newest_created == max(created, default=None)
        content = repr(sorted(map(repr, scan)))
        assert by_content.setdefault(content, statistic.fingerprint) == statistic.fingerprint
    assert len(set(by_content.values())) == len(by_content)


@pytest.mark.parametrize("passes", [1, 3])
def test_large_joins_take_the_same_rows_as_a_search_in_sorted_times(store, tmp_path, monkeypatch, passes):
    if passes > 1:
        monkeypatch.setattr(duckdb_point_in_time, "BATCH_ROWS", 7_000)
        monkeypatch.setattr(duckdb_engine, "BATCH_ROWS", 5_000)
        monkeypatch.setattr(duckdb_as_of, "_CHUNK_ROWS", 1)
        monkeypatch.setattr(duckdb_point_in_time, "_BYTES_AT_ONCE", 15_000 * 9 // passes)
    # Small random data is never read in several chunks and passes.
    rng = np.random.default_rng(7)
    n, keys, asked = 60_000, 50, 15_000
    driver, at = rng.integers(0, keys, n), rng.permutation(n * 3)[:n]
    base = int(DAY.timestamp() * 1_000_000)
    pq.write_table(
        pa.table({"driver": driver, "at": pa.array(base + at).cast(TIME), "fare": pa.array(at.astype(float))}),
        tmp_path / "v.parquet",
    )
    source = FileSource(path=str(tmp_path / "v.parquet"), timestamp_field="at")
    history = History("v", (source,), (DRIVER,), FEATURES[:1], "at")
    who, when, ttl = rng.integers(0, keys + 5, asked), rng.integers(-10, n * 3, asked), 9_000
    spine = pa.table({"driver": who, "event_timestamp": pa.array(base + when).cast(TIME)})
    join = PointInTimeJoin(history, {}, {}, timedelta(microseconds=ttl))
    found = joined(store, spine, [join])
    expected = np.full(asked, np.nan)
    for key in range(keys):
        times = np.sort(at[driver == key])
        rows = np.flatnonzero(who == key)
        before = np.searchsorted(times, when[rows], side="right") - 1
        value = np.where(before >= 0, times[np.maximum(before, 0)], -(10**9))
        expected[rows] = np.where(value >= when[rows] - ttl, value, np.nan)
    np.testing.assert_array_equal(found["fare"].to_numpy(), expected)
    assert 0 < found["fare"].null_count < asked


class TestQueries:
    def test_a_query_that_fails_is_an_input_error(self, store):
        with pytest.raises(InputError, match="nowhere"):
            store.read_query("SELECT * FROM nowhere", [])

    def test_only_one_select_is_run(self, store):
        for sql in ("CREATE TABLE t (i INT)", "SELECT 1; SELECT 2", ""):
            with pytest.raises(InputError, match="one SELECT"):
                store.read_query(sql, [])

    def test_variables_of_the_program_are_out_of_reach(self, store):
        secret = pa.table({"driver": [1]})
        with pytest.raises(InputError, match="secret"):
            store.read_query("SELECT *, now() AS event_timestamp FROM secret", [])
        assert secret.num_rows == 1


def _two_views(folder: Path) -> list[PointInTimeJoin]:
    joins = []
    for name in ("a", "b"):
        rows = {"driver": [1], "fare": [1.0], "at": pa.array([DAY], TIME)}
        pq.write_table(pa.table(rows), folder / f"{name}.parquet")
        source = FileSource(path=str(folder / f"{name}.parquet"), timestamp_field="at")
        joins.append(PointInTimeJoin(History(name, (source,), (DRIVER,), FEATURES[:1], "at"), {"fare": name}, {}))
    return joins


def test_views_are_read_side_by_side(store, tmp_path, monkeypatch):
    both = threading.Barrier(2, timeout=300)

    def together(*args):
        # Comes back only when the other view is being read as well.
        both.wait()
        return gather(*args)

    gather = duckdb_point_in_time.gather
    monkeypatch.setattr(duckdb_point_in_time, "gather", together)
    spine = pa.table({"driver": [1, 2], "at": pa.array([DAY, DAY], TIME)})
    read = joined(store, spine, _two_views(tmp_path), time_column="at")
    assert [read["a"].to_pylist(), read["b"].to_pylist()] == [[1.0, None], [1.0, None]]


def test_views_that_need_too_much_memory_together_are_read_one_after_the_other(store, tmp_path, monkeypatch):
    asked = []

    def gather_of_one(cursor, *args):
        asked.append(threading.current_thread())
        if threading.current_thread() is not threading.main_thread():
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin a block")
        return gather(cursor, *args)

    gather = duckdb_point_in_time.gather
    monkeypatch.setattr(duckdb_point_in_time, "gather", gather_of_one)
    spine = pa.table({"driver": [1], "at": pa.array([DAY], TIME)})
    read = joined(store, spine, _two_views(tmp_path), time_column="at")
    assert [read["a"].to_pylist(), read["b"].to_pylist()] == [[1.0], [1.0]]
    assert len(asked) == 4
