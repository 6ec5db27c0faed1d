"""Online reads: values, statuses, one round trip, entity rows of every form."""

from __future__ import annotations

import gc
import json
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from drivers import (
    CUSTOMER,
    DAY,
    DRIVER,
    NOW,
    ORDERS,
    PROFILE,
    REQUEST,
    STATS,
    WEATHER,
    service,
    snapshot,
    sums,
)

from feast_assets import FeatureView, Field, FileSource, Int32, Int64, LabelView, PushSource, String, Uuid
from feast_assets.errors import (
    InputError,
    MissingJoinKeyError,
    RequestDataNotFoundInEntityRowsException,
    UnknownRowSchemaError,
)
from feast_assets.online_stores.rows import decoder as row_decoder
from feast_assets.online_stores.rows.layout import RowLayout

FRESH = NOW - DAY
ADA = {"driver_id": 1, "ts": FRESH, "trips": 5, "rate": 0.5, "city": "Rome"}


def test_features_come_back_beside_their_join_keys(project):
    project.put(STATS, ADA, {"driver_id": 2, "ts": FRESH, "trips": 7, "rate": None, "city": "Oslo"})
    response = project.read(["stats:city", "stats:trips"], [{"driver_id": 2}, {"driver_id": 1}])
    assert response.to_dict() == {"driver_id": [2, 1], "city": ["Oslo", "Rome"], "trips": [7, 5]}
    assert list(response.to_dict()) == ["driver_id", "city", "trips"]
    assert len(response) == 2


def test_statuses_say_why_a_value_is_missing(project):
    old = NOW - 7 * DAY - timedelta(microseconds=1)
    project.put(
        STATS,
        ADA,
        {"driver_id": 2, "ts": FRESH, "trips": None, "rate": 1.0, "city": None},
        {"driver_id": 3, "ts": old, "trips": 3, "rate": 3.0, "city": "Bonn"},
        {"driver_id": 4, "ts": old, "trips": None, "rate": 3.0, "city": "Bonn"},
    )
    response = project.read(["stats:trips"], {"driver_id": [1, 2, 3, 4, 5]})
    assert response.to_dict()["trips"] == [5, None, None, None, None]
    assert response.statuses()["trips"] == [
        "PRESENT",
        "NULL_VALUE",
        "OUTSIDE_MAX_AGE",
        "OUTSIDE_MAX_AGE",
        "NOT_FOUND",
    ]
    assert response.statuses()["driver_id"] == ["PRESENT"] * 5
    assert response.to_arrow()["trips"].to_pylist() == [5, None, None, None, None]


def test_a_row_just_as_old_as_its_ttl_still_stands(project):
    project.put(STATS, {**ADA, "ts": NOW - 7 * DAY})
    assert project.read(["stats:trips"], [{"driver_id": 1}]).statuses()["trips"] == ["PRESENT"]


def test_a_view_without_ttl_never_ages(project):
    project.put(PROFILE, {"driver_id": 1, "ts": datetime(1970, 1, 2, tzinfo=UTC), "city": "Rome"})
    response = project.read(["profile:city", "profile:active"], [{"driver_id": 1}])
    assert response.statuses() == {"driver_id": ["PRESENT"], "city": ["PRESENT"], "active": ["NULL_VALUE"]}


def test_now_is_the_clock_when_left_out(project):
    project.put(STATS, {**ADA, "ts": datetime.now(UTC)})
    project.put(STATS, {**ADA, "driver_id": 2, "ts": datetime.now(UTC) - 8 * DAY})
    response = project.plan(["stats:trips"]).read(project.online, {"driver_id": [1, 2]})
    assert response.statuses()["trips"] == ["PRESENT", "OUTSIDE_MAX_AGE"]


def test_a_feature_added_later_is_not_found_in_older_rows(project):
    older = FeatureView(
        name="stats",
        entities=[DRIVER],
        source=STATS.batch_source,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int32)],
    )
    project.put(STATS, {**ADA, "driver_id": 2}, schema_of=older)
    project.put(STATS, ADA)
    registry = snapshot(feature_lists={"stats": (tuple(STATS.features), tuple(older.features))})
    response = project.read(["stats:trips", "stats:city"], {"driver_id": [1, 2]}, registry)
    assert response.to_dict()["trips"] == [5, 5]
    assert response.statuses()["city"] == ["PRESENT", "NOT_FOUND"]


