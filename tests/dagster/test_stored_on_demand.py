"""An on-demand view that is kept in the online store is an asset like a feature view."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

MORE = """
    from feast_assets import FeatureService, RequestSource, on_demand_feature_view

    @on_demand_feature_view(
        entities=[driver], sources=[ride], schema=[Field(name="per_minute", dtype=Float64)], mode="python",
        write_to_online_store=True,
    )
    def pace(inputs):
        return {"per_minute": [f / (m + 1) for f, m in zip(inputs["fare"], inputs["minutes"])]}

    @on_demand_feature_view(
        entities=[driver], sources=[ride, RequestSource(name="r", schema=[Field(name="tip", dtype=Float64)])],
        schema=[Field(name="tipped", dtype=Float64)], mode="python", write_to_online_store=True,
    )
    def tipped(inputs):
        return {"tipped": [f + t for f, t in zip(inputs["fare"], inputs["tip"])]}

    paces = FeatureService(name="paces", features=[pace])
"""
PACE = dg.AssetKey(["taxi", "pace"])
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-10",
}


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


@pytest.fixture
def root(write_repository) -> Path:
    made = write_repository(MORE)
    FeatureStore(made).apply_repository()
    return made


def test_its_partitions_are_those_of_the_view_that_it_reads(root):
    graph = definitions(root).resolve_asset_graph()
    assert graph.get(PACE).partitions_def == graph.get(dg.AssetKey(["taxi", "ride"])).partitions_def
    assert graph.get(PACE).is_executable
    assert PACE in graph.get(dg.AssetKey(["taxi", "services", "paces"])).parent_keys
    # One that takes values of a request has rows only when they are written.
    assert not graph.get(dg.AssetKey(["taxi", "tipped"])).is_executable


def test_a_run_fills_its_partitions(root):
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(root).resolve_job_def("materialize_taxi_daily")
        assert job.execute_in_process(instance=instance, tags=RANGE, asset_selection=[PACE]).success
        assert len(instance.get_materialized_partitions(PACE)) == 10
    store = FeatureStore(root)
    found = store.get_online_features(["pace:per_minute"], {"driver_id": [1, 2, 3]})
    assert all(value is not None for value in found.to_dict()["per_minute"])
    assert store.audit(["pace"], at=datetime(2024, 1, 11, tzinfo=UTC)).causes == {}


def test_its_metadata_shows_the_function_and_where_features_come_from(root):
    spec = definitions(root).resolve_asset_graph().get(PACE)
    assert "per_minute" in str(spec.metadata["feast_assets/transformation"].value)
    assert "on_demand_feature_view" in spec.kinds


def test_before_the_first_apply_it_is_shown_like_one_that_is_computed(write_repository):
    graph = definitions(write_repository(MORE)).resolve_asset_graph()
    assert not graph.get(PACE).is_executable
