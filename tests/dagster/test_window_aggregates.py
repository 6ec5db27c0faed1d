"""A view with aggregations is an asset; its tiles, where they are kept, are an asset before it."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

MORE = """
    from feast_assets import Aggregation

    fares = BatchFeatureView(
        name="fares",
        entities=[driver],
        source=rides,
        aggregations=[Aggregation("fare", "sum", timedelta(days=3)), Aggregation("minutes", "max", timedelta(days=1))],
        partitions=Partitions("daily", start=NEW_YEAR),
        online=True,
        ARGUMENTS
    )
"""
KEPT = 'offline=True, sink_source=FileSource(name="fare_tiles", path="data/fare_tiles", timestamp_field="begin")'
FARES = dg.AssetKey(["taxi", "fares"])
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-10",
}


@pytest.mark.parametrize("arguments", ["", KEPT])
def test_a_run_fills_its_partitions(write_repository, arguments):
    root = write_repository(MORE.replace("ARGUMENTS", arguments))
    store = FeatureStore(root)
    store.apply_repository()
    defs = definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})
    graph = defs.resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("materialize_taxi_daily")
        tiles = dg.AssetKey(["taxi", "sources", "fare_tiles"])
        selected = [FARES, tiles] if arguments else [FARES]
        assert set(selected) <= set(graph.get_all_asset_keys())
        run = job.execute_in_process(instance=instance, tags=RANGE, asset_selection=selected)
        assert run.success
        checks = {c.check_name: c.passed for c in run.get_asset_check_evaluations()}
    assert False not in checks.values(), checks
    plan = store._online_plan(["fares:sum_fare_259200s"], False)
    served = plan.read(store.online_store, {"driver_id": [4]}, now=datetime(2024, 1, 10, tzinfo=UTC)).to_dict()
    assert served["sum_fare_259200s"] != [None]
