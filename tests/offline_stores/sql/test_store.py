"""Every store on the plan does what an offline store does."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import InputError, SourceError, SourceWithoutFilesError
from feast_assets.offline_stores.postgres.store import PostgresOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.offline_stores.sql import store as store_module
from feast_assets.offline_stores.sql import survey
from feast_assets.testing.offline_store import (
    DAY,
    CanReplaceWindowsConformance,
    OfflineStoreConformance,
    RunsTransformationsConformance,
    by_driver,
    history,
    hour,
    joined,
    spine,
    trips,
)


class TestStoresOnThePlan(OfflineStoreConformance, CanReplaceWindowsConformance, RunsTransformationsConformance):
    @pytest.fixture
    def store(self, sql_store):
        return sql_store

    @pytest.fixture
    def put(self, store, put_table):
        return lambda rows: put_table(
            store, rows, "event_timestamp", "created" if "created" in rows.column_names else ""
        )

    @pytest.fixture
    def sink(self, put):
        # Of a table that is not there yet, only writing is possible.
        return put(trips([]))

    def test_a_table_that_is_not_there_is_made_by_the_first_rows(self, store, put):
        source = PostgreSQLSource(table=f"t_{uuid.uuid4().hex}", timestamp_field="event_timestamp")
        with pytest.raises(SourceWithoutFilesError, match="no such table"):
            store.scan(history(source), ALWAYS)
        rows = history(put(trips([(1, hour(1), 1.0, "a"), (2, hour(30), 2.0, "b")])))
        store.replace(source, rows, [Window(DAY, DAY + timedelta(days=1))], store.scan(rows, ALWAYS))
        assert store.scan(history(source), ALWAYS).read_all()["driver"].to_pylist() == [1]

    def test_windows_that_overlap_are_not_replaced(self, store, put, sink):
        rows = history(put(trips([(1, hour(1), 1.0, "a")])))
        with pytest.raises(InputError, match="overlap"):
            store.replace(sink, rows, [Window(hour(0), hour(2)), Window(hour(1), hour(3))], store.scan(rows, ALWAYS))

    def test_a_window_that_several_replace_at_once_holds_the_rows_of_one(self, store, put, sink):
        if not isinstance(store, PostgresOfflineStore):
            pytest.skip("Only one connection at a time writes to the database in memory.")
        days = Window(DAY, DAY + timedelta(days=1))
        sources = [history(put(trips([(n, hour(n), float(n), "x")]))) for n in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda h: store.replace(sink, h, [days], store.scan(h, ALWAYS)), sources * 3))
        assert store.scan(history(sink), ALWAYS).read_all().num_rows == 1

    def test_a_spine_is_joined_some_rows_at_a_time(self, store, put, monkeypatch):
        monkeypatch.setattr(store_module, "_SPINE_ROWS_AT_ONCE", 7)
        monkeypatch.setattr(store_module, "BATCH_ROWS", 3)
        source = put(trips([(n, hour(n), float(n), "x") for n in range(20)]))
        asked = spine([(n, hour(n)) for n in range(25)])
        found = joined(store, asked, [PointInTimeJoin(history(source), {}, {})])
        assert found["fare"].to_pylist() == [*map(float, range(20)), *[None] * 5]
        assert [batch.num_rows for batch in store.scan(history(source), ALWAYS)] == [3] * 6 + [2]

    def test_many_windows_are_asked_for_in_several_statements(self, store, put, monkeypatch):
        rows = [(None if n % 5 == 0 else n, None if n % 7 == 0 else hour(n), float(n), "x") for n in range(60)]
        source = history(put(trips(rows)))
        windows = [Window(hour(n), hour(n + 3)) for n in range(-2, 62)]
        windows += [ALWAYS, Window(ALWAYS.start, hour(9)), Window(hour(9), ALWAYS.end)]
        at_once = store.survey(source, windows)
        assert at_once.null_times == 9
        assert [w.rows + w.null_keys for w in at_once.windows][-3:] == [51, 7, 44]
        monkeypatch.setattr(survey, "EDGES_AT_ONCE", 5)
        assert store.survey(source, windows) == at_once

    def test_rows_of_many_stretches_of_time_are_found(self, store, put):
        source = history(put(trips([(n, hour(n), float(n), "x") for n in range(200)])))
        every_third = [Window(hour(n), hour(n + 1)) for n in range(0, 600, 3)]
        inside = {n for n in range(200) if n % 3 == 0}
        assert set(by_driver(store.latest(source, every_third))) == inside
        open_ended = [Window(ALWAYS.start, hour(-5)), *every_third, Window(hour(601), ALWAYS.end)]
        assert set(by_driver(store.latest(source, open_ended))) == inside
        overlapping = [*every_third, Window(hour(10), hour(20)), Window(hour(12), hour(13))]
        assert set(by_driver(store.latest(source, overlapping))) == inside | set(range(10, 20))
        assert by_driver(store.latest(source, [Window(hour(3), hour(3)), Window(hour(300), hour(301))])) == {}

    def test_a_lookback_may_reach_before_all_of_time(self, store, put):
        source = put(trips([(1, hour(1), 1.0, "a")]))
        computed = history(source, transformation=Transformation("python", lambda rows: rows), lookback=timedelta.max)
        for window in (Window(ALWAYS.start, hour(2)), Window(hour(0), hour(2))):
            assert store.scan(computed, window).read_all().num_rows == 1
            assert [w.rows for w in store.statistics(computed, [window, ALWAYS])] == [1, 1]

    def test_columns_that_two_names_are_mapped_to_are_refused(self, store, put):
        source = put(trips([(1, hour(0), 1.0, "a")]))
        source.field_mapping = {"fare": "city"}
        with pytest.raises(SourceError, match="gives two columns the name 'city'"):
            store.schema(source)

    def test_columns_are_read_by_the_names_of_the_field_mapping(self, store, put):
        own = trips([(1, hour(0), 1.0, "a")]).rename_columns(["id", "event_timestamp", "price", "city"])
        source = put(own)
        source.field_mapping = {"id": "driver", "price": "fare"}
        assert store.schema(source).names == ["driver", "event_timestamp", "fare", "city"]
        (row,) = store.latest(history(source), [ALWAYS]).read_all().to_pylist()
        assert (row["driver"], row["fare"]) == (1, 1.0)

    def test_keys_that_lose_something_when_read_fail_and_say_which(self, store, put):
        for values, kind in (([1.0, 1.5], pa.float64()), ([1.0, 2.0**53], pa.float64())):
            table = trips([(1, hour(0), 1.0, "a"), (2, hour(0), 1.0, "b")])
            source = put(table.set_column(0, "driver", pa.array(values, kind)))
            with pytest.raises(SourceError, match=r"join key 'driver' is declared Int64 but holds (1\.5|9)") as caught:
                store.latest(history(source), [ALWAYS]).read_all()
            assert "(end)" not in str(caught.value)
        whole = put(trips([(1, hour(0), 1.0, "a")]).set_column(0, "driver", pa.array([float("nan")])))
        assert store.latest(history(whole), [ALWAYS]).read_all().num_rows == 0
        (statistic,) = store.statistics(history(whole), [ALWAYS])
        assert (statistic.rows, statistic.null_keys) == (0, 1)

    def test_naive_times_and_dates_are_utc(self, store, put):
        naive = pa.array([hour(1).replace(tzinfo=None), hour(25).replace(tzinfo=None)], pa.timestamp("us"))
        table = trips([(1, hour(0), 1.0, "a"), (2, hour(0), 1.0, "b")])
        for column, expected in ((naive, [hour(1), hour(25)]), (naive.cast(pa.date32()), [hour(0), hour(24)])):
            source = put(table.set_column(1, "event_timestamp", column))
            found = store.scan(history(source), ALWAYS).read_all().sort_by("driver")
            assert found["__event_timestamp"].to_pylist() == expected
            assert store.scan(history(source), Window(hour(2), hour(99))).read_all().num_rows == 1
            assert [w.rows for w in store.statistics(history(source), [Window(hour(0), hour(2))])] == [1]

    def test_columns_that_hold_no_times_are_no_event_times(self, store, put):
        source = put(trips([(1, hour(0), 1.0, "a")]).rename_columns(["driver", "at", "fare", "event_timestamp"]))
        source.timestamp_field = "event_timestamp"
        with pytest.raises(SourceError, match="'event_timestamp' should hold timestamps but holds string"):
            store.latest(history(source, features=history(source).features[:1]), [ALWAYS]).read_all()
