"""Appending and replacing: what is kept, what is refused, and what a crash leaves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feast_assets import atomic_files
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.file_format import CsvFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import DefinitionError, InputError, NotSupportedError, SourceError, StoreUnavailableError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.testing.offline_store import DAY, TIME, history, hour, trips

ROWS = trips([(1, hour(0), 1.0, "a")])
MORE = trips([(2, hour(1), 2.0, "b"), (3, hour(2), None, None)])


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def source(path, **changes):
    return FileSource(path=str(path), **{"timestamp_field": "event_timestamp", **changes})


def drivers(store, src):
    return sorted(store.scan(history(src), ALWAYS).read_all()["driver"].to_pylist())


def left_behind(folder):
    return [p.name for p in folder.rglob("*") if p.name.endswith(".tmp")]


class TestAppend:
    @pytest.mark.parametrize(
        "path", ["new.parquet", "new/deep/t.parquet", "new.csv", "new.csv.gz", "folder", "glob/*.parquet"]
    )
    def test_a_source_that_does_not_exist_is_made(self, store, tmp_path, path):
        store.write(source(path), ROWS)
        store.write(source(path), MORE)
        assert drivers(store, source(path)) == [1, 2, 3]
        assert not left_behind(tmp_path)

    def test_a_folder_gets_a_file_and_keeps_the_others_as_they_are(self, store, tmp_path):
        (tmp_path / "t").mkdir()
        pq.write_table(ROWS, tmp_path / "t" / "first.parquet")
        before = (tmp_path / "t" / "first.parquet").stat()
        store.write(source("t"), MORE)
        assert (tmp_path / "t" / "first.parquet").stat() == before
        assert len(list((tmp_path / "t").glob("*.parquet"))) == 2

    def test_rows_take_the_types_of_the_file(self, store, tmp_path):
        schema = pa.schema(
            {
                "driver": pa.int32(),
                "event_timestamp": pa.timestamp("ms", tz="America/New_York"),
                "fare": pa.float32(),
                "city": pa.large_string(),
            }
        )
        for path in ("t.parquet", "f/t.parquet"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            pq.write_table(ROWS.cast(schema), tmp_path / path)
        naive = MORE.set_column(1, "event_timestamp", pa.array([datetime(2024, 1, 1, 1)] * 2, pa.timestamp("ns")))
        store.write(source("t.parquet"), naive)
        store.write(source("f"), naive)
        assert pq.read_schema(tmp_path / "t.parquet").equals(schema)
        for src in (source("t.parquet"), source("f")):
            assert store.statistics(history(src), [Window(hour(1), hour(2))])[0].rows == 2
        with pytest.raises(InputError, match=r"'driver'.*int32"):
            store.write(source("t.parquet"), MORE.set_column(0, "driver", pa.array([2**40, 1])))
        assert drivers(store, source("t.parquet")) == [1, 2, 3]

    def test_columns_are_those_before_the_field_mapping(self, store, tmp_path):
        pq.write_table(ROWS.rename_columns(["d", "event_timestamp", "fare", "city"]), tmp_path / "t.parquet")
        src = source("t.parquet", field_mapping={"d": "driver"})
        with pytest.raises(InputError, match="missing 'd'; not in it 'driver'"):
            store.write(src, MORE)
        store.write(src, MORE.rename_columns(["d", "event_timestamp", "fare", "city"]))
        assert drivers(store, src) == [1, 2, 3]

    def test_first_rows_must_have_the_time_columns(self, store):
        with pytest.raises(InputError, match="'event_timestamp'"):
            store.write(source("t"), ROWS.drop_columns(["event_timestamp"]))

    def test_csv_keeps_its_column_order_and_ends_lines(self, store, tmp_path):
        (tmp_path / "t.csv").write_text("city,driver,fare,event_timestamp\na,1,1.0,2024-01-01T00:00:00Z")
        store.write(source("t.csv"), MORE)
        assert drivers(store, source("t.csv")) == [1, 2, 3]
        assert (tmp_path / "t.csv").read_text().startswith("city,driver,fare,event_timestamp\na,1,")
        (tmp_path / "s.csv").write_text("driver;event_timestamp\n1;2024-01-01T00:00:00Z\n")
        with pytest.raises(NotSupportedError, match="comma"):
            store.write(source("s.csv"), ROWS.select(["driver", "event_timestamp"]))

    @pytest.mark.parametrize("path", ["t/day=1/x.parquet", "t/*/x.parquet", "t/x*y.parquet"])
    def test_places_without_a_clear_new_file_are_refused(self, store, tmp_path, path):
        if "=" in path:
            (tmp_path / "t" / "day=1").mkdir(parents=True)
            pq.write_table(ROWS, tmp_path / path)
            path = "t"
        with pytest.raises(NotSupportedError):
            store.write(source(path), ROWS)
        with pytest.raises(NotSupportedError):
            store.write(source("c", file_format=CsvFormat()), ROWS)
        with pytest.raises(NotSupportedError, match="local"):
            store.write(source("s3://bucket/x.parquet"), ROWS)

    def test_a_damaged_file_is_left_as_it_is(self, store, tmp_path):
        (tmp_path / "t.parquet").write_bytes(b"damaged")
        with pytest.raises(SourceError, match=r"t\.parquet"):
            store.write(source("t.parquet"), ROWS)
        assert (tmp_path / "t.parquet").read_bytes() == b"damaged"

    @pytest.mark.parametrize("path", ["t.parquet", "t.csv"])
    def test_writers_at_the_same_time_lose_nothing(self, store, tmp_path, path):
        def add(n):
            store.write(source(path), trips([(n, hour(n), 1.0, "x")]))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(16)))
        assert drivers(store, source(path)) == list(range(16))


class TestFailures:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
    @pytest.mark.parametrize("path", ["t.parquet", "t.csv", "f"])
    def test_a_disk_that_refuses_leaves_what_was_there(self, store, tmp_path, monkeypatch, code, path):
        store.write(source(path), ROWS)

        def refuse(*_):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(atomic_files.os, "fsync", refuse)
        with pytest.raises(StoreUnavailableError, match=rf"{tmp_path}.*{os.strerror(code)}"):
            store.write(source(path), MORE)
        sink, wanted = source("kept"), history(source(path))
        with pytest.raises(StoreUnavailableError, match="kept"):
            store.replace(sink, wanted, [ALWAYS], store.scan(wanted, ALWAYS))
        monkeypatch.undo()
        assert drivers(store, source(path)) == [1]
        assert drivers(store, sink) == []
        assert not left_behind(tmp_path)

    def test_temporary_files_of_killed_writers_go_away_after_a_day(self, store, tmp_path):
        store.write(source("f"), ROWS)
        old, fresh = tmp_path / "f" / ".x.parquet.1.tmp", tmp_path / "f" / ".y.parquet.2.tmp"
        for path in (old, fresh):
            path.touch()
        os.utime(old, (0, time.time() - 2 * 86400))
        store.write(source("f"), MORE)
        assert not old.exists()
        assert fresh.exists()


class TestReplace:
    DAYS = tuple(Partitions("daily").windows(DAY, DAY + timedelta(days=40)))
    MONTH = Window(DAY, DAY + timedelta(days=31))

    def rows(self, store, tmp_path, fare):
        table = trips([(i, DAY + timedelta(days=i), fare, "") for i in range(40)])
        pq.write_table(table, tmp_path / f"{fare}.parquet")
        return history(source(f"{fare}.parquet"))

    def test_files_are_named_by_their_windows(self, store, tmp_path):
        wanted = self.rows(store, tmp_path, 1.0)
        store.replace(source("kept"), wanted, [self.MONTH], store.scan(wanted, ALWAYS))
        names = [p.name for p in (tmp_path / "kept").glob("*.parquet")]
        assert names == ["window_20240101T000000.000000_20240201T000000.000000.parquet"]
        store.replace(source("kept"), wanted, [ALWAYS], store.scan(wanted, ALWAYS))
        names = [p.name for p in (tmp_path / "kept").glob("*.parquet")]
        assert names == ["window_00010101T000000.000000_99991231T235959.999999.parquet"]

    def test_a_window_inside_another_grid_takes_only_its_own_rows_away(self, store, tmp_path):
        first, second = self.rows(store, tmp_path, 1.0), self.rows(store, tmp_path, 2.0)
        sink = source("kept")
        store.replace(sink, first, [self.MONTH], store.scan(first, ALWAYS))
        store.write(sink, pq.read_table(tmp_path / "1.0.parquet").slice(3, 3))
        store.replace(sink, second, self.DAYS[4:6], store.scan(second, ALWAYS))
        found = store.scan(history(sink), ALWAYS).read_all().sort_by([("driver", "ascending")])
        assert found["driver"].to_pylist() == [0, 1, 2, 3, 3, *range(4, 31)]
        assert found.filter(pc.equal(found["fare"], 2.0))["driver"].to_pylist() == [4, 5]

    def test_windows_must_not_overlap(self, store, tmp_path):
        wanted = self.rows(store, tmp_path, 1.0)
        with pytest.raises(InputError, match="overlap"):
            store.replace(source("kept"), wanted, [self.MONTH, self.DAYS[3]], store.scan(wanted, ALWAYS))

    def test_only_folders_of_parquet_files_are_replaced(self, store, tmp_path):
        wanted = self.rows(store, tmp_path, 1.0)
        for sink in (source("1.0.parquet"), source("k/*.parquet"), source("k", file_format=CsvFormat())):
            with pytest.raises(NotSupportedError, match="folder of Parquet"):
                store.replace(sink, wanted, [ALWAYS], store.scan(wanted, ALWAYS))
        with pytest.raises(DefinitionError, match="timestamp_field"):
            store.replace(source("k", timestamp_field=None), wanted, [ALWAYS], store.scan(wanted, ALWAYS))

    def test_windows_replaced_at_the_same_time_all_stay(self, store, tmp_path):
        wanted = self.rows(store, tmp_path, 1.0)
        store.replace(source("kept"), wanted, [self.MONTH], store.scan(wanted, ALWAYS))

        def work(window):
            store.replace(source("kept"), wanted, [window], store.scan(wanted, window))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, self.DAYS))
        assert drivers(store, source("kept")) == list(range(40))

    def test_batches_that_end_anywhere_fill_all_windows(self, store, tmp_path, monkeypatch):
        from feast_assets.offline_stores.duckdb import engine as duckdb_engine

        monkeypatch.setattr(duckdb_engine, "BATCH_ROWS", 2048)
        n = 10_000
        table = pa.table(
            {
                "driver": pa.array(range(n), pa.int64()),
                "event_timestamp": pa.array([DAY + timedelta(minutes=i * 7919 % 14_400) for i in range(n)], TIME),
                "fare": pa.array([1.0] * n),
                "city": pa.array([""] * n),
            }
        )
        pq.write_table(table, tmp_path / "t.parquet")
        wanted = history(source("t.parquet"))
        windows = [w for i, w in enumerate(self.DAYS) if i % 3 != 1]
        store.replace(source("kept"), wanted, windows, store.scan(wanted, ALWAYS))
        assert store.statistics(history(source("kept")), windows) == store.statistics(wanted, windows)
        assert store.statistics(history(source("kept")), [ALWAYS])[0].rows == sum(
            s.rows for s in store.statistics(wanted, windows)
        )


KILLED = """
    import sys
    from pathlib import Path
    import pyarrow as pa
    from feast_assets.definitions.window import ALWAYS
    from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
    from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
    from feast_assets.definitions.sources.file_source import FileSource
    from feast_assets.definitions.window import Window
    from feast_assets.testing.offline_store import DAY, history, hour, trips

    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), Path(sys.argv[2]))
    wanted = FileSource(path=sys.argv[1], timestamp_field="event_timestamp")
    print("ready", flush=True)
    for version in range(1, 10_000):
        rows = trips([(version, hour(i * 24), float(i), "x" * 100) for i in range(5_000)])
        if sys.argv[1].endswith(".parquet"):
            store.write(wanted, rows)
        else:
            scanned = pa.table({
                "driver": rows["driver"], "fare": rows["fare"], "city": rows["city"],
                "__event_timestamp": rows["event_timestamp"], "__created_timestamp": rows["event_timestamp"],
            })
            windows = [Window(hour(0), hour(24_000)), Window(hour(24_000), hour(120_000))]
            store.replace(wanted, history(wanted), windows, scanned.to_reader())
        print(version, flush=True)
"""


@pytest.mark.parametrize("path", ["t.parquet", "kept"])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_killed_writer_leaves_whole_files(store, tmp_path, path, after):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), path, str(tmp_path)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if line.strip() == str(after):
            break
    # Kill it as soon as it has begun to write the next version.
    while not left_behind(tmp_path):
        assert writer.poll() is None
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    found = store.scan(history(source(path)), ALWAYS).read_all()
    if path == "t.parquet":
        assert found.num_rows % 5_000 == 0
        assert found.num_rows // 5_000 >= after
    else:
        # Each window is of one version, whole.
        assert found.num_rows == 5_000
        for window, rows in ((Window(hour(0), hour(24_000)), 1_000), (Window(hour(24_000), hour(120_000)), 4_000)):
            part = store.scan(history(source(path)), window).read_all()
            assert part.num_rows == rows
            assert len(set(part["driver"].to_pylist())) == 1
    # Nothing that it left is in the way of the next writer.
    store.write(source(path), trips([(99_999, hour(1), 1.0, "a")]))
    assert drivers(store, source(path))[-1] == 99_999
