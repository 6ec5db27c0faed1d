"""Transformations over sources: the three modes, what they see, and results that are not as declared."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError, TransformationError
from feast_assets.offline_stores.base import (
    CREATED_TIMESTAMP,
    EVENT_TIMESTAMP,
    computation_of,
    history_of,
)
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import history, hour, joined, spine, trips
from feast_assets.types import Array, Float64, Int64, String, ValueType

ROWS = [(1, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b"), (2, hour(3), 5.0, None)]


@pytest.fixture
def store(tmp_path):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)


@pytest.fixture
def source(tmp_path):
    pq.write_table(trips(ROWS), tmp_path / "trips.parquet")
    return FileSource(name="trip data", path="trips.parquet", timestamp_field="event_timestamp")


def computed(source, mode, udf, **changes):
    return history(source, transformation=Transformation(mode, udf), **changes)


class TestSql:
    def test_a_query_over_the_relations(self, store, source):
        def total(trips):
            return (
                f"SELECT driver, sum(fare) AS fare, string_agg(city) AS city, max(event_timestamp) AS event_timestamp "
                f"FROM {trips} GROUP BY driver;"
            )

        found = store.latest(computed(source, "sql", total), [ALWAYS]).read_all().sort_by("driver").to_pylist()
        assert [(r["driver"], r["fare"], r[EVENT_TIMESTAMP]) for r in found] == [(1, 3.0, hour(2)), (2, 5.0, hour(3))]

    def test_several_sources_come_in_their_order(self, store, source, tmp_path):
        pq.write_table(pa.table({"city": ["a", "b"], "label": ["A", "B"]}), tmp_path / "names.parquet")
        # A source without a time is a lookup table, seen whole.
        names = FileSource(name="1st names!", path="names.parquet")
        driver = Entity(name="driver", value_type=ValueType.INT64)
        view = BatchFeatureView(
            name="labelled",
            mode="sql",
            udf=lambda trips, names: (
                f"SELECT t.driver, t.event_timestamp, n.label FROM {trips} t JOIN {names} n USING (city)"
            ),
            source=[source, names],
            entities=[driver],
            schema=[Field(name="driver", dtype=Int64), Field(name="label", dtype=String)],
        )
        found = store.scan(computation_of(view), Window(hour(2), hour(9))).read_all()
        assert found["label"].to_pylist() == ["B"]
        whole, late = store.statistics(computation_of(view), [ALWAYS, Window(hour(3), hour(4))])
        assert (whole.rows, late.rows) == (5, 3)
        assert (late.oldest_event, late.newest_event) == (hour(3), hour(3))

    def test_queries_that_fail_name_the_view(self, store, source):
        for udf, message in (
            (lambda r: f"SELECT fair FROM {r}", r"'trips'.*fair"),
            (lambda r: f"DROP VIEW {r}", "one SELECT"),
            (lambda r: 7, "not int"),
            (lambda r: f"SELECT *, driver FROM {r}", "'driver'"),
        ):
            with pytest.raises(TransformationError, match=message):
                store.latest(computed(source, "sql", udf), [ALWAYS])

    def test_a_query_only_reads_its_sources_and_data_of_the_repository(self, store, source, tmp_path):
        (tmp_path / "names.csv").write_text("city,label\na,A\nb,B\n")
        (tmp_path / "feature_store.yaml").write_text("a\n1\n")

        def labelled(trips):
            return f"SELECT t.*, n.label FROM {trips.upper()} t JOIN 'names.csv' n USING (city); -- done"

        assert store.scan(computed(source, "sql", labelled), ALWAYS).read_all().num_rows > 0
        new = tmp_path / "new.csv"
        for udf in (
            lambda r: f"WITH a AS (COPY (SELECT 1) TO '{new}') SELECT * FROM {r}",
            lambda r: f"SELECT * FROM {r}, read_csv('feature_store.yaml')",
            lambda r: f"SELECT *, current_setting('temp_directory') AS x FROM {r}",
            lambda r: f"SELECT * FROM {r} WHERE city = '\ud800'",
        ):
            with pytest.raises(TransformationError, match="feature view 'trips': its query"):
                store.latest(computed(source, "sql", udf), [ALWAYS])
        assert not new.exists()

    def test_errors_while_the_query_runs_name_the_view(self, store, source):
        reader = store.latest(
            computed(
                source, "sql", lambda r: f"SELECT * REPLACE (CAST(coalesce(city, 'zero') AS DOUBLE) AS fare) FROM {r}"
            ),
            [ALWAYS],
        )
        with pytest.raises(TransformationError, match=r"'trips'.*Could not convert"):
            reader.read_all()


class TestPandas:
    def test_frames_in_and_a_frame_out(self, store, source):
        def rolling(frame: pd.DataFrame) -> pd.DataFrame:
            assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"
            frame = frame.sort_values("event_timestamp").set_index("event_timestamp")
            fare = frame.groupby("driver")["fare"].rolling("90min").sum().reset_index()
            return fare.assign(city="all", unused=[object()] * len(fare))

        found = store.scan(computed(source, "pandas", rolling), ALWAYS).read_all().sort_by(EVENT_TIMESTAMP)
        assert found["fare"].to_pylist() == [1.0, 3.0, 5.0]
        assert found["city"].to_pylist() == ["all"] * 3

    def test_lists_are_declared_types(self, store, source):
        def listed(frame: pd.DataFrame) -> pd.DataFrame:
            return frame.assign(fares=[[1.0, None], [], None])

        wanted = computed(source, "pandas", listed, features=(Field(name="fares", dtype=Array(Float64)),))
        found = store.scan(wanted, ALWAYS).read_all().sort_by(EVENT_TIMESTAMP)
        assert found["fares"].to_pylist() == [[1.0, None], [], None]

    def test_results_of_another_kind_are_errors(self, store, source):
        for udf, message in (
            (lambda f: f.to_dict("list"), "pandas DataFrame, not dict"),
            (lambda f: f.assign(fare="cheap"), r"'fare'.*Float64"),
            (lambda f: f.rename(columns={"event_timestamp": "event_time"}), r"'event_timestamp'.*'event_time'"),
            (lambda f: f.drop(columns="driver"), "'driver'"),
            (lambda f: f[["driver", "driver", "fare", "city", "event_timestamp"]], "two columns named 'driver'"),
        ):
            with pytest.raises(TransformationError, match=message):
                store.latest(computed(source, "pandas", udf), [ALWAYS]).read_all()

    def test_the_function_gets_a_copy_of_its_own(self, store, source):
        def spoil(frame: pd.DataFrame) -> pd.DataFrame:
            frame["fare"] = 0.0
            return frame

        wanted = computed(source, "pandas", spoil)
        for _ in range(2):
            assert set(store.scan(wanted, ALWAYS).read_all()["fare"].to_pylist()) == {0.0}
        assert set(store.scan(history(source), ALWAYS).read_all()["fare"].to_pylist()) == {1.0, 2.0, 5.0}


class TestPython:
    def test_lists_of_different_lengths_are_an_error(self, store, source):
        with pytest.raises(TransformationError, match="different lengths"):
            store.latest(computed(source, "python", lambda r: {**r, "fare": [1.0]}), [ALWAYS])

    def test_a_result_that_is_no_dict_is_an_error(self, store, source):
        with pytest.raises(TransformationError, match="dict of column name"):
            store.latest(computed(source, "python", lambda r: [r]), [ALWAYS])

    def test_naive_times_are_utc_but_not_beside_zoned_ones(self, store, source):
        naive = [datetime(2024, 1, 1, n) for n in (1, 2, 3)]
        found = store.scan(computed(source, "python", lambda r: {**r, "event_timestamp": naive}), ALWAYS).read_all()
        assert sorted(found[EVENT_TIMESTAMP].to_pylist()) == [hour(1), hour(2), hour(3)]
        mixed = [hour(1), naive[1], naive[2]]
        with pytest.raises(TransformationError, match="mixes"):
            store.scan(computed(source, "python", lambda r: {**r, "event_timestamp": mixed}), ALWAYS)


def test_a_transformation_over_files_that_are_not_there_yet_has_no_rows(store, source):
    absent = FileSource(name="absent", path="absent/", timestamp_field="event_timestamp")

    def never(*_):
        raise AssertionError("called")

    wanted = computed(absent, "python", never)
    assert store.latest(wanted, [ALWAYS]).read_all().num_rows == 0
    assert store.statistics(wanted, [ALWAYS])[0].rows == 0
    both = computed(source, "python", never, sources=(source, absent))
    with pytest.raises(SourceError, match=r"'absent'.*no files yet"):
        store.latest(both, [ALWAYS])


def test_a_damaged_input_is_the_sources_error(store, source, tmp_path):
    (tmp_path / "trips.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(SourceError, match=r"trips\.parquet"):
        store.latest(computed(source, "pandas", lambda f: f), [ALWAYS])


def test_a_join_computes_only_the_times_that_can_count(store, source):
    seen = []

    def spy(rows):
        seen.append(sorted(rows["event_timestamp"]))
        return rows

    wanted = computed(source, "python", spy, lookback=timedelta(minutes=30))
    table = spine([(1, hour(2.5)), (2, hour(2.75)), (1, None)])
    found = joined(store, table, [PointInTimeJoin(wanted, {}, {}, timedelta(minutes=20))])
    assert seen == [[hour(2)]]
    assert found["fare"].to_pylist() == [None, None, None]


def test_kept_results_are_read_from_the_sink(store, source):
    sink = FileSource(
        name="kept",
        path="kept/totals",
        timestamp_field="at",
        created_timestamp_column="made",
        field_mapping={"total_fare": "total"},
    )

    def total(trips):
        return f"SELECT driver, fare * 2 AS total, event_timestamp AS at, event_timestamp AS made FROM {trips}"

    view = BatchFeatureView(
        name="totals",
        mode="sql",
        udf=total,
        source=source,
        sink_source=sink,
        offline=True,
        entities=[Entity(name="driver", value_type=ValueType.INT64)],
        schema=[Field(name="driver", dtype=Int64), Field(name="total", dtype=Float64)],
    )
    assert store.latest(history_of(view), [ALWAYS]).read_all().num_rows == 0
    windows = [Window(hour(0), hour(2)), Window(hour(2), hour(24))]
    store.replace(sink, computation_of(view), windows, store.scan(computation_of(view), Window(hour(0), hour(24))))
    kept = store.scan(history_of(view), ALWAYS).read_all().sort_by(EVENT_TIMESTAMP)
    assert kept["total"].to_pylist() == [2.0, 4.0, 10.0]
    assert kept[CREATED_TIMESTAMP].to_pylist() == [hour(1), hour(2), hour(3)]
    assert {"driver", "total", "at", "made"} == set(store.schema(sink).names)
