"""What every offline store does: a suite that a backend's tests subclass.

::

    class TestMyStore(OfflineStoreConformance, CanReplaceWindowsConformance):
        @pytest.fixture
        def store(self): ...

        @pytest.fixture
        def put(self, store): ...

        @pytest.fixture
        def sink(self, store): ...

Rules about what a caller hands in are not here: a store gets a checked spine.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pyarrow as pa
import pytest

from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import FeastJoinKeysDuringMaterialization, InputError, SourceError
from feast_assets.offline_stores.base import CREATED_TIMESTAMP, EVENT_TIMESTAMP, OfflineStore, whole_source
from feast_assets.offline_stores.spine import PointInTimeJoin, Spine
from feast_assets.testing.offline_store.cases import (
    FARE,
    TIME,
    Put,
    StoreFixtures,
    by_driver,
    history,
    hour,
    joined,
    spine,
    trips,
)
from feast_assets.types import Array, Float64, Int64


class OfflineStoreConformance(StoreFixtures):
    """The contract of `OfflineStore` as tests. Subclasses give the fixtures ``store`` and ``put``."""

    # --- schema

    def test_schema_names_the_columns_and_their_types(self, store: OfflineStore, put: Put) -> None:
        schema = store.schema(put(trips([(1, hour(0), 1.0, "x")])))
        assert {f.name: f.type for f in schema} == {
            "driver": pa.int64(),
            "event_timestamp": TIME,
            "fare": pa.float64(),
            "city": pa.string(),
        }

    # --- latest and scan

    def test_latest_is_the_newest_row_of_each_entity(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (1, hour(2), 2.0, "b"), (2, hour(1), 3.0, None)]))
        latest_rows = by_driver(store.latest(history(source), [ALWAYS]))
        assert latest_rows[1] == {
            "driver": 1,
            "fare": 2.0,
            "city": "b",
            EVENT_TIMESTAMP: hour(2),
            CREATED_TIMESTAMP: None,
        }
        assert (latest_rows[2]["fare"], latest_rows[2]["city"]) == (3.0, None)

    def test_results_have_the_canonical_schema_also_without_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([]))
        for reader in (store.latest(history(source), [ALWAYS]), store.scan(history(source), ALWAYS)):
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
        assert sorted(by_driver(store.latest(history(source), [window]))) == [1, 2]
        assert store.statistics(history(source), [window])[0].rows == 2

    def test_rows_without_key_or_time_are_no_rows(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(None, hour(0), 1.0, "a"), (1, None, 2.0, "b"), (2, hour(0), None, None)]))
        assert store.scan(history(source), ALWAYS).read_all()["driver"].to_pylist() == [2]
        assert sorted(by_driver(store.latest(history(source), [ALWAYS]))) == [2]
        assert store.statistics(history(source), [ALWAYS])[0].rows == 1

    def test_of_equal_event_times_the_newer_created_time_wins(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(0), 9.0, "z", hour(1)), (1, hour(0), 1.0, "a", hour(2)), (1, hour(0), 5.0, "m", None)]
        source = put(trips(rows, created=True))
        row = by_driver(store.latest(history(source), [ALWAYS]))[1]
        assert (row["fare"], row[CREATED_TIMESTAMP]) == (1.0, hour(2))

    def test_views_without_keys_have_one_row(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(1), 2.0, "b")]))
        keyless = history(source, join_keys=())
        assert store.latest(keyless, [ALWAYS]).read_all()["fare"].to_pylist() == [2.0]
        table = joined(store, spine([(7, hour(0.5)), (8, hour(3))]), [PointInTimeJoin(keyless, {}, {})])
        assert table["fare"].to_pylist() == [1.0, 2.0]

    def test_ties_fall_the_same_way_whatever_is_asked_for(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "z"), (1, hour(0), 2.0, "a"), (1, hour(0), None, "m")]))
        whole = by_driver(store.latest(history(source), [ALWAYS]))[1]
        only_city = history(source).with_features(["city"])
        assert by_driver(store.latest(only_city, [ALWAYS]))[1]["city"] == whole["city"]
        for view_history in (history(source), only_city):
            table = joined(store, spine([(1, hour(1))]), [PointInTimeJoin(view_history, {}, {})])
            assert table["city"].to_pylist() == [whole["city"]]

    def test_latest_may_be_of_some_entities_in_some_windows(self, store: OfflineStore, put: Put) -> None:
        rows = [(driver, hour(i), float(i), "x") for driver in (1, 2, 3) for i in range(6)]
        source = put(trips([*rows, (4, hour(3), 3.0, "gap"), (2, hour(4), 9.0, "y")]))

        def newest(keys: Sequence[int], *windows: Window) -> dict[int, float]:
            entities = pa.table({"driver": pa.array(keys, pa.int64())})
            return {k: r["fare"] for k, r in by_driver(store.latest(history(source), windows, entities)).items()}

        assert newest([1, 3, 7], ALWAYS) == {1: 5.0, 3: 5.0}
        assert newest([], ALWAYS) == {}
        assert newest([1, 4], Window(hour(0), hour(2)), Window(hour(4), hour(5))) == {1: 4.0}
        assert newest([1, 4], Window(hour(5), hour(7)), Window(hour(1), hour(3)), Window(hour(3), hour(4))) == {
            1: 5.0,
            4: 3.0,
        }
        # Of rows that tie it chooses as `latest` does.
        assert newest([2], Window(hour(4), hour(5))) == {
            2: by_driver(store.latest(history(source), [Window(hour(4), hour(5))]))[2]["fare"]
        }

    def test_latest_of_a_view_without_keys_is_its_one_row(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(1), 2.0, "b")]))
        keyless = history(source, join_keys=())
        windows = [Window(hour(0), hour(1)), Window(hour(2), hour(3))]
        assert store.latest(keyless, windows, pa.table({})).read_all()["fare"].to_pylist() == [1.0]
        assert store.latest(keyless, windows[1:], pa.table({})).read_all().num_rows == 0

    # --- point-in-time join

    def test_join_never_looks_ahead_and_includes_its_own_moment(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(1), 1.0, "a"), (1, hour(2), 2.0, "b")]))
        just_before = hour(2) - timedelta(microseconds=1)
        moments = [hour(3), hour(2), just_before, hour(1), hour(0)]
        table = joined(store, spine([(1, t) for t in moments]), [PointInTimeJoin(history(source), {}, {})])
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
            table = joined(store, spine([(1, t) for t in moments]), [join])
            assert table["fare"].to_pylist() == expected

    def test_join_gives_one_row_for_each_of_the_spine_in_its_order(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(driver, hour(0), float(driver), "a") for driver in range(50)]))
        drivers = [None if n % 7 == 0 else (n * 37) % 60 for n in range(200)]
        moments = [None if n % 11 == 0 else hour(n % 3) for n in range(200)]
        asked = spine(list(zip(drivers, moments, strict=True)))
        table = joined(store, asked, [PointInTimeJoin(history(source), {}, {})])
        assert table["fare"].to_pylist() == [
            None if driver is None or moment is None or driver >= 50 else float(driver)
            for driver, moment in zip(drivers, moments, strict=True)
        ]

    def test_join_has_the_columns_of_each_view_in_order(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        joins = [
            PointInTimeJoin(history(source), {"fare": "trips__fare"}, {"driver": "key"}),
            PointInTimeJoin(history(source).with_features(["city"]), {"city": "other"}, {"driver": "key"}),
        ]
        asked = Spine(pa.table({EVENT_TIMESTAMP: pa.array([hour(1)], TIME), "key": pa.array([1], pa.int64())}))
        table = store.join(asked, joins).read_all()
        assert table.schema == pa.schema({"trips__fare": pa.float64(), "city": pa.string(), "other": pa.string()})
        assert table.to_pylist() == [{"trips__fare": 1.0, "city": "a", "other": "a"}]

    def test_in_a_join_ties_go_to_the_newer_created_time(self, store: OfflineStore, put: Put) -> None:
        rows = [(1, hour(0), 9.0, "z", hour(1)), (1, hour(0), 1.0, "a", hour(2)), (1, hour(0), 5.0, "m", None)]
        for ordered in (rows, rows[::-1]):
            join = PointInTimeJoin(history(put(trips(ordered, created=True))), {}, {})
            assert joined(store, spine([(1, hour(0))]), [join])["city"].to_pylist() == ["a"]

    def test_join_of_no_rows_has_the_columns(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([(1, hour(0), 1.0, "a")]))), {"fare": "trips__fare"}, {})
        table = joined(store, spine([]), [join])
        assert table.column_names == ["driver", "event_timestamp", "trips__fare", "city"]
        assert table.num_rows == 0

    def test_join_with_an_empty_source_gives_nulls(self, store: OfflineStore, put: Put) -> None:
        join = PointInTimeJoin(history(put(trips([]))), {}, {})
        table = joined(store, spine([(1, hour(1))]), [join])
        assert table["fare"].to_pylist() == [None]
        assert table["fare"].type == pa.float64()

    def test_one_view_can_be_joined_by_several_columns(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a"), (2, hour(0), 2.0, "b")]))
        table = pa.table({"origin": [1, 2], "target": [2, 1], "event_timestamp": pa.array([hour(1), hour(1)], TIME)})
        joins = [
            PointInTimeJoin(
                history(source).with_features(["fare"]), {"fare": f"{c}_fare"}, {"driver": c}, timedelta(days=1)
            )
            for c in ("origin", "target")
        ]
        result = joined(store, table, joins)
        assert result["origin_fare"].to_pylist() == [1.0, 2.0]
        assert result["target_fare"].to_pylist() == [2.0, 1.0]

    def test_created_filter_hides_rows_that_were_not_yet_known(self, store: OfflineStore, put: Put) -> None:
        rows = [
            (1, hour(1), 1.0, "first", hour(1)),
            (1, hour(1), 2.0, "corrected", hour(5)),
            (1, hour(2), 3.0, "late", hour(4)),
        ]
        source = put(trips(rows, created=True))
        moments = [hour(3), hour(4), hour(5)]
        join = PointInTimeJoin(history(source), {}, {})
        known = joined(store, spine([(1, t) for t in moments]), [join], filter_by_created_timestamp=True)
        assert known["city"].to_pylist() == ["first", "late", "late"]
        everything = joined(store, spine([(1, hour(1)), (1, hour(3))]), [join])
        assert everything["city"].to_pylist() == ["corrected", "late"]

    # --- sources that are not as declared

    def test_missing_columns_are_named_with_the_nearest(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        with pytest.raises(SourceError, match=r"'fair'.*'fare'"):
            store.latest(history(source, features=(Field(name="fair", dtype=Float64),)), [ALWAYS])
        with pytest.raises(FeastJoinKeysDuringMaterialization, match=r"'drivers'.*'driver'"):
            store.latest(history(source, join_keys=(Field(name="drivers", dtype=Int64),)), [ALWAYS])

    def test_columns_of_another_kind_are_named_with_both_types(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        with pytest.raises(SourceError, match=r"'city'.*Int64.*string"):
            store.latest(history(source, features=(Field(name="city", dtype=Int64),)), [ALWAYS])
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
        view_history = history(put(trips(rows)))
        grid, span = Partitions("hourly"), Window(hour(-500_000), hour(2.75))
        surveyed = store.survey_grid(view_history, grid, span).windows
        assert [s.window for s in surveyed if s.rows] == [
            Window(hour(-400_000), hour(-399_999)),
            Window(hour(0), hour(1)),
            Window(hour(2), hour(2.75)),
        ]
        assert [s for s in surveyed if s.rows] == store.statistics(view_history, [s.window for s in surveyed if s.rows])
        assert store.survey(view_history, [s.window for s in surveyed]).windows == surveyed

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

    def test_fingerprints_of_a_source_cover_every_column_and_rows_without_keys(
        self, store: OfflineStore, put: Put
    ) -> None:
        rows = [(1, hour(1), 1.0, "a", hour(1)), (None, hour(2), None, "b", hour(1))]
        variants = [
            rows,
            rows[::-1],
            rows[:1],
            [rows[0], (None, hour(2), None, "c", hour(1))],
            [rows[0], (None, hour(2), 2.0, "b", hour(1))],
            [rows[0], (7, hour(2), None, "b", hour(1))],
            [rows[0], (None, hour(2), None, "b", hour(2))],
        ]
        window = Window(hour(0), hour(3))
        seen = [store.statistics(whole_source(put(trips(v, created=True))), [window])[0] for v in variants]
        assert [s.rows for s in seen] == [len(v) for v in variants]
        assert seen[0].fingerprint == seen[1].fingerprint
        assert len({s.fingerprint for s in seen}) == len(variants) - 1
        assert store.statistics(whole_source(put(trips([]))), [window])[0].fingerprint == ""

    def test_the_oldest_event_is_that_of_the_rows_that_count(self, store: OfflineStore, put: Put) -> None:
        rows = trips([(None, hour(0), 1.0, "a"), (1, None, 1.0, "a"), (2, hour(5), 1.0, "a"), (1, hour(3), 1.0, "b")])
        assert store.oldest_event(history(put(rows))) == hour(3)
        assert store.oldest_event(history(put(rows.slice(2)))) == hour(3)
        assert store.oldest_event(history(put(rows.slice(1, 1)))) is None
        assert store.oldest_event(history(put(trips([])))) is None

    # --- write

    def test_written_rows_are_added(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        # Columns come in any order, and naive times are UTC.
        naive = pa.array([hour(1).replace(tzinfo=None)], pa.timestamp("ns"))
        added = trips([(2, hour(1), 2.0, "b")]).select(["fare", "driver", "city"])
        store.write(source, added.append_column("event_timestamp", naive))
        latest_rows = by_driver(store.latest(history(source), [ALWAYS]))
        assert sorted(latest_rows) == [1, 2]
        assert latest_rows[2][EVENT_TIMESTAMP] == hour(1)

    def test_written_rows_must_have_the_columns_of_the_source(self, store: OfflineStore, put: Put) -> None:
        source = put(trips([(1, hour(0), 1.0, "a")]))
        rows = trips([(2, hour(1), 2.0, "b")])
        with pytest.raises(InputError, match="'city'"):
            store.write(source, rows.drop_columns(["city"]))
        with pytest.raises(InputError, match="'more'"):
            store.write(source, rows.append_column("more", pa.array([1])))
        with pytest.raises(InputError, match="'fare'"):
            store.write(source, rows.set_column(2, "fare", pa.array(["text"])))
        assert sorted(by_driver(store.latest(history(source), [ALWAYS]))) == [1]

    # --- threads

    def test_calls_from_many_threads_do_not_meet(self, store: OfflineStore, put: Put) -> None:
        sources = [put(trips([(n, hour(h), float(n), "") for h in range(50)])) for n in range(4)]

        def work(n: int) -> list[object]:
            table = joined(store, spine([(n % 4, hour(99))]), [PointInTimeJoin(history(sources[n % 4]), {}, {})])
            newest = by_driver(store.latest(history(sources[n % 4]), [ALWAYS]))
            return [table["fare"].to_pylist(), [row["fare"] for row in newest.values()]]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(32))) == [[[float(n % 4)], [float(n % 4)]] for n in range(32)]
