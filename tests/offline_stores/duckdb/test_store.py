"""The DuckDB store passes the conformance suite, on a single file and on a folder."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import InputError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.testing.offline_store import (
    CanProfileConformance,
    CanReplaceWindowsConformance,
    OfflineStoreConformance,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
    history,
    hour,
)


class TestDuckDB(
    OfflineStoreConformance,
    CanProfileConformance,
    CanReplaceWindowsConformance,
    ReadsQueriesConformance,
    ReadsTextsConformance,
    RunsTransformationsConformance,
    SummarizesPartsConformance,
    TracksPartsConformance,
):
    @pytest.fixture
    def store(self, tmp_path):
        return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)

    @pytest.fixture
    def put(self, tmp_path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}.parquet"
            pq.write_table(table, tmp_path / path)
            return file_source(path, table)

        return put

    @pytest.fixture
    def sink(self):
        return FileSource(name="sink", path="kept/trips", timestamp_field="event_timestamp")

    @pytest.fixture
    def put_as_text(self, tmp_path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}.csv"
            csv.write_csv(table, tmp_path / path)
            return file_source(path, table)

        return put


class TestDuckDBOnFolders(TestDuckDB):
    @pytest.fixture
    def put(self, tmp_path):
        numbers = itertools.count()

        def put(table: pa.Table) -> FileSource:
            path = f"trips_{next(numbers)}"
            (tmp_path / path / "more").mkdir(parents=True)
            half = table.num_rows // 2
            pq.write_table(table.slice(0, half), tmp_path / path / "one.parquet")
            pq.write_table(table.slice(half), tmp_path / path / "more" / "two.parquet")
            return file_source(path, table)

        return put


def file_source(path: str, table: pa.Table) -> FileSource:
    created = "created" if "created" in table.column_names else None
    return FileSource(path=path, timestamp_field="event_timestamp", created_timestamp_column=created)


def test_config_refuses_what_it_does_not_know():
    with pytest.raises(ValidationError, match="memory"):
        DuckDBOfflineStoreConfig(memory="1GB")


def test_settings_that_duckdb_refuses_are_an_input_error(tmp_path):
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(memory_limit="a lot"), tmp_path)
    with pytest.raises(InputError, match="settings"):
        store.latest(history(FileSource(path="x.parquet", timestamp_field="t")), [ALWAYS])


def test_more_rows_than_memory_spill_to_disk_and_leave_nothing_there(tmp_path):
    n = 400_000
    table = pa.table(
        {
            "driver": pa.array(range(n), pa.int64()),
            "event_timestamp": pa.array([hour(0)], pa.timestamp("us", tz="UTC")).take(pa.array([0] * n)),
            "fare": pa.array(range(n), pa.float64()),
            "city": pa.array([f"{i:032d}" for i in range(n)]),
        }
    )
    pq.write_table(table, tmp_path / "big.parquet")
    spill = tmp_path / "spill"
    config = DuckDBOfflineStoreConfig(memory_limit="60MB", threads=1, temp_directory=str(spill))
    store = DuckDBOfflineStore(config, tmp_path)
    source = FileSource(path="big.parquet", timestamp_field="event_timestamp")
    store.replace(
        FileSource(path="kept", timestamp_field="event_timestamp"),
        history(source),
        [ALWAYS],
        store.scan(history(source), ALWAYS),
    )
    assert store.statistics(history(FileSource(path="kept", timestamp_field="event_timestamp")), [ALWAYS])[0].rows == n
    del store
    assert not spill.exists() or not list(spill.iterdir())


def test_import_of_the_module_loads_no_engine():
    import subprocess
    import sys

    code = (
        "import sys, feast_assets.offline_stores.duckdb.store; "
        "print([m for m in ('duckdb', 'pyarrow', 'pandas', 'numpy') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_folder_to_spill_to_is_made(tmp_path):
    pq.write_table(pa.table({"driver": [1]}), tmp_path / "v.parquet")
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(temp_directory="spill/here"), tmp_path)
    assert store.schema(FileSource(path="v.parquet", timestamp_field="at")).names == ["driver"]
    assert (tmp_path / "spill" / "here").is_dir()


def test_a_folder_to_spill_to_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "spill").write_text("")
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(temp_directory="spill/here"), tmp_path)
    with pytest.raises(InputError, match="temp_directory .*spill/here cannot be used"):
        store.schema(FileSource(path="v.parquet", timestamp_field="at"))
