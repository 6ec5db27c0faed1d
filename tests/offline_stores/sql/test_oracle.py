"""The plan gives what an oracle in plain Python says, and what the DuckDB store gives, on random data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as PyDecimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.testing.offline_store import DAY, TIME
from feast_assets.types import Array, Bool, Bytes, Decimal, Float64, Int64, String

DRIVER = Field(name="driver", dtype=Int64)
ZONE = Field(name="zone", dtype=String)
FEATURES = tuple(
    Field(name=name, dtype=dtype)
    for name, dtype in [
        ("amount", Decimal),
        ("blob", Bytes),
        ("city", String),
        ("fare", Float64),
        ("flag", Bool),
        ("tags", Array(String)),
    ]
)

# Few moments, at distances of odd microseconds, so that ties and exact ttl boundaries happen all the time.
STEP = timedelta(microseconds=7)
moments = st.one_of(st.none(), st.sampled_from([0, 1, 2, 2, 2, 3, 3, 8]).map(lambda n: DAY + n * STEP))
drivers = st.sampled_from([None, 1, 1, 1, 2])
zones = st.sampled_from([None, "a", "a", "B"])
source_rows = st.lists(
    st.fixed_dictionaries(
        {
            "driver": drivers,
            "zone": zones,
            "at": moments,
            "created": moments,
            "amount": st.sampled_from([None, PyDecimal("1.50"), PyDecimal("-2.00"), PyDecimal("10.00")]),
            "blob": st.sampled_from([None, b"", b"\x00", b"\xff"]),
            # Of these a collation would make another order than their bytes do.
            "city": st.sampled_from([None, "", "a", "B", "ä", "_", "a b"]),
            "fare": st.sampled_from([None, 1.0, 2.0, float("inf"), -1.5]),
            "flag": st.sampled_from([None, True, False]),
            "tags": st.sampled_from([None, [], ["b"], ["B", None], ["b", "a"]]),
        }
    ),
    max_size=20,
)
spine_rows = st.lists(st.fixed_dictionaries({"driver": drivers, "zone": zones, EVENT_TIMESTAMP: moments}), max_size=8)
ttls = st.sampled_from([None, timedelta(0), STEP, STEP - timedelta(microseconds=1), 3 * STEP, timedelta.max])
TYPES = {
    "driver": pa.int64(),
    "zone": pa.string(),
    "at": TIME,
    "created": TIME,
    "amount": pa.decimal128(10, 2),
    "blob": pa.binary(),
    "city": pa.string(),
    "fare": pa.float64(),
    "flag": pa.bool_(),
    "tags": pa.list_(pa.string()),
}
SPINE = {EVENT_TIMESTAMP: TIME, "driver": pa.int64(), "zone": pa.string()}
RANDOM = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def table_of(rows: Sequence[dict[str, Any]], types: dict[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})


@pytest.fixture(scope="module")
def duckdb_store() -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), Path.cwd())


def history_in(source: Any, keys: Sequence[Field], created: bool) -> History:
    return History("v", (source,), tuple(keys), FEATURES, "at", "created" if created else "")


class Oracle:
    """What is right, found by looking at all rows."""

    def __init__(self, rows: Sequence[dict[str, Any]], keys: Sequence[Field], created: bool):
        self.rows = [r for r in rows if r["at"] is not None and None not in [r[k.name] for k in keys]]
        self.keys, self.created = keys, created

    def key(self, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[key.name] for key in self.keys)

    def order(self, row: dict[str, Any]) -> tuple[Any, ...]:
        """Event time, created time, then content: the view's features by name, null last."""
        created = row["created"] if self.created else None
        return row["at"], created is not None, created or DAY, tuple(_content(row[f.name]) for f in FEATURES)

    def newest(self, key: tuple[Any, ...], at: datetime, known_only: bool, ttl: timedelta | None) -> dict[str, Any]:
        """The row that counts at a moment; one of nulls if none does."""
        counting = [
            row
            for row in self.rows
            if self.key(row) == key
            and row["at"] <= at
            and (not ttl or ttl == timedelta.max or row["at"] >= at - ttl)
            and (not (known_only and self.created) or (row["created"] is not None and row["created"] <= at))
        ]
        return max(counting, key=self.order, default=dict.fromkeys(TYPES))

    def latest(self, windows: Sequence[Window]) -> dict[tuple[Any, ...], dict[str, Any]]:
        best: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in self.rows:
            if any(w.start <= row["at"] < w.end for w in windows):
                known = best.get(self.key(row), row)
                best[self.key(row)] = max(known, row, key=self.order)
        return best


