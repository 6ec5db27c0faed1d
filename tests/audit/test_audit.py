"""The audit finds what is served otherwise than history says, and each cause is told when it is the cause."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import START, SmallProject, hours, row

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    Partitions,
    PushSource,
    String,
    UnixTimestamp,
    ValueType,
)
from feast_assets.audit.causes import CAUSES
from feast_assets.definitions.window import Window
from feast_assets.errors import FeatureViewNotFoundException, ForeignValueWarning, InputError
from feast_assets.online_stores.base import EncodedRows
from feast_assets.registry.base import WindowContent
from feast_assets.testing.online_store import remove_rows


def days(first: int, last: int) -> list[dict]:
    return [row(driver, 24 * day + 1, 10 * driver + day) for driver in range(5) for day in range(first, last)]


def causes(project: SmallProject, **arguments) -> dict[str, int]:
    return project.store.audit(**arguments).causes


@pytest.fixture
def served(project):
    """Three days of five drivers, all materialized."""
    project.write(days(0, 3))
    project.apply()
    project.store.materialize_incremental(hours(72))
    return project


# --- equal


def test_what_is_materialized_is_equal(served):
    report = served.store.audit()
    assert [(v.feature_view, v.entities, v.values, v.causes) for v in report.views] == [("stats", 5, 10, {})]
    assert (report.mismatches, report.causes, report.unexplained) == ((), {}, 0)
    assert str(report).split() == ["VIEW", "ENTITIES", "VALUES", "EQUAL", "stats", "5", "10", "10"]
    assert list(report.to_df().columns)[:3] == ["feature_view", "entity", "feature"]


def test_values_past_the_ttl_are_withheld_on_both_sides(served):
    served.apply(ttl=timedelta(hours=3))
    assert causes(served, at=hours(52)) == {}
    assert causes(served, at=hours(52) + timedelta(microseconds=1)) == {}
    assert causes(served) == {}


def test_every_kind_of_view_is_compared(tmp_path):
    project = SmallProject(tmp_path)
    n = 30
    table = pa.table(
        {
            "who": [f"w{i % 7}" for i in range(n)],
            "no": pa.array([i % 3 for i in range(n)], pa.int32()),
            "when": pa.array([hours(i) for i in range(n)], pa.timestamp("us", "UTC")),
            "share": [float("nan") if i % 4 == 0 else i / 3 if i % 5 else None for i in range(n)],
            "since": pa.array([hours(-i) for i in range(n)], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "facts.parquet")
    # The time has another name in the file, and is a feature as well.
    source = FileSource(name="facts", path="facts.parquet", timestamp_field="when", field_mapping={"when": "seen"})
    who = Entity(name="who", join_keys=["who"], value_type=ValueType.STRING)
    no = Entity(name="no", join_keys=["no"], value_type=ValueType.INT64)
    features = [Field(name="share", dtype=Float64), Field(name="since", dtype=UnixTimestamp)]
    daily = Partitions("daily", START)

    def double(rows):
        return rows.assign(share=rows["share"] * 2)

    def views():
        common = {"source": source, "partitions": daily}
        yield FeatureView(name="composite", entities=[who, no], schema=[*features], **common)
        yield FeatureView(
            name="timed", entities=[who], schema=[*features, Field(name="seen", dtype=UnixTimestamp)], **common
        )
        yield FeatureView(name="whole", entities=[no], schema=features, source=source, partitions=None)
        yield FeatureView(name="for_all", schema=features, **common)
        transformed = {"udf": double, "mode": "pandas", "entities": [who], "schema": features, "online": True, **common}
        sink = FileSource(name="kept", path="kept", timestamp_field="seen")
        yield BatchFeatureView(name="computed", **transformed)
        yield BatchFeatureView(name="kept_result", offline=True, sink_source=sink, **transformed)
        yield FeatureView(name="offline_only", entities=[who], schema=features, online=False, **common)

    project.store.apply([who, no, *views()])
    project.store.materialize_incremental(hours(n))
    report = project.store.audit()
    assert {v.feature_view: (v.entities, v.values) for v in report.views} == {
        "composite": (21, 42),
        "timed": (7, 21),
        "whole": (3, 6),
        "for_all": (1, 2),
        "computed": (7, 14),
        "kept_result": (7, 14),
    }
    assert report.mismatches == ()
    # The comparison has teeth: without the newest rows each view differs.
    pq.write_table(table.slice(0, n - 9), tmp_path / "facts.parquet")
    found = project.store.audit()
    assert {v.feature_view for v in found.views if v.causes} == {v.feature_view for v in found.views} - {"kept_result"}
    project.close()


# --- causes


def test_a_row_that_came_late_is_the_cause(served):
    served.write([*days(0, 3), row(2, 60, 777)])
    report = served.store.audit()
    (found,) = report.mismatches
    assert (found.cause, found.entity, found.feature) == ("late_row", {"driver_id": 2}, "trips")
    assert (found.online, found.offline, found.status) == (22, 777, "PRESENT")
    assert (found.online_event_timestamp, found.offline_event_timestamp) == (hours(49), hours(60))
    served.store.materialize_incremental(hours(72))
    assert causes(served) == {}


def test_a_corrected_or_removed_row_is_a_late_row(served):
    served.write([r | {"trips": 5} if r["ts"] == hours(49) and r["driver_id"] == 1 else r for r in days(0, 3)])
    assert causes(served) == {"late_row": 1}
    served.write([r for r in days(0, 3) if not (r["ts"] == hours(49) and r["driver_id"] == 1)])
    assert causes(served) == {"late_row": 1}


def test_an_entity_that_history_does_not_know_any_more_is_seen(served):
    served.write([r for r in days(0, 3) if r["driver_id"] != 2])
    report = served.store.audit()
    assert report.causes == {"late_row": 2}
    assert [(m.entity, m.online, m.offline) for m in report.mismatches] == [
        ({"driver_id": 2}, 22, None),
        ({"driver_id": 2}, "x", None),
    ]
    served.store.materialize_incremental(hours(72))
    served.store.materialize_windows("stats", [Window(hours(24 * d), hours(24 * d + 24)) for d in range(3)])
    assert causes(served) == {}


def test_a_row_that_nobody_wrote_is_unexplained(served):
    """An entity that neither history nor the ledger accounts for."""
    rows = _stored_row(served, 77, hours(49), trips=7)
    served.store.online_store.put_many(served.store.get_feature_view("stats").online_table("small"), [rows])
    assert causes(served) == {"unexplained": 2}


def test_a_window_that_is_not_materialized_is_lag(served):
    served.write(days(0, 5))
    assert causes(served) == {"lag": 5}
    assert causes(served, at=hours(72)) == {}


def test_a_gap_is_lag(project):
    project.write([row(1, 1, 1), row(2, 25, 2), row(3, 49, 3)])
    project.apply()
    project.store.materialize_windows("stats", [Window(hours(0), hours(24)), Window(hours(48), hours(72))])
    (*_,) = found = project.store.audit().mismatches
    assert {(m.entity["driver_id"], m.cause, m.status) for m in found} == {(2, "lag", "NOT_FOUND")}


def test_a_run_that_was_killed_is_lag(served):
    served.write([*days(0, 3), row(2, 60, 777)])
    served.store.registry.claim("stats", [WindowContent(Window(hours(48), hours(72)), "other", "hash")])
    assert causes(served) == {"lag": 1}


def test_a_changed_definition_is_the_cause(served):
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64), Field(name="city", dtype=String)]
    table = pq.read_table(served.path)
    pq.write_table(table.append_column("extra", pa.array(range(len(table)))), served.path)
    served.apply(schema=[*schema, Field(name="extra", dtype=Int64)])
    found = served.store.audit().mismatches
    assert {(m.feature, m.cause, m.status) for m in found} == {("extra", "code_changed", "NOT_FOUND")}
    assert len(found) == 5
    served.store.materialize_incremental(hours(72))
    assert causes(served) == {}


def test_a_lost_online_store_is_told_like_a_changed_definition(served):
    served.store.online_store.drop([served.store.get_feature_view("stats").online_table("small")])
    served.store.online_store.setup([served.store.get_feature_view("stats").online_table("small")])
    assert causes(served) == {"code_changed": 10}


def test_pushed_rows_are_the_cause(served):
    push = PushSource(name="live", batch_source=served.view().batch_source)
    served.apply(source=push)
    served.store.materialize_incremental(hours(72))
    served.store.push("live", {"driver_id": [3], "ts": [hours(50)], "trips": [999], "city": ["x"]})
    (found,) = served.store.audit().mismatches
    assert (found.cause, found.online, found.offline) == ("pushed", 999, 32)
    # Of equal event times the push is the newer one.
    served.store.push("live", {"driver_id": [1], "ts": [hours(49)], "trips": [997], "city": ["x"]})
    assert causes(served) == {"pushed": 2}
    # Still so after another window has been run again, and where no window is.
    served.write([*days(0, 3), row(4, 20, 4)])
    served.store.materialize_incremental(hours(72))
    served.store.push("live", {"driver_id": [2], "ts": [hours(500)], "trips": [998], "city": ["x"]})
    assert causes(served) == {"pushed": 3}


def test_rows_written_directly_count_as_pushed(served):
    served.store.write_to_online_store("stats", {"driver_id": [3], "ts": [hours(50)], "trips": [9], "city": ["x"]})
    assert causes(served) == {"pushed": 1}


def test_a_row_of_a_later_time_is_ahead(served):
    assert causes(served, at=hours(40)) == {"ahead": 5}
    served.store.write_to_online_store("stats", {"driver_id": [3], "ts": [hours(50)], "trips": [9], "city": ["x"]})
    assert causes(served, at=hours(40)) == {"ahead": 4, "pushed": 1}


def test_a_ttl_that_reads_do_not_enforce_is_the_cause(tmp_path):
    project = SmallProject(tmp_path)
    project.store.config = project.store.config.model_copy(update={"enforce_online_ttl": False})
    project.write(days(0, 3))
    project.apply(ttl=timedelta(hours=1))
    project.store.materialize_incremental(hours(72))
    assert causes(project) == {"ttl": 10}
    project.close()


def test_a_key_that_the_store_let_expire_is_expired(tmp_path, redis_server):
    host, port = redis_server
    online = {"type": "redis", "connection_string": f"{host}:{port}", "key_ttl_seconds": 1}
    project = SmallProject(tmp_path, online_store=online)
    project.write(days(0, 3))
    project.apply()
    project.store.materialize_incremental(hours(72))
    deadline = time.monotonic() + 10
    while project.trips() != [None] * 6 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert causes(project, at=datetime.now(UTC) + timedelta(seconds=2)) == {"expired": 10}
    project.store.teardown()
    project.close()


def test_a_row_that_a_full_server_may_have_removed_is_evicted(tmp_path, redis_server):
    host, port = redis_server
    project = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    project.write(days(0, 3))
    project.apply()
    project.store.materialize_incremental(hours(72))
    with redis.Redis(host, port) as client:
        gone = [key for key in client.keys("fa:*") if not key.startswith((b"fa:id:", b"fa:mark:"))][:2]
        client.delete(*gone)
        assert causes(project) == {"unexplained": 4}
        client.config_set("maxmemory", 10**9)
        client.config_set("maxmemory-policy", "allkeys-lfu")
        try:
            assert causes(project) == {"evicted": 4}
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
    project.store.teardown()
    project.close()


def test_what_others_wrote_under_the_keys_of_entities_is_damaged(tmp_path, redis_server):
    host, port = redis_server
    project = SmallProject(tmp_path, online_store={"type": "redis", "connection_string": f"{host}:{port}"})
    project.write(days(0, 3))
    project.apply()
    project.store.materialize_incremental(hours(72))
    with redis.Redis(host, port) as client:
        keys = sorted(key for key in client.keys("fa:*") if not key.startswith((b"fa:id:", b"fa:mark:")))
        client.set(keys[0], "short")
        client.delete(keys[1])
        client.rpush(keys[1], "a list")
        # Text that is not UTF-8, in a payload that is sound otherwise.
        value = client.get(keys[2])
        client.set(keys[2], value[:-1] + b"\xff")
        # No key of an entity at all.
        client.set(keys[0][:-8] + b"other", "x" * 40)
        with pytest.warns(ForeignValueWarning):
            found = project.store.audit()
    assert found.causes == {"damaged": 5}
    assert len({m.entity["driver_id"] for m in found.mismatches}) == 3
    project.store.teardown()
    project.close()


def test_what_nothing_explains_is_unexplained(served):
    """A row is damaged behind everybody's back: same times, same version, another content."""
    view = served.store.get_feature_view("stats")
    encoded = _stored_row(served, 3, hours(49), trips=-1)
    remove_rows(served.store.online_store, view.online_table("small"), encoded.keys)
    served.store.online_store.put_many(view.online_table("small"), [encoded])
    report = served.store.audit()
    assert (report.causes, report.unexplained) == ({"unexplained": 1}, 1)
    (found,) = report.mismatches
    assert (found.entity, found.online, found.offline) == ({"driver_id": 3}, -1, 32)
    assert report.to_dict()["mismatches"][0]["online_event_timestamp"] == hours(49).isoformat()
    assert "UNEXPLAINED" in str(report)
    remove_rows(served.store.online_store, view.online_table("small"), encoded.keys)
    assert causes(served) == {"unexplained": 2}


