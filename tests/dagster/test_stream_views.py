"""A stream feature view over a push source is an asset that is materialized from its batch source."""

from __future__ import annotations

import dagster as dg

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

MORE = """
    from feast_assets import PushSource, stream_feature_view

    @stream_feature_view(
        entities=[driver], source=PushSource(name="live", batch_source=rides), mode="python",
        schema=[Field(name="cents", dtype=Float64)], partitions=Partitions("daily", start=NEW_YEAR),
    )
    def cents(rows):
        return {**rows, "cents": [100 * fare for fare in rows["fare"]]}
"""
CENTS = dg.AssetKey(["taxi", "cents"])
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-10",
}


def test_a_run_fills_its_partitions_from_the_batch_source(write_repository):
    root = write_repository(MORE)
    store = FeatureStore(root)
    store.apply_repository()
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
    graph = defs.resolve_asset_graph()
    assert graph.get(CENTS).partitions_def == graph.get(dg.AssetKey(["taxi", "ride"])).partitions_def
    assert dg.AssetKey(["taxi", "sources", "rides"]) in graph.get(CENTS).parent_keys
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("materialize_taxi_daily")
        assert job.execute_in_process(instance=instance, tags=RANGE, asset_selection=[CENTS]).success
    found = store.get_online_features(["cents:cents", "ride:fare"], {"driver_id": [4]}).to_dict()
    assert found == {"driver_id": [4], "cents": [41900.0], "fare": [None]}
