"""Reading sources: formats, folders, times of every kind, and files that are not as declared."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta, timezone

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_format import CsvFormat, DeltaFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import (
    DefinitionError,
    FeastJoinKeysDuringMaterialization,
    NotSupportedError,
    SourceError,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import TIME, history, hour, joined, spine, trips
from feast_assets.types import Float64, Int32, Int64, String, UnixTimestamp, Uuid

ROWS = [(1, hour(0), 1.0, "a"), (2, hour(1), 2.0, None)]


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


def source(path, **changes):
    return FileSource(path=str(path), **{"timestamp_field": "event_timestamp", **changes})


def drivers(store, src, window=ALWAYS):
    return sorted(store.scan(history(src), window).read_all()["driver"].to_pylist())


class TestPlaces:
    def test_a_folder_is_read_with_its_subfolders_but_without_hidden_files(self, store, tmp_path):
        for n, place in enumerate(
            ["a.parquet", "x/b.parquet", "_c.parquet", ".d.parquet", "_tmp/e.parquet", ".y/f.parquet"]
        ):
            (tmp_path / "t" / place).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(trips([(n, hour(0), 0.0, "")]), tmp_path / "t" / place)
        (tmp_path / "t" / "_SUCCESS").touch()
        (tmp_path / "t" / "readme.txt").write_text("no data")
        assert drivers(store, source("t")) == [0, 1]
        assert drivers(store, source("t/*.parquet")) == [0]
        assert drivers(store, source("t/**/*.parquet")) == [0, 1]
        assert drivers(store, source(f"file://{tmp_path}/t")) == [0, 1]

    def test_key_value_folders_are_columns_unless_they_are_above_the_source(self, store, tmp_path):
        for zone in ("a", "b"):
            (tmp_path / "run=7" / "t" / f"zone={zone}" / "day=2024-01-01").mkdir(parents=True)
            pq.write_table(trips(ROWS), tmp_path / "run=7" / "t" / f"zone={zone}" / "day=2024-01-01" / "x.parquet")
        src = source("run=7/t", date_partition_column="day")
        assert {"zone", "day"} < set(store.schema(src).names)
        assert "run" not in store.schema(src).names
        zoned = history(src, join_keys=(Field(name="driver", dtype=Int64), Field(name="zone", dtype=String)))
        assert store.latest(zoned, [ALWAYS]).read_all().num_rows == 4
        assert store.latest(zoned, [Window(hour(0), hour(1))]).read_all().num_rows == 2
        assert store.latest(zoned, [Window(hour(-24), hour(0))]).read_all().num_rows == 0

    def test_file_uris_may_have_escapes(self, store, tmp_path):
        for name in ("a b.parquet", "ü##1.parquet", "c%20d.parquet", "c d.parquet"):
            pq.write_table(trips([(len(name), hour(0), 0.0, "")]), tmp_path / name)
        pq.write_table(trips([(99, hour(0), 0.0, "")]), tmp_path / "e%20f.parquet")
        for uri, driver in {
            f"file://{tmp_path}/a%20b.parquet": 11,
            f"file://localhost{tmp_path}/a%20b.parquet": 11,
            f"FILE://{tmp_path}/a%20b.parquet": 11,
            f"file:{tmp_path}/a%20b.parquet": 11,
            f"file://{tmp_path}/%C3%BC%23%231.parquet": 12,
            f"file://{tmp_path}/ü##1.parquet": 12,
            # Of two files it is the one that the URI means; where there is one, it is that.
            f"file://{tmp_path}/c%2520d.parquet": 13,
            f"file://{tmp_path}/c%20d.parquet": 11,
            f"file://{tmp_path}/e%20f.parquet": 99,
            f"file://{tmp_path}/a%20*.parquet": 11,
        }.items():
            assert drivers(store, source(uri)) == [driver], uri
        store.write(source(f"file://{tmp_path}/new%20file.parquet"), trips(ROWS))
        assert (tmp_path / "new file.parquet").exists()

    def test_nothing_there_yet_is_no_rows_for_folders_and_globs(self, store):
        for path in ("kept", "kept/", "kept/*.parquet"):
            assert drivers(store, source(path)) == []
            assert store.statistics(history(source(path)), [ALWAYS])[0].rows == 0
            join = PointInTimeJoin(history(source(path)), {}, {})
            assert joined(store, spine([(1, hour(0))]), [join])["city"].to_pylist() == [None]
            with pytest.raises(SourceError, match="no files yet"):
                store.schema(source(path))

    def test_a_missing_file_is_an_error_that_names_the_nearest(self, store, tmp_path):
        pq.write_table(trips(ROWS), tmp_path / "trips.parquet")
        with pytest.raises(SourceError, match=r"'mine'.*trip\.parquet.*trips\.parquet"):
            store.latest(history(source("trip.parquet", name="mine")), [ALWAYS])
        with pytest.raises(SourceError, match="does not exist either"):
            store.schema(source("nowhere/trips.parquet"))

    def test_a_folder_of_another_format_is_an_error(self, store, tmp_path):
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "x.csv").write_text("driver\n1\n")
        with pytest.raises(SourceError, match="file_format"):
            store.schema(source("t"))
        assert store.schema(source("t", file_format=CsvFormat())).names == ["driver"]

    def test_only_sources_of_files_are_read(self, store):
        with pytest.raises(NotSupportedError, match="PushSource"):
            store.schema(PushSource(name="pushed"))
        with pytest.raises(NotSupportedError, match="ftp"):
            store.schema(source("ftp://host/x.parquet"))

    def test_names_that_need_quoting_work(self, store, tmp_path):
        table = trips(ROWS).rename_columns(['dri"ver', "select", "fa're", "k0"])
        pq.write_table(table, tmp_path / 'it\'s "odd".parquet')
        odd = History(
            "v",
            (source('it\'s "odd".parquet', timestamp_field="select"),),
            (Field(name='dri"ver', dtype=Int64),),
            (Field(name="fa're", dtype=Float64), Field(name="k0", dtype=String)),
            "select",
        )
        assert sorted(store.latest(odd, [ALWAYS]).read_all()["fa're"].to_pylist()) == [1.0, 2.0]

    def test_files_that_gained_a_column_read_as_null_before(self, store, tmp_path):
        (tmp_path / "t").mkdir()
        pq.write_table(trips(ROWS[:1]).drop_columns(["city"]), tmp_path / "t" / "1.parquet")
        pq.write_table(trips([(2, hour(1), 2.0, "b")]), tmp_path / "t" / "2.parquet")
        found = store.latest(history(source("t")), [ALWAYS]).read_all().sort_by("driver")
        assert found["city"].to_pylist() == [None, "b"]


class TestFieldMapping:
    def test_columns_are_renamed_before_anything_else(self, store, tmp_path):
        table = trips([(1, hour(0), 1.0, "a", hour(2))], created=True)
        pq.write_table(table.rename_columns(["d", "ts", "f", "city", "cr"]), tmp_path / "t.parquet")
        mapping = {"d": "driver", "f": "fare", "ts": "event_time", "cr": "written"}
        src = source("t.parquet", timestamp_field="ts", created_timestamp_column="cr", field_mapping=mapping)
        assert store.schema(src).names == ["driver", "event_time", "fare", "city", "written"]
        row = store.latest(history(src), [ALWAYS]).read_all().to_pylist()[0]
        assert (row["driver"], row["fare"], row[EVENT_TIMESTAMP]) == (1, 1.0, hour(0))
        assert store.statistics(history(src), [ALWAYS])[0].newest_created == hour(2)

    def test_two_columns_of_one_name_are_an_error(self, store, tmp_path):
        pq.write_table(trips(ROWS), tmp_path / "t.parquet")
        with pytest.raises(SourceError, match="'fare'"):
            store.schema(source("t.parquet", field_mapping={"driver": "fare"}))


class TestTimes:
    @pytest.mark.parametrize(
        "times",
        [
            pa.array([datetime(2024, 1, 1, 1)], pa.timestamp("ns")),
            pa.array([datetime(2024, 1, 1, 1)], pa.timestamp("us")),
            pa.array([datetime(2024, 1, 1, 1)], pa.timestamp("ms")),
            pa.array([datetime(2024, 1, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="America/New_York")),
            pa.array([datetime(2024, 1, 1, 1, tzinfo=UTC)], pa.timestamp("ns", tz="Europe/Paris")),
            pa.array(["2024-01-01T01:00:00"]),
            pa.array(["2024-01-01 01:00:00Z"]),
            pa.array(["2024-01-01T02:00:00.000000+01:00"]),
            pa.array(["2024-01-01 02:00:00.000000 +01:00"]),
            pa.array(["2024-01-01 02:00 +01"]),
            pa.array(["2023-12-31T20:30:00 -0430"]),
            pa.array(["2024-01-01 01:00:00 Z"]),
            pa.array(["2024-01-01T01:00:00UTC"]),
        ],
        ids=str,
    )
    def test_all_kinds_become_utc_microseconds(self, store, tmp_path, times):
        pq.write_table(trips(ROWS[:1]).set_column(1, "event_timestamp", times), tmp_path / "t.parquet")
        found = store.scan(history(source("t.parquet")), Window(hour(1), hour(2))).read_all()
        assert found[EVENT_TIMESTAMP].to_pylist() == [hour(1)]
        assert found.schema.field(EVENT_TIMESTAMP).type == TIME
        assert drivers(store, source("t.parquet"), Window(hour(0), hour(1))) == []
        join = PointInTimeJoin(history(source("t.parquet")), {}, {}, timedelta(hours=1))
        table = joined(store, spine([(1, hour(1)), (1, hour(0.9)), (1, hour(2))]), [join])
        assert table["fare"].to_pylist() == [1.0, None, 1.0]

    def test_dates_are_midnights(self, store, tmp_path):
        table = trips(ROWS[:1]).set_column(1, "event_timestamp", pa.array([date(2024, 1, 2)]))
        pq.write_table(table, tmp_path / "t.parquet")
        assert drivers(store, source("t.parquet"), Window(hour(24), hour(25))) == [1]
        assert drivers(store, source("t.parquet"), Window(hour(23), hour(24))) == []

    def test_nanoseconds_are_cut_off_downwards_also_before_1970(self, store, tmp_path):
        times = pa.array([-1, 1_999, -1_000], pa.timestamp("ns"))
        table = trips([(i, hour(0), 0.0, "") for i in range(3)]).set_column(1, "event_timestamp", times)
        pq.write_table(table, tmp_path / "t.parquet")
        epoch, micro = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
        found = store.scan(history(source("t.parquet")), ALWAYS).read_all().sort_by("driver")
        assert found[EVENT_TIMESTAMP].to_pylist() == [epoch - micro, epoch + micro, epoch - micro]
        assert drivers(store, source("t.parquet"), Window(epoch - micro, epoch)) == [0, 2]

    def test_other_types_are_an_error(self, store, tmp_path):
        table = trips(ROWS).set_column(1, "event_timestamp", pa.array([1.5, 2.5]))
        pq.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(SourceError, match=r"'event_timestamp'.*double"):
            store.latest(history(source("t.parquet")), [ALWAYS])

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (["2024-01-01 00:00:00", "2024-01-01 00:00:00Z"], "mixes"),
            (["2024-01-01", "2024-01-01T00:00+02:00"], "mixes"),
            (["01/02/2024", "03/02/2024"], "01/02/2024"),
            (["2024-01-01", "soon"], "'soon'"),
            (["1704067200", "1704067201"], "1704067200"),
        ],
    )
    def test_texts_must_be_iso_and_of_one_kind(self, store, tmp_path, texts, message):
        lines = [f"{i},{t},1.0,x" for i, t in enumerate(texts)]
        (tmp_path / "t.csv").write_text("\n".join(["driver,event_timestamp,fare,city", *lines]) + "\n")
        for read, windows in ((store.latest, [ALWAYS]), (store.scan, ALWAYS)):
            with pytest.raises(SourceError, match=message):
                read(history(source("t.csv")), windows).read_all()

    def test_a_column_of_nulls_is_no_rows(self, store, tmp_path):
        pq.write_table(trips(ROWS).set_column(1, "event_timestamp", pa.nulls(2)), tmp_path / "t.parquet")
        assert drivers(store, source("t.parquet")) == []


class TestCsv:
    TEXT = "driver,event_timestamp,fare,city\n1,2024-01-01 00:00:00,1.5,007\n2,2024-01-01 01:00:00,,\n"

    def test_types_are_those_declared_and_times_are_utc(self, store, tmp_path):
        (tmp_path / "t.csv").write_text(self.TEXT)
        with gzip.open(tmp_path / "z.csv.gz", "wt") as out:
            out.write(self.TEXT)
        for path in ("t.csv", "z.csv.gz"):
            found = store.scan(history(source(path)), ALWAYS).read_all().sort_by("driver")
            assert found["city"].to_pylist() == ["007", None]
            assert found["fare"].to_pylist() == [1.5, None]
            assert found[EVENT_TIMESTAMP].to_pylist() == [hour(0), hour(1)]

    def test_schema_finds_times(self, store, tmp_path):
        (tmp_path / "t.csv").write_text(self.TEXT)
        found = store.schema(source("t.csv", timestamp_field=None))
        assert dict(zip(found.names, found.types, strict=True)) == {
            "driver": pa.int64(),
            "event_timestamp": TIME,
            "fare": pa.float64(),
            "city": pa.string(),
        }

    def test_types_are_inferred_from_the_whole_file(self, store, tmp_path):
        lines = [f"{i},2024-01-01,{i}" for i in range(60_000)]
        (tmp_path / "t.csv").write_text("\n".join(["driver,event_timestamp,fare", *lines, "1,2024-01-01,cheap"]) + "\n")
        assert store.schema(source("t.csv")).field("fare").type == pa.string()
        with pytest.raises(
            SourceError, match=r"'fare' is declared Float64, but it holds 'cheap' in row 60001 of .*t\.csv"
        ):
            store.latest(history(source("t.csv")).with_features(["fare"]), [ALWAYS]).read_all()

    def test_ragged_lines_are_an_error(self, store, tmp_path):
        (tmp_path / "t.csv").write_text(self.TEXT + "3,2024-01-01,1,x,surplus,more\n")
        with pytest.raises(SourceError):
            store.scan(history(source("t.csv")), ALWAYS).read_all()

    def test_timestamps_as_features(self, store, tmp_path):
        (tmp_path / "t.csv").write_text("driver,event_timestamp,seen\n1,2024-01-01,2024-01-01T02:00:00+01:00\n")
        seen = history(source("t.csv"), features=(Field(name="seen", dtype=UnixTimestamp),))
        assert store.latest(seen, [ALWAYS]).read_all()["seen"].to_pylist() == [hour(1)]


class TestDelta:
    def test_a_delta_table_is_its_current_rows(self, store, tmp_path):
        deltalake.write_deltalake(str(tmp_path / "t"), trips([(9, hour(0), 9.0, "old")]))
        deltalake.write_deltalake(str(tmp_path / "t"), trips(ROWS), mode="overwrite")
        for src in (source("t"), source("t", file_format=DeltaFormat())):
            assert store.schema(src).field("driver").type == pa.int64()
            assert drivers(store, src) == [1, 2]
            assert drivers(store, src, Window(hour(1), hour(2))) == [2]
        store.write(source("t"), trips([(3, hour(2), 3.0, "c")]))
        assert drivers(store, source("t")) == [1, 2, 3]

    def test_a_missing_table_is_an_error(self, store):
        with pytest.raises(SourceError, match="no Delta table"):
            store.schema(source("t", file_format=DeltaFormat()))


class TestDamage:
    def test_an_empty_file_is_named(self, store, tmp_path):
        (tmp_path / "t").mkdir()
        pq.write_table(trips(ROWS), tmp_path / "t" / "a.parquet")
        (tmp_path / "t" / "b.parquet").touch()
        with pytest.raises(SourceError, match=r"b\.parquet is empty"):
            store.latest(history(source("t")), [ALWAYS])

    def test_a_file_of_something_else_is_an_error(self, store, tmp_path):
        (tmp_path / "t.parquet").write_bytes(b"this is no parquet file at all" * 10)
        with pytest.raises(SourceError, match=r"t\.parquet"):
            store.schema(source("t.parquet"))

    @pytest.mark.parametrize("verb", ["latest", "scan", "statistics", "join"])
    def test_damage_half_way_is_an_error_and_never_a_part(self, store, tmp_path, verb):
        n = 300_000
        table = pa.table(
            {
                "driver": pa.array(range(n), pa.int64()),
                "event_timestamp": pa.array([hour(1)] * n, TIME),
                "fare": pa.array(range(n), pa.float64()),
                "city": pa.array([str(i) for i in range(n)]),
            }
        )
        path = tmp_path / "t.parquet"
        pq.write_table(table, path, row_group_size=50_000)
        group = pq.ParquetFile(path).metadata.row_group(4)
        data = bytearray(path.read_bytes())
        first = group.column(2).dictionary_page_offset or group.column(2).data_page_offset
        data[first : first + 2000] = b"\xff" * 2000
        path.write_bytes(data)
        broken = history(source("t.parquet"))
        read = {
            "latest": lambda: store.latest(broken, [ALWAYS]).read_all(),
            "scan": lambda: store.scan(broken, ALWAYS).read_all(),
            "statistics": lambda: store.statistics(broken, [ALWAYS]),
            "join": lambda: joined(
                store, spine([(driver, hour(2)) for driver in range(0, n, 1_000)]), [PointInTimeJoin(broken, {}, {})]
            ),
        }[verb]
        with pytest.raises(SourceError, match=r"t\.parquet"):
            read()


class TestColumns:
    def test_missing_time_columns_are_named(self, store, tmp_path):
        pq.write_table(trips(ROWS), tmp_path / "t.parquet")
        with pytest.raises(SourceError, match=r"'event_time'.*timestamp_field.*'event_timestamp'"):
            store.latest(history(source("t.parquet", timestamp_field="event_time")), [ALWAYS])
        with pytest.raises(SourceError, match="created_timestamp_column"):
            store.latest(history(source("t.parquet", created_timestamp_column="created")), [ALWAYS])
        with pytest.raises(DefinitionError, match="timestamp_field"):
            store.latest(history(source("t.parquet", timestamp_field=None)), [ALWAYS])
        with pytest.raises(SourceError, match="date_partition_column"):
            drivers(store, source("t.parquet", date_partition_column="day"), Window(hour(0), hour(1)))

    def test_names_differ_by_letter_case(self, store, tmp_path):
        pq.write_table(
            trips(ROWS).rename_columns(["Driver", "event_timestamp", "fare", "city"]), tmp_path / "t.parquet"
        )
        with pytest.raises(FeastJoinKeysDuringMaterialization, match=r"'driver'.*'Driver'"):
            store.latest(history(source("t.parquet")), [ALWAYS])

    def test_values_that_do_not_fit_are_an_error_while_reading(self, store, tmp_path):
        pq.write_table(trips([(1, hour(0), 2.5, "a")]), tmp_path / "t.parquet")
        reader = store.latest(history(source("t.parquet"), features=(Field(name="fare", dtype=Int64),)), [ALWAYS])
        with pytest.raises(SourceError, match=r"'fare'.*Int64"):
            reader.read_all()

    def test_keys_that_pandas_made_floats_are_integers_again(self, store, tmp_path):
        floats = pa.array([1.0, float("nan"), None, 2.0])
        table = trips([(0, hour(0), 1.0, "a")] * 4).set_column(0, "driver", floats)
        pq.write_table(table, tmp_path / "t.parquet")
        assert drivers(store, source("t.parquet")) == [1, 2]
        # Without a null, statistics of the file tell of numbers only.
        pq.write_table(table.set_column(0, "driver", pa.array([1.0, float("nan"), 3.0, 2.0])), tmp_path / "t.parquet")
        assert drivers(store, source("t.parquet")) == [1, 2, 3]
        pq.write_table(table.set_column(0, "driver", pa.array([1.5, 1.0, 1.0, 1.0])), tmp_path / "t.parquet")
        with pytest.raises(SourceError, match=r"'driver'.*1\.5"):
            drivers(store, source("t.parquet"))

    def test_keys_beyond_the_declared_width_are_an_error(self, store, tmp_path):
        pq.write_table(trips([(2**40, hour(0), 1.0, "a")]), tmp_path / "t.parquet")
        with pytest.raises(SourceError, match="1099511627776"):
            store.latest(
                history(source("t.parquet"), join_keys=(Field(name="driver", dtype=Int32),)), [ALWAYS]
            ).read_all()

    def test_uuid_keys_match_in_any_writing(self, store, tmp_path):
        text = "0188A5EB-A3E0-4C39-8F5D-000000000001"
        pq.write_table(trips(ROWS[:1]).set_column(0, "driver", pa.array([text])), tmp_path / "t.parquet")
        keyed = history(source("t.parquet"), join_keys=(Field(name="driver", dtype=Uuid),))
        table = spine([(1, hour(1))]).set_column(0, "driver", pa.array([text.lower()]))
        found = joined(store, table, [PointInTimeJoin(keyed, {}, {})])
        assert found["fare"].to_pylist() == [1.0]
        assert store.latest(keyed, [ALWAYS]).read_all()["driver"].to_pylist() == [text.lower()]

    def test_timestamp_keys_match_across_zones(self, store, tmp_path):
        paris = timezone(timedelta(hours=1))
        times = pa.array([datetime(2024, 1, 1, 1, tzinfo=paris)], pa.timestamp("ms", tz="Europe/Paris"))
        pq.write_table(trips(ROWS[:1]).set_column(0, "driver", times), tmp_path / "t.parquet")
        keyed = history(source("t.parquet"), join_keys=(Field(name="driver", dtype=UnixTimestamp),))
        table = spine([(1, hour(1))]).set_column(0, "driver", pa.array([datetime(2024, 1, 1)], pa.timestamp("us")))
        found = joined(store, table, [PointInTimeJoin(keyed, {}, {})], time_column="event_timestamp")
        assert found["fare"].to_pylist() == [1.0]


def test_a_files_name_is_no_pattern(store, tmp_path):
    pq.write_table(pa.table({"own": [1]}), tmp_path / "rows[1].parquet")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "rows1.parquet")
    source = FileSource(name="rows", path="rows[1].parquet", timestamp_field="own")
    assert store.schema(source).names == ["own"]
