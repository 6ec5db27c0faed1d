"""Reading definitions from a snapshot."""

from __future__ import annotations

import pytest

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import Entity, dummy_entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.project import Project
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import (
    DataSourceObjectNotFoundException,
    EntityNotFoundException,
    FeastObjectNotFoundException,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    OnDemandFeatureViewNotFoundException,
    SavedDatasetNotFound,
)
from feast_assets.registry.snapshot import RegistrySnapshot, copy_definition
from feast_assets.types import Int64, String

SOURCE = FileSource(name="trips", path="x.parquet", timestamp_field="at")
SCHEMA = [Field(name="fare", dtype=Int64, tags={"a": "b"})]
RIDES = FeatureView(name="rides", source=SOURCE, schema=SCHEMA)
TOTALS = BatchFeatureView(name="totals", source=SOURCE, schema=SCHEMA)
LABELS = LabelView(name="labels", schema=SCHEMA)
MORE = OnDemandFeatureView(name="more", sources=[RIDES], schema=[Field(name="y", dtype=Int64)], udf=lambda df: df)
MODEL = FeatureService(name="model", features=[RIDES])


@pytest.fixture
def snapshot() -> RegistrySnapshot:
    objects = [MODEL, TOTALS, RIDES, LABELS, MORE, SOURCE, dummy_entity(), Entity(name="driver"), Project(name="shop")]
    return RegistrySnapshot.of("shop", objects, revision=4)


def test_objects_are_found_by_name(snapshot: RegistrySnapshot) -> None:
    assert snapshot.feature_view("rides") == RIDES
    assert snapshot.feature_view("totals") == TOTALS
    assert snapshot.feature_view("labels") == LABELS
    assert snapshot.on_demand_feature_view("more") == MORE
    assert [snapshot.view(n) for n in ("rides", "labels", "more")] == [RIDES, LABELS, MORE]
    assert snapshot.entity("driver").join_key == "driver"
    assert snapshot.entity("__dummy") == dummy_entity()
    assert snapshot.data_source("trips") == SOURCE
    assert snapshot.feature_service("model") == MODEL
    assert snapshot.project_object() == Project(name="shop")
    assert snapshot.get("feature view", "nothing") is None


def test_lists_are_sorted_and_by_kind(snapshot: RegistrySnapshot) -> None:
    assert [v.name for v in snapshot.feature_views] == ["rides", "totals"]
    assert [v.name for v in snapshot.label_views] == ["labels"]
    assert [v.name for v in snapshot.on_demand_feature_views] == ["more"]
    assert [e.name for e in snapshot.entities] == ["driver"]
    assert len(snapshot.objects()) == 9


@pytest.mark.parametrize(
    ("method", "name", "error", "near"),
    [
        ("feature_view", "ride", FeatureViewNotFoundException, "rides"),
        ("feature_view", "lables", FeatureViewNotFoundException, "labels"),
        ("view", "moar", FeatureViewNotFoundException, "more"),
        ("on_demand_feature_view", "mor", OnDemandFeatureViewNotFoundException, "more"),
        ("entity", "drvr", EntityNotFoundException, "driver"),
        ("data_source", "trip", DataSourceObjectNotFoundException, "trips"),
        ("feature_service", "modle", FeatureServiceNotFoundException, "model"),
    ],
)
def test_a_name_that_is_not_there_suggests_the_nearest(
    snapshot: RegistrySnapshot, method: str, name: str, error: type[Exception], near: str
) -> None:
    with pytest.raises(error, match=rf"'{name}' in project 'shop'\. Did you mean '{near}'\?"):
        getattr(snapshot, method)(name)


def test_an_empty_snapshot_says_that_there_is_nothing() -> None:
    with pytest.raises(SavedDatasetNotFound, match="There are none"):
        RegistrySnapshot("shop", 1, ()).saved_dataset("x")
    assert RegistrySnapshot("shop", 0, ()).project_object() is None


@pytest.mark.parametrize("method", ["feature_view", "view", "entity", "feature_service", "on_demand_feature_view"])
def test_a_project_that_was_never_applied_is_what_a_lookup_complains_of(method: str) -> None:
    with pytest.raises(FeastObjectNotFoundException, match="'x': project 'shop' has not been applied yet"):
        getattr(RegistrySnapshot("shop", 0, ()), method)("x")


def test_an_on_demand_view_is_no_view_with_rows_and_the_error_says_which_it_is() -> None:
    with pytest.raises(FeatureViewNotFoundException, match="'more' is an on-demand feature view"):
        RegistrySnapshot.of("shop", [MORE]).feature_view("more")


def test_what_is_handed_out_is_a_copy(snapshot: RegistrySnapshot) -> None:
    for view in (snapshot.feature_view("rides"), snapshot.feature_views[0], snapshot.view("rides")):
        view.features[0].tags["c"] = "d"
        view.features[0].dtype = String
        view.features.append(Field(name="other", dtype=Int64))
        view.projection.features.clear()
        assert view.batch_source is not None
        view.batch_source.path = "elsewhere"
    snapshot.feature_service("model").feature_view_projections[0].features.clear()
    assert snapshot.feature_view("rides") == RIDES
    assert snapshot.feature_view("rides").projection == RIDES.projection
    assert snapshot.feature_service("model") == MODEL
    assert RIDES.features[0].tags == {"a": "b"}


def test_a_snapshot_does_not_follow_the_objects_it_was_made_of() -> None:
    view = copy_definition(RIDES)
    snapshot = RegistrySnapshot.of("shop", [view])
    view.features.clear()
    assert snapshot.feature_view("rides") == RIDES


def test_copies_keep_functions() -> None:
    assert copy_definition(MORE).feature_transformation.udf is MORE.feature_transformation.udf


def test_a_view_without_history_has_had_its_present_features(snapshot: RegistrySnapshot) -> None:
    assert snapshot.feature_lists("rides") == ((Field(name="fare", dtype=Int64),),)
    assert snapshot.feature_lists("labels") == ((Field(name="fare", dtype=Int64),),)
    assert snapshot.feature_lists("nothing") == ()
