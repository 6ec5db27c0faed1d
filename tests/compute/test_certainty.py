"""The ledger says only what is sure: whatever overlaps, comes back or runs at once, the next run heals it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_project import DRIVER, SCHEMA, START, SmallProject, hours, row

from feast_assets import (
    Array,
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Int64,
    Partitions,
    PushSource,
    String,
    on_demand_feature_view,
)
from feast_assets.compute import materialization
from feast_assets.compute.reading_ahead import ReadAhead
from feast_assets.compute.source_statistics import SourceStatistics
from feast_assets.definitions.window import Window
from feast_assets.errors import (
    ConcurrentApplyError,
    InputError,
    MaterializationError,
    NotAppliedError,
    SourceError,
)
from feast_assets.offline_stores.duckdb import read_parts

DAY = timedelta(days=1)
END = START + 4 * DAY
TRIPS = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
WITH_CITY = [*TRIPS, Field(name="city", dtype=String)]


def history(project, moment=END, view="stats"):
    spine = pa.table({"driver_id": [1], "event_timestamp": [moment]})
    return project.store.get_historical_features(spine, [f"{view}:trips"]).to_arrow()["trips"].to_pylist()


def test_a_value_that_comes_back_after_a_part_was_run_alone(project):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize_incremental(END)
    project.write([row(1, 11, 99)])
    project.store.materialize(hours(10), hours(12))
    assert project.trips([1]) == [99]
    project.write([row(1, 11, 10)])
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]


@pytest.mark.parametrize("others", [[], [row(2, 11, 20)]])
def test_rows_that_come_between_reading_and_looking_through(project, monkeypatch, others):
    """Both begin at once; what only the statistics have seen must not count as written."""
    folder = project.root / "folder"
    folder.mkdir()
    if others:
        pq.write_table(pa.Table.from_pylist(others, SCHEMA), folder / "1.parquet")
    source = FileSource(name="folder", path=str(folder), timestamp_field="ts")
    project.apply(source=source)
    for_windows = SourceStatistics.for_windows
    begun = []

    def late(this):
        if not begun:
            deadline = time.monotonic() + 10
            while read_ahead and not read_ahead[0]._first.done() and time.monotonic() < deadline:
                time.sleep(0.01)
            begun.append(pq.write_table(pa.Table.from_pylist([row(1, 12, 10)], SCHEMA), folder / "2.parquet"))
        return for_windows(this)

    class Noted(ReadAhead):
        def __init__(self, items):
            super().__init__(items)
            read_ahead.append(self)

    read_ahead: list[ReadAhead] = []
    monkeypatch.setattr(materialization, "ReadAhead", Noted)
    monkeypatch.setattr(SourceStatistics, "for_windows", late)
    project.store.materialize(START, END)
    project.store.materialize_incremental(END)
    assert project.trips([1, 2]) == [10, 20 if others else None]


@pytest.mark.parametrize("call", ["materialize", "incremental"])
@pytest.mark.parametrize("late", [row(3, 80, 30), row(1, 80, 30), row(3, 1, 30), row(3, 130, 30)])
def test_rows_that_come_into_days_without_any_after_these_were_looked_through(project, monkeypatch, call, late):
    """Between two days that are written, of another entity or of one that is; before them all, and after."""
    folder = project.root / "folder"
    folder.mkdir()

    def put(name, rows):
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / name)

    put("a.parquet", [row(1, 49, 10), row(2, 97, 20)])
    project.apply(source=FileSource(name="folder", path=str(folder), timestamp_field="ts"))
    store = project.store.offline_store
    summarize_parts, latest, looked = store.summarize_parts, store.latest, threading.Event()

    def seen(*arguments):
        found = summarize_parts(*arguments)
        if not looked.is_set():
            put("b.parquet", [late])
            looked.set()
        return found

    def read(*arguments):
        assert looked.wait(10)
        return latest(*arguments)

    monkeypatch.setattr(store, "summarize_parts", seen)
    monkeypatch.setattr(store, "latest", read)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if call == "materialize":
            project.store.materialize(START, hours(143))
        else:
            project.store.materialize_incremental(hours(143))
    (folder / "b.parquet").unlink()
    put("c.parquet", [row(4, 81, 40)])
    project.store.materialize_incremental(hours(143))
    assert project.trips([1, 2, 3, 4]) == [10, 20, None, 40]
    assert project.store.stale_windows("stats", hours(143)) == []


def test_a_value_that_comes_back_across_grains(project):
    for grain, trips in (("weekly", 10), ("daily", 99), ("weekly", 10), ("hourly", 7), ("daily", 99)):
        project.write([row(1, 11, trips)])
        project.apply(partitions=Partitions(grain, Partitions(grain).floor(START)))
        project.store.materialize_incremental(END)
        assert project.trips([1]) == [trips], grain


def test_a_definition_that_comes_back_after_a_part_was_run_alone(project):
    project.write([row(1, 11, 10)])
    project.apply(schema=WITH_CITY)
    project.store.materialize_incremental(END)
    project.apply(schema=TRIPS)
    project.store.materialize(hours(10), hours(12))
    project.apply(schema=WITH_CITY)
    project.store.materialize_incremental(END)
    assert project.online(drivers=[1]) == {"trips": [10], "city": ["x"]}


def kept(project, grain="daily", online=True):
    view = project.keeping_view(online=online, partitions=Partitions(grain, START), schema=TRIPS)
    project.store.apply([DRIVER, view])


def kept_online(project):
    return project.store.get_online_features(["kept_view:trips"], {"driver_id": [1]}).to_dict()["trips"]


def test_kept_history_follows_a_value_that_comes_back_across_grains(project):
    for grain, trips in (("daily", 10), ("hourly", 99), ("daily", 10)):
        project.write([row(1, 11, trips)])
        kept(project, grain)
        project.store.materialize_incremental(END)
        assert history(project, view="kept_view") == kept_online(project) == [trips]


def test_a_kept_view_that_turns_online_is_filled(project):
    project.write([row(1, 11, 10)])
    kept(project, online=False)
    project.store.materialize_incremental(END)
    kept(project, online=True)
    project.store.materialize_incremental(END)
    assert kept_online(project) == [10]


def test_a_view_that_was_offline_for_a_while_is_filled_again(project):
    project.write([row(1, 11, 10)])
    for online in (True, False, True):
        project.apply(online=online)
        project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]


def test_join_keys_that_come_back_are_filled_again(project):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize_incremental(END)
    trip = Entity(name="trip", join_keys=["trips"])
    project.store.apply([trip, project.view(entities=[trip], schema=[Field(name="city", dtype=String)])])
    project.apply()
    assert project.trips([1]) == [None]
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]


def test_another_time_column_starts_anew(project):
    rows = [row(1, 50, 10), row(1, 60, 20)]
    project.write(rows)
    source = FileSource(name="stats_file", path="more.parquet", timestamp_field="ts")
    later, earlier = ({**r, "other": r["ts"] - timedelta(hours=h)} for r, h in zip(rows, (1, 40), strict=True))
    table = pa.Table.from_pylist([later, earlier])
    pq.write_table(table, project.root / "more.parquet")
    project.apply(source=source)
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [20]
    project.apply(source=FileSource(name="stats_file", path="more.parquet", timestamp_field="other"))
    project.store.materialize_incremental(END)
    assert project.trips([1]) == history(project) == [10]


def test_a_refused_apply_leaves_the_rows_in_place(project, tmp_path):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize_incremental(END)
    trip = Entity(name="trip", join_keys=["trips"])
    plan = project.store._plan(
        [trip, project.view(entities=[trip], schema=[Field(name="city", dtype=String)])], [], whole=False
    )
    project.apply(description="somebody else")
    with pytest.raises(ConcurrentApplyError):
        project.store.apply_plan(plan)
    assert project.trips([1]) == [10]


@pytest.mark.parametrize("first_settles_first", [True, False])
def test_two_runs_at_once_under_different_definitions_end_with_the_present_one(project, first_settles_first):
    """A run of the old definition is under way while the new one is applied and run."""
    project.write([row(1, 11, 10)])
    project.apply(schema=TRIPS)
    other = SmallProject(project.root)
    claimed, go_on = threading.Event(), threading.Event()
    claim, settle = other.store.registry.claim, other.store.registry.settle
    held = "settle" if first_settles_first else "claim"

    def paused(method):
        def call(*args, **kwargs):
            claimed.set()
            assert go_on.wait(30)
            return method(*args, **kwargs)

        return call

    setattr(other.store.registry, held, paused({"claim": claim, "settle": settle}[held]))
    running = threading.Thread(target=lambda: other.store.materialize_incremental(END))
    running.start()
    assert claimed.wait(30)
    project.apply(schema=WITH_CITY)
    project.store.materialize_incremental(END)
    go_on.set()
    running.join(30)
    project.store.materialize_incremental(END)
    assert project.online(drivers=[1]) == {"trips": [10], "city": ["x"]}
    assert project.store.materialize_incremental(END)[0].windows == ()
    other.close()


def test_a_window_that_another_run_wrote_meanwhile_is_run_again(project):
    """Both read different content of the source, and nobody can say whose rows came last."""
    project.write([row(1, 11, 10)])
    kept(project)
    other = SmallProject(project.root)
    other.store._functions.remember([project.store._functions.attach(project.store.get_feature_view("kept_view"))])
    replace = other.store.offline_store.replace

    def overtaken(*args, **kwargs):
        replaced = [a.read_all() if isinstance(a, pa.RecordBatchReader) else a for a in args]
        project.write([row(1, 11, 99)])
        project.store.materialize_incremental(END)
        replace(*[a.to_reader() if isinstance(a, pa.Table) else a for a in replaced], **kwargs)

    other.store.offline_store.replace = overtaken
    other.store.materialize_incremental(END)
    project.store.materialize_incremental(END)
    assert history(project, view="kept_view") == kept_online(project) == [99]
    assert project.store.materialize_incremental(END)[0].windows == ()
    other.close()


def test_a_push_without_a_created_time_counts_as_created_now(tmp_path):
    project = SmallProject(tmp_path, created=True)
    project.write([row(1, 11, 10, created=hours(12))])
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    project.store.materialize_incremental(END)
    project.store.push("live", {"driver_id": [1], "trips": [500], "city": ["y"], "ts": [hours(11)]})
    assert project.trips([1]) == [500]
    project.close()


def test_a_function_counts_once_it_is_applied(project):
    project.write([row(1, 11, 10)])

    def view(factor):
        return BatchFeatureView(
            name="stats",
            mode="python",
            source=project.view().batch_source,
            entities=[DRIVER],
            schema=TRIPS,
            online=True,
            udf=lambda t: {**t, "trips": [factor * v for v in t["trips"]]},
            udf_string=f"def times(t):\n    return {{**t, 'trips': [{factor} * v for v in t['trips']]}}\n",
            partitions=Partitions("daily", START),
        )

    project.store.apply([DRIVER, view(1)])
    project.store._plan([DRIVER, view(1000)], [], whole=False)
    project.store.materialize_incremental(END)
    assert project.trips([1]) == history(project) == [10]
    project.store.apply([DRIVER, view(2)])
    assert history(project) == [20]
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [20]


def test_a_function_that_was_changed_and_not_applied_is_refused(project):
    project.write([row(1, 11, 10)])
    kept(project)
    elsewhere = SmallProject(project.root)
    changed = project.store._functions.attach(project.store.get_feature_view("kept_view"))
    changed.feature_transformation.udf_string = "def same(stats):\n    return 1\n"
    elsewhere.store._functions.remember([changed])
    with pytest.raises(NotAppliedError, match="another function"):
        elsewhere.store.materialize_incremental(END)
    assert elsewhere.store.registry.ledger("kept_view") == []
    elsewhere.close()


@pytest.mark.parametrize("grain", ["hourly", "daily", "weekly", "monthly", None])
@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_the_ends_of_time(project, grain, year):
    moment = datetime(year, 12 if year == 9999 else 1, 31 if year == 9999 else 1, 23, 59, 59, 999999, tzinfo=UTC)
    project.write([{"driver_id": 1, "ts": moment, "trips": 5, "city": "x"}])
    project.apply(partitions=Partitions(grain) if grain else None)
    end = datetime.max.replace(tzinfo=UTC)
    project.store.materialize_incremental(end)
    project.store.materialize(datetime.min.replace(tzinfo=UTC), end)
    assert project.trips([1]) == [5]


def test_windows_that_overlap_are_refused(project):
    project.write([row(1, 11, 10)])
    project.apply()
    with pytest.raises(ValueError, match="overlap"):
        project.store.materialize_windows(
            "stats", [Window(START, START + DAY), Window(START + DAY / 2, START + 2 * DAY)]
        )
    assert project.store.registry.ledger("stats") == []


def test_a_lost_online_store_is_filled_again(project):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize_incremental(END)
    project.close()
    for file in (project.root / "data").glob("online.db*"):
        file.unlink()
    again = SmallProject(project.root)
    assert again.trips([1]) == [None]
    again.store.materialize_incremental(END)
    assert again.trips([1]) == [10]
    assert again.store.materialize_incremental(END)[0].windows == ()
    again.close()


def test_another_online_store_is_filled(project, redis_server):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize_incremental(END)
    host, port = redis_server
    other = SmallProject(project.root, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    assert other.trips([1]) == [None]
    other.store.materialize_incremental(END)
    assert other.trips([1]) == [10]
    other.close()


def test_calls_that_mean_nothing_are_refused(project):
    project.write([row(1, 11, 10)])
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    before = project.path.read_bytes()
    for to in ("online", "bogus", 7, None):
        with pytest.raises(InputError, match="is not PushMode"):
            project.store.push("live", {"driver_id": [1]}, to=to)
    assert project.path.read_bytes() == before
    with pytest.raises(InputError, match="start_date must be a datetime, not str '2024-01-01'"):
        project.store.materialize("2024-01-01", END)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        project.store.nonsense()


def test_a_store_can_be_closed_either_way(project):
    async def run():
        await project.store.initialize()
        await project.store.close()

    asyncio.run(run())
    project.store.close()
    project.write([row(1, 11, 10)])
    project.apply()
    assert project.trips([1]) == [None]


def test_a_view_says_what_of_it_is_materialized(project):
    project.write([row(1, 11, 10)])
    project.apply()
    project.store.materialize(START, START + DAY - timedelta(microseconds=1))
    view = project.store.get_feature_view("stats")
    assert view.materialization_intervals == [(START, START + DAY)]
    assert view.most_recent_end_time == START + DAY


def test_a_source_that_changes_while_it_is_read_is_read_again(project):
    folder = project.root / "parts"
    folder.mkdir()
    for driver in (1, 2):
        project.write([row(driver, 11, driver * 10)])
        project.path.rename(folder / f"{driver}.parquet")
    project.apply(source=FileSource(name="stats_file", path="parts", timestamp_field="ts"))
    latest = project.store.offline_store.latest

    def while_compacting(history, windows):
        (folder / "2.parquet").rename(project.root / "aside")
        read = latest(history, windows).read_all()
        (project.root / "aside").rename(folder / "2.parquet")
        os.utime(folder / "2.parquet")
        return read.to_reader()

    project.store.offline_store.latest = while_compacting
    with pytest.warns(UserWarning, match="was changed while it was read"):
        project.store.materialize_incremental(END)
    project.store.offline_store.latest = latest
    project.store.materialize_incremental(END)
    assert project.trips([1, 2]) == [10, 20]
    assert project.store.materialize_incremental(END)[0].windows == ()


@pytest.mark.parametrize("kept_bytes", [0, read_parts.MOST_BYTES], ids=["read twice", "read once"])
def test_a_source_that_changes_between_looking_and_writing_is_read_again(project, monkeypatch, kept_bytes):
    monkeypatch.setattr(read_parts, "MOST_BYTES", kept_bytes)
    project.write([row(1, 11, 10)])
    project.apply()
    summarize_parts = project.store.offline_store.summarize_parts

    def then_changed(*arguments):
        found = summarize_parts(*arguments)
        project.write([row(1, 11, 99)])
        return found

    project.store.offline_store.summarize_parts = then_changed
    with pytest.warns(UserWarning, match="was changed while it was read"):
        project.store.materialize_incremental(END)
    assert project.trips([1]) == [10 if kept_bytes else 99]
    project.store.offline_store.summarize_parts = summarize_parts
    # What the fingerprint tells is not what was put; so it goes even where the source is again as it was looked at.
    project.write([row(1, 11, 10)])
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]


def test_a_source_that_vanishes_is_no_empty_source(project):
    folder = project.root / "parts"
    folder.mkdir()
    project.write([row(1, 11, 10)])
    project.path.rename(folder / "1.parquet")
    project.apply(source=FileSource(name="stats_file", path="parts", timestamp_field="ts"))
    project.store.materialize_incremental(END)
    ledger = project.store.registry.ledger("stats")
    folder.rename(project.root / "unmounted")
    with pytest.raises(SourceError, match="is gone, though rows of it were materialized"):
        project.store.materialize_incremental(END)
    assert project.store.registry.ledger("stats") == ledger


def test_one_bad_source_does_not_stop_the_others(project):
    project.write([row(1, 11, 10)])
    project.apply()
    bad = FileSource(name="bad", path="bad.parquet", timestamp_field="ts")
    (project.root / "bad.parquet").write_bytes(project.path.read_bytes())
    project.store.apply([DRIVER, project.view(name="aaa", source=bad), project.view(name="bbb", source=bad)])
    (project.root / "bad.parquet").write_bytes(b"")
    with pytest.raises(MaterializationError, match=r"\[aaa\].*bad.*\[bbb\]"):
        project.store.materialize_incremental(END)
    assert project.trips([1]) == [10]


def test_what_cannot_be_materialized_says_why(project):
    with pytest.raises(InputError, match="has not been applied yet"):
        project.store.materialize_incremental(END)
    project.write([row(1, 11, 10)])
    project.apply()

    @on_demand_feature_view(name="od", sources=[project.view()], schema=[Field(name="t2", dtype=Int64)], mode="python")
    def od(inputs):
        return {"t2": inputs["trips"]}

    project.store.apply([DRIVER, project.view(), od])
    with pytest.raises(InputError, match="'od' is an on-demand feature view"):
        project.store.materialize_incremental(END, ["od"])


def test_nested_values_that_change_are_materialized(project):
    """DuckDB hashes some nested values alike."""
    schema = pa.schema(
        [
            ("driver_id", pa.int64()),
            ("a", pa.list_(pa.int64())),
            ("b", pa.list_(pa.int64())),
            ("ts", pa.timestamp("us")),
        ]
    )
    fields = [Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=Array(Int64)) for n in "ab")]
    for a, b in (([1, 2], [3]), ([1], [2, 3]), ([], [0]), (None, [0]), (None, [0, 0])):
        table = pa.Table.from_pylist([{"driver_id": 1, "a": a, "b": b, "ts": hours(11).replace(tzinfo=None)}], schema)
        pq.write_table(table, project.path)
        project.apply(schema=fields)
        project.store.materialize_incremental(END)
        assert project.online("a", "b", drivers=[1]) == {"a": [a], "b": [b]}


def test_a_tie_is_decided_by_the_view_alone(project):
    """A column that the view does not have must not flip the winner: nobody would see that it changed."""

    def write(first, second):
        rows = [{**row(1, 11, trips), "other": other} for trips, other in ((1, first), (2, second))]
        pq.write_table(pa.Table.from_pylist(rows), project.path)

    write("a", "b")
    project.apply(schema=TRIPS)
    project.store.materialize_incremental(END)
    before = project.trips([1])
    write("b", "a")
    project.store.materialize_incremental(END)
    assert project.trips([1]) == history(project) == before


def test_one_call_computes_a_result_before_the_view_that_reads_it(project):
    project.write([row(1, 1, 10), row(1, 25, 11)])
    kept(project)
    (maker,) = [v for v in project.store.list_feature_views() if v.name == "kept_view"]
    reader = FeatureView(
        name="a_reader",
        entities=[DRIVER],
        source=maker.sink_source,
        ttl=timedelta(0),
        schema=TRIPS,
        partitions=Partitions("daily", start=START),
    )
    project.store.apply([reader])
    results = project.store.materialize(hours(0), hours(48))
    names = [r.view for r in results]
    assert names == ["kept_view", "a_reader"]
    assert project.store.get_online_features(["a_reader:trips"], {"driver_id": [1]}).to_dict()["trips"] == [11]
