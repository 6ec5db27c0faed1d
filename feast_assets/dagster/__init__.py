"""Feature views as Dagster assets.

`definitions_for` makes a whole feature repository into definitions; the other names are its pieces. This package is
the only one that imports Dagster.
"""

from importlib.metadata import version

from dagster import DagsterLibraryRegistry  # type: ignore[attr-defined]

from feast_assets.dagster.asset_decorator import (
    build_feature_view_assets,
    build_feature_view_specs,
    feature_view_assets,
)
from feast_assets.dagster.definitions import definitions_for
from feast_assets.dagster.jobs import apply_job, feature_view_jobs
from feast_assets.dagster.partitions import partitions_definition, windows_of
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import (
    FeatureStoreResource,
    OfflineStoreResource,
    OnlineStoreResource,
    RegistryResource,
)
from feast_assets.dagster.schedules import feature_view_schedules
from feast_assets.dagster.translator import DataSourceTranslatorData, FeastTranslator, FeatureViewTranslatorData

__all__ = [
    "DataSourceTranslatorData",
    "FeastTranslator",
    "FeatureRepository",
    "FeatureStoreResource",
    "FeatureViewTranslatorData",
    "OfflineStoreResource",
    "OnlineStoreResource",
    "RegistryResource",
    "apply_job",
    "build_feature_view_assets",
    "build_feature_view_specs",
    "definitions_for",
    "feature_view_assets",
    "feature_view_jobs",
    "feature_view_schedules",
    "partitions_definition",
    "windows_of",
]

DagsterLibraryRegistry.register("feast-assets", version("feast-assets"), is_dagster_package=False)
