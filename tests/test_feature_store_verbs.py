"""Verbs of Feast's FeatureStore that remove things, and that make and list saved datasets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    OnDemandFeatureView,
    Project,
    RepoConfig,
    RequestSource,
    SavedDataset,
    SavedDatasetFileStorage,
    ValueType,
)
from feast_assets.errors import (
    DefinitionError,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    ProjectObjectNotFoundException,
    SavedDatasetLocationAlreadyExists,
    SavedDatasetNotFound,
    ValidationReferenceNotFound,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
STATS = FeatureView(
    name="stats",
    entities=[DRIVER],
    source=FileSource(name="stats_source", path="stats.parquet", timestamp_field="at"),
    schema=[Field(name="fare", dtype=Float64)],
)
SERVICE = FeatureService(name="model", features=[STATS])
ROWS = pd.DataFrame({"driver_id": [1, 2, 1], "event_timestamp": [NOON, NOON, NOON + timedelta(days=1)]})


def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"double": inputs["fare"] * 2})


DOUBLES = OnDemandFeatureView(
    name="doubles", sources=[STATS], schema=[Field(name="double", dtype=Float64)], mode="pandas", udf=doubled
)


def opened(root: Path, project: str = "shop") -> FeatureStore:
    return FeatureStore(root, RepoConfig(project=project, registry="registry.db"))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    rows = {"driver_id": [1, 2], "at": pa.array([NOON] * 2, pa.timestamp("us", "UTC")), "fare": [2.5, 0.5]}
    pq.write_table(pa.table(rows), tmp_path / "stats.parquet")
    return opened(tmp_path)


def test_a_deleted_view_is_gone_with_its_rows(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([DRIVER, STATS])
    store.materialize_incremental(NOON + timedelta(days=1))
    store.delete_feature_view("stats")
    assert store.list_feature_views() == []
    with pytest.raises(FeatureViewNotFoundException):
        opened(tmp_path).get_feature_view("stats")
    with pytest.raises(FeatureViewNotFoundException, match="'stats'"):
        store.delete_feature_view("stats")
    store.apply([DRIVER, STATS])
    assert store.get_online_features(["stats:fare"], {"driver_id": [1]}).to_dict()["fare"] == [None]


def test_views_of_every_kind_are_deleted_but_none_that_is_used(store: FeatureStore) -> None:
    store.apply([DRIVER, STATS, DOUBLES, SERVICE])
    with pytest.raises(DefinitionError, match="'stats' cannot be deleted"):
        store.delete_feature_view("stats")
    assert [view.name for view in store.list_feature_views()] == ["stats"]
    store.delete_feature_view("doubles")
    assert store.list_on_demand_feature_views() == []
    store.delete_feature_service("model")
    assert store.list_feature_services() == []
    with pytest.raises(FeatureServiceNotFoundException):
        store.delete_feature_service("model")
    store.delete_feature_view("stats")
    assert store.list_all_feature_views() == []


def test_a_project_is_deleted_and_others_stay(store: FeatureStore, tmp_path: Path) -> None:
    other = opened(tmp_path, "alpine")
    for each in (store, other):
        each.apply([DRIVER, STATS])
        each.materialize_incremental(NOON + timedelta(days=1))
    store.delete_project("alpine")
    assert [project.name for project in store.list_projects()] == ["shop"]
    assert store.get_online_features(["stats:fare"], {"driver_id": [1]}).to_dict()["fare"] == [2.5]
    with pytest.raises(ProjectObjectNotFoundException, match="alpine"):
        store.delete_project("alpine")
    assert opened(tmp_path, "alpine").list_feature_views() == []
    store.delete_project("shop")
    assert store.list_projects() == []


def test_a_protected_project_is_not_deleted(store: FeatureStore, tmp_path: Path) -> None:
    protected = Project(name="alpine", tags={"feast.dev/protected-project": "true"})
    other = opened(tmp_path, "alpine")
    other.apply([protected, DRIVER])
    store.apply([DRIVER])
    for each in (store, other):
        with pytest.raises(DefinitionError, match="'alpine' is protected"):
            each.delete_project("alpine")
    assert [entity.name for entity in opened(tmp_path, "alpine").list_entities()] == ["driver"]
    with pytest.raises(NotSupportedError, match="commit=False"):
        store.delete_project("shop", commit=False)


def test_a_training_set_is_made_and_kept_in_one_call(store: FeatureStore) -> None:
    store.apply([DRIVER, STATS, SERVICE])
    storage = SavedDatasetFileStorage("sets/june.parquet")
    made = store.create_dataset_from_retrieval("june", ROWS, ["stats:fare"], storage, tags={"team": "rides"})
    assert made.to_df()["fare"].tolist() == [2.5, 0.5, 2.5]
    assert made.tags == {"team": "rides"}
    assert store.retrieve_dataset_data("june", limit=2)["fare"].tolist() == [2.5, 0.5]
    assert store.retrieve_dataset_data("june").equals(made.to_df())
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_dataset_from_retrieval("june", ROWS, ["stats:fare"], storage)
    again = store.create_dataset_from_retrieval("june", ROWS[:1], SERVICE, storage, allow_overwrite=True)
    assert again.feature_service_name == "model"
    assert again.to_df()["fare"].tolist() == [2.5]
    with pytest.raises(SavedDatasetNotFound):
        store.retrieve_dataset_data("july")
    with pytest.raises(InputError, match="limit must be a whole number"):
        store.retrieve_dataset_data("june", limit=-1)


def test_datasets_are_listed_by_their_groups(store: FeatureStore) -> None:
    def dataset(name: str, **groups: str) -> SavedDataset:
        return SavedDataset(name, [], [], SavedDatasetFileStorage(f"{name}.parquet"), **groups)

    store.apply([dataset("a"), dataset("b", namespace="rides"), dataset("c", namespace="rides", collection="june")])

    def names(**groups: str) -> list[str]:
        return [found.name for found in store.list_saved_datasets(**groups)]

    assert names() == ["a", "b", "c"]
    assert names(namespace="rides") == ["b", "c"]
    assert names(namespace="rides", collection="june") == ["c"]
    assert names(namespace="") == ["a"]
    assert names(namespace="none") == []


def test_a_validation_reference_that_is_not_there_is_not_found(store: FeatureStore) -> None:
    assert store.list_validation_references() == []
    with pytest.raises(ValidationReferenceNotFound, match="'june'"):
        store.get_validation_reference("june")


def test_a_provider_of_embeddings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotSupportedError, match="vector search"):
        FeatureStore(tmp_path, RepoConfig(project="shop"), embedding_provider=object())


def test_a_precomputed_service_is_read_as_any_other(store: FeatureStore) -> None:
    stored = OnDemandFeatureView(
        name="stored",
        entities=[DRIVER],
        sources=[RequestSource(name="request", schema=[Field(name="x", dtype=Int64)])],
        schema=[Field(name="y", dtype=Int64)],
        mode="python",
        udf=lambda inputs: {"y": inputs["x"]},
        write_to_online_store=True,
    )
    with pytest.warns(UserWarning, match="precompute_online has no effect"):
        service = FeatureService(name="model", features=[stored], precompute_online=True)
    assert FeatureService.from_spec(service.to_spec()).precompute_online
    assert "precompute_online" not in FeatureService(name="model", features=[stored]).to_spec()
    store.apply([DRIVER, stored, service])
    with pytest.warns(UserWarning, match="computes nothing"):
        assert store.precompute_feature_service("model") == 0
    with pytest.raises(FeatureServiceNotFoundException):
        store.precompute_feature_service("modell")
    computed = OnDemandFeatureView(
        name="computed", sources=stored.request_sources, schema=stored.features, mode="python", udf=stored.udf
    )
    with pytest.warns(UserWarning, match="has no effect"):
        service = FeatureService(name="model", features=[computed], precompute_online=True)
    with pytest.raises(DefinitionError, match="'computed', which is computed when it is read"):
        service.validate()
    with pytest.raises(DefinitionError, match="must be True or False"):
        FeatureService(name="model", features=[stored], precompute_online="yes")  # type: ignore[arg-type]


def test_lists_in_the_online_store_cannot_be_added_to(store: FeatureStore) -> None:
    with pytest.raises(NotSupportedError, match="write_to_online_store"):
        asyncio.run(store.update_online_store("stats", pd.DataFrame(), {"x": "list_append(x, :new_val)"}))
