"""From references to reads, runs and column names."""

from __future__ import annotations

import warnings

import pytest
from drivers import DRIVER, ORDERS, PROFILE, REQUEST, STATS, service, snapshot, sums

from feast_assets import FeatureService, FeatureView, Field, Float64, Int64, RequestSource, String
from feast_assets.errors import (
    FeatureNameCollisionError,
    FeatureNotFoundError,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    FeatureViewVersionNotFound,
    InputError,
    InvalidFeaturesParameterType,
)
from feast_assets.retrieval.references import resolve, split_reference
from feast_assets.retrieval.request import FeatureInput, RowInput


def names(request):
    return [output.name for output in request.outputs]


def test_outputs_have_the_order_asked_for():
    request = resolve(snapshot(), ["stats:rate", "profile:active", "stats:trips"])
    assert names(request) == ["rate", "active", "trips"]
    assert [read.view.name for read in request.reads] == ["stats", "profile"]
    assert [field.name for field in request.reads[0].features] == ["rate", "trips"]


def test_full_names_hold_the_view_and_never_touch_keys():
    request = resolve(snapshot(sums()), ["stats:trips", "sums:total"], full_feature_names=True)
    assert names(request) == ["stats__trips", "sums__total"]
    assert list(request.join_keys) == ["driver_id"]
    assert list(request.request_fields) == ["bonus", "asked"]


def test_a_whole_view_in_a_service_is_all_its_features():
    asked = service("asked", STATS)
    assert names(resolve(snapshot(asked), asked)) == ["trips", "rate", "city"]


def test_a_service_may_name_views_and_features_as_text():
    asked = FeatureService(name="asked", features=["stats:rate", "profile:active", "stats:trips"])
    assert names(resolve(snapshot(asked), asked)) == ["rate", "active", "trips"]


def test_the_registered_service_counts_and_a_different_one_warns():
    registered = service("asked", STATS[["rate"]])
    with pytest.warns(UserWarning, match="'asked' differs"):
        request = resolve(snapshot(registered), service("asked", STATS[["trips"]]))
    assert names(request) == ["rate"]


