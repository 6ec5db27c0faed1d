"""The newest row per entity: what it is, in which order, and what it costs."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.duckdb import engine as duckdb_engine
from feast_assets.offline_stores.duckdb import latest as duckdb_latest
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.types import Int64, String

START = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
TRIPS = Field(name="trips", dtype=Int64)
DRIVER = Field(name="driver", dtype=Int64)
CITY = Field(name="city", dtype=String)


def history(source: FileSource, keys=(DRIVER,), transformation=None) -> History:
    return History(
        view="stats",
        sources=(source,),
        join_keys=tuple(keys),
        features=(TRIPS,),
        timestamp_field="at",
        created_timestamp_column=source.created_timestamp_column or "",
        transformation=transformation,
    )


def random_rows(rng: random.Random, entities: int, rows: int, moments: int) -> pa.Table:
    return pa.table(
        {
            "driver": pa.array([rng.randrange(-entities, entities) for _ in range(rows)], pa.int64()),
            "city": pa.array([rng.choice(["a", "bb", "ü"]) for _ in range(rows)]),
            "trips": pa.array([rng.choice([None, rng.randrange(100)]) for _ in range(rows)], pa.int64()),
            "at": pa.array([START + timedelta(seconds=rng.randrange(moments)) for _ in range(rows)], TIME),
        }
    )


def expected(table: pa.Table, keys: list[str], window: Window) -> dict[tuple, tuple]:
    """The greatest (time, content) of each entity; a null is the greatest content, as in DuckDB."""
    best: dict[tuple, tuple] = {}
    for row in table.to_pylist():
        if not window.start <= row["at"] < window.end:
            continue
        key = tuple(row[k] for k in keys)
        new = (row["at"], row["trips"] is None, row["trips"] or 0)
        best[key] = max(best.get(key, new), new)
    return {key: (at, None if is_null else trips) for key, (at, is_null, trips) in best.items()}


def found(reader: pa.RecordBatchReader, keys: list[str]) -> dict[tuple, tuple]:
    rows = reader.read_all().to_pylist()
    result = {tuple(r[k] for k in keys): (r[EVENT_TIMESTAMP], r["trips"]) for r in rows}
    assert len(result) == len(rows)
    return result


KINDS = ["parquet", "nanoseconds", "csv", "sql", "pandas"]


def stored(kind: str, table: pa.Table, folder) -> tuple[FileSource, Transformation | None]:
    if kind == "csv":
        zoned = table.set_column(3, "at", pa.array([t.isoformat() for t in table["at"].to_pylist()]))
        pyarrow.csv.write_csv(zoned, folder / "rows.csv")
        return FileSource(name="rows", path="rows.csv", timestamp_field="at"), None
    if kind == "nanoseconds":
        table = table.set_column(3, "at", table["at"].cast(pa.timestamp("ns", "UTC")))
    pq.write_table(table, folder / "rows.parquet", row_group_size=500)
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
    if kind == "sql":
        return source, Transformation(mode="sql", udf=lambda rows: f"SELECT * FROM {rows}")
    if kind == "pandas":
        return source, Transformation(mode="pandas", udf=lambda frame: frame.astype({"trips": "Int64"}))
    return source, None


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


@pytest.mark.parametrize("keys", [(DRIVER,), (CITY, DRIVER), ()], ids=["one key", "two keys", "no keys"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moments", [5, 100_000], ids=["many ties", "few ties"])
def test_the_newest_row_of_each_entity_whatever_it_is_read_from(store, tmp_path, monkeypatch, kind, keys, moments):
    # Entities then lie across the ends of batches.
    monkeypatch.setattr(duckdb_engine, "BATCH_ROWS", 64)
    table = random_rows(random.Random(f"{kind}{keys}{moments}"), 300, 3000, moments)
    source, transformation = stored(kind, table, tmp_path)
    names = [k.name for k in keys]
    for window in (ALWAYS, Window(START + timedelta(seconds=2), START + timedelta(seconds=moments // 2))):
        made = found(store.latest(history(source, keys, transformation), [window]), names)
        assert made == expected(table, names, window)


def test_times_that_differ_by_nanoseconds_tie(store, tmp_path):
    """Where the second pass decides, by content, it must see both rows."""
    nanos = pa.array([1_704_067_200_000_000_001, 1_704_067_200_000_000_999], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    for trips in ([7, 3], [3, 7]):
        pq.write_table(pa.table({"driver": [1, 1], "trips": trips, "at": nanos}), tmp_path / "rows.parquet")
        source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
        assert found(store.latest(history(source), [ALWAYS]), ["driver"]) == {(1,): (START, 7)}


def test_a_column_of_the_source_may_have_a_name_of_the_query(store, tmp_path):
    table = pa.table({"t": [5, 1], "s": [2, 9], "r": [1, 1], "trips": [1, 2], "at": pa.array([START, START], TIME)})
    pq.write_table(table.set_column(4, "at", pa.array([START, START + timedelta(1)], TIME)), tmp_path / "rows.parquet")
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
    key = Field(name="r", dtype=Int64)
    assert found(store.latest(history(source, [key]), [ALWAYS]), ["r"]) == {(1,): (START + timedelta(1), 2)}


def test_a_transformation_is_run_once(store, tmp_path):
    """One that gives something else each time would otherwise lose the rows whose times it gave before."""
    source, _ = stored("parquet", random_rows(random.Random(3), 100, 1000, 10), tmp_path)
    sql = 'SELECT * REPLACE ("at" + to_microseconds(CAST(random() * 1e9 AS BIGINT)) AS "at") FROM {}'
    computed = history(source, transformation=Transformation(mode="sql", udf=lambda rows: sql.format(rows)))
    drivers = set(pq.read_table(tmp_path / "rows.parquet")["driver"].to_pylist())
    assert {k for (k,) in found(store.latest(computed, [ALWAYS]), ["driver"])} == drivers


def test_rows_come_in_order_of_keys(store, tmp_path):
    table = random_rows(random.Random(1), 100_000, 50_000, 10**8)
    source, _ = stored("parquet", table, tmp_path)
    rows = store.latest(history(source), [ALWAYS]).read_all()["driver"].to_pylist()
    assert rows == sorted(rows)


@pytest.fixture
def queries(monkeypatch):
    """The queries of `latest`, as they are streamed."""
    seen: list[str] = []
    real = duckdb_latest.stream

    def counting(cursor, sql):
        seen.append(sql)
        return real(cursor, sql)

    monkeypatch.setattr(duckdb_latest, "stream", counting)
    return seen


@pytest.mark.parametrize(("moments", "expected_queries"), [(10**9, 1), (3, 2)], ids=["no ties", "ties"])
def test_one_query_and_one_more_only_for_ties(store, tmp_path, queries, moments, expected_queries):
    source, _ = stored("parquet", random_rows(random.Random(2), 300, 2000, moments), tmp_path)
    store.latest(history(source), [ALWAYS]).read_all()
    assert len(queries) == expected_queries


def test_features_are_read_of_the_newest_rows_alone(store, tmp_path):
    """The first pass reads keys and times; of the second, row groups that hold no newest row are left out."""
    rows = 200_000
    times = [START + timedelta(seconds=i) for i in range(rows)]
    table = pa.table({"driver": [i % 10 for i in range(rows)], "trips": range(rows), "at": pa.array(times, TIME)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2000)
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
    whole = found(store.latest(history(source), [ALWAYS]), ["driver"])
    damaged = bytearray((tmp_path / "rows.parquet").read_bytes())
    column = pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(3).column(1)
    at = min(o for o in (column.dictionary_page_offset, column.data_page_offset) if o)
    damaged[at : at + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    (tmp_path / "rows.parquet").write_bytes(damaged)
    # What is damaged are features of old rows, which nobody needs.
    assert found(store.latest(history(source), [ALWAYS]), ["driver"]) == whole


def test_more_entities_than_memory_are_spilled(tmp_path):
    """Half a million entities of wide rows, 150 MB, within 100 MB."""
    entities = 400_000
    table = pa.table(
        {
            "driver": pa.array(range(entities), pa.int64()),
            "trips": pa.array(range(entities), pa.int64()),
            "name": pa.array([f"{i:0300}" for i in range(entities)]),
            "at": pa.array([START] * entities, TIME),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=20_000)
    settings = DuckDBOfflineStoreConfig(memory_limit="100MB", threads=2, temp_directory=str(tmp_path / "spill"))
    store = DuckDBOfflineStore(settings, tmp_path)
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
    wide = History("stats", (source,), (DRIVER,), (TRIPS, Field(name="name", dtype=String)), "at")
    count = total = 0
    for batch in store.latest(wide, [ALWAYS]):
        count += batch.num_rows
        total += sum(batch.column("trips").to_pylist())
        assert batch.num_rows <= duckdb_engine.BATCH_ROWS + 2
    assert (count, total) == (entities, entities * (entities - 1) // 2)
    assert store.statistics(wide, [ALWAYS])[0].rows == entities