def test_rows_of_an_unknown_schema_are_an_error_that_names_the_view(project):
    project.put(STATS, {"driver_id": 1, "ts": FRESH}, schema_of=PROFILE)
    with pytest.raises(UnknownRowSchemaError, match="stats"):
        project.read(["stats:trips"], [{"driver_id": 1}])


def test_a_view_that_was_never_materialized_is_not_found(project):
    assert project.read(["stats:trips"], [{"driver_id": 1}]).statuses()["trips"] == ["NOT_FOUND"]


def test_several_views_take_one_round_trip(project):
    project.put(STATS, ADA)
    project.put(PROFILE, {"driver_id": 1, "ts": FRESH, "active": True})
    project.put(ORDERS, {"driver_id": 1, "customer_id": "c", "ts": FRESH, "count": 9})
    project.put(WEATHER, {"ts": FRESH, "temperature": 20.5})
    response = project.read(
        ["orders:count", "profile:active", "stats:trips", "weather:temperature"],
        [{"driver_id": 1, "customer_id": "c"}],
    )
    assert len(project.online.calls) == 1
    assert response.to_dict() == {
        "customer_id": ["c"],
        "driver_id": [1],
        "count": [9],
        "active": [True],
        "trips": [5],
        "temperature": [20.5],
    }


def test_layouts_are_compiled_once_for_all_requests_of_a_plan(project, monkeypatch):
    made = []

    class Counted(RowLayout):
        def __init__(self, schema, wanted, lead=0):
            made.append([name for name, _ in wanted])
            super().__init__(schema, wanted, lead)

    monkeypatch.setattr(row_decoder, "RowLayout", Counted)
    project.put(STATS, ADA)
    project.put(PROFILE, {"driver_id": 1, "ts": FRESH, "active": True})
    plan = project.plan(["stats:trips", "profile:active", "stats:rate"])
    for rows in ([{"driver_id": 1}], {"driver_id": [1, 2, 1]}, [{"driver_id": 3}]):
        plan.read(project.online, rows, now=NOW).to_dict()
    assert made == [["trips", "rate"], ["active"]]


def test_requests_leave_nothing_to_the_garbage_collector(project):
    project.put(STATS, ADA, {**ADA, "driver_id": 2, "rate": None, "ts": NOW - 8 * DAY})
    plan = project.plan(["stats:trips", "stats:rate", "stats:city"])

    def ask():
        for rows in ({"driver_id": [1, 2, 3]}, {"driver_id": [1, 1, 2]}, [{"driver_id": 1}]):
            plan.read(project.online, rows, now=NOW).to_dict()
            plan.read(project.online, rows, now=NOW).to_json()

    ask()
    gc.collect()
    gc.disable()
    try:
        ask()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_repeated_rows_are_read_once_and_answered_each(project):
    project.put(STATS, ADA)
    response = project.read(["stats:trips"], {"driver_id": [9, 1, 9, 1, 1]})
    assert response.to_dict()["trips"] == [None, 5, None, 5, 5]
    (reads,) = project.online.calls
    assert len(reads[0].keys) == 2


def test_few_repeated_rows_are_read_again_and_answered_each(project):
    project.put(STATS, ADA, {**ADA, "driver_id": 2, "ts": NOW - 8 * DAY})
    response = project.read(["stats:trips"], {"driver_id": [1, 2, 1, 3]})
    assert response.to_dict()["trips"] == [5, None, 5, None]
    assert response.statuses()["trips"] == ["PRESENT", "OUTSIDE_MAX_AGE", "PRESENT", "NOT_FOUND"]
    (reads,) = project.online.calls
    assert len(reads[0].keys) == 4


def test_lists_of_dicts_and_dicts_of_lists_mean_the_same(project):
    project.put(STATS, ADA)
    plan = project.plan(["stats:trips", "stats:rate"])
    by_row = plan.read(project.online, [{"driver_id": 1}, {"driver_id": 2}], now=NOW)
    by_column = plan.read(project.online, {"driver_id": np.array([1, 2])}, now=NOW)
    assert by_row.to_json() == by_column.to_json()
    assert plan.read(project.online, {"driver_id": (1, 2)}, now=NOW).to_json() == by_row.to_json()


