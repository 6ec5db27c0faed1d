"""Profiles against a count by hand, over every kind of column and any windows."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from decimal import Decimal as PythonDecimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.profile import BUCKETS
from feast_assets.testing.offline_store import TIME, history, hour
from feast_assets.types import Array, Bool, Bytes, Decimal, Float32, Float64, Int32, Int64, Json, String, UnixTimestamp


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def profile_of(store, table: pa.Table, features: list[Field], windows: list[Window]):
    pq.write_table(table, store._root / "rows.parquet")
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="event_timestamp")
    of = History("view", (source,), (), tuple(features), "event_timestamp")
    return store.profile(of, windows)


floats = st.none() | st.floats(width=64) | st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1.7e308, -1.7e308])
rows = st.lists(st.tuples(st.integers(0, 47), floats, st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows, st.sets(st.integers(0, 48), min_size=2, max_size=6))
def test_numbers_are_counted_as_by_hand(store, values, edges):
    table = pa.table(
        {
            "event_timestamp": pa.array([hour(h) for h, _, _ in values], TIME),
            "x": pa.array([x for _, x, _ in values], pa.float64()),
            "n": pa.array([n for _, _, n in values], pa.int64()),
        }
    )
    x = Field(name="x", dtype=Float64, checks=Checks(minimum=-1, maximum=1.0))
    n = Field(
        name="n", dtype=Int64, checks=Checks(minimum=-(2**62), maximum=0.5, unique=True, allowed=[0, 1, 2**63 - 1])
    )
    ordered = sorted(edges)
    windows = [Window(hour(a), hour(b)) for a, b in zip(ordered[::2], ordered[1::2], strict=False)]
    for window, found in zip(windows, profile_of(store, table, [x, n], windows), strict=True):
        inside = [(a, b) for h, a, b in values if window.start <= hour(h) < window.end]
        assert found.rows == len(inside)
        xs, ns = ([v for v in column if v is not None] for column in ([a for a, _ in inside], [b for _, b in inside]))
        _check_numbers(found.columns["x"], len(inside), xs)
        _check_numbers(found.columns["n"], len(inside), ns)
        assert found.columns["x"].broken == {
            "minimum": sum(not v >= -1 for v in xs),
            "maximum": sum(not v <= 1 for v in xs),
        }
        assert found.columns["n"].broken == {
            "minimum": sum(v < -(2**62) for v in ns),
            "maximum": sum(v > 0 for v in ns),
            "allowed": sum(v not in (0, 1, 2**63 - 1) for v in ns),
            "unique": len(ns) - len(set(ns)),
        }


def _check_numbers(found, count, there):
    finite = [v for v in there if math.isfinite(v)]
    assert found.nulls == count - len(there)
    assert found.minimum == min(finite, default=None)
    assert found.maximum == max(finite, default=None)
    assert sum(found.histogram) == len(finite)
    assert len(found.histogram) == (BUCKETS if finite else 0)
    if finite:
        assert found.histogram[0] > 0
        low, high = min(finite) / 2, max(finite) / 2
        assert high == low or found.histogram[-1] > 0
    if finite and max(map(abs, finite)) < 1e300:
        assert found.mean == pytest.approx(math.fsum(finite) / len(finite), rel=1e-6, abs=1e3)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | st.text(max_size=3), st.none() | st.booleans()), max_size=20))
def test_texts_and_truth_values_are_counted_as_by_hand(store, values):
    table = pa.table(
        {
            "event_timestamp": pa.array([hour(1)] * len(values), TIME),
            "c": pa.array([c for c, _ in values], pa.string()),
            "b": pa.array([b for _, b in values], pa.bool_()),
        }
    )
    c = Field(name="c", dtype=String, checks=Checks(allowed=["a", "'", ""], unique=True))
    b = Field(name="b", dtype=Bool, checks=Checks(allowed=[True]))
    (found,) = profile_of(store, table, [c, b], [ALWAYS])
    texts = [v for v, _ in values if v is not None]
    truths = [v for _, v in values if v is not None]
    counts = Counter(texts)
    shown = found.columns["c"].top_values
    assert all(counts[text] == count for text, count in shown.items())
    assert len(counts) > 8 or dict(shown) == counts
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    assert found.columns["c"].broken == {
        "allowed": sum(v not in ("a", "'", "") for v in texts),
        "unique": len(texts) - len(counts),
    }
    assert found.columns["b"].broken == {"allowed": sum(not v for v in truths)}
    assert dict(found.columns["b"].top_values) == {str(k).lower(): n for k, n in Counter(truths).items()}
    assert found.columns["b"].mean == (pytest.approx(sum(truths) / len(truths)) if truths else None)


def test_columns_stored_in_another_kind_count_as_what_they_mean(store):
    times = pa.array([hour(1)] * 3, TIME)
    table = pa.table(
        {
            "event_timestamp": times,
            "pandas_int": pa.array([1.0, float("nan"), 3.0]),
            "small": pa.array([1, 2, 3], pa.uint8()),
            "single": pa.array([1, 2, None], pa.float32()),
            "money": pa.array([PythonDecimal("1.50"), None, PythonDecimal("2.50")], pa.decimal128(9, 2)),
            "date": pa.array([hour(0).date(), hour(24).date(), None]),
            "iso": ["2024-01-01T00:00:00Z", None, "2024-01-02T00:00:00Z"],
            "naive": pa.array([hour(0).replace(tzinfo=None)] * 3, pa.timestamp("ns")),
            "zoned": pa.array([hour(0)] * 3, pa.timestamp("ns", "UTC")),
            "seconds": pa.array([int(hour(0).timestamp())] * 3),
            "flag": pa.array([0, 1, 1], pa.int8()),
            "raw": [b"a", b"b", None],
            "list": pa.array([[1], [], None], pa.list_(pa.int64())),
            "json": ['{"a": 1}', None, "[]"],
        }
    )
    types = {"pandas_int": Int32, "small": Int32, "single": Float32, "money": Decimal, "flag": Bool, "raw": Bytes}
    types |= {
        "list": Array(Int64),
        "json": Json,
        **dict.fromkeys(["date", "iso", "naive", "zoned", "seconds"], UnixTimestamp),
    }
    (found,) = profile_of(store, table, [Field(name=n, dtype=t) for n, t in types.items()], [ALWAYS])
    columns = found.columns
    assert {n: c.nulls for n, c in columns.items()} == {
        **dict.fromkeys(["pandas_int", "single", "money", "date", "iso", "raw", "list", "json"], 1),
        **dict.fromkeys(["small", "naive", "zoned", "seconds", "flag"], 0),
    }
    assert [columns[n].maximum for n in ("pandas_int", "small", "single", "money")] == [3, 3, 2.0, 2.5]
    assert columns["date"].maximum == columns["iso"].maximum == hour(24)
    assert {columns[n].minimum for n in ("date", "iso", "naive", "zoned", "seconds")} == {hour(0)}
    assert columns["flag"].mean == pytest.approx(2 / 3)


def test_approximate_counts_are_near(store):
    n = 20_000
    table = pa.table(
        {"event_timestamp": pa.array([hour(1)], TIME).take(pa.array([0] * n)), "driver": [i % 5000 for i in range(n)]}
        | {"fare": [float(i) for i in range(n)], "city": ["x"] * n}
    )
    pq.write_table(table, store._root / "trips.parquet")
    source = FileSource(path="trips.parquet", timestamp_field="event_timestamp")
    (found,) = store.profile(history(source), [Window(hour(0), hour(0) + timedelta(days=1))])
    assert found.entities == pytest.approx(5000, rel=0.1)


def test_a_column_that_is_not_as_declared_is_named(store):
    table = pa.table({"event_timestamp": pa.array([hour(1)], TIME), "x": ["text"]})
    with pytest.raises(SourceError, match="'x'.*Int64"):
        profile_of(store, table, [Field(name="x", dtype=Int64)], [ALWAYS])
