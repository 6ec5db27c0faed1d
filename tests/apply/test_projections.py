"""What feature services and on-demand views take from other views."""

from __future__ import annotations

import pytest
from applied_trips import driver, run, trips, trips_source

from feast_assets.apply.projections import ViewsByName, chosen_names, resolve_projection
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.errors import (
    DefinitionError,
    FeatureViewNotFoundException,
)
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject
from feast_assets.types import Float64, Int64, String


def test_services_are_resolved_to_the_inferred_features() -> None:
    view = FeatureView(name="rides", entities=[driver()], source=trips_source())
    service = FeatureService(
        name="model",
        features=[
            view,
            view[["kind"]].with_name("k"),
            "rides:fare",
            "rides",
            view.with_join_key_map({"driver_id": "d"}),
        ],
    )
    found = run(driver(), view, service)["model"].feature_view_projections
    assert [[f.name for f in p.features] for p in found] == [
        ["fare", "kind"],
        ["kind"],
        ["fare"],
        ["fare", "kind"],
        ["fare", "kind"],
    ]
    assert [f.dtype for f in found[0].features] == [Float64, String]
    assert found[1].name_alias == "k"
    assert found[4].join_key_map == {"driver_id": "d"}
    assert all(p.desired_features == [] for p in found)


def test_a_service_may_use_what_is_in_the_registry() -> None:
    snapshot = RegistrySnapshot.of("shop", run(driver(), trips()).values())
    found = run(FeatureService(name="model", features=["rides:kind"]), snapshot=snapshot)
    assert [f.name for f in found["model"].feature_view_projections[0].features] == ["kind"]


def test_references_to_nothing_name_the_nearest() -> None:
    with pytest.raises(FeatureViewNotFoundException, match=r"'model'.*'ride'.*Did you mean 'rides'\?"):
        run(driver(), trips(), FeatureService(name="model", features=["ride"]))
    with pytest.raises(DefinitionError, match=r"'model': view 'rides' has no feature 'kid'. Did you mean 'kind'\?"):
        run(driver(), trips(), FeatureService(name="model", features=["rides:kid"]))
    mapped = trips().with_join_key_map({"drivr_id": "d"})
    with pytest.raises(DefinitionError, match=r"'drivr_id'.*Did you mean 'driver_id'\?"):
        run(driver(), trips(), FeatureService(name="model", features=[mapped]))


def test_on_demand_sources_are_resolved() -> None:
    view = FeatureView(name="rides", entities=[driver()], source=trips_source())
    on_demand = OnDemandFeatureView(
        name="more", sources=[view[["fare"]]], schema=[Field(name="y", dtype=Int64)], udf=lambda df: df
    )
    found = run(driver(), view, on_demand)["more"]
    assert [(f.name, f.dtype) for f in found.source_projections[0].features] == [("fare", Float64)]
    with pytest.raises(FeatureViewNotFoundException, match="'more'"):
        run(on_demand)


def test_views_that_stand_are_read_only_when_they_are_asked_for() -> None:
    made = run(driver(), trips())["rides"]
    unread = StoredObject("feature view", "broken", "hash", "this is no JSON", 0, 0)
    views = ViewsByName({"rides": StoredObject.of(made), "broken": unread})
    assert (set(views), len(views), "broken" in views.unread) == ({"rides", "broken"}, 2, True)
    assert views["rides"] == made
    with pytest.raises(ValueError, match="Expecting value"):
        views["broken"]


def test_on_demand_views_are_told_apart_without_being_read() -> None:
    on_demand = StoredObject(OnDemandFeatureView.object_type, "more", "hash", "this is no JSON", 0, 0)
    views = ViewsByName({"more": on_demand})
    views.add([run(driver(), trips())["rides"]])
    assert set(views.with_rows()) == {"rides"}
    assert set(views) == {"more", "rides"}


def test_a_projection_resolves_to_copies_of_the_chosen_features_in_the_chosen_order() -> None:
    view = run(
        driver(), trips(schema=[Field(name=n, dtype=Float64) for n in ("fare", "tip", "toll")]), check_sources=False
    )
    rides = view["rides"]
    whole = FeatureViewProjection(name="rides", name_alias=None, features=[], join_key_map={})
    assert chosen_names(whole) == []
    assert [f.name for f in resolve_projection(whole, view, "FeatureService 'm'", "shop").features] == [
        "fare",
        "tip",
        "toll",
    ]
    chosen = FeatureViewProjection(name="rides", name_alias="r", features=[], join_key_map={"driver_id": "d"})
    chosen.desired_features = ["toll", "fare"]
    resolved = resolve_projection(chosen, view, "FeatureService 'm'", "shop")
    assert (resolved.name_alias, resolved.join_key_map) == ("r", {"driver_id": "d"})
    assert [f.name for f in resolved.features] == ["toll", "fare"] == chosen_names(chosen)
    resolved.features[0].tags["changed"] = "yes"
    assert rides.features[2].tags == {}