def test_a_service_that_says_the_same_otherwise_does_not_warn():
    registered = service("asked", STATS[["rate"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve(snapshot(registered), FeatureService(name="asked", features=["stats:rate"], description="as text"))


def test_a_feature_removed_from_a_view_is_missed_in_its_service():
    asked = service("asked", STATS[["trips"]])
    without = FeatureView(
        name="stats",
        entities=[DRIVER],
        source=STATS.batch_source,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="rate", dtype=Float64)],
    )
    with pytest.raises(FeatureNotFoundError, match="'stats' has no feature 'trips'"):
        resolve(snapshot(without, asked), asked)


# --- on-demand views


def test_sources_of_an_on_demand_view_are_read_and_not_returned():
    request = resolve(snapshot(sums()), ["sums:total"])
    assert names(request) == ["total"]
    assert [f.name for f in request.reads[0].features] == ["trips", "rate", "city"]


def test_a_function_knows_its_inputs_by_bare_and_by_full_name():
    (run,) = resolve(snapshot(sums()), ["sums:total"]).runs
    assert [i.names for i in run.inputs] == [
        ("bonus",),
        ("asked",),
        ("driver_id",),
        ("trips", "stats__trips"),
        ("rate", "stats__rate"),
        ("city", "stats__city"),
    ]


def test_ambiguous_bare_names_are_left_to_the_full_ones():
    view = sums(sources=[STATS, PROFILE])
    (run,) = resolve(snapshot(view), ["sums:total"]).runs
    found = {name for i in run.inputs for name in i.names}
    assert "city" not in found
    assert {"stats__city", "profile__city", "trips"} <= found


def test_request_data_keeps_its_name_beside_a_feature_of_the_same():
    view = sums(sources=[STATS, RequestSource(name="r", schema=[Field(name="trips", dtype=Int64)])])
    (run,) = resolve(snapshot(view), ["sums:total"]).runs
    origins = {name: i.origin for i in run.inputs for name in i.names}
    assert isinstance(origins["trips"], RowInput)
    assert isinstance(origins["stats__trips"], FeatureInput)


def test_two_uses_of_an_on_demand_view_run_once():
    view = sums()
    asked = service("asked", view[["total"]].with_name("a"), view[["share", "total"]].with_name("b"))
    request = resolve(snapshot(view, asked), asked, full_feature_names=True)
    assert names(request) == ["a__total", "b__share", "b__total"]
    assert len(request.runs) == 1
    assert [f.name for f in request.runs[0].features] == ["total", "share"]


def test_an_alias_of_the_source_does_not_change_what_an_on_demand_view_reads():
    view = sums()
    asked = service("asked", STATS.with_name("other").with_join_key_map({"driver_id": "x"}), view)
    request = resolve(snapshot(view, asked), asked)
    assert [[key.column for key in read.join_keys] for read in request.reads] == [["x"], ["driver_id"]]


def test_an_on_demand_view_of_a_projection_reads_just_that():
    view = sums(sources=[STATS[["trips"]].with_join_key_map({"driver_id": "boss"}), REQUEST])
    request = resolve(snapshot(view), ["sums:total"])
    assert [f.name for f in request.reads[0].features] == ["trips"]
    assert list(request.join_keys) == ["boss"]


# --- errors


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ("stats:trips", InvalidFeaturesParameterType, "not str 'stats:trips'"),
        (None, InvalidFeaturesParameterType, "not NoneType"),
        ([STATS], InvalidFeaturesParameterType, "not FeatureView"),
        ([("stats", "trips")], InvalidFeaturesParameterType, "not tuple"),
        ([], InputError, "empty"),
        (["stats"], InputError, "'stats' does not have the form 'view:feature'"),
        (["stats:"], InputError, "form 'view:feature'"),
        ([":trips"], InputError, "form 'view:feature'"),
        (["stats:trips:x"], InputError, "form 'view:feature'"),
        (["stats@v2:trips"], FeatureViewVersionNotFound, "'stats' has no version v2 .* Its versions are v0"),
        (["stats@2:trips"], InputError, "version '2' is not 'latest'"),
        (["stat:trips"], FeatureViewNotFoundException, r"'stat' .*'stats'\?"),
        (["stats:trip"], FeatureNotFoundError, r"'stats' has no feature 'trip'.*'trips'\?"),
        (["stats:driver_id"], FeatureNotFoundError, "no feature 'driver_id'"),
        (service("nobody", STATS), FeatureServiceNotFoundException, "nobody"),
        (["stats:trips", "stats:trips"], FeatureNameCollisionError, "'stats:trips' is asked for twice"),
        (
            ["stats:city", "profile:city"],
            FeatureNameCollisionError,
            "'stats:city' and 'profile:city'.*full_feature_names=True",
        ),
    ],
)
def test_what_cannot_be_resolved_says_why(features, error, message):
    with pytest.raises(error, match=message):
        resolve(snapshot(), features)


def test_the_latest_version_may_be_named():
    assert split_reference("stats@latest:trips") == ("stats", "trips")


def test_full_names_part_features_of_one_name_but_not_one_reference():
    assert names(resolve(snapshot(), ["stats:city", "profile:city"], full_feature_names=True)) == [
        "stats__city",
        "profile__city",
    ]
    with pytest.raises(FeatureNameCollisionError, match="twice"):
        resolve(snapshot(), ["stats:city", "stats:city"], full_feature_names=True)


def test_a_feature_with_the_name_of_a_join_key_collides():
    view = FeatureView(
        name="notes",
        entities=[DRIVER],
        source=STATS.batch_source,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="customer_id", dtype=String)],
    )
    with pytest.raises(FeatureNameCollisionError, match="'notes:customer_id'.*join key 'customer_id' of view 'orders'"):
        resolve(snapshot(view), ["orders:count", "notes:customer_id"])
    resolve(snapshot(view), ["orders:count", "notes:customer_id"], full_feature_names=True)


def test_disabled_views_are_not_served_not_even_as_sources():
    for kind in (STATS, sums()):
        disabled = kind.with_projection(kind.projection)
        disabled.enabled = False
        registry = snapshot(sums(), disabled)
        with pytest.raises(InputError, match=f"'{kind.name}' is disabled"):
            resolve(registry, ["sums:total"])


def test_a_join_key_map_of_no_join_key_is_refused():
    asked = service("asked", STATS.with_join_key_map({"drivr_id": "x"}))
    with pytest.raises(InputError, match=r"'drivr_id'.*'driver_id'\?"):
        resolve(snapshot(asked), asked)


def test_keys_come_in_the_order_of_first_need():
    request = resolve(snapshot(), ["orders:count", "stats:trips"])
    assert list(request.join_keys) == ["customer_id", "driver_id"]
    assert request.entity_columns == {"customer": "customer_id", "driver": "driver_id"}
    assert [k.column for k in request.reads[0].join_keys] == ORDERS.join_keys
