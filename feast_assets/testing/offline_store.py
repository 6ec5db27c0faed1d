"""What every offline store does: a suite that a backend's tests subclass.

::

    class TestMyStore(OfflineStoreConformance):
        @pytest.fixture
        def store(self): ...

        @pytest.fixture
        def put(self, store): ...

        @pytest.fixture
        def sink(self, store): ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import (
    EntityDFNotDateTime,
    EntityTimestampInferenceException,
    FeastEntityDFMissingColumnsError,
    FeastJoinKeysDuringMaterialization,
    InputError,
    SourceError,
    TransformationError,
)
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, History, OfflineStore, PointInTimeJoin
from feast_assets.offline_stores.profile import ColumnProfile
from feast_assets.types import Array, Float64, Int64, String

Put = Callable[[pa.Table], DataSource]

DAY = datetime(2024, 1, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
KEY = Field(name="driver", dtype=Int64)
FARE = Field(name="fare", dtype=Float64)
CITY = Field(name="city", dtype=String)


def hour(n: float) -> datetime:
    """Returns a moment ``n`` hours after the beginning of 2024."""
    return DAY + timedelta(hours=n)


def trips(rows: Sequence[tuple[Any, ...]], created: bool = False) -> pa.Table:
    """Returns rows of (driver, event time, fare, city), and created time where asked for."""
    names = ["driver", "event_timestamp", "fare", "city", "created"][: 5 if created else 4]
    types = [pa.int64(), TIME, pa.float64(), pa.string(), TIME]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=False)})


def history(source: DataSource, **changes: Any) -> History:
    """Returns the history of a view with features fare and city in a source that `trips` filled."""
    base = History(
        view="trips",
        sources=(source,),
        join_keys=(KEY,),
        features=(FARE, CITY),
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
    )
    return replace(base, **changes)


def spine(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Returns rows of (driver, time)."""
    drivers, times = zip(*rows, strict=True) if rows else ((), ())
    return pa.table({"driver": pa.array(drivers, pa.int64()), "event_timestamp": pa.array(times, TIME)})


def by_driver(reader: pa.RecordBatchReader) -> dict[Any, dict[str, Any]]:
    """Returns rows by driver; fails where one has two."""
    rows = reader.read_all().to_pylist()
    found = {row["driver"]: row for row in rows}
    assert len(found) == len(rows)
    return found


