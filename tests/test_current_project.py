"""Several projects of one registry in one feature store, and the verbs of Feast's registries."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    LabelView,
    OnDemandFeatureView,
    Project,
    PushMode,
    PushSource,
    RepoConfig,
    RequestSource,
    SavedDatasetFileStorage,
    String,
    ValidationReference,
    ValueType,
)
from feast_assets.auth.identity import Identity, acting_as
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.validation_reference import Profiler
from feast_assets.errors import (
    ConfigError,
    DefinitionError,
    EntityNotFoundException,
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    ProjectObjectNotFoundException,
    StoreUnavailableError,
    UnfinishedPushError,
)
from feast_assets.feast_errors import FeastPermissionError
from feast_assets.registry.lineage import EntityReference, EntityRelation, FeastObjectType
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


@pytest.fixture
def store(tmp_path: Path):
    for name, fare in (("rides", 1.0), ("parcels", 2.0)):
        pd.DataFrame({"driver_id": [1], "fare": [fare], "ts": [NOON - DAY]}).to_parquet(tmp_path / f"{name}.parquet")
    made = FeatureStore(tmp_path, RepoConfig(project="rides", provider="local"))
    yield made
    made.close()


def stats(file: str) -> FeatureView:
    return FeatureView(
        name="stats",
        entities=[DRIVER],
        source=FileSource(name="file", path=f"{file}.parquet", timestamp_field="ts"),
        schema=[Field(name="fare", dtype=Float64)],
    )


def fill(store: FeatureStore) -> None:
    store.apply([DRIVER, stats(store.project)])
    store.materialize(NOON - 3 * DAY, NOON)


def fare(store: FeatureStore) -> object:
    return store.get_online_features(["stats:fare"], [{"driver_id": 1}]).to_dict()["fare"][0]


def test_each_verb_works_with_the_current_project(store: FeatureStore) -> None:
    fill(store)
    token = store.set_current_project("parcels")
    assert (store.project, store.list_feature_views()) == ("parcels", [])
    fill(store)
    assert fare(store) == 2.0
    history = store.get_historical_features(
        pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON]}), ["stats:fare"]
    ).to_df()
    assert history["fare"].tolist() == [2.0]
    store.reset_current_project(token)
    assert (store.project, fare(store)) == ("rides", 1.0)
    assert [project.name for project in store.list_projects()] == ["parcels", "rides"]
    with store.in_project("parcels"):
        store.delete_feature_view("stats")
        assert store.list_feature_views() == []
    assert fare(store) == 1.0


def test_a_thread_and_a_task_have_a_project_of_their_own(store: FeatureStore) -> None:
    fill(store)
    with store.in_project("parcels"):
        fill(store)
    seen: dict[str, object] = {}

    def elsewhere() -> None:
        store.set_current_project("parcels")
        seen["thread"] = (store.project, fare(store))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    async def task(project: str) -> tuple[str, object]:
        store.set_current_project(project)
        await asyncio.sleep(0)
        return store.project, (await store.get_online_features_async(["stats:fare"], [{"driver_id": 1}])).to_dict()[
            "fare"
        ][0]

    async def both() -> list[tuple[str, object]]:
        return list(await asyncio.gather(task("parcels"), task("rides")))

    assert seen["thread"] == ("parcels", 2.0)
    assert asyncio.run(both()) == [("parcels", 2.0), ("rides", 1.0)]
    assert (store.project, fare(store)) == ("rides", 1.0)


def test_a_thread_that_reads_the_registry_completes_the_pushes_of_its_project(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_down(*_: object) -> None:
        raise StoreUnavailableError("The store is down.")

    with store.in_project("parcels"):
        view = stats("parcels")
        view.stream_source = PushSource(name="live", batch_source=view.batch_source)
        store.apply([DRIVER, view])
        pushed = {"driver_id": [1], "fare": [3.0], "ts": [NOON]}
        with monkeypatch.context() as patched:
            patched.setattr(store.online_store, "put_many", is_down)
            with pytest.raises(UnfinishedPushError):
                store.push("live", pushed, to=PushMode.ONLINE_AND_OFFLINE)
        assert len(store.list_unfinished_pushes()) == 1
        watch = store.keep_registry_fresh()
        contextvars.Context().run(watch.look)  # as its thread does
        assert store.list_unfinished_pushes() == []
        assert fare(store) == 3.0


def test_a_saved_dataset_is_read_by_the_permissions_of_its_project(store: FeatureStore) -> None:
    with store.in_project("parcels"):
        fill(store)
        job = store.get_historical_features({"driver_id": [1], "event_timestamp": [NOON]}, ["stats:fare"])
        store.create_saved_dataset(job, "training", SavedDatasetFileStorage("training.parquet"))
        store.apply(Permission("p", actions=AuthzedAction.DESCRIBE))
        dataset = store.get_saved_dataset("training")
    with acting_as(Identity("ann")), pytest.raises(FeastPermissionError, match="READ_OFFLINE saved dataset 'training'"):
        dataset.to_df()


def test_none_is_the_project_of_the_configuration(store: FeatureStore) -> None:
    store.set_current_project("parcels")
    store.set_current_project(None)
    assert store.project == "rides"


def test_a_name_that_no_project_can_have_is_refused(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="project"):
        store.set_current_project("_hidden")
    assert store.project == "rides"


def test_a_deployment_of_a_branch_has_one_project(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, RepoConfig(project="rides", provider="local", deployment="branch"))
    with pytest.raises(ConfigError, match="deployment 'branch'"):
        store.set_current_project("parcels")
    store.set_current_project(None)
    store.close()


# --- the verbs of Feast's registries


class Nothing(Profiler):
    def analyze_dataset(self, dataset):
        raise AssertionError("not asked for")


@pytest.fixture
def full(store: FeatureStore) -> FeatureStore:
    """A project with an object of each kind."""
    view = stats("rides")
    request = RequestSource(name="request", schema=[Field(name="bonus", dtype=Float64)])
    sums = OnDemandFeatureView(
        name="sums",
        sources=[view, request],
        schema=[Field(name="total", dtype=Float64)],
        mode="python",
        udf=lambda inputs: {"total": [f + b for f, b in zip(inputs["fare"], inputs["bonus"], strict=True)]},
    )
    labels = LabelView(
        name="labels",
        entities=[DRIVER],
        source=PushSource(
            name="pushed", batch_source=FileSource(name="label_file", path="labels.parquet", timestamp_field="ts")
        ),
        schema=[Field(name="verdict", dtype=String), Field(name="labeler", dtype=String)],
    )
    pd.DataFrame({"driver_id": [1], "verdict": ["a"], "labeler": ["b"], "ts": [NOON]}).to_parquet(
        Path(store.repo_path) / "labels.parquet"
    )
    service = FeatureService(name="model", features=[view, sums, labels[["verdict"]]])
    store.apply([DRIVER, view, sums, labels, service])
    job = store.get_historical_features(
        pd.DataFrame({"driver_id": [1], "bonus": [0.5], "event_timestamp": [NOON]}), service
    )
    store.create_saved_dataset(job, "set", SavedDatasetFileStorage("set.parquet"), feature_service=service)
    store.apply([ValidationReference("reference", "set", Nothing(), tags={"team": "rides"})])
    return store


KINDS = {
    "entity": ("entities", {"driver"}),
    "data_source": ("data_sources", {"file", "request", "pushed", "label_file"}),
    "feature_view": ("feature_views", {"stats"}),
    "on_demand_feature_view": ("on_demand_feature_views", {"sums"}),
    "stream_feature_view": ("stream_feature_views", set()),
    "label_view": ("label_views", {"labels"}),
    "feature_service": ("feature_services", {"model"}),
    "saved_dataset": ("saved_datasets", {"set"}),
    "validation_reference": ("validation_references", {"reference"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_registry_lists_and_gets_objects_of_its_projects(full: FeatureStore, kind: str) -> None:
    plural, names = KINDS[kind]
    registry = full.registry
    listed = getattr(registry, f"list_{plural}")(project="rides", allow_cache=True)
    assert {each.name for each in listed} == names
    assert getattr(registry, f"list_{plural}")("parcels") == []
    assert getattr(registry, f"list_{plural}")("rides", tags={"no": "tag"}) == []
    for name in names:
        assert getattr(registry, f"get_{kind}")(name, "rides", allow_cache=True).name == name
    for name, project in (("other", "rides"), *((name, "parcels") for name in names)):
        with pytest.raises(LookupError):
            getattr(registry, f"get_{kind}")(name, project)


def test_a_registry_tells_of_views_of_any_kind_their_versions_and_projects(full: FeatureStore) -> None:
    registry = full.registry
    assert {v.name for v in registry.list_all_feature_views("rides")} == {"stats", "sums", "labels"}
    assert registry.get_any_feature_view("sums", "rides").name == "sums"
    assert [v["version"] for v in registry.list_feature_view_versions("stats", "rides")] == ["v0"]
    assert registry.get_feature_view_by_version("stats", "rides", 0).name == "stats"
    assert registry.list_all_feature_views("rides", updated_since=datetime(2100, 1, 1)) == []
    assert len(registry.list_all_feature_views("rides", updated_since=datetime(2000, 1, 1))) == 3
    assert [p.name for p in registry.list_projects()] == ["rides"]
    assert registry.get_project("rides").name == "rides"
    with pytest.raises(ProjectObjectNotFoundException):
        registry.get_project("parcels")
    with pytest.raises(InputError, match="whole number"):
        registry.get_feature_view_by_version("stats", "rides", "0")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="datetime"):
        registry.list_all_feature_views("rides", updated_since="now")  # type: ignore[arg-type]


def test_a_registry_applies_and_deletes_as_the_store_does(full: FeatureStore) -> None:
    registry = full.registry
    registry.apply_entity(Entity(name="city", value_type=ValueType.STRING), "parcels")
    assert registry.get_entity("city", "parcels").name == "city"
    with pytest.raises(EntityNotFoundException):
        registry.get_entity("city", "rides")
    registry.delete_entity("city", "parcels")
    assert registry.list_entities("parcels") == []
    registry.apply_project(Project(name="parcels", description="Everything in boxes."))
    assert registry.get_project("parcels").description == "Everything in boxes."
    registry.delete_project("parcels")
    with pytest.raises(ProjectObjectNotFoundException):
        registry.get_project("parcels")
    with pytest.raises(DefinitionError, match="driver"):
        registry.delete_entity("driver", "rides")
    with pytest.raises(FeatureViewNotFoundException):
        registry.delete_label_view("stats", "rides")
    for delete in (
        lambda: registry.delete_feature_service("model", "rides"),
        lambda: registry.delete_label_view("labels", "rides"),
        lambda: registry.delete_feature_view("sums", "rides"),
        lambda: registry.delete_feature_view("stats", "rides"),
        lambda: registry.delete_validation_reference("reference", "rides"),
        lambda: registry.delete_saved_dataset("set", "rides"),
        lambda: registry.delete_data_source("file", "rides"),
        lambda: registry.delete_entity("driver", "rides"),
    ):
        delete()
    assert {source.name for source in registry.list_data_sources("rides")} == {"request", "pushed", "label_file"}
    assert registry.list_all_feature_views("rides") == registry.list_entities("rides") == []


def test_applying_a_view_to_a_registry_checks_and_completes_it(store: FeatureStore) -> None:
    store.registry.apply_entity(DRIVER, "rides")
    plain = FeatureView(name="stats", entities=[DRIVER], source=stats("rides").batch_source)
    store.registry.apply_feature_view(plain, "rides")
    assert [f.name for f in store.registry.get_feature_view("stats", "rides").features] == ["fare"]
    store.materialize(NOON - 3 * DAY, NOON)
    assert fare(store) == 1.0
    store.registry.refresh("rides")
    store.registry.refresh()
    service = FeatureService(name="model", features=["stats:fares"])
    with pytest.raises(DefinitionError, match="fares"):
        store.registry.apply_feature_service(service, "rides")


def test_what_a_registry_cannot_do_is_refused(full: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="commit=False"):
        full.registry.apply_entity(DRIVER, "rides", commit=False)
    with pytest.raises(NotSupportedError, match="commit=False"):
        full.registry.delete_entity("driver", "rides", commit=False)
    with pytest.raises(NotSupportedError, match="FeatureStore.materialize"):
        full.registry.apply_materialization(full.get_feature_view("stats"), "rides", NOON, NOON)
    alone = SqlRegistry(SqlRegistryConfig(path="alone.db"), tmp_path, "rides")
    with pytest.raises(NotSupportedError, match=r"use FeatureStore\(...\).registry"):
        alone.list_entities("rides")
    alone.close()


LINEAGE = """
dataSource:file featureView:stats | dataSource:label_file labelView:labels | dataSource:pushed labelView:labels
dataSource:request featureView:sums | entity:driver featureView:stats | entity:driver labelView:labels
feature:fare featureView:stats | feature:total featureView:sums | featureService:model savedDataset:set
featureView:labels savedDataset:set | featureView:stats featureService:model | featureView:stats featureView:sums
featureView:stats savedDataset:set | featureView:sums featureService:model | featureView:sums savedDataset:set
labelView:labels featureService:model
"""
INDIRECT = """
dataSource:file featureService:model | dataSource:label_file featureService:model
dataSource:pushed featureService:model | dataSource:request featureService:model | entity:driver dataSource:file
entity:driver dataSource:label_file | entity:driver dataSource:pushed | entity:driver featureService:model
feature:fare featureService:model | feature:total featureService:model | featureView:stats featureService:model
"""
"""What Feast 0.67 tells of the same project. Its registry leaves out saved datasets, though, and names the entity of
views without one."""


def pairs(relations: list[EntityRelation]) -> set[str]:
    return {f"{r.source.type.value}:{r.source.name} {r.target.type.value}:{r.target.name}" for r in relations}


def expected(text: str) -> set[str]:
    return {pair.strip() for line in text.strip().splitlines() for pair in line.split("|")}


def test_lineage_is_feasts(full: FeatureStore) -> None:
    direct, indirect = full.registry.get_registry_lineage("rides")
    assert pairs(direct) == expected(LINEAGE)
    assert pairs(indirect) == expected(INDIRECT)


def test_lineage_of_one_object_is_what_it_takes_part_in(full: FeatureStore) -> None:
    registry = full.registry
    direct, indirect = registry.get_registry_lineage("rides", filter_object_type="entity", filter_object_name="driver")
    assert pairs(direct) == {"entity:driver featureView:stats", "entity:driver labelView:labels"}
    assert pairs(indirect) == {pair for pair in expected(INDIRECT) if "driver" in pair}
    only = registry.get_object_relationships("rides", "entity", "driver")
    both = registry.get_object_relationships("rides", "entity", "driver", include_indirect=True)
    assert (only, both) == (direct, [*direct, *indirect])
    of_view = EntityReference(FeastObjectType.FEATURE_VIEW, "stats")
    relations = registry.get_object_relationships("rides", "featureView", "stats")
    assert all(of_view in (each.source, each.target) for each in relations)
    with pytest.raises(InputError, match="the types are dataSource"):
        registry.get_object_relationships("rides", "view", "stats")
