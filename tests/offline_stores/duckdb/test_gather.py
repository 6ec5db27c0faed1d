"""Features read by row id: from every kind of source, and while files are exchanged."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_format import CsvFormat, DeltaFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import SourceError
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb import as_of as duckdb_as_of
from feast_assets.offline_stores.duckdb import gather as duckdb_gather
from feast_assets.offline_stores.duckdb import latest as duckdb_latest
from feast_assets.offline_stores.duckdb import point_in_time as duckdb_point_in_time
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import DAY, TIME, hour, joined
from feast_assets.types import Array, Float64, Int64, String

DRIVER = Field(name="driver", dtype=Int64)
FEATURES = (Field(name="fare", dtype=Float64), Field(name="city", dtype=String))
SPINE = pa.table(
    {"driver": [2, 1, 3, 1, None], "event_timestamp": pa.array([hour(30), hour(2), hour(30), hour(26), hour(30)], TIME)}
)
ROWS = {
    "driver": [1, 2, 1],
    "fare": [1.0, 2.0, 3.0],
    "city": ["a", "b", None],
    "at": pa.array([hour(1), hour(25), hour(25)], TIME),
}
EXPECTED = {"fare": [2.0, 1.0, None, 3.0, None], "city": ["b", "a", None, None, None]}


@pytest.fixture
def store(tmp_path: Path) -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def _join(store: DuckDBOfflineStore, source: FileSource, **kwargs: object) -> dict[str, list[object]]:
    history = History("v", (source,), (DRIVER,), FEATURES, "at")
    read = joined(store, SPINE, [PointInTimeJoin(history, {}, {}, **kwargs)])  # type: ignore[arg-type]
    return {name: read[name].to_pylist() for name in EXPECTED}


def test_of_csv(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    csv.write_csv(pa.table(ROWS), tmp_path / "v.csv")
    assert _join(store, FileSource(path="v.csv", timestamp_field="at", file_format=CsvFormat())) == EXPECTED


def test_of_delta(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    deltalake.write_deltalake(str(tmp_path / "v"), pa.table(ROWS))
    assert _join(store, FileSource(path="v", timestamp_field="at", file_format=DeltaFormat())) == EXPECTED


@pytest.mark.parametrize("name", ["file_index", "file_row_number"])
def test_of_files_with_columns_that_are_named_like_row_ids(
    store: DuckDBOfflineStore, tmp_path: Path, name: str
) -> None:
    pq.write_table(pa.table({**ROWS, name: [5, 5, 5]}), tmp_path / "v.parquet")
    assert _join(store, FileSource(path="v.parquet", timestamp_field="at")) == EXPECTED


def test_of_columns_that_a_mapping_renames(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    pq.write_table(pa.table(ROWS).rename_columns(["driver", "price", "city", "at"]), tmp_path / "v.parquet")
    assert _join(store, FileSource(path="v.parquet", timestamp_field="at", field_mapping={"price": "fare"})) == EXPECTED


def test_of_folders_whose_names_leave_files_out(store: DuckDBOfflineStore, tmp_path: Path) -> None:
    for day in range(6):
        folder = tmp_path / "v" / f"day={DAY + timedelta(days=day - 3):%Y-%m-%d}"
        folder.mkdir(parents=True)
        here = [i for i, at in enumerate(ROWS["at"].to_pylist()) if (at - DAY).days == day - 3]
        pq.write_table(pa.table(ROWS).take(pa.array(here, pa.int64())), folder / "rows.parquet")
    source = FileSource(path="v", timestamp_field="at", date_partition_column="day")
    assert _join(store, source) == EXPECTED
    assert _join(store, source, ttl=timedelta(days=2)) == EXPECTED


class TestFilesThatAreExchanged:
    """As `replace` does it: a new file comes, then the old one goes."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> FileSource:
        (tmp_path / "v").mkdir()
        pq.write_table(pa.table(ROWS), tmp_path / "v" / "one.parquet")
        return FileSource(path="v", timestamp_field="at")

    def _exchange_before(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reading: str, rows: pa.Table, times: int
    ) -> list[int]:
        """Exchanges the source's file before it is read; returns what counts how often."""
        read, calls = getattr(duckdb_point_in_time, reading), [0]

        def exchanged(*args: object, **options: object) -> object:
            calls[0] += 1
            if calls[0] <= times:
                old = next((tmp_path / "v").iterdir())
                pq.write_table(rows, tmp_path / "v" / f"new_{calls[0]}.parquet")
                os.unlink(old)
            return read(*args, **options)

        monkeypatch.setattr(duckdb_point_in_time, reading, exchanged)
        return calls

    @pytest.mark.parametrize("reading", ["matches", "gather"])
    def test_are_read_anew(self, store, source, tmp_path, monkeypatch, reading) -> None:
        moved = pa.table({**ROWS, "fare": [10.0, 20.0, 30.0]})
        calls = self._exchange_before(monkeypatch, tmp_path, reading, moved, times=1)
        assert _join(store, source) == {**EXPECTED, "fare": [20.0, 10.0, None, 30.0, None]}
        assert calls == [2]

    def test_are_an_error_when_they_are_exchanged_again_and_again(self, store, source, tmp_path, monkeypatch) -> None:
        self._exchange_before(monkeypatch, tmp_path, "matches", pa.table(ROWS), times=9)
        with pytest.raises(SourceError):
            _join(store, source)

    @pytest.mark.parametrize("second", [hour(26), hour(25)])
    def test_are_not_mixed_when_a_file_is_written_in_place(
        self, store, source, tmp_path, monkeypatch, second: datetime
    ) -> None:
        path = tmp_path / "v" / "one.parquet"
        gather = duckdb_point_in_time.gather

        def overwritten(*args: object, **options: object) -> object:
            monkeypatch.setattr(duckdb_point_in_time, "gather", gather)
            later = pa.array([hour(1), second, hour(25)], TIME)
            pq.write_table(pa.table({**ROWS, "at": later, "fare": [10.0, 20.0, 30.0]}), path)
            return gather(*args, **options)

        monkeypatch.setattr(duckdb_point_in_time, "gather", overwritten)
        assert _join(store, source)["fare"] == [20.0, 10.0, None, 30.0, None]