def _content(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (True,)
    if isinstance(value, list):
        return (False, [_content(item) for item in value])
    return (False, value.encode() if isinstance(value, str) else value)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The features of a row as a store returns them."""
    return {
        f.name: str(row[f.name]) if f.dtype == Decimal and row[f.name] is not None else row[f.name] for f in FEATURES
    }


@pytest.fixture(scope="module")
def stored(sql_store, put_table, duckdb_store):
    """Stores rows in both stores; returns each with the history that reads them, until the end of a context."""

    def put(folder: str, rows, keys, created):
        path = Path(folder) / "v.parquet"
        pq.write_table(table_of(rows, TYPES), path)
        file = FileSource(path=str(path), timestamp_field="at", created_timestamp_column="created" if created else None)
        table = put_table(sql_store, table_of(rows, TYPES), "at", "created" if created else "")
        return [(duckdb_store, history_in(file, keys, created)), (sql_store, history_in(table, keys, created))]

    return put


KEYS = st.sampled_from([(DRIVER,), (DRIVER, ZONE), ()])


@settings(max_examples=25, **RANDOM)
@given(rows=source_rows, spine=spine_rows, keys=KEYS, ttl=ttls, created=st.booleans(), known_only=st.booleans())
def test_a_join_is_what_the_oracle_and_the_duckdb_store_say(stored, rows, spine, keys, ttl, created, known_only):
    oracle = Oracle(rows, keys, created)
    table = table_of(spine, SPINE)
    with tempfile.TemporaryDirectory() as folder:
        for store, history in stored(folder, rows, keys, created):
            names = {f.name: f"v__{f.name}" for f in FEATURES}
            # The same view twice, once with some of its features.
            some = replace(history, declared=tuple(f.name for f in FEATURES)).with_features(["fare"])
            joins = [PointInTimeJoin(history, names, {}, ttl), PointInTimeJoin(some, {}, {}, None)]
            found = store.join(Spine(table), joins, filter_by_created_timestamp=known_only).read_all().to_pylist()
            assert len(found) == len(spine)
            for row, asked in zip(found, spine, strict=True):
                key = oracle.key(asked)
                right = anyway = dict.fromkeys(TYPES)
                if asked[EVENT_TIMESTAMP] is not None and None not in key:
                    right = oracle.newest(key, asked[EVENT_TIMESTAMP], known_only, ttl)
                    anyway = oracle.newest(key, asked[EVENT_TIMESTAMP], known_only, None)
                assert row == {**{f"v__{n}": v for n, v in shown(right).items()}, "fare": anyway["fare"]}


@settings(max_examples=20, **RANDOM)
@given(
    rows=source_rows,
    keys=KEYS,
    created=st.booleans(),
    cuts=st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True),
    wanted=st.one_of(st.none(), st.lists(st.tuples(st.sampled_from([1, 2, 7]), st.sampled_from("aB")), unique=True)),
)
def test_the_latest_rows_are_what_the_oracle_and_the_duckdb_store_say(stored, rows, keys, created, cuts, wanted):
    edges = [DAY + n * STEP for n in sorted(cuts)]
    windows = [Window(*pair) for pair in list(pairwise(edges))[::2]]
    expected = Oracle(rows, keys, created).latest(windows)
    entities = None
    if wanted is not None:
        chosen = {tuple(pair[: len(keys)]) for pair in wanted}
        columns = list(zip(*chosen, strict=True)) if chosen else [()] * len(keys)
        entities = pa.table({k.name: pa.array(c, TYPES[k.name]) for k, c in zip(keys, columns, strict=False)})
        expected = {key: row for key, row in expected.items() if key in chosen or not keys}
    with tempfile.TemporaryDirectory() as folder:
        for store, history in stored(folder, rows, keys, created):
            found = store.latest(history, windows, entities).read_all().to_pylist()
            assert len(found) == len(expected)
            for row in found:
                right = expected[tuple(row[key.name] for key in keys)]
                times = {EVENT_TIMESTAMP: right["at"], CREATED_TIMESTAMP: right["created"] if created else None}
                assert row == {**{k.name: right[k.name] for k in keys}, **shown(right), **times}


@settings(max_examples=12, **RANDOM)
@given(
    rows=source_rows,
    pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4),
    grain=st.sampled_from(["hourly", "daily", "weekly", "monthly"]),
    stretch=st.sampled_from([timedelta(microseconds=7), timedelta(hours=5), timedelta(days=11)]),
)
def test_statistics_are_those_of_the_duckdb_store_and_tell_content(stored, rows, pairs, grain, stretch):
    rows = [{**r, "at": r["at"] and DAY + (r["at"] - DAY) / STEP * stretch} for r in rows]
    windows = [Window(*(DAY + n * stretch for n in sorted(pair))) for pair in pairs]
    span = Window(DAY + stretch, DAY + 4 * stretch)
    with tempfile.TemporaryDirectory() as folder:
        (duckdb, in_files), (sql, in_table) = stored(folder, rows, (DRIVER,), True)
        answers = [
            [duckdb.survey(in_files, [*windows, ALWAYS]), duckdb.survey_grid(in_files, Partitions(grain), span)],
            [sql.survey(in_table, [*windows, ALWAYS]), sql.survey_grid(in_table, Partitions(grain), span)],
        ]
        scans = [sorted(map(repr, sql.scan(in_table, w).read_all().to_pylist())) for w in (*windows, ALWAYS)]
    for right, found in zip(*answers, strict=True):
        assert found.null_times == right.null_times
        without = [[replace(w, fingerprint=bool(w.fingerprint)) for w in each.windows] for each in (right, found)]
        assert without[0] == without[1]
    by_content: dict[str, str] = {}
    for statistic, scan in zip(answers[1][0].windows, scans, strict=True):
        assert by_content.setdefault(repr(scan), statistic.fingerprint) == statistic.fingerprint
    assert len(set(by_content.values())) == len(by_content)