async def test_the_asynchronous_read_answers_the_same(project):
    project.put(STATS, ADA)
    registry = snapshot(sums(mode="python"))
    plan = project.plan(["stats:trips", "sums:total"], registry)
    rows = [{"driver_id": 1, "bonus": 1, "asked": NOW}, {"driver_id": 2, "bonus": 2, "asked": NOW}]
    found = await plan.read_async(project.online, rows, now=NOW)
    assert found.to_json() == plan.read(project.online, rows, now=NOW).to_json()
    assert found.to_dict()["total"] == [6, None]


# --- entity rows


def test_no_rows_give_empty_columns_without_a_read(project):
    for rows in ([], {"driver_id": []}):
        assert project.read(["stats:trips"], rows).to_dict() == {"driver_id": [], "trips": []}
    assert project.online.calls == []


def test_a_missing_join_key_names_view_key_and_the_nearest_given(project):
    for rows in ([{"drivr_id": 1}], {"drivr_id": [1]}):
        with pytest.raises(MissingJoinKeyError, match=r"'stats' needs join key 'driver_id'.*Is it 'drivr_id'\?"):
            project.read(["stats:trips"], rows)
    with pytest.raises(KeyError):
        project.read(["stats:trips"], [{}])


def test_a_join_key_missing_in_one_row_names_the_row(project):
    with pytest.raises(MissingJoinKeyError, match="row 1"):
        project.read(["stats:trips"], [{"driver_id": 1}, {"x": 1}])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"driver_id": [1, 2], "other": [1]}, "'driver_id' has 2, 'other' has 1"),
        ({"driver_id": 1}, "'driver_id' is int 1, not a list"),
        ({"driver_id": "12"}, "'driver_id' is str '12', not a list"),
        ([1, 2], "row 0 is int 1"),
        ("driver_id", "not str"),
        (None, "not NoneType"),
        ([{"driver_id": "one"}], "driver_id.*Int64.*'one'"),
        ([{"driver_id": None}], "driver_id.*null"),
        ([{"driver_id": 1.5}], "driver_id.*Int64"),
    ],
)
def test_rows_that_cannot_be_used_say_why(project, rows, message):
    with pytest.raises(InputError, match=message):
        project.read(["stats:trips"], rows)


def test_columns_that_nobody_needs_are_ignored(project):
    project.put(STATS, ADA)
    response = project.read(["stats:trips"], [{"driver_id": 1, "shoe_size": 44}])
    assert list(response.to_dict()) == ["driver_id", "trips"]


def test_an_entity_name_stands_for_its_join_key_with_a_warning(project):
    project.put(STATS, ADA)
    for rows in ([{"driver": 1}], {"driver": [1]}):
        with pytest.warns(UserWarning, match="join key 'driver_id'"):
            response = project.read(["stats:trips"], rows)
        assert response.to_dict() == {"driver_id": [1], "trips": [5]}


def test_rows_need_not_have_their_columns_in_one_order(project):
    project.put(ORDERS, {"driver_id": 1, "customer_id": "c", "ts": FRESH, "count": 9})
    rows = [{"driver_id": 1, "customer_id": "c"}, {"customer_id": "c", "driver_id": 1}]
    assert project.read(["orders:count"], rows).to_dict()["count"] == [9, 9]


def test_uuid_keys_are_found_by_object_and_by_text(project):
    parcel = FeatureView(
        name="parcel",
        entities=[CUSTOMER],
        source=FileSource(name="parcel_file", path="parcel.parquet", timestamp_field="ts"),
        schema=[Field(name="customer_id", dtype=Uuid), Field(name="state", dtype=String)],
    )
    key = uuid.uuid4()
    project.put(parcel, {"customer_id": str(key), "ts": FRESH, "state": "sent"})
    response = project.read(["parcel:state"], {"customer_id": [key, str(key).upper()]}, snapshot(parcel))
    assert response.to_dict()["state"] == ["sent", "sent"]


def test_join_keys_take_their_declared_type(project):
    project.put(STATS, ADA)
    for key in (np.int64(1), np.int16(1), 1.0):
        response = project.read(["stats:trips"], [{"driver_id": key}])
        assert response.to_dict() == {"driver_id": [1], "trips": [5]}
        assert json.loads(json.dumps(response.to_json()))["results"][0]["values"] == [1]


def test_the_text_of_a_whole_number_is_one(project):
    project.put(STATS, ADA)
    for rows in ([{"driver_id": "1"}], {"driver_id": [" +1"]}, {"driver_id": np.array(["1"], object)}):
        assert project.read(["stats:trips"], rows).to_dict() == {"driver_id": [1], "trips": [5]}
    mixed = project.read(["stats:trips"], {"driver_id": [1, "1", 2]})
    assert mixed.to_dict()["trips"] == [5, 5, None]


