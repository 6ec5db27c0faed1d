"""On-demand views that are kept in the online store: written, materialized, read, compared with history, taken away."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int32,
    Int64,
    OnDemandFeatureView,
    PushSource,
    RepoConfig,
    RequestSource,
    String,
)
from feast_assets.errors import (
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    SourceError,
    TransformationError,
)

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
CHUNK = Entity(name="chunk", join_keys=["chunk_id"])
KEY = Field(name="driver_id", dtype=Int64)
STATS = FeatureView(
    name="stats",
    entities=[DRIVER],
    source=FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts", created_timestamp_column="made"),
    schema=[KEY, Field(name="trips", dtype=Int64), Field(name="rate", dtype=Float64)],
)
AGES = FeatureView(
    name="ages",
    entities=[DRIVER],
    ttl=10 * DAY,
    source=FileSource(name="ages_file", path="ages.parquet", timestamp_field="event_timestamp"),
    schema=[KEY, Field(name="age", dtype=Int64)],
)
TOTAL = [Field(name="total", dtype=Float64)]


def total(inputs):
    return {"total": [None if r is None else t * r for t, r in zip(inputs["trips"], inputs["rate"], strict=True)]}


def total_of_frame(frame):
    return pd.DataFrame({"total": frame["trips"].astype("float64") * frame["rate"]}).sort_values("total")


def total_of_row(row):
    return {"total": None if row["rate"] is None else row["trips"] * row["rate"]}


def aged(inputs):
    pairs = zip(inputs["trips"], inputs["age"], strict=True)
    return {"total": [None if None in (trips, age) else trips + age for trips, age in pairs]}


def on_demand(name="totals", udf=total, **changes):
    given = {"sources": [STATS], "entities": [DRIVER], "schema": TOTAL, "mode": "python", **changes}
    return OnDemandFeatureView(name=name, udf=udf, write_to_online_store=True, **given)


def opened(path):
    return FeatureStore(path, RepoConfig(project="p", registry="registry.db", provider="local", online_store="sqlite"))


def write_stats(path, *rows):
    """Writes rows of (driver, trips, rate, days before noon)."""
    frame = pd.DataFrame(rows, columns=["driver_id", "trips", "rate", "ts"])
    frame["ts"] = [NOON - days * DAY for days in frame["ts"]]
    frame.assign(made=NOON).to_parquet(path / "stats.parquet")


def write_ages(path, *rows):
    frame = pd.DataFrame(rows, columns=["driver_id", "age", "event_timestamp"])
    frame["event_timestamp"] = [NOON - days * DAY for days in frame["event_timestamp"]]
    frame.to_parquet(path / "ages.parquet")


@pytest.fixture
def store(tmp_path):
    write_stats(tmp_path, (1, 10, 0.1, 3), (2, 20, 0.2, 3), (1, 30, 0.5, 1), (2, 40, None, 1))
    write_ages(tmp_path, (1, 7, 5), (2, 8, 5), (1, 9, 0))
    made = opened(tmp_path)
    yield made
    made.close()


def read(store, reference="totals:total", keys=(1, 2, 3)):
    response = store.get_online_features([reference], {"driver_id": list(keys)})
    return response.to_dict()[reference.split(":")[1]]


@pytest.mark.parametrize(
    "view",
    [
        on_demand(),
        on_demand(udf=total_of_row, singleton=True),
        on_demand(udf=total_of_frame, mode="pandas"),
    ],
    ids=["lists", "rows", "pandas"],
)
def test_it_is_materialized_in_the_windows_of_its_source_and_read_from_the_store(store, view):
    store.apply([DRIVER, STATS, view])
    store.materialize_incremental(NOON, ["totals"])
    assert read(store) == [15.0, None, None]
    # One window a day, like those of the view that it reads; nothing is left to do.
    days = {start.date() for start, _ in store.materialization_intervals("totals")}
    assert min(days) == (NOON - 3 * DAY).date()
    assert store.stale_windows("totals", NOON) == []
    assert store.audit(["totals"], at=NOON).causes == {}


def test_only_the_changed_day_becomes_stale(store, tmp_path):
    store.apply([DRIVER, STATS, on_demand()])
    store.materialize_incremental(NOON, ["totals"])
    write_stats(tmp_path, (1, 10, 0.1, 3), (2, 20, 0.2, 3), (1, 30, 0.5, 1), (2, 40, 2.0, 1))
    (stale,) = store.stale_windows("totals", NOON)
    assert stale.window.start.date() == (NOON - DAY).date()
    store.materialize_incremental(NOON, ["totals"])
    assert read(store) == [15.0, 80.0, None]


def test_history_computes_the_same_values(store):
    store.apply([DRIVER, STATS, on_demand()])
    store.materialize_incremental(NOON)
    rows = pd.DataFrame({"driver_id": [1, 2, 1], "event_timestamp": [NOON, NOON, NOON - 2 * DAY]})
    history = store.get_historical_features(rows, ["totals:total"]).to_df()
    assert history["total"].to_list()[0] == 15.0
    assert pd.isna(history["total"][1])
    assert history["total"][2] == 1.0


def test_of_several_views_it_has_what_the_others_held_at_each_time(store):
    view = on_demand(udf=aged, sources=[STATS, AGES], schema=[Field(name="total", dtype=Int64)])
    store.apply([DRIVER, STATS, AGES, view])
    store.materialize(NOON - 30 * DAY, NOON, ["totals"])
    # Driver 1: the row of the ages is the newest, and goes with the trips of the day before.
    stored = store.get_online_features(["totals:total"], {"driver_id": [1, 2]}).to_dict(include_event_timestamps=True)
    assert stored["total__ts"] == [int(NOON.timestamp()), int((NOON - DAY).timestamp())]
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [NOON, NOON]})
    assert store.get_historical_features(rows, ["totals:total"]).to_df()["total"].to_list() == [39, 48]


def test_several_views_meet_though_their_keys_have_different_types(store, tmp_path):
    rows = pd.DataFrame({"driver_id": pd.array([1], "int32"), "age": [30], "event_timestamp": [NOON - 2 * DAY]})
    rows.to_parquet(tmp_path / "ages.parquet")
    schema = [Field(name="driver_id", dtype=Int32), Field(name="age", dtype=Int64)]
    ages = FeatureView(name="ages", entities=[DRIVER], source=AGES.source, schema=schema)
    for sources in ([STATS, ages], [ages, STATS]):
        store.apply([DRIVER, *sources, on_demand(udf=aged, sources=sources)])
        store.materialize(NOON - 9 * DAY, NOON)
        assert read(store, keys=[1]) == [60.0]


def test_a_value_of_a_view_with_ttl_ends_with_it(store):
    view = on_demand(udf=aged, sources=[STATS, AGES], schema=[Field(name="total", dtype=Int64)])
    store.apply([DRIVER, STATS, AGES, view])
    store.materialize(NOON - 30 * DAY, NOON, ["totals"])
    response = store.get_online_features(["totals:total"], {"driver_id": [1]})
    assert response.to_dict()["total"] == [None]  # of 2024, with a ttl of ten days
    store.write_to_online_store("totals", {"driver_id": [1], "trips": [1], "age": [2]})
    assert read(store, keys=[1]) == [3]


def test_written_rows_go_through_the_function(store):
    store.apply([DRIVER, STATS, on_demand()])
    store.write_to_online_store("totals", pd.DataFrame({"driver_id": [1, 2], "trips": [3, 4], "rate": [0.5, 2.0]}))
    store.write_to_online_store("totals", inputs={"driver_id": [3], "stats__trips": [5], "rate": [1.0]})
    assert read(store) == [1.5, 8.0, 5.0]


def test_written_rows_may_hold_the_features_themselves(store):
    store.apply([DRIVER, STATS, on_demand()])
    store.write_to_online_store("totals", {"driver_id": [1], "total": [7.0]}, transform_on_write=False)
    assert read(store, keys=[1]) == [7.0]


@pytest.mark.parametrize("time", ["ts", "event_timestamp"])
def test_an_older_row_does_not_replace_a_newer(store, time):
    store.apply([DRIVER, STATS, on_demand()])
    store.materialize_incremental(NOON)
    for days, expected in ((9, 15.0), (0, 2.0)):
        rows = {"driver_id": [1], "trips": [1], "rate": [2.0], time: [NOON - days * DAY]}
        store.write_to_online_store("totals", rows)
        assert read(store, keys=[1]) == [expected]


def test_request_values_come_with_the_written_rows_and_not_with_reads(store):
    request = RequestSource(name="request", schema=[Field(name="bonus", dtype=Int64)])
    view = on_demand(
        udf=lambda i: {"total": [float(t + b) for t, b in zip(i["trips"], i["bonus"], strict=True)]},
        sources=[STATS, request],
        input_schema=[Field(name="unused", dtype=String)],
    )
    store.apply([DRIVER, STATS, view])
    assert read(store, keys=[1]) == [None]
    store.write_to_online_store(
        "totals", {"driver_id": [1], "trips": [3], "rate": [1.0], "bonus": [4], "unused": ["x"]}
    )
    assert read(store, keys=[1]) == [7.0]
    with pytest.raises(InputError, match="values that come with a request \\('bonus', 'unused'\\)"):
        store.materialize(NOON - DAY, NOON, ["totals"])
    assert [result.view for result in store.materialize(NOON - DAY, NOON)] == ["stats"]


def words(inputs):
    rows = [(d, f"{d}-{n}", w) for d, text in zip(inputs["doc"], inputs["text"], strict=True) for n, w in _cut(text)]
    return dict(zip(("doc", "chunk_id", "word"), map(list, zip(*rows, strict=True)), strict=True))


def words_of_row(row):
    cut = _cut(row["text"])
    return {"chunk_id": [f"{row['doc']}-{n}" for n, _ in cut], "word": [word for _, word in cut]}


def _cut(text):
    return list(enumerate(text.split()))


@pytest.mark.parametrize(("udf", "singleton"), [(words, False), (words_of_row, True)])
def test_a_function_may_return_several_rows_for_one(store, udf, singleton):
    view = OnDemandFeatureView(
        name="words",
        entities=[CHUNK],
        schema=[Field(name="chunk_id", dtype=String), Field(name="word", dtype=String)],
        input_schema=[Field(name="doc", dtype=Int64), Field(name="text", dtype=String)],
        mode="python",
        singleton=singleton,
        udf=udf,
        write_to_online_store=True,
    )
    store.apply([CHUNK, view])
    store.write_to_online_store("words", {"doc": [1, 2], "text": ["on the road", "home"]})
    found = store.get_online_features(["words:word"], {"chunk_id": ["1-0", "1-2", "2-0", "2-1"]}).to_dict()["word"]
    assert found == ["on", "road", "home", None]


def test_more_rows_without_their_keys_are_refused_and_nothing_is_written(store):
    store.apply([DRIVER, STATS, on_demand(udf=lambda i: {"total": [1.0, 2.0]})], skip_feature_view_validation=True)
    with pytest.raises(TransformationError, match="returned 2 rows for 1, so it must return the join key 'driver_id'"):
        store.write_to_online_store("totals", {"driver_id": [1], "trips": [1], "rate": [1.0]})
    assert read(store, keys=[1]) == [None]


def reversed_rows(inputs):
    return {"driver_id": inputs["driver_id"][::-1], "total": total(inputs)["total"][::-1]}


def of_few_trips(inputs):
    kept = [n for n, trips in enumerate(inputs["trips"]) if trips is None or trips < 10]
    return {name: [values[n] for n in kept] for name, values in {**inputs, **total(inputs)}.items() if name != "rate"}


@pytest.mark.parametrize("udf", [reversed_rows, of_few_trips])
def test_rows_that_the_function_leaves_out_or_reorders_have_the_times_of_their_keys(store, udf):
    store.apply([DRIVER, STATS, on_demand(udf=udf)])
    rows = {"driver_id": [1, 2], "trips": [2, 3], "rate": [1.0, 1.0], "ts": [NOON, NOON - DAY]}
    store.write_to_online_store("totals", rows)
    store.write_to_online_store("totals", {**rows, "trips": [4, 5], "ts": [NOON - DAY / 2] * 2})
    assert read(store, keys=[1, 2]) == [2.0, 5.0]


def test_the_function_does_not_hold_up_the_event_loop(store):
    threads = []

    def noted(inputs):
        threads.append(threading.current_thread())
        return total(inputs)

    store.apply([DRIVER, STATS, on_demand(udf=noted)])
    threads.clear()
    asyncio.run(store.write_to_online_store_async("totals", {"driver_id": [1], "trips": [2], "rate": [1.0]}))
    assert read(store, keys=[1]) == [2.0]
    assert threads
    assert threading.main_thread() not in threads


def test_rows_whose_times_cannot_be_told_are_refused(store):
    store.apply([DRIVER, STATS, on_demand(udf=of_few_trips)])
    rows = {"driver_id": [1, 1], "trips": [2, 10], "rate": [1.0, 1.0], "ts": [NOON, NOON - DAY]}
    with pytest.raises(TransformationError, match="rows of driver_id=1 have different times"):
        store.write_to_online_store("totals", rows)
    assert read(store, keys=[1]) == [None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"driver_id": [1], "trips": [1]}, "KeyError: 'rate'. Known: 'driver_id', 'stats__trips', 'trips'"),
        ({"trips": [1], "rate": [1.0]}, "join key 'driver_id' is neither among the rows nor returned"),
        ({"driver_id": [None], "trips": [1], "rate": [1.0]}, "nulls"),
        ({"driver_id": [1], "trips": ["many"], "rate": [1.0]}, "trips"),
    ],
)
def test_rows_that_do_not_fit_are_refused(store, rows, message):
    store.apply([DRIVER, STATS, on_demand()])
    with pytest.raises((InputError, SourceError, TransformationError), match=message):
        store.write_to_online_store("totals", rows)
    assert read(store) == [None, None, None]


def test_services_aliases_and_full_names_work(store):
    view = on_demand()
    service = FeatureService(name="s", features=[STATS[["trips"]], view.with_name("sums")])
    store.apply([DRIVER, STATS, view, service])
    store.materialize_incremental(NOON)
    found = store.get_online_features(store.get_feature_service("s"), {"driver_id": [1]}, full_feature_names=True)
    assert found.to_dict() == {"driver_id": [1], "stats__trips": [30], "sums__total": [15.0]}


def test_join_keys_may_have_another_name(store):
    view = on_demand(
        entities=[Entity(name="rider", join_keys=["rider_id"])],
        sources=[STATS.with_join_key_map({"driver_id": "rider_id"})],
    )
    store.apply([DRIVER, Entity(name="rider", join_keys=["rider_id"]), STATS, view])
    store.materialize_incremental(NOON)
    assert store.get_online_features(["totals:total"], {"rider_id": [1]}).to_dict()["total"] == [15.0]


def _doubled(frame):
    return frame.assign(trips=frame["trips"] * 2)


def _query(relation):
    return f"SELECT * FROM {relation}"


def test_it_reads_what_another_view_computes(store):
    view = {"name": "stats", "entities": [DRIVER], "source": STATS.batch_source, "schema": STATS.schema}
    computed = BatchFeatureView(**view, udf=_doubled, mode="pandas", online=True)
    totals = on_demand(sources=[computed])
    store.apply([DRIVER, computed, totals])
    store.materialize_incremental(NOON)
    assert read(store) == [30.0, None, None]
    with pytest.raises(NotSupportedError, match="offline=True and a sink_source"):
        store.apply([DRIVER, BatchFeatureView(**view, udf=_query, mode="sql", online=True), totals])


def test_a_change_of_a_view_that_it_reads_makes_its_rows_stale(store):
    store.apply([DRIVER, STATS, on_demand()])
    store.materialize_incremental(NOON)
    changed = FeatureView(
        name="stats",
        entities=[DRIVER],
        source=FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts", field_mapping={"x": "y"}),
        schema=STATS.schema,
    )
    store.apply([changed])
    assert {w.reason for w in store.stale_windows("totals", NOON)} == {"redefined"}
    store.materialize_incremental(NOON)
    assert read(store) == [15.0, None, None]


def test_what_is_stored_goes_with_the_view(store):
    store.apply([DRIVER, STATS, on_demand()])
    store.materialize_incremental(NOON)
    plain = OnDemandFeatureView(name="totals", sources=[STATS], schema=TOTAL, mode="python", udf=total)
    store.apply([plain])
    store.write_to_online_store("stats", {"driver_id": [1], "trips": [1], "rate": [9.0], "ts": [NOON], "made": [NOON]})
    assert read(store) == [9.0, None, None]  # computed of what stats holds now
    assert store.snapshot().stored_on_demand_views == []
    with pytest.raises(InputError, match="without write_to_online_store"):
        store.write_to_online_store("totals", {"driver_id": [1], "trips": [1], "rate": [1.0]})
    with pytest.raises(InputError, match="never materialized"):
        store.materialize(NOON - DAY, NOON, ["totals"])
    store.apply([on_demand()])
    assert read(store) == [None, None, None]
    assert store.materialization_intervals("totals") == []
    store.apply([], objects_to_delete=[on_demand()], partial=False)
    assert store.snapshot().stored_on_demand_views == []


def test_it_is_no_feature_view(store):
    store.apply([DRIVER, STATS, on_demand()])
    assert [v.name for v in store.list_feature_views()] == ["stats"]
    assert [v.name for v in store.list_all_feature_views()] == ["stats", "totals"]
    with pytest.raises(FeatureViewNotFoundException):
        store.get_feature_view("totals")
    assert store.get_on_demand_feature_view("totals").write_to_online_store


def test_a_push_reaches_the_view_and_not_what_is_computed_of_it(store):
    live = PushSource(name="live", batch_source=STATS.batch_source)
    stats = FeatureView(name="stats", entities=[DRIVER], source=live, schema=STATS.schema)
    store.apply([DRIVER, stats, on_demand(sources=[stats])])
    store.push("live", {"driver_id": [1], "trips": [2], "rate": [4.0], "ts": [NOON]})
    assert read(store, "stats:trips", [1]) == [2]
    assert read(store, keys=[1]) == [None]


def test_another_process_finds_the_function(store, tmp_path):
    (tmp_path / "defs.py").write_text(
        "from feast_assets import *\n"
        "driver = Entity(name='driver', join_keys=['driver_id'])\n"
        "stats = FeatureView(name='stats', entities=[driver], schema=[Field(name='driver_id', dtype=Int64),\n"
        "    Field(name='trips', dtype=Int64)], source=FileSource(path='stats.parquet', timestamp_field='ts'))\n"
        "@on_demand_feature_view(sources=[stats], entities=[driver], write_to_online_store=True, mode='python',\n"
        "    schema=[Field(name='twice', dtype=Int64)])\n"
        "def doubled(inputs):\n"
        "    return {'twice': [2 * trips for trips in inputs['trips']]}\n"
    )
    store.apply_repository()
    other = opened(tmp_path)
    other.materialize_incremental(NOON)
    assert read(other, "doubled:twice") == [60, 80, None]
    assert str(store.apply_repository()) == "No changes to registry"
    other.close()
