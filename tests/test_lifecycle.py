"""Enabling, disabling, states and deletion of registered objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    FeatureViewState,
    Field,
    FileSource,
    Float64,
    Int64,
    OnDemandFeatureView,
    Project,
    RepoConfig,
)
from feast_assets.apply.applying import Applier
from feast_assets.errors import (
    DefinitionError,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    ProjectObjectNotFoundException,
)

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
KEY = Field(name="driver_id", dtype=Int64)
STATS = FeatureView(
    name="stats",
    entities=[DRIVER],
    source=FileSource(name="file", path="stats.parquet", timestamp_field="ts"),
    schema=[KEY, Field(name="rate", dtype=Float64)],
)


def twice(inputs):
    return {"twice": [None if rate is None else 2 * rate for rate in inputs["rate"]]}


DOUBLED = OnDemandFeatureView(
    name="doubled",
    sources=[STATS],
    entities=[DRIVER],
    schema=[Field(name="twice", dtype=Float64)],
    mode="python",
    udf=twice,
    write_to_online_store=True,
)
SERVICE = FeatureService(name="model", features=[STATS])


def opened(path, project="p"):
    return FeatureStore(
        path, RepoConfig(project=project, registry="registry.db", provider="local", online_store="sqlite")
    )


@pytest.fixture
def store(tmp_path):
    pd.DataFrame({"driver_id": [1], "rate": [0.5], "ts": [NOON]}).to_parquet(tmp_path / "stats.parquet")
    made = opened(tmp_path)
    made.apply([DRIVER, STATS, DOUBLED, SERVICE])
    made.materialize_incremental(NOON)
    yield made
    made.close()


def read(store, reference):
    return store.get_online_features([reference], {"driver_id": [1]}).to_dict()[reference.split(":")[1]][0]


@pytest.mark.parametrize(
    ("name", "reference", "value"), [("stats", "stats:rate", 0.5), ("doubled", "doubled:twice", 1)]
)
def test_a_disabled_view_is_neither_served_nor_materialized_until_it_is_enabled(store, name, reference, value):
    store.disable_feature_view(name)
    with pytest.raises(InputError, match="disabled"):
        read(store, reference)
    with pytest.raises(InputError, match="disabled"):
        store.materialize(NOON - timedelta(days=1), NOON, [name])
    revision = store.registry.revision()
    store.disable_feature_view(name)
    assert store.registry.revision() == revision
    store.enable_feature_view(name)
    assert read(store, reference) == value
    # Nothing was written again, as its rows stayed.
    assert store.stale_windows(name, NOON) == []


def test_an_apply_of_its_declaration_says_whether_it_is_enabled(store):
    store.disable_feature_view("stats")
    store.apply([STATS])
    assert store.get_feature_view("stats").enabled


def test_a_view_goes_through_its_states_in_order(store):
    state = FeatureViewState
    store.set_feature_view_state("stats", state.CREATED)
    with pytest.raises(InputError, match="in state CREATED, in which it is not read"):
        read(store, "stats:rate")
    with pytest.raises(InputError, match="in state CREATED, in which it is not materialized"):
        store.materialize(NOON - timedelta(days=1), NOON, ["stats"])
    assert [r.view for r in store.materialize(NOON - timedelta(days=1), NOON)] == ["doubled"]
    with pytest.raises(InputError, match="cannot go from state CREATED to AVAILABLE_ONLINE; GENERATED follows it"):
        store.set_feature_view_state("stats", state.AVAILABLE_ONLINE)
    store.set_feature_view_state("stats", state.GENERATED)
    store.apply([STATS])
    assert store.get_feature_view("stats").state is state.GENERATED
    store.materialize(NOON - timedelta(days=1), NOON, ["stats"])
    assert store.get_feature_view("stats").state is state.AVAILABLE_ONLINE
    assert read(store, "stats:rate") == 0.5


def test_a_view_that_is_materialized_incrementally_becomes_available(store):
    for state in (FeatureViewState.CREATED, FeatureViewState.GENERATED):
        store.set_feature_view_state("stats", state)
    store.materialize_incremental(NOON)
    assert store.get_feature_view("stats").state is FeatureViewState.AVAILABLE_ONLINE


def test_a_view_becomes_available_though_somebody_else_applies_at_the_same_time(store, tmp_path, monkeypatch):
    for state in (FeatureViewState.CREATED, FeatureViewState.GENERATED):
        store.set_feature_view_state("stats", state)
    other, apply, between = opened(tmp_path), Applier.apply, ["a", "b"]

    def late(self, plan):
        if between:
            name = between.pop()
            other.apply([FeatureService(name=name, features=[STATS])])
        return apply(self, plan)

    # Of the two that come between, one does so while the other one's plan is carried out.
    monkeypatch.setattr(Applier, "apply", late)
    store.materialize(NOON - timedelta(days=1), NOON, ["stats"])
    assert store.get_feature_view("stats").state is FeatureViewState.AVAILABLE_ONLINE
    other.close()


def test_an_on_demand_view_has_states_too(store):
    for state in (FeatureViewState.CREATED, FeatureViewState.GENERATED):
        store.set_feature_view_state("doubled", state)
        with pytest.raises(InputError, match=state.name):
            read(store, "doubled:twice")
    store.materialize(NOON - timedelta(days=1), NOON, ["doubled"])
    assert store.get_on_demand_feature_view("doubled").state is FeatureViewState.AVAILABLE_ONLINE
    assert read(store, "doubled:twice") == 1


@pytest.mark.parametrize("current", FeatureViewState)
def test_transitions_are_those_of_feast(current):
    allowed = {
        0: {1},
        1: {2},
        2: {3},
        3: {4, 2},
        4: {3},
    }
    assert {int(s) for s in FeatureViewState if current.can_transition_to(s)} == allowed[current]


def test_what_is_still_used_is_not_deleted(store):
    with pytest.raises(DefinitionError, match="'stats' cannot be deleted"):
        store.delete_feature_view("stats")
    store.delete_feature_service("model")
    store.delete_feature_view("doubled")
    store.delete_feature_view("stats")
    assert store.list_all_feature_views() == store.list_feature_services() == []
    assert store.snapshot().stored_on_demand_views == []
    assert store.registry.ledger("stats") == store.registry.ledger("doubled") == []


def test_names_that_are_not_there_say_so(store):
    for verb in (store.enable_feature_view, store.disable_feature_view, store.delete_feature_view):
        with pytest.raises(FeatureViewNotFoundException, match="stat"):
            verb("stat")
        with pytest.raises(InputError):
            verb(3)
    with pytest.raises(FeatureServiceNotFoundException):
        store.delete_feature_service("stats")
    with pytest.raises(ProjectObjectNotFoundException):
        store.delete_project("other")
    with pytest.raises(NotSupportedError, match="commit"):
        store.delete_project("p", commit=False)
    with pytest.raises(InputError, match="must be a FeatureViewState"):
        store.set_feature_view_state("stats", "CREATED")


def test_a_project_is_deleted_and_others_of_the_registry_stay(store, tmp_path):
    other = opened(tmp_path, "q")
    other.apply([DRIVER, STATS])
    store.delete_project("q")
    assert [p.name for p in store.list_projects()] == ["p"]
    assert read(store, "stats:rate") == 0.5
    store.apply([Project(name="p", tags={"feast.dev/protected-project": "true"})])
    with pytest.raises(DefinitionError, match="protected"):
        store.delete_project("p")
    store.apply([Project(name="p")])
    store.delete_project("p")
    assert store.list_projects() == store.list_feature_views() == []
    other.close()
