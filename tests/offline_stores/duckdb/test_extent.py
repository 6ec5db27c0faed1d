"""The oldest event: footers say the same as the rows, and where they do the rows are not read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import FileSource
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb import extent as duckdb_extent
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.files import open_source
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.types import Float64, Int64

_START = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_KINDS = [pa.timestamp(unit, tz) for unit in ("ms", "us", "ns") for tz in (None, "UTC", "Asia/Tokyo")]


def store(root: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)


def history(source: FileSource) -> History:
    return History("trips", (source,), (Field(name="driver", dtype=Int64),), (Field(name="fare", dtype=Float64),), "at")


def write(
    path: Path, times: list[datetime | None], keys: list[int | None], kind: pa.DataType, **options: object
) -> None:
    at = pa.array(times, pa.timestamp("us", "UTC")).cast(kind, safe=False)
    table = pa.table({"at": at, "driver": pa.array(keys, pa.int64()), "fare": pa.nulls(len(keys), pa.float64())})
    pq.write_table(table, path, **options)


_ROW = st.tuples(
    st.none() | st.integers(-3_000_000, 3_000_000).map(lambda us: _START + timedelta(microseconds=us)),
    st.none() | st.integers(0, 3),
)


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.lists(_ROW, max_size=6), min_size=1, max_size=3),
    kind=st.sampled_from(_KINDS),
    statistics=st.booleans(),
)
def test_the_footers_say_what_the_rows_say(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[tuple[datetime | None, int | None]]],
    kind: pa.DataType,
    statistics: bool,
) -> None:
    root = tmp_path_factory.mktemp("extent")
    for i, rows in enumerate(files):
        times, keys = [t for t, _ in rows], [k for _, k in rows]
        write(root / f"{i}.parquet", times, keys, kind, write_statistics=statistics, row_group_size=2)
    offline = store(root)
    trips = history(FileSource(path="*.parquet", timestamp_field="at"))
    assert offline.oldest_event(trips) == offline.statistics(trips, [ALWAYS])[0].oldest_event


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sources whose rows are queried."""
    found: list[str] = []

    def noting(cursor: Any, source: DataSource, *rest: Any, **options: Any) -> Any:
        found.append(source.name)
        return open_source(cursor, source, *rest, **options)

    monkeypatch.setattr(duckdb_extent, "open_source", noting)
    return found


def test_rows_are_not_read_where_footers_say_it(tmp_path: Path, opened: list[str]) -> None:
    write(tmp_path / "a.parquet", [_START, _START + timedelta(days=1)], [1, 2], pa.timestamp("us", "UTC"))
    source = FileSource(name="a", path="a.parquet", timestamp_field="at")
    assert store(tmp_path).oldest_event(history(source)) == _START
    assert opened == []


@pytest.mark.parametrize("keys", [[None, 2], [1, 2]])
def test_rows_are_read_where_footers_do_not_say_it(tmp_path: Path, opened: list[str], keys: list[int | None]) -> None:
    write(
        tmp_path / "a.parquet",
        [_START, _START + timedelta(days=1)],
        keys,
        pa.timestamp("us", "UTC"),
        write_statistics=None in keys,
    )
    source = FileSource(name="a", path="a.parquet", timestamp_field="at")
    expected = _START + timedelta(days=1) if None in keys else _START
    assert store(tmp_path).oldest_event(history(source)) == expected
    assert opened == ["a"]


def test_names_are_those_of_the_source(tmp_path: Path, opened: list[str]) -> None:
    inside = pa.array([{"t": datetime(1900, 1, 1, tzinfo=UTC)}], pa.struct([("t", pa.timestamp("us", "UTC"))]))
    at = pa.array([_START], pa.timestamp("us", "UTC"))
    table = pa.table({"a": inside, "t": at, "id": pa.array([1]), "fare": pa.array([1.0])})
    pq.write_table(table, tmp_path / "a.parquet")
    source = FileSource(name="a", path="a.parquet", timestamp_field="t", field_mapping={"t": "at", "id": "driver"})
    offline = store(tmp_path)
    trips = History("trips", (source,), (Field(name="driver", dtype=Int64),), (Field(name="fare", dtype=Float64),), "t")
    assert offline.oldest_event(trips) == offline.statistics(trips, [ALWAYS])[0].oldest_event == _START
    assert opened == []


def test_a_file_that_is_replaced_is_looked_into_anew(tmp_path: Path) -> None:
    offline, trips = store(tmp_path), history(FileSource(path="a.parquet", timestamp_field="at"))
    for days in (0, 3):
        moment = _START + timedelta(days=days)
        write(tmp_path / "a.parquet", [moment], [1], pa.timestamp("us", "UTC"))
        assert offline.oldest_event(trips) == moment
