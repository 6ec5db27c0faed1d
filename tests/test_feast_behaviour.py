"""What Feast's users rely on besides names: lists, error classes, columns of results, schemas as they are written."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    Array,
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float32,
    Float64,
    OnDemandFeatureView,
    Project,
    RepoConfig,
    RequestSource,
    UnixTimestamp,
    ValueType,
)
from feast_assets.errors import (
    DefinitionError,
    FeatureNotFoundError,
    FeatureViewNotFoundException,
    InputError,
    NotSupportedError,
    ProjectObjectNotFoundException,
    SourceError,
)

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SOURCE = FileSource(name="stats_source", path="stats.parquet", timestamp_field="event_timestamp")
FIELDS = [Field(name="fare", dtype=Float64), Field(name="tip", dtype=Float64)]


def view(**arguments: Any) -> FeatureView:
    return FeatureView(**{"name": "stats", "entities": [DRIVER], "source": SOURCE, "schema": FIELDS, **arguments})


def total(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"total": [a + b + c for a, b, c in zip(inputs["fare"], inputs["tip"], inputs["extra"], strict=True)]}


def on_demand(source: FeatureView) -> OnDemandFeatureView:
    request = RequestSource(name="request", schema=[Field(name="extra", dtype=Float64)])
    schema = [Field(name="total", dtype=Float64)]
    return OnDemandFeatureView(name="totals", sources=[source, request], schema=schema, mode="python", udf=total)


def opened(root: Path, project: str = "shop", **settings: Any) -> FeatureStore:
    return FeatureStore(root, RepoConfig(project=project, registry="registry.db", **settings))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    write(tmp_path, [[1.0, 2.0, 3.0]])
    return opened(tmp_path)


def write(root: Path, vectors: list[list[float] | None]) -> None:
    rows = {
        "driver_id": pa.array(range(1, len(vectors) + 1), pa.int64()),
        "event_timestamp": pa.array([NOON] * len(vectors), pa.timestamp("us", "UTC")),
        "fare": [2.5] * len(vectors),
        "tip": [0.5] * len(vectors),
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(rows), root / "stats.parquet")


# --- lists and errors


def test_batch_feature_views_are_all_views_that_are_filled_from_a_source(store: FeatureStore) -> None:
    batch = BatchFeatureView(name="batch", entities=[DRIVER], source=SOURCE, schema=FIELDS)
    store.apply([DRIVER, view(tags={"team": "a"}), batch])
    assert [v.name for v in store.list_batch_feature_views()] == ["batch", "stats"]
    assert [v.name for v in store.list_batch_feature_views(tags={"team": "a"})] == ["stats"]


def test_all_projects_of_the_registry_are_listed(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([DRIVER])
    other = opened(tmp_path, "alpine")
    other.apply([Project(name="alpine", description="ski passes", tags={"team": "b"}), DRIVER])
    for each in (store, other):
        assert [p.name for p in each.list_projects()] == ["alpine", "shop"]
        assert [p.name for p in each.list_projects(tags={"team": "b"})] == ["alpine"]
        assert each.get_project("alpine").description == "ski passes"
        with pytest.raises(ProjectObjectNotFoundException, match="'alpin'.*Did you mean 'alpine'"):
            each.get_project("alpin")


def test_errors_are_of_the_classes_that_feasts_users_catch(store: FeatureStore) -> None:
    store.apply([DRIVER, view()])
    with pytest.raises(KeyError) as missing:
        store.get_online_features(["stats:fair"], [{"driver_id": 1}])
    assert isinstance(missing.value, FeatureNotFoundError)
    assert str(missing.value) == "Feature view 'stats' has no feature 'fair'. Did you mean 'fare'?"
    with pytest.raises(FeatureViewNotFoundException):
        store.get_on_demand_feature_view("totals")


# --- results


def rows_of(store: FeatureStore, features: list[str], **arguments: Any) -> pd.DataFrame:
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON], "extra": [1.0]})
    return store.get_historical_features(entity_df, features, **arguments).to_df()


@pytest.mark.parametrize(
    ("features", "full", "columns"),
    [
        (["totals:total"], False, ["fare", "tip", "total"]),
        (["totals:total"], True, ["stats__fare", "stats__tip", "totals__total"]),
        (["totals:total", "stats:tip"], False, ["tip", "fare", "total"]),
        (["stats:fare", "totals:total", "stats:tip"], False, ["fare", "tip", "total"]),
    ],
)
def test_features_that_on_demand_views_take_are_given_back_where_the_settings_say_so(
    store: FeatureStore, tmp_path: Path, features: list[str], full: bool, columns: list[str]
) -> None:
    stats = view()
    store.apply([DRIVER, stats, on_demand(stats)])
    given = ["driver_id", "event_timestamp", "extra"]
    asked = {f.replace(":", "__") if full else f.partition(":")[2] for f in features}
    assert set(rows_of(store, features, full_feature_names=full).columns) == {*given, *asked}
    feasts = opened(tmp_path, historical_on_demand_inputs=True)
    feasts.apply([DRIVER, stats, on_demand(stats)])
    rows = rows_of(feasts, features, full_feature_names=full)
    assert list(rows.columns) == [*given, *columns]
    assert rows[columns[-1]].tolist() == [4.0]
    assert rows["stats__fare" if full else "fare"].tolist() == [2.5]


def test_a_given_back_feature_that_collides_with_the_entity_dataframe_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [None])
    feasts = opened(tmp_path, historical_on_demand_inputs=True)
    stats = view()
    feasts.apply([DRIVER, stats, on_demand(stats)])
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON], "extra": [1.0], "fare": [9.0]})
    with pytest.raises(InputError, match="column 'fare'"):
        feasts.get_historical_features(entity_df, ["totals:total"])


def test_what_jobs_and_answers_cannot_do_says_what_to_do_instead(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply([DRIVER, view()])
    job = store.get_historical_features(pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON]}), ["stats:fare"])
    assert job.supports_remote_storage_export() is False
    answer = store.get_online_features(["stats:fare"], [{"driver_id": 1}])
    monkeypatch.setitem(sys.modules, "torch", None)
    for call, remedy in (
        (job.to_remote_storage, "persist"),
        (job.to_ray_dataset, "from_arrow"),
        (job.to_tensor, "pip install torch"),
        (answer.to_tensor, "pip install torch"),
    ):
        with pytest.raises(NotSupportedError, match=remedy):
            call()


def test_lists_are_lists_online_and_arrays_in_training_sets_as_in_feast(store: FeatureStore) -> None:
    store.apply([DRIVER, embeddings(3)])
    store.materialize_incremental(NOON + timedelta(days=1))
    served = store.get_online_features(["stats:embedding"], {"driver_id": [1, 9]}).to_df()["embedding"].tolist()
    assert served == [[1.0, 2.0, 3.0], None]
    assert type(served[0]) is list
    (row,) = rows_of(store, ["stats:embedding"])["embedding"]
    assert isinstance(row, np.ndarray)
    assert row.tolist() == [1.0, 2.0, 3.0]


# --- schemas


def test_a_schema_that_lists_the_time_column_is_accepted(store: FeatureStore) -> None:
    listed = view(schema=[*FIELDS, Field(name="event_timestamp", dtype=UnixTimestamp)])
    with pytest.warns(UserWarning, match="'stats': its schema lists 'event_timestamp'"):
        store.apply([DRIVER, listed])
    assert [f.name for f in store.get_feature_view("stats").features] == ["fare", "tip"]
    store.materialize_incremental(NOON + timedelta(days=1))
    assert store.get_online_features(["stats:fare"], [{"driver_id": 1}]).to_dict()["fare"] == [2.5]
    assert rows_of(store, ["stats:fare"])["fare"].tolist() == [2.5]


def test_a_feature_with_the_name_of_the_time_column_that_is_not_the_time_is_refused(store: FeatureStore) -> None:
    source = FileSource(name="other", path="stats.parquet", timestamp_field="created")
    with pytest.raises(DefinitionError, match="cannot be named 'event_timestamp'"):
        store.apply([DRIVER, view(source=source, schema=[Field(name="event_timestamp", dtype=UnixTimestamp)])])


def embeddings(length: int) -> FeatureView:
    return view(schema=[Field(name="embedding", dtype=Array(Float32), vector_length=length)])


def test_vectors_of_another_length_than_declared_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([DRIVER, embeddings(2)])
    with pytest.raises(SourceError, match="1 vectors of feature 'embedding' .* vector_length of 2, the first 3"):
        store.materialize_incremental(NOON + timedelta(days=1))
    row = {"driver_id": [1], "event_timestamp": [NOON], "embedding": [[1.0]]}
    with pytest.raises(ValueError, match="vector_length of 2, the first 1"):
        store.write_to_online_store("stats", row)
    assert store.get_online_features(["stats:embedding"], [{"driver_id": 1}]).to_dict()["embedding"] == [None]
    write(tmp_path, [[1.0, 2.0], None])
    store.materialize_incremental(NOON + timedelta(days=1))
    served = store.get_online_features(["stats:embedding"], {"driver_id": [1, 2]}).to_dict()["embedding"]
    assert served == [[1.0, 2.0], None]


def test_a_vector_length_without_a_number_is_any_length(store: FeatureStore) -> None:
    store.apply([DRIVER, embeddings(0)])
    store.write_to_online_store("stats", {"driver_id": [1], "event_timestamp": [NOON], "embedding": [[1.0]]})
    assert store.get_online_features(["stats:embedding"], [{"driver_id": 1}]).to_dict()["embedding"] == [[1.0]]