def _stored_row(project: SmallProject, driver: int, at: datetime, trips: int) -> EncodedRows:
    """Returns a row as the newest materialized window would put it."""
    from feast_assets.compute.online_rows import OnlineRows

    version = max(e.version for e in project.store.registry.ledger("stats"))
    times = pa.array([at], pa.timestamp("us", "UTC"))
    table = pa.table({"driver_id": [driver], "trips": [trips], "city": ["x"]})
    table = table.append_column("__event_timestamp", times)
    table = table.append_column("__created_timestamp", pa.nulls(1, times.type))
    return OnlineRows(project.store.get_feature_view("stats")).encode(table, version)


# --- samples and arguments


def test_a_sample_is_bounded_and_chosen_by_its_seed(project):
    project.write([row(driver, 24 * (driver % 40) + 1, driver) for driver in range(400)])
    project.apply()
    project.store.materialize_incremental(hours(24 * 30))

    def sampled(seed: int) -> set[int]:
        report = project.store.audit(sample=60, seed=seed)
        assert report.views[0].entities <= 60
        return {m.entity["driver_id"] for m in report.mismatches}

    # Ten of forty days are not materialized: the sample has entities of both.
    assert sampled(1) == sampled(1) != sampled(2)
    assert sampled(1)
    assert len(project.store.audit(sample=60, seed=1).mismatches) < 120


