"""Definitions in Postgres, latest values in Redis, history in files that DuckDB reads.

Environment variables:
    FEAST_ASSETS_REGISTRY_URL: ``postgresql://user:password@host:port/database``.
    FEAST_ASSETS_REDIS: ``host:port,password=...``; see the Redis online store for more options.
    FEAST_ASSETS_BRANCH: names a branch, which has definitions and rows of its own; not set in production.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from feast_assets.dagster import (
    FeatureStoreResource,
    OfflineStoreResource,
    OnlineStoreResource,
    RegistryResource,
    branch_deployment,
)

FEATURE_REPO = Path(__file__).resolve().parents[1] / "feature_repo"


def resources() -> dict[str, Any]:
    registry = RegistryResource(path=dg.EnvVar("FEAST_ASSETS_REGISTRY_URL"))
    offline_store = OfflineStoreResource(type="duckdb")
    online_store = OnlineStoreResource(type="redis", connection_string=dg.EnvVar("FEAST_ASSETS_REDIS"))
    feature_store = FeatureStoreResource(
        repo_path=str(FEATURE_REPO),
        deployment=branch_deployment(),
        registry=registry,
        offline_store=offline_store,
        online_store=online_store,
    )
    return {
        "registry": registry,
        "offline_store": offline_store,
        "online_store": online_store,
        "feature_store": feature_store,
    }