@pytest.mark.parametrize("key", ["one", "1.0", "", "9" * 30, [1]])
def test_other_text_is_no_number_and_the_message_is_for_people(project, key):
    with pytest.raises(InputError, match="Join key 'driver_id' of feature view 'stats' should hold Int64") as failed:
        project.read(["stats:trips"], [{"driver_id": key}])
    assert "__index__" not in str(failed.value)
    assert "whole number" in str(failed.value)


# --- views of other kinds


def test_a_view_without_entities_needs_no_key(project):
    project.put(WEATHER, {"ts": FRESH, "temperature": 20.5})
    for rows, expected in (([{}], [20.5]), ([{}, {}], [20.5, 20.5]), ({}, [20.5]), ({"any": [1, 2, 3]}, [20.5] * 3)):
        response = project.read(["weather:temperature"], rows)
        assert response.to_dict() == {"temperature": expected}
    assert all(len(reads[0].keys) == 1 for reads in project.online.calls)


def test_labels_are_read_like_features(project):
    labels = LabelView(
        name="labels",
        entities=[DRIVER],
        source=PushSource(name="pushed", batch_source=STATS.batch_source),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="labeler", dtype=String)],
    )
    project.put(labels, {"driver_id": 1, "ts": FRESH, "labeler": "me"})
    response = project.read(["labels:labeler"], [{"driver_id": 1}], snapshot(labels))
    assert response.to_dict()["labeler"] == ["me"]


def test_a_mapped_join_key_is_read_from_its_own_column(project):
    project.put(STATS, ADA, {**ADA, "driver_id": 2, "trips": 8})
    both = service(
        "both",
        STATS[["trips"]].with_name("first").with_join_key_map({"driver_id": "first_id"}),
        STATS[["trips"]].with_name("second").with_join_key_map({"driver_id": "second_id"}),
    )
    response = project.read(both, [{"first_id": 1, "second_id": 2}], snapshot(both), full_feature_names=True)
    assert response.to_dict() == {"first_id": [1], "second_id": [2], "first__trips": [5], "second__trips": [8]}
    with pytest.raises(MissingJoinKeyError, match="second_id"):
        project.read(both, [{"first_id": 1, "driver_id": 2}], snapshot(both), full_feature_names=True)


def test_two_names_of_one_view_share_a_read(project):
    project.put(STATS, ADA)
    both = service("both", STATS[["trips"]].with_name("a"), STATS[["trips", "city"]].with_name("b"))
    response = project.read(both, [{"driver_id": 1}], snapshot(both), full_feature_names=True)
    assert response.to_dict() == {"driver_id": [1], "a__trips": [5], "b__trips": [5], "b__city": ["Rome"]}
    (reads,) = project.online.calls
    assert len(reads) == 1


# --- on-demand views


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("alias", [None, "renamed"])
@pytest.mark.parametrize(("mode", "singleton"), [("pandas", False), ("python", False), ("python", True)])
def test_on_demand_features_are_computed_whatever_the_names(project, mode, singleton, alias, full):
    project.put(STATS, ADA)
    view = sums(mode=mode, singleton=singleton)
    source = STATS[["city"]].with_name(alias) if alias else STATS[["city"]]
    asked = service("asked", source, view)
    rows = [{"driver_id": 1, "bonus": 2, "asked": NOW}, {"driver_id": 9, "bonus": 2, "asked": NOW}]
    response = project.read(asked, rows, snapshot(view, asked), full_feature_names=full)
    city, prefix = (f"{alias or 'stats'}__city", "sums__") if full else ("city", "")
    assert response.to_dict() == {
        "driver_id": [1, 9],
        city: ["Rome", None],
        f"{prefix}total": [7, None],
        f"{prefix}share": [1.0, None],
    }
    assert response.statuses()[f"{prefix}total"] == ["PRESENT", "NULL_VALUE"]


def test_on_demand_features_come_last_and_their_sources_only_if_asked_for(project):
    project.put(STATS, ADA)
    registry = snapshot(sums())
    response = project.read(["sums:share", "stats:trips"], [{"driver_id": 1, "bonus": 2, "asked": NOW}], registry)
    assert response.feature_names == ["driver_id", "trips", "share"]