def test_views_are_chosen_by_name(served):
    assert [v.feature_view for v in served.store.audit(["stats"]).views] == ["stats"]
    with pytest.raises(FeatureViewNotFoundException, match="'stat'"):
        served.store.audit(["stat"])
    with pytest.raises(InputError, match="at least 1"):
        served.store.audit(sample=0)
    served.apply(online=False)
    with pytest.raises(InputError, match="not online"):
        served.store.audit(["stats"])
    assert served.store.audit().views == ()


def test_nothing_materialized_and_nothing_there(project):
    project.write([])
    project.apply()
    assert [(v.entities, v.causes) for v in project.store.audit().views] == [(0, {})]


# --- the law

edits = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, 95), st.integers(0, 9)),
        st.tuples(st.just("correct"), st.integers(0, 20), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 20)),
        st.tuples(st.just("run"), st.integers(0, 3)),
        st.tuples(st.just("incremental"), st.integers(1, 96)),
        st.tuples(st.just("push"), st.integers(0, 3), st.integers(0, 95), st.integers(0, 9)),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits, st.integers(1, 100))
def test_the_audit_finds_just_what_differs_and_explains_all_of_it(tmp_path_factory, steps, at):
    project = SmallProject(tmp_path_factory.mktemp("law"))
    rows: list[dict] = [row(0, 1, 1)]
    project.write(rows)
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source), ttl=timedelta(hours=40))
    for step in steps:
        if step[0] == "add":
            _, driver, hour, trips = step
            rows = [r for r in rows if (r["driver_id"], r["ts"]) != (driver, hours(hour))] + [row(driver, hour, trips)]
            project.write(rows)
        elif step[0] == "correct":
            rows = [r | {"trips": step[2]} if i == step[1] else r for i, r in enumerate(rows)]
            project.write(rows)
        elif step[0] == "delete":
            rows = [r for i, r in enumerate(rows) if i != step[1]]
            project.write(rows)
        elif step[0] == "run":
            project.store.materialize_windows("stats", [Window(hours(24 * step[1]), hours(24 * step[1] + 24))])
        elif step[0] == "incremental":
            project.store.materialize_incremental(hours(step[1]))
        else:
            _, driver, hour, trips = step
            project.store.push("live", {"driver_id": [driver], "ts": [hours(hour)], "trips": [trips], "city": ["x"]})
    moment = hours(at)
    report = project.store.audit(at=moment)
    assert report.unexplained == 0
    assert set(report.causes) <= set(CAUSES)
    # By hand: history at the moment, and what the online plan reads as of it, for every driver that there may be.
    drivers = list(range(4))
    plan = project.store._online_plan(["stats:trips", "stats:city"], False)
    online = plan.read(project.store.online_store, {"driver_id": drivers}, now=moment).to_dict()
    spine = pa.table({"driver_id": pa.array(drivers, pa.int64()), "event_timestamp": [moment] * len(drivers)})
    offline = project.store.get_historical_features(spine, ["stats:trips", "stats:city"]).to_arrow().to_pydict()
    expected = {
        (driver, name)
        for i, driver in enumerate(drivers)
        for name in ("trips", "city")
        if online[name][i] != offline[name][i]
    }
    assert {(m.entity["driver_id"], m.feature) for m in report.mismatches} == expected
    project.close()


def test_reading_changes_nothing(served):
    ledger, rows = served.store.registry.ledger("stats"), served.trips()
    served.write([*days(0, 3), row(2, 60, 777)])
    served.store.audit()
    assert (served.store.registry.ledger("stats"), served.trips()) == (ledger, rows)