@pytest.mark.parametrize(("fourth", "scans"), [(hour(26), 2), (hour(25), 4)])
def test_a_source_is_read_for_ids_and_for_features_and_for_ties_only_where_there_are_some(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fourth: datetime, scans: int
) -> None:
    later = {"driver": [2], "fare": [1.5], "city": ["a"], "at": pa.array([fourth], TIME)}
    table = pa.concat_tables([pa.table(ROWS), pa.table(later)])
    pq.write_table(table, tmp_path / "v.parquet")
    queries: list[str] = []

    def counted(module: ModuleType, reading: str) -> None:
        read = getattr(module, reading)

        def counting(cursor: object, sql: str) -> object:
            queries.append(sql)
            return read(cursor, sql)

        monkeypatch.setattr(module, reading, counting)

    for module, reading in (
        (duckdb_as_of, "stream"),
        (duckdb_as_of, "read_all"),
        (duckdb_gather, "read_all"),
        (duckdb_latest, "read_all"),
    ):
        counted(module, reading)
    newest = (
        EXPECTED
        if fourth == hour(25)
        else {**EXPECTED, "fare": [1.5, 1.0, None, 3.0, None]} | {"city": ["a", "a", None, None, None]}
    )
    assert _join(store, FileSource(path="v.parquet", timestamp_field="at")) == newest
    assert sum(sql.count("read_parquet") for sql in queries) == scans


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(String, "x" * 1000), (Array(Float64), [1.5] * 125), (Array(String), ["y" * 100] * 10), (Float64, 2.5)],
    ids=["text", "vector", "texts", "number"],
)
def test_no_more_of_repeated_values_is_put_together_than_fits(
    store: DuckDBOfflineStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, value: Any
) -> None:
    """Few rows that count for many: what is read is small, what is asked for is not."""
    limit = 200_000
    monkeypatch.setattr(duckdb_point_in_time, "_BYTES_AT_ONCE", limit)
    taken: list[pa.Array] = []
    take = duckdb_gather.Gathered.take

    def noted(self: duckdb_gather.Gathered, *arguments: Any) -> list[pa.Array]:
        columns = take(self, *arguments)
        taken.extend(columns)
        return columns

    monkeypatch.setattr(duckdb_gather.Gathered, "take", noted)
    pq.write_table(
        pa.table({"driver": [1, 2], "at": pa.array([hour(1)] * 2, TIME), "value": [value, None]}),
        tmp_path / "v.parquet",
    )
    source = FileSource(path="v.parquet", timestamp_field="at")
    history = History("v", (source,), (DRIVER,), (Field(name="value", dtype=dtype),), "at")
    count = 2_000
    spine = pa.table({"driver": [1, 2] * (count // 2), "event_timestamp": pa.array([hour(2)] * count, TIME)})
    found = joined(store, spine, [PointInTimeJoin(history, {}, {})])
    assert found["value"].to_pylist() == [value, None] * (count // 2)
    assert max(column.nbytes for column in taken) <= limit
    assert sum(map(len, taken)) == count