def test_request_data_is_not_given_back_as_by_feasts_server(project):
    project.put(STATS, ADA)
    registry = snapshot(sums())
    response = project.read(["stats:trips", "sums:total"], [{"driver_id": 1, "bonus": 2, "asked": NOW}], registry)
    names = ["driver_id", "trips", "total"]
    assert list(response.to_dict()) == list(response.statuses()) == names
    assert list(response.to_df().columns) == response.to_arrow().column_names == names
    wire = response.to_json()
    assert wire["metadata"]["feature_names"] == names
    assert [result["values"][0] for result in wire["results"]][:2] == [1, 5]


def test_an_outdated_value_is_no_input_of_an_on_demand_view(project):
    project.put(STATS, {**ADA, "ts": NOW - 8 * DAY})
    for mode in ("pandas", "python"):
        view = sums(mode=mode)
        row = {"driver_id": 1, "bonus": 2, "asked": NOW}
        assert project.read(["sums:total"], [row], snapshot(view)).to_dict()["total"] == [None]


def test_request_data_takes_its_declared_type(project):
    project.put(STATS, ADA)
    registry = snapshot(sums(mode="python"))
    row = {"driver_id": 1, "bonus": 2.0, "asked": "2024-01-01T00:00:00Z"}
    response = project.read(["sums:total"], [row], registry)
    assert response.given("bonus") == [2]
    assert response.given("asked") == [datetime(2024, 1, 1, tzinfo=UTC)]
    with pytest.raises(InputError, match="'bonus' of on-demand view 'sums'.*Int64"):
        project.read(["sums:total"], [{**row, "bonus": "two"}], registry)


def test_missing_request_data_names_view_and_field(project):
    registry = snapshot(sums())
    with pytest.raises(RequestDataNotFoundInEntityRowsException, match=r"'sums' needs request field 'bonus'.*'bonu'"):
        project.read(["sums:total"], [{"driver_id": 1, "bonu": 1, "asked": NOW}], registry)


def test_a_missing_request_value_is_null(project):
    registry = snapshot(sums(mode="python", udf=lambda i: {"total": i["bonus"], "share": i["rate"]}))
    response = project.read(["sums:total"], [{"driver_id": 1, "bonus": None, "asked": None}], registry)
    assert response.to_dict()["total"] == [None]
    assert response.to_json()["results"][1]["statuses"] == ["NULL_VALUE"]


def test_an_on_demand_view_of_request_data_alone_reads_nothing(project):
    view = sums(mode="python", sources=[REQUEST], udf=lambda i: {"total": i["bonus"], "share": [0.5] * len(i["bonus"])})
    response = project.read(["sums:total", "sums:share"], [{"bonus": 3, "asked": NOW}], snapshot(view))
    assert response.to_dict() == {"total": [3], "share": [0.5]}
    assert project.online.calls == []


def test_an_on_demand_view_follows_the_join_key_map_of_its_service(project):
    project.put(STATS, ADA)
    view = sums(mode="python")
    asked = service("asked", STATS[["trips"]].with_join_key_map({"driver_id": "courier"}), view)
    row = {"courier": 1, "bonus": 1, "asked": NOW}
    assert project.read(asked, [row], snapshot(view, asked)).to_dict()["total"] == [6]
    (reads,) = project.online.calls
    assert len(reads) == 1


def test_an_on_demand_function_sees_the_join_keys(project):
    project.put(STATS, ADA)
    view = sums(mode="python", udf=lambda i: {"total": i["driver_id"], "share": i["stats__rate"]})
    response = project.read(["sums:total", "sums:share"], [{"driver_id": 1, "bonus": 1, "asked": NOW}], snapshot(view))
    assert (response.to_dict()["total"], response.to_dict()["share"]) == ([1], [0.5])


def test_a_function_that_changes_its_inputs_changes_nothing_else(project):
    project.put(STATS, ADA)

    def spoil(inputs):
        inputs["trips"][0] = inputs["bonus"][0] = 99
        return {"total": inputs["trips"], "share": inputs["rate"]}

    response = project.read(
        ["stats:trips", "sums:total"],
        [{"driver_id": 1, "bonus": 1, "asked": NOW}],
        snapshot(sums(mode="python", udf=spoil)),
    )
    assert response.to_dict() == {"driver_id": [1], "trips": [5], "total": [99]}
