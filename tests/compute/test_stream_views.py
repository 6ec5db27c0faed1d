"""Stream feature views over a push source: a row has the same features online, in history, and after a crash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    JsonFormat,
    KafkaSource,
    PushMode,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from feast_assets.errors import (
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    StoreUnavailableError,
    TransformationError,
    UnfinishedPushError,
)

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
KEY = Field(name="driver_id", dtype=Int64)
HISTORY = FileSource(name="trips", path="trips", timestamp_field="ts", field_mapping={"km": "distance"})
LIVE = PushSource(name="live", batch_source=HISTORY)
SPEED = [KEY, Field(name="speed", dtype=Float64)]


def speed_of_columns(rows):
    return {**rows, "speed": [d / h for d, h in zip(rows["distance"], rows["hours"], strict=True)]}


def speed_of_frame(frame):
    return frame.assign(speed=frame["distance"] / frame["hours"])


def speed_by_query(rides):
    return f"SELECT *, distance / hours AS speed FROM {rides}"


def speeds(udf=speed_of_columns, mode="python", **changes):
    given = {"source": LIVE, "entities": [DRIVER], "schema": SPEED, **changes}
    return StreamFeatureView(name="speeds", udf=udf, mode=mode, **given)


def opened(path):
    return FeatureStore(path, RepoConfig(project="p", registry="registry.db", provider="local", online_store="sqlite"))


def rows(*given):
    """Rows of (driver, km, hours, days before noon)."""
    frame = pd.DataFrame(given, columns=["driver_id", "km", "hours", "ts"])
    return frame.assign(ts=[NOON - days * DAY for days in frame["ts"]])


@pytest.fixture
def store(tmp_path):
    (tmp_path / "trips").mkdir()
    rows((1, 100, 2, 3), (2, 60, 3, 1)).to_parquet(tmp_path / "trips" / "first.parquet")
    made = opened(tmp_path)
    yield made
    made.close()


def read(store, reference="speeds:speed"):
    return store.get_online_features([reference], {"driver_id": [1, 2]}).to_dict()[reference.split(":")[1]]


def history(store):
    entities = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [NOON + DAY] * 2})
    return store.get_historical_features(entities, ["speeds:speed"]).to_df()["speed"].to_list()


@pytest.mark.parametrize(
    ("udf", "mode"), [(speed_of_columns, "python"), (speed_of_frame, "pandas"), (speed_by_query, "sql")]
)
def test_the_function_runs_over_history_and_over_pushed_rows(store, udf, mode):
    store.apply([DRIVER, speeds(udf, mode)])
    store.materialize_incremental(NOON)
    assert read(store) == history(store) == [50.0, 20.0]
    store.push("live", rows((1, 30, 1, 0)), to=PushMode.ONLINE_AND_OFFLINE)
    assert read(store) == history(store) == [30.0, 20.0]
    assert store.audit(at=NOON + DAY).causes == {}


def test_pushed_rows_may_have_the_mapped_names(store):
    store.apply([DRIVER, speeds()])
    store.push("live", {"driver_id": [1], "distance": [80.0], "hours": [1.0], "ts": [NOON]})
    assert read(store)[0] == 80.0


def test_without_transform_on_write_the_rows_hold_the_features(store):
    store.apply([DRIVER, speeds()])
    store.push("live", {"driver_id": [1], "speed": [7.0], "ts": [NOON]}, transform_on_write=False)
    store.write_to_online_store("speeds", {"driver_id": [2], "speed": [8.0], "ts": [NOON]}, transform_on_write=False)
    assert read(store) == [7.0, 8.0]
    store.write_to_online_store("speeds", rows((2, 18, 2, 0)))
    assert read(store) == [7.0, 9.0]


def test_a_view_without_function_takes_rows_as_they_are(store):
    plain = StreamFeatureView(
        name="speeds", source=LIVE, entities=[DRIVER], schema=[KEY, Field(name="hours", dtype=Int64)]
    )
    store.apply([DRIVER, plain])
    store.materialize_incremental(NOON)
    store.push("live", rows((1, 1, 9, 0)))
    assert read(store, "speeds:hours") == [9, 3]


def test_one_push_feeds_views_of_both_kinds(store):
    plain = FeatureView(name="hours", source=LIVE, entities=[DRIVER], schema=[KEY, Field(name="hours", dtype=Int64)])
    store.apply([DRIVER, speeds(), plain])
    store.push("live", rows((1, 30, 2, 0)), to=PushMode.ONLINE_AND_OFFLINE)
    assert (read(store)[0], read(store, "hours:hours")[0]) == (15.0, 2)


@pytest.mark.parametrize("transforms", [True, False])
def test_a_push_that_breaks_off_is_completed_with_the_same_features(store, tmp_path, monkeypatch, transforms):
    same = {"driver_id": [1], "km": [30.0], "hours": [2.0], "speed": [4.0], "ts": [NOON]}
    view = speeds(lambda r: {**r, "speed": [d / h for d, h in zip(r["distance"], r["hours"], strict=True)]})
    other = FeatureView(name="hours", source=LIVE, entities=[DRIVER], schema=[KEY, Field(name="hours", dtype=Float64)])
    store.apply([DRIVER, view, other])

    def fail(*arguments):
        raise StoreUnavailableError("The store is away.")

    with monkeypatch.context() as broken:
        broken.setattr(type(store.online_store), "put_many", fail)
        with pytest.raises(UnfinishedPushError):
            store.push("live", same, transform_on_write=transforms)
    assert len(store.list_unfinished_pushes()) == 1
    store.refresh_registry()
    assert read(store)[0] == (15.0 if transforms else 4.0)
    assert store.list_unfinished_pushes() == []


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"driver_id": [1], "km": [1.0], "hours": [1.0]}, InputError, "'ts' is missing"),
        ({"driver_id": [1], "km": [1.0], "ts": [NOON]}, TransformationError, "KeyError: 'hours'"),
        ({"driver_id": [1], "km": [1.0], "hours": [0.0], "ts": [NOON]}, TransformationError, "ZeroDivisionError"),
        ({"km": [1.0], "hours": [1.0], "ts": [NOON]}, InputError, "driver_id"),
    ],
)
def test_rows_that_do_not_fit_change_nothing(store, given, error, message):
    store.apply([DRIVER, speeds()])
    for target in (PushMode.ONLINE, PushMode.ONLINE_AND_OFFLINE):
        with pytest.raises(error, match=message):
            store.push("live", given, to=target)
    assert read(store) == [None, None]
    assert history(store) == [50.0, 20.0]


def test_the_kept_result_is_computed_and_pushes_go_to_the_stream_s_own_history(store):
    sink = FileSource(name="speed_results", path="results", timestamp_field="ts")
    store.apply([DRIVER, speeds(sink_source=sink, offline=True)])
    store.push("live", rows((1, 30, 1, 0)), to=PushMode.ONLINE_AND_OFFLINE)
    store.materialize_incremental(NOON)
    assert read(store) == history(store) == [30.0, 20.0]


def doubled(columns):
    return {**columns, "twice": [2 * speed for speed in columns["speed"]]}


def test_a_view_of_a_stream_view_reads_its_kept_result(store):
    sink = FileSource(name="speed_results", path="results", timestamp_field="ts")
    base = speeds(sink_source=sink, offline=True)
    top = BatchFeatureView(
        name="doubles",
        source=[base],
        entities=[DRIVER],
        schema=[KEY, Field(name="twice", dtype=Float64)],
        udf=doubled,
        sink_source=FileSource(name="double_results", path="doubles", timestamp_field="ts"),
        online=True,
        offline=True,
    )
    store.apply([DRIVER, top, base])
    assert [result.view for result in store.materialize_incremental(NOON)] == ["speeds", "doubles"]
    assert read(store, "doubles:twice") == [100.0, 40.0]


def test_a_stream_view_is_listed_apart_as_in_feast(store):
    store.apply([DRIVER, speeds()])
    assert [v.name for v in store.list_stream_feature_views()] == ["speeds"]
    assert [v.name for v in store.list_all_feature_views()] == ["speeds"]
    assert store.list_feature_views() == store.list_batch_feature_views() == []
    with pytest.raises(FeatureViewNotFoundException):
        store.get_feature_view("speeds")
    store.materialize_incremental(NOON)
    assert store.get_stream_feature_view("speeds").materialization_intervals
    assert str(store._plan([DRIVER, speeds()], [], whole=True).registry_diff) == "No changes to registry"


def test_a_topic_of_kafka_is_consumed_and_not_pushed_to(store):
    kafka = KafkaSource(
        name="topic", timestamp_field="ts", message_format=JsonFormat("driver_id integer"), batch_source=HISTORY
    )
    store.apply([DRIVER, speeds(source=kafka)])
    store.materialize_incremental(NOON)
    assert read(store) == [50.0, 20.0]
    with pytest.raises(NotSupportedError, match="'topic' is a KafkaSource, and not a PushSource"):
        store.push("topic", rows((1, 1, 1, 0)))
    store.write_to_online_store("speeds", rows((1, 30, 1, 0)))
    assert read(store) == [30.0, 20.0]
