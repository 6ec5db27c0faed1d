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
from feast_assets.dagster.check_specs import FeatureViewCheck
from feast_assets.dagster.checks import feature_view_checks, serving_checks_job, serving_checks_schedules
from feast_assets.dagster.component import FeatureRepoComponent
from feast_assets.dagster.definitions import definitions_for
from feast_assets.dagster.jobs import apply_job, feature_view_jobs, observe_jobs
from feast_assets.dagster.partitions import partitions_definition, windows_of
from feast_assets.dagster.pools import duckdb_pool, online_pool
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import (
    FeatureStoreResource,
    OfflineStoreResource,
    OnlineStoreResource,
    RegistryResource,
    branch_deployment,
)
from feast_assets.dagster.schedules import feature_view_schedules, observation_schedules
from feast_assets.dagster.sensors import definition_sensor, late_data_sensor
from feast_assets.dagster.serving import build_serving_specs
from feast_assets.dagster.sources import build_source_assets
from feast_assets.dagster.streams import ConsumeConfig, build_stream_assets, consume_jobs, stream_sensor
from feast_assets.dagster.training_set import TrainingSetConfig, training_set_asset
from feast_assets.dagster.training_set_files import TrainingSetIOManager, training_set_io_manager
from feast_assets.dagster.translator import (
    DataSourceTranslatorData,
    FeastTranslator,
    FeatureServiceTranslatorData,
    FeatureViewTranslatorData,
    OnDemandFeatureViewTranslatorData,
)

__all__ = [
    "ConsumeConfig",
    "DataSourceTranslatorData",
    "FeastTranslator",
    "FeatureRepoComponent",
    "FeatureRepository",
    "FeatureServiceTranslatorData",
    "FeatureStoreResource",
    "FeatureViewCheck",
    "FeatureViewTranslatorData",
    "OfflineStoreResource",
    "OnDemandFeatureViewTranslatorData",
    "OnlineStoreResource",
    "RegistryResource",
    "TrainingSetConfig",
    "TrainingSetIOManager",
    "apply_job",
    "branch_deployment",
    "build_feature_view_assets",
    "build_feature_view_specs",
    "build_serving_specs",
    "build_source_assets",
    "build_stream_assets",
    "consume_jobs",
    "definition_sensor",
    "definitions_for",
    "duckdb_pool",
    "feature_view_assets",
    "feature_view_checks",
    "feature_view_jobs",
    "feature_view_schedules",
    "late_data_sensor",
    "observation_schedules",
    "observe_jobs",
    "online_pool",
    "partitions_definition",
    "serving_checks_job",
    "serving_checks_schedules",
    "stream_sensor",
    "training_set_asset",
    "training_set_io_manager",
    "windows_of",
]

DagsterLibraryRegistry.register("feast-assets", version("feast-assets"), is_dagster_package=False)
