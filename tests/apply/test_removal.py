"""What an apply deletes, and what it refuses to delete."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from applied_trips import EMPTY, driver, run, trips, trips_source
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.apply.inference import PreparedObjects
from feast_assets.apply.removal import changes_of
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import (
    DefinitionError,
    EntityNotFoundException,
)
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import Float64, Int64


def _everything() -> dict[str, Any]:
    view = trips()
    on_demand = OnDemandFeatureView(
        name="more", sources=[view[["fare"]]], schema=[Field(name="y", dtype=Int64)], udf=lambda df: df
    )
    return run(driver(), view, on_demand, FeatureService(name="model", features=[view[["kind"]], on_demand]))


def test_a_full_apply_deletes_what_is_not_declared_but_the_project() -> None:
    snapshot = RegistrySnapshot.of("shop", _everything().values())
    found = changes_of(PreparedObjects([]), snapshot, partial=False)
    assert set(found.deletes) == {
        ("data source", "trips"),
        ("entity", "driver"),
        ("feature service", "model"),
        ("feature view", "rides"),
        ("on-demand feature view", "more"),
    }
    assert changes_of(PreparedObjects([]), snapshot, partial=True).deletes == ()


@pytest.mark.parametrize(
    ("deleted", "said"),
    [
        ("driver", "Entity 'driver' cannot be deleted: FeatureView 'rides' uses it"),
        ("rides", "View 'rides' cannot be deleted: .* uses it"),
        ("more", "View 'more' cannot be deleted: FeatureService 'model' uses it"),
        ("trips", "Data source 'trips' cannot be deleted: FeatureView 'rides' reads it"),
    ],
)
def test_what_is_still_used_cannot_be_deleted(deleted: str, said: str) -> None:
    everything = _everything()
    with pytest.raises(DefinitionError, match=said):
        changes_of(
            PreparedObjects([]),
            RegistrySnapshot.of("shop", everything.values()),
            objects_to_delete=[everything[deleted]],
        )


def test_a_feature_that_a_service_uses_cannot_go() -> None:
    snapshot = RegistrySnapshot.of("shop", _everything().values())
    prepared = run(trips(schema=[Field(name="fare", dtype=Float64)]), snapshot=snapshot)
    with pytest.raises(DefinitionError, match=r"'model'.*no feature 'kind'"):
        changes_of(PreparedObjects(list(prepared.values())), snapshot)


def test_a_join_key_that_a_view_uses_cannot_change() -> None:
    snapshot = RegistrySnapshot.of("shop", _everything().values())
    prepared = run(driver(join_keys=["other_id"]), snapshot=snapshot)
    with pytest.raises(DefinitionError, match=r"'driver'.*'other_id'.*'rides'"):
        changes_of(PreparedObjects(list(prepared.values())), snapshot)


def test_what_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(EntityNotFoundException, match="'driver'"):
        changes_of(PreparedObjects([]), EMPTY, objects_to_delete=[driver()])


def test_an_object_cannot_be_applied_and_deleted() -> None:
    snapshot = RegistrySnapshot.of("shop", [driver()])
    with pytest.raises(DefinitionError, match="both applied and deleted"):
        changes_of(PreparedObjects([driver()]), snapshot, objects_to_delete=[driver()])


def test_the_entity_that_stands_in_survives_a_full_apply() -> None:
    snapshot = RegistrySnapshot.of("shop", run(FeatureView(name="rides", source=trips_source())).values())
    prepared = run(driver(), trips("other", ttl=timedelta(days=1)), snapshot=snapshot, partial=False)
    found = changes_of(PreparedObjects(list(prepared.values())), snapshot, partial=False)
    assert ("entity", DUMMY_ENTITY_NAME) not in found.deletes


def test_a_full_apply_may_rename_by_letter_case() -> None:
    before = RegistrySnapshot.of("shop", run(driver(), trips("rides")).values())
    prepared = run(driver(), trips("Rides"), snapshot=before, partial=False)
    assert changes_of(PreparedObjects(list(prepared.values())), before, partial=False).deletes == (
        ("feature view", "rides"),
    )


def test_projects_and_saved_datasets_survive_a_full_apply() -> None:
    saved = SavedDataset("june", ["rides:fare"], ["driver_id"], SavedDatasetFileStorage("june.parquet"))
    snapshot = RegistrySnapshot.of("shop", [Project(name="shop"), saved, driver()])
    assert changes_of(PreparedObjects([]), snapshot, partial=False).deletes == (("entity", "driver"),)


def test_what_stays_as_it_is_registered_is_neither_changed_nor_deleted() -> None:
    snapshot = RegistrySnapshot.of("shop", _everything().values())
    standing = snapshot.all_stored()
    changes = changes_of(PreparedObjects([], standing), snapshot, partial=False)
    assert (changes.upserts, changes.deletes) == ((), ())


_Key = tuple[str, str]


def _used_by(definition: Definition) -> set[_Key]:
    """Returns what a definition of `_shops` refers to."""
    if isinstance(definition, FeatureView):
        assert definition.batch_source is not None
        return {("entity", definition.entities[0]), ("data source", definition.batch_source.name)}
    if isinstance(definition, OnDemandFeatureView):
        return {("feature view", p.name) for p in definition.source_projections}
    if isinstance(definition, FeatureService):
        return {("feature view", p.name) for p in definition.feature_view_projections}
    return set()


@st.composite
def _shops(draw: st.DrawFn) -> list[Definition]:
    """Returns objects that refer to each other."""
    entities = [Entity(name=f"e{i}", join_keys=["driver_id"]) for i in range(2)]
    sources = [FileSource(name=f"s{i}", path=f"{i}.parquet", timestamp_field="at") for i in range(2)]
    views = [
        FeatureView(
            name=f"v{i}",
            entities=[draw(st.sampled_from(entities))],
            source=draw(st.sampled_from(sources)),
            schema=[Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64)],
        )
        for i in range(draw(st.integers(1, 3)))
    ]
    chosen = st.lists(st.sampled_from(views), min_size=1, max_size=2, unique_by=lambda v: v.name)
    services = [FeatureService(name=f"m{i}", features=draw(chosen)) for i in range(draw(st.integers(0, 2)))]
    on_demand = [
        OnDemandFeatureView(name=f"o{i}", sources=draw(chosen), schema=[Field(name=f"y{i}", dtype=Int64)], udf=len)
        for i in range(draw(st.integers(0, 1)))
    ]
    return [*entities, *sources, *views, *services, *on_demand]


@settings(max_examples=60, deadline=None)
@given(_shops(), st.data())
def test_objects_can_be_deleted_exactly_when_nothing_that_stays_refers_to_them(
    objects: list[Definition], data: st.DataObject
) -> None:
    by_key = {(type(o).object_type, o.name): o for o in objects}
    gone = data.draw(st.sets(st.sampled_from(sorted(by_key))))
    snapshot = RegistrySnapshot.of("shop", objects)
    missed = {used for key, o in by_key.items() if key not in gone for used in _used_by(o)} & gone
    if missed:
        with pytest.raises(DefinitionError, match="|".join(repr(name) for _, name in missed)):
            changes_of(PreparedObjects([]), snapshot, objects_to_delete=[by_key[key] for key in gone])
    else:
        changes = changes_of(PreparedObjects([]), snapshot, objects_to_delete=[by_key[key] for key in gone])
        assert set(changes.deletes) == gone
    declared = PreparedObjects([o for key, o in by_key.items() if key not in gone])
    if not missed:
        assert set(changes_of(declared, snapshot, partial=False).deletes) == gone