class OfflineStoreConformance:
    """The contract of `OfflineStore` as tests. Subclasses give the three fixtures."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """The store."""
        raise NotImplementedError

    @pytest.fixture
    def put(self, store: OfflineStore) -> Put:
        """A function that stores a table as a new source.

        Its ``timestamp_field`` is "event_timestamp"; its ``created_timestamp_column`` "created" where the table has
        that column.
        """
        raise NotImplementedError

    @pytest.fixture
    def sink(self, store: OfflineStore) -> DataSource:
        """A source that does not exist yet, with timestamp_field "event_timestamp", which `replace` can write to."""
        raise NotImplementedError

    # --- schema

    def test_schema_names_the_columns_and_their_types(self, store: OfflineStore, put: Put) -> None:
        found = store.schema(put(trips([(1, hour(0), 1.0, "x")])))
        assert {f.name: f.type for f in found} == {
            "driver": pa.int64(),
            "event_timestamp": TIME,
            "fare": pa.float64(),
            "city": pa.string(),
        }

    # --- latest and scan

    def test_latest_is_the_newest_row_of_each_entity(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (1, hour(2), 2.0, "b"), (2, hour(1), 3.0, None)]))
        found = by_driver(store.latest(history(source), ALWAYS))
        assert found[1] == {
            "driver": 1,
            "fare": 2.0,
            "city": "b",
            EVENT_TIMESTAMP: hour(2),
            CREATED_TIMESTAMP: None,
        }
        assert (found[2]["fare"], found[2]["city"]) == (3.0, None)

    def test_results_have_the_canonical_schema_also_without_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([]))
        for reader in (store.latest(history(source), ALWAYS), store.scan(history(source), ALWAYS)):
            table = reader.read_all()
            assert table.num_rows == 0
            assert table.schema == pa.schema(
                {
                    "driver": pa.int64(),
                    "fare": pa.float64(),
                    "city": pa.string(),
                    EVENT_TIMESTAMP: TIME,
                    CREATED_TIMESTAMP: TIME,
                }
            )

    def test_windows_contain_their_start_but_not_their_end(self, store: OfflineStore, put: Put) -> None:
        before, last = hour(1) - timedelta(microseconds=1), hour(2) - timedelta(microseconds=1)
        source = put(trips([(i, t, 0.0, "") for i, t in enumerate([before, hour(1), last, hour(2)])]))
        window = Window(hour(1), hour(2))
        assert sorted(store.scan(history(source), window).read_all()["driver"].to_pylist()) == [1, 2]
        assert sorted(by_driver(store.latest(history(source), window))) == [1, 2]
        assert store.statistics(history(source), [window])[0].rows == 2

    def test_rows_without_key_or_time_are_no_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(None, hour(0), 1.0, "a"), (1, None, 2.0, "b"), (2, hour(0), None, None)]))
        assert store.scan(history(source), ALWAYS).read_all()["driver"].to_pylist() == [2]
        assert sorted(by_driver(store.latest(history(source), ALWAYS))) == [2]
        assert store.statistics(history(source), [ALWAYS])[0].rows == 1

    def test_of_equal_event_times_the_newer_created_time_wins(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(0), 9.0, "z", hour(1)), (1, hour(0), 1.0, "a", hour(2)), (1, hour(0), 5.0, "m", None)]
        source = put(trips(rows, created=True))
        row = by_driver(store.latest(history(source), ALWAYS))[1]
        assert (row["fare"], row[CREATED_TIMESTAMP]) == (1.0, hour(2))

    def test_views_without_keys_have_one_row(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(1), 2.0, "b")]))
        keyless = history(source, join_keys=())
        assert store.latest(keyless, ALWAYS).read_all()["fare"].to_pylist() == [2.0]
        table = store.point_in_time_join(spine([(7, hour(0.5)), (8, hour(3))]), [PointInTimeJoin(keyless, {}, {})])
        assert table.read_all()["fare"].to_pylist() == [1.0, 2.0]

    def test_ties_fall_the_same_way_whatever_is_asked_for(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "z"), (1, hour(0), 2.0, "a"), (1, hour(0), None, "m")]))
        whole = by_driver(store.latest(history(source), ALWAYS))[1]
        only_city = history(source).with_features(["city"])
        assert by_driver(store.latest(only_city, ALWAYS))[1]["city"] == whole["city"]
        for wanted in (history(source), only_city):
            table = store.point_in_time_join(spine([(1, hour(1))]), [PointInTimeJoin(wanted, {}, {})])
            assert table.read_all()["city"].to_pylist() == [whole["city"]]

    def test_latest_of_is_of_some_entities_in_some_windows(self, store: OfflineStore, put: Put) -> None:
        rows = [(driver, hour(i), float(i), "x") for driver in (1, 2, 3) for i in range(6)]
        source = put(trips([*rows, (4, hour(3), 3.0, "gap"), (2, hour(4), 9.0, "y")]))

        def newest(keys: Sequence[int], *windows: Window) -> dict[int, float]:
            wanted = pa.table({"driver": pa.array(keys, pa.int64())})
            return {k: r["fare"] for k, r in by_driver(store.latest_of(history(source), windows, wanted)).items()}

        assert newest([1, 3, 7], ALWAYS) == {1: 5.0, 3: 5.0}
        assert newest([], ALWAYS) == {}
        assert newest([1, 4], Window(hour(0), hour(2)), Window(hour(4), hour(5))) == {1: 4.0}
        assert newest([1, 4], Window(hour(5), hour(7)), Window(hour(1), hour(3)), Window(hour(3), hour(4))) == {
            1: 5.0,
            4: 3.0,
        }
        # Of rows that tie it chooses as `latest` does.
        assert newest([2], Window(hour(4), hour(5))) == {
            2: by_driver(store.latest(history(source), Window(hour(4), hour(5))))[2]["fare"]
        }

    def test_latest_of_a_view_without_keys_is_its_row(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(1), 2.0, "b")]))
        keyless = history(source, join_keys=())
        windows = [Window(hour(0), hour(1)), Window(hour(2), hour(3))]
        assert store.latest_of(keyless, windows, pa.table({})).read_all()["fare"].to_pylist() == [1.0]
        assert store.latest_of(keyless, windows[1:], pa.table({})).read_all().num_rows == 0

    # --- point-in-time join

    def test_join_never_looks_ahead_and_includes_its_own_moment(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        just_before = hour(2) - timedelta(microseconds=1)
        moments = [hour(3), hour(2), just_before, hour(1), hour(0)]
        table = store.point_in_time_join(
            spine([(1, t) for t in moments]), [PointInTimeJoin(history(source), {}, {})]
        ).read_all()
        assert table["fare"].to_pylist() == [2.0, 2.0, 1.0, 1.0, None]

    def test_ttl_includes_both_ends(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a")]))
        moments = [hour(2), hour(2) + timedelta(microseconds=1)]
        for ttl, expected in (
            (timedelta(hours=1), [1.0, None]),
            (timedelta(hours=1, microseconds=1), [1.0, 1.0]),
            (timedelta(0), [1.0, 1.0]),
            (timedelta.max, [1.0, 1.0]),
            (None, [1.0, 1.0]),
        ):
            join = PointInTimeJoin(history(source), {}, {}, ttl)
            table = store.point_in_time_join(spine([(1, t) for t in moments]), [join]).read_all()
            assert table["fare"].to_pylist() == expected

    def test_join_keeps_rows_order_and_columns_of_the_spine(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        table = pa.table(
            {
                "row": pa.array([3, 1, 2, 1, 0, 9], pa.uint8()),
                "t": pa.array(["x", None, "y", "z", "z", ""]).dictionary_encode(),
                "driver": pa.array([1, None, 2, 1, 1, 1], pa.int64()),
                "event_timestamp": pa.array([hour(1), hour(1), hour(1), None, hour(1), hour(1)], TIME),
                "k0": pa.array([[1], [], None, [2, 3], [4], []], pa.large_list(pa.int16())),
            }
        )
        found = store.point_in_time_join(table, [PointInTimeJoin(history(source), {}, {})]).read_all()
        assert found.select(table.column_names).equals(table)
        assert found.column_names == [*table.column_names, "fare", "city"]
        assert found["fare"].to_pylist() == [1.0, None, None, None, 1.0, 1.0]

    def test_join_of_no_rows_has_the_columns(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([(1, hour(0), 1.0, "a")]))), {"fare": "trips__fare"}, {})
        found = store.point_in_time_join(spine([]), [join]).read_all()
        assert found.column_names == ["driver", "event_timestamp", "trips__fare", "city"]
        assert found.num_rows == 0

    def test_join_with_an_empty_source_gives_nulls(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([]))), {}, {})
        found = store.point_in_time_join(spine([(1, hour(1))]), [join]).read_all()
        assert found["fare"].to_pylist() == [None]
        assert found["fare"].type == pa.float64()

    def test_one_view_can_be_joined_by_several_columns(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(0), 2.0, "b")]))
        table = pa.table({"origin": [1, 2], "target": [2, 1], "event_timestamp": pa.array([hour(1), hour(1)], TIME)})
        joins = [
            PointInTimeJoin(
                history(source).with_features(["fare"]), {"fare": f"{c}_fare"}, {"driver": c}, timedelta(days=1)
            )
            for c in ("origin", "target")
        ]
        found = store.point_in_time_join(table, joins).read_all()
        assert found["origin_fare"].to_pylist() == [1.0, 2.0]
        assert found["target_fare"].to_pylist() == [2.0, 1.0]

    def test_created_filter_hides_rows_that_were_not_yet_known(self, store: OfflineStore, put: Put) -> None:
        rows = [
            (1, hour(1), 1.0, "first", hour(1)),
            (1, hour(1), 2.0, "corrected", hour(5)),
            (1, hour(2), 3.0, "late", hour(4)),
        ]
        source = put(trips(rows, created=True))
        moments = [hour(3), hour(4), hour(5)]
        join = PointInTimeJoin(history(source), {}, {})
        known = store.point_in_time_join(spine([(1, t) for t in moments]), [join], filter_by_created_timestamp=True)
        assert known.read_all()["city"].to_pylist() == ["first", "late", "late"]
        everything = store.point_in_time_join(spine([(1, hour(1)), (1, hour(3))]), [join]).read_all()
        assert everything["city"].to_pylist() == ["corrected", "late"]

    def test_naive_spine_times_are_utc(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a")]))
        naive = [hour(n).replace(tzinfo=None) for n in (1, 0)]
        table = pa.table({"driver": [1, 1], "when": pa.array(naive, pa.timestamp("ns"))})
        found = store.point_in_time_join(table, [PointInTimeJoin(history(source), {}, {})]).read_all()
        assert found["fare"].to_pylist() == [1.0, None]
        assert found.schema.field("when").type == TIME

    def test_integer_keys_of_any_width_match(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        table = spine([(1, hour(1))]).set_column(0, "driver", pa.array([1], pa.int8()))
        found = store.point_in_time_join(table, [PointInTimeJoin(history(source), {}, {})]).read_all()
        assert found["fare"].to_pylist() == [1.0]
        assert found.schema.field("driver").type == pa.int8()

    def test_keys_of_another_kind_are_refused(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        table = spine([(1, hour(1))]).set_column(0, "driver", pa.array(["one"]))
        with pytest.raises(InputError, match=r"'driver'.*Int64"):
            store.point_in_time_join(table, [PointInTimeJoin(history(source), {}, {})]).read_all()

    def test_spine_without_key_column_is_refused(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([(1, hour(0), 1.0, "a")]))), {}, {"driver": "drivr"})
        with pytest.raises(FeastEntityDFMissingColumnsError, match=r"'drivr'.*'driver'"):
            store.point_in_time_join(spine([(1, hour(1))]), [join])

    def test_spine_needs_one_time_column(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([(1, hour(0), 1.0, "a")]))), {}, {})
        times = pa.array([hour(1)], TIME)
        with pytest.raises(EntityTimestampInferenceException):
            store.point_in_time_join(pa.table({"driver": [1]}), [join])
        with pytest.raises(EntityTimestampInferenceException, match=r"a, b"):
            store.point_in_time_join(pa.table({"driver": [1], "a": times, "b": times}), [join])
        with pytest.raises(EntityDFNotDateTime, match="event_timestamp"):
            store.point_in_time_join(pa.table({"driver": [1], "event_timestamp": ["2024"]}), [join])
        with pytest.raises(FeastEntityDFMissingColumnsError, match="'at'"):
            store.point_in_time_join(pa.table({"driver": [1], "a": times}), [join], timestamp_column="at")
        found = store.point_in_time_join(
            pa.table({"driver": [1], "a": times, "b": times}), [join], timestamp_column="b"
        )
        assert found.read_all()["fare"].to_pylist() == [1.0]

    def test_result_columns_must_not_meet(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([(1, hour(0), 1.0, "a")]))), {"fare": "driver"}, {})
        with pytest.raises(InputError, match="'driver'"):
            store.point_in_time_join(spine([(1, hour(1))]), [join])

    # --- sources that are not as declared

    def test_missing_columns_are_named_with_the_nearest(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        with pytest.raises(SourceError, match=r"'fair'.*'fare'"):
            store.latest(history(source, features=(Field(name="fair", dtype=Float64),)), ALWAYS)
        with pytest.raises(FeastJoinKeysDuringMaterialization, match=r"'drivers'.*'driver'"):
            store.latest(history(source, join_keys=(Field(name="drivers", dtype=Int64),)), ALWAYS)

    def test_columns_of_another_kind_are_named_with_both_types(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        with pytest.raises(SourceError, match=r"'city'.*Int64.*string"):
            store.latest(history(source, features=(Field(name="city", dtype=Int64),)), ALWAYS)
        with pytest.raises(SourceError, match=r"'city'.*Array"):
            store.scan(history(source, features=(Field(name="city", dtype=Array(Int64)), FARE)), ALWAYS).read_all()

    # --- statistics

    def test_statistics_are_of_each_window(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a", hour(9)), (2, hour(2), 2.0, "b", hour(8))], created=True))
        windows = [Window(hour(5), hour(6)), Window(hour(0), hour(2)), Window(hour(0), hour(24)), ALWAYS]
        empty, first, day, always = store.statistics(history(source), windows)
        assert (empty.rows, empty.fingerprint, empty.oldest_event, empty.newest_created) == (0, "", None, None)
        assert (first.rows, first.oldest_event, first.newest_event) == (1, hour(1), hour(1))
        assert (day.rows, day.oldest_event, day.newest_event, day.newest_created) == (2, hour(1), hour(2), hour(9))
        assert day.fingerprint == always.fingerprint != first.fingerprint
        assert [s.window for s in (empty, first, day, always)] == windows

    def test_of_a_grid_the_windows_with_rows_are_found_however_far_apart_they_lie(
        self, store: OfflineStore, put: Put
    ) -> None:
        rows = [(1, hour(0.5), 1.0, "a"), (2, hour(2.5), 1.0, "a"), (1, hour(-400_000), 1.0, "a"), (1, None, 1.0, "a")]
        wanted = history(put(trips(rows)))
        grid, span = Partitions("hourly"), Window(hour(-500_000), hour(2.75))
        found = store.survey_grid(wanted, grid, span).windows
        assert [s.window for s in found if s.rows] == [
            Window(hour(-400_000), hour(-399_999)),
            Window(hour(0), hour(1)),
            Window(hour(2), hour(2.75)),
        ]
        assert [s for s in found if s.rows] == store.statistics(wanted, [s.window for s in found if s.rows])
        assert store.survey(wanted, [s.window for s in found]).windows == found

    def test_versions_of_a_source_tell_which_windows_have_changed(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(1), 1.0, "a"), (2, hour(5), 2.0, "b")]
        windows = [Window(hour(0), hour(2)), Window(hour(2), hour(4)), Window(hour(4), hour(6))]
        source = put(trips(rows))
        before = store.source_versions(source, windows)
        assert before == store.source_versions(source, windows)
        assert [bool(version) for version in before] == [True, False, True]
        (whole,) = store.source_versions(source, [ALWAYS])
        store.write(source, trips([(3, hour(3), 3.0, "c")]))
        after = store.source_versions(source, windows)
        assert after[1] != ""
        assert store.source_versions(source, [ALWAYS]) != [whole]

    def test_fingerprints_tell_content_and_not_order(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(1), 1.0, "a"), (2, hour(2), None, "b"), (3, hour(3), 3.0, None)]
        variants = [
            rows,
            rows[::-1],
            rows[:2],
            [*rows, rows[0]],
            [*rows, rows[0], rows[0]],
            [(1, hour(1), 1.0, "b"), *rows[1:]],
            [(9, hour(1), 1.0, "a"), *rows[1:]],
            [(1, hour(1.5), 1.0, "a"), *rows[1:]],
            [rows[0], (2, hour(2), 3.0, "b"), (3, hour(3), None, None)],
        ]
        prints = [store.statistics(history(put(trips(v))), [ALWAYS])[0].fingerprint for v in variants]
        assert prints[0] == prints[1]
        assert len(set(prints)) == len(variants) - 1

    def test_the_oldest_event_is_that_of_the_rows_that_count(self, store: OfflineStore, put: Put) -> None:
        rows = trips([(None, hour(0), 1.0, "a"), (1, None, 1.0, "a"), (2, hour(5), 1.0, "a"), (1, hour(3), 1.0, "b")])
        assert store.oldest_event(history(put(rows))) == hour(3)
        assert store.oldest_event(history(put(rows.slice(2)))) == hour(3)
        assert store.oldest_event(history(put(rows.slice(1, 1)))) is None
        assert store.oldest_event(history(put(trips([])))) is None

    def test_the_oldest_event_of_a_transformation_is_that_of_its_inputs(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(None, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        computed = history(source, transformation=Transformation("python", lambda rows: rows))
        assert store.oldest_event(computed) == store.statistics(computed, [ALWAYS])[0].oldest_event == hour(1)

    # --- profiles

    def test_profiles_are_of_each_window(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(0), 1.0, "a"), (2, hour(0), 4.0, "b"), (2, hour(1), None, "a"), (3, hour(9), 7.0, None)]
        windows = [Window(hour(5), hour(6)), Window(hour(0), hour(2)), Window(hour(9), hour(10))]
        empty, first, last = store.profile(history(put(trips(rows))), windows)
        assert [p.window for p in (empty, first, last)] == windows
        assert (empty.rows, empty.entities, empty.columns) == (0, 0, {"fare": ColumnProfile(), "city": ColumnProfile()})
        assert (first.rows, first.entities, last.rows, last.entities) == (3, 2, 1, 1)
        fare, city = first.columns["fare"], first.columns["city"]
        assert (fare.nulls, fare.minimum, fare.mean, fare.maximum) == (1, 1.0, 2.5, 4.0)
        assert (fare.histogram, dict(fare.top_values)) == ((1, *[0] * 14, 1), {})
        assert (city.nulls, city.minimum, city.mean, city.histogram) == (0, None, None, ())
        assert list(city.top_values.items()) == [("a", 2), ("b", 1)]
        assert (last.columns["fare"].histogram, last.columns["city"].nulls) == ((1, *[0] * 15), 1)
        assert store.profile(history(put(trips(rows))), []) == []

    def test_profiles_count_what_breaks_a_rule(self, store: OfflineStore, put: Put) -> None:
        rows = [(i, hour(i), v, c) for i, (v, c) in enumerate([(0.5, "a"), (2.0, "b"), (2.0, "b"), (None, None)])]
        rows.append((9, hour(9), float("nan"), "c"))
        fare = Field(name="fare", dtype=Float64, checks=Checks(minimum=1, maximum=2, unique=True))
        city = Field(name="city", dtype=String, checks=Checks(allowed=["a", "c'"]))
        (found,) = store.profile(history(put(trips(rows)), features=(fare, city)), [ALWAYS])
        assert found.columns["fare"].broken == {"minimum": 2, "maximum": 1, "unique": 1}
        assert found.columns["city"].broken == {"allowed": 3}
        assert (found.columns["fare"].minimum, found.columns["fare"].maximum) == (0.5, 2.0)

    def test_profiles_of_a_transformation_are_of_its_result(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        calls = []

        def double(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            calls.append(1)
            return {**rows, "fare": [v * 2 for v in rows["fare"]]}

        computed = history(source, transformation=Transformation("python", double))
        first, second = store.profile(computed, [Window(hour(0), hour(1)), Window(hour(2), hour(3))])
        assert (first.columns["fare"].maximum, second.columns["fare"].maximum, len(calls)) == (2.0, 4.0, 1)

    # --- transformations

    def test_a_transformation_computes_the_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))

        def double(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {**rows, "fare": [v * 2 for v in rows["fare"]]}

        computed = history(source, transformation=Transformation("python", double))
        assert by_driver(store.latest(computed, ALWAYS))[1]["fare"] == 4.0
        table = store.point_in_time_join(spine([(1, hour(1.5))]), [PointInTimeJoin(computed, {}, {})])
        assert table.read_all()["fare"].to_pylist() == [2.0]

    def test_a_transformation_sees_the_lookback_and_its_result_is_cut_to_the_window(
        self, store: OfflineStore, put: Put
    ) -> None:
        source = put(trips([(i, hour(i), float(i), "") for i in range(6)]))
        seen: list[list[Any]] = []

        def spy(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            seen.append(sorted(rows["driver"]))
            return rows

        computed = history(source, transformation=Transformation("python", spy), lookback=timedelta(hours=2))
        found = store.scan(computed, Window(hour(3), hour(5))).read_all()
        assert seen == [[1, 2, 3, 4]]
        assert sorted(found["driver"].to_pylist()) == [3, 4]

    def test_statistics_of_a_transformation_are_of_its_inputs(self, store: OfflineStore, put: Put) -> None:
        rows = [(i, hour(i), float(i), "") for i in range(6)]
        windows = [Window(hour(3), hour(5)), Window(hour(5), hour(7))]

        def computed(rows: Sequence[tuple[Any, ...]]) -> History:
            return history(
                put(trips(rows)), transformation=Transformation("python", dict), lookback=timedelta(hours=2)
            ).with_features(["fare"])

        first, second = store.statistics(computed(rows), windows)
        assert (first.rows, second.rows) == (4, 3)
        # Row 1 is in the lookback of the first window only; column city is no feature, but the function may use it.
        changed = store.statistics(computed([rows[0], (1, hour(1), 1.0, "changed"), *rows[2:]]), windows)
        assert changed[0].fingerprint != first.fingerprint
        assert changed[1].fingerprint == second.fingerprint

    def test_failures_of_a_transformation_name_the_view(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a")]))

        def fails(rows: Any) -> Any:
            raise KeyError("fair")

        def forgets(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {"driver": rows["driver"], "fair": rows["fare"], **{k: rows[k] for k in ("city", "event_timestamp")}}

        with pytest.raises(TransformationError, match=r"'trips'.*KeyError") as caught:
            store.latest(history(source, transformation=Transformation("python", fails)), ALWAYS)
        assert isinstance(caught.value.__cause__, KeyError)
        with pytest.raises(TransformationError, match=r"'trips'.*'fare'.*'fair'"):
            store.latest(history(source, transformation=Transformation("python", forgets)), ALWAYS)
        unloaded = Transformation.from_spec(Transformation("python", fails).to_spec())
        with pytest.raises(TransformationError, match="importable"):
            store.latest(history(source, transformation=unloaded), ALWAYS)

    # --- write and replace

    def test_written_rows_are_added(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        # Columns come in any order, and naive times are UTC.
        naive = pa.array([hour(1).replace(tzinfo=None)], pa.timestamp("ns"))
        added = trips([(2, hour(1), 2.0, "b")]).select(["fare", "driver", "city"])
        store.write(source, added.append_column("event_timestamp", naive))
        found = by_driver(store.latest(history(source), ALWAYS))
        assert sorted(found) == [1, 2]
        assert found[2][EVENT_TIMESTAMP] == hour(1)

    def test_written_rows_must_have_the_columns_of_the_source(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        rows = trips([(2, hour(1), 2.0, "b")])
        with pytest.raises(InputError, match="'city'"):
            store.write(source, rows.drop_columns(["city"]))
        with pytest.raises(InputError, match="'more'"):
            store.write(source, rows.append_column("more", pa.array([1])))
        with pytest.raises(InputError, match="'fare'"):
            store.write(source, rows.set_column(2, "fare", pa.array(["text"])))
        assert sorted(by_driver(store.latest(history(source), ALWAYS))) == [1]

    def test_replace_changes_just_its_windows(self, store: OfflineStore, put: Put, sink: DataSource) -> None:
        days = [Window(DAY + timedelta(days=i), DAY + timedelta(days=i + 1)) for i in range(3)]
        first = history(put(trips([(i, hour(24 * i), 1.0, "") for i in range(3)])))
        second = history(put(trips([(10 + i, hour(24 * i), 2.0, "") for i in range(3)])))
        kept = history(sink, kept=True)

        def drivers() -> list[int]:
            return sorted(store.scan(kept, ALWAYS).read_all()["driver"].to_pylist())

        assert drivers() == []
        store.replace(sink, first, days, store.scan(first, ALWAYS))
        assert drivers() == [0, 1, 2]
        # Rows outside the windows do not count.
        store.replace(sink, second, [days[2], days[1]], store.scan(second, ALWAYS))
        assert drivers() == [0, 11, 12]
        # A window without rows becomes empty.
        store.replace(sink, second, [days[1]], store.scan(second, days[0]))
        assert drivers() == [0, 12]
        # Other windows over the same times leave no row twice.
        store.replace(sink, first, [Window(days[0].start, days[2].end)], store.scan(first, ALWAYS))
        assert drivers() == [0, 1, 2]
        store.replace(sink, second, [days[1]], store.scan(second, ALWAYS))
        assert drivers() == [0, 2, 11]

    def test_replace_keeps_values_and_types(self, store: OfflineStore, put: Put, sink: DataSource) -> None:
        source = history(put(trips([(1, hour(1), 1.5, "a"), (1, hour(1), None, None)])))
        store.replace(sink, source, [ALWAYS], store.scan(source, ALWAYS))
        original, copy = (store.scan(h, ALWAYS).read_all() for h in (source, history(sink, kept=True)))
        assert copy.schema == original.schema
        assert copy.sort_by("fare").equals(original.sort_by("fare"))
        assert store.statistics(history(sink, kept=True), [ALWAYS]) == store.statistics(source, [ALWAYS])

    def test_a_failing_reader_replaces_nothing(self, store: OfflineStore, put: Put, sink: DataSource) -> None:
        source = history(put(trips([(1, hour(1), 1.0, "a")])))
        store.replace(sink, source, [ALWAYS], store.scan(source, ALWAYS))
        batch = store.scan(source, ALWAYS).read_all().to_batches()[0]

        def broken() -> Any:
            yield batch
            raise TransformationError("half way")

        with pytest.raises(TransformationError, match="half way"):
            store.replace(sink, source, [ALWAYS], pa.RecordBatchReader.from_batches(batch.schema, broken()))
        assert store.scan(history(sink, kept=True), ALWAYS).read_all().num_rows == 1

    # --- threads

    def test_calls_from_many_threads_do_not_meet(self, store: OfflineStore, put: Put) -> None:
        sources = [put(trips([(n, hour(h), float(n), "") for h in range(50)])) for n in range(4)]

        def work(n: int) -> list[Any]:
            joined = store.point_in_time_join(
                spine([(n % 4, hour(99))]), [PointInTimeJoin(history(sources[n % 4]), {}, {})]
            )
            newest = by_driver(store.latest(history(sources[n % 4]), ALWAYS))
            return [joined.read_all()["fare"].to_pylist(), [row["fare"] for row in newest.values()]]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(32))) == [[[float(n % 4)], [float(n % 4)]] for n in range(32)]
