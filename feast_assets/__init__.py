"""A feature store whose feature views are Dagster assets, with Feast's public API.

Every public name can be imported from here; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from feast_assets.feast_names import FeastModules, is_feast_module, refuse_name

if TYPE_CHECKING:
    from feast_assets.config import RepoConfig as RepoConfig
    from feast_assets.definitions.aggregation import Aggregation as Aggregation
    from feast_assets.definitions.automation import Automation as Automation
    from feast_assets.definitions.batch_feature_view import BatchFeatureView as BatchFeatureView
    from feast_assets.definitions.batch_feature_view import batch_feature_view as batch_feature_view
    from feast_assets.definitions.connection_ref import ConnectionRef as ConnectionRef
    from feast_assets.definitions.entity import Entity as Entity
    from feast_assets.definitions.feature import Feature as Feature
    from feast_assets.definitions.feature_logging import FileLoggingDestination as FileLoggingDestination
    from feast_assets.definitions.feature_logging import LoggingConfig as LoggingConfig
    from feast_assets.definitions.feature_service import FeatureService as FeatureService
    from feast_assets.definitions.feature_view import FeatureView as FeatureView
    from feast_assets.definitions.feature_view_state import FeatureViewState as FeatureViewState
    from feast_assets.definitions.field import Field as Field
    from feast_assets.definitions.field_checks import Checks as Checks
    from feast_assets.definitions.freshness import Freshness as Freshness
    from feast_assets.definitions.label_view import ConflictPolicy as ConflictPolicy
    from feast_assets.definitions.label_view import LabelView as LabelView
    from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView as OnDemandFeatureView
    from feast_assets.definitions.on_demand_feature_view import on_demand_feature_view as on_demand_feature_view
    from feast_assets.definitions.partitions import Partitions as Partitions
    from feast_assets.definitions.project import Project as Project
    from feast_assets.definitions.projection import FeatureViewProjection as FeatureViewProjection
    from feast_assets.definitions.saved_dataset import SavedDataset as SavedDataset
    from feast_assets.definitions.saved_dataset import SavedDatasetFileStorage as SavedDatasetFileStorage
    from feast_assets.definitions.sources.data_source import DataSource as DataSource
    from feast_assets.definitions.sources.duckdb_source import DuckDBSource as DuckDBSource
    from feast_assets.definitions.sources.file_format import CsvFormat as CsvFormat
    from feast_assets.definitions.sources.file_format import DeltaFormat as DeltaFormat
    from feast_assets.definitions.sources.file_format import ParquetFormat as ParquetFormat
    from feast_assets.definitions.sources.file_source import FileSource as FileSource
    from feast_assets.definitions.sources.file_stream_source import FileStreamSource as FileStreamSource
    from feast_assets.definitions.sources.kafka_source import KafkaSource as KafkaSource
    from feast_assets.definitions.sources.kinesis_source import KinesisSource as KinesisSource
    from feast_assets.definitions.sources.postgres_source import PostgreSQLSource as PostgreSQLSource
    from feast_assets.definitions.sources.push_source import PushMode as PushMode
    from feast_assets.definitions.sources.push_source import PushSource as PushSource
    from feast_assets.definitions.sources.request_source import RequestSource as RequestSource
    from feast_assets.definitions.sources.stream_format import AvroFormat as AvroFormat
    from feast_assets.definitions.sources.stream_format import ConfluentAvroFormat as ConfluentAvroFormat
    from feast_assets.definitions.sources.stream_format import CustomFormat as CustomFormat
    from feast_assets.definitions.sources.stream_format import JsonFormat as JsonFormat
    from feast_assets.definitions.sources.stream_format import ProtoFormat as ProtoFormat
    from feast_assets.definitions.sources.stream_format import StreamFormat as StreamFormat
    from feast_assets.definitions.stream_feature_view import StreamFeatureView as StreamFeatureView
    from feast_assets.definitions.stream_feature_view import stream_feature_view as stream_feature_view
    from feast_assets.definitions.transformation import Transformation as Transformation
    from feast_assets.definitions.transformation import TransformationMode as TransformationMode
    from feast_assets.definitions.transformation import transformation as transformation
    from feast_assets.definitions.validation_reference import ValidationReference as ValidationReference
    from feast_assets.feature_store import FeatureStore as FeatureStore
    from feast_assets.retrieval.feast_data_frame import DataFrameEngine as DataFrameEngine
    from feast_assets.retrieval.feast_data_frame import FeastDataFrame as FeastDataFrame
    from feast_assets.types import Array as Array
    from feast_assets.types import Bool as Bool
    from feast_assets.types import Bytes as Bytes
    from feast_assets.types import Decimal as Decimal
    from feast_assets.types import Float32 as Float32
    from feast_assets.types import Float64 as Float64
    from feast_assets.types import ImageBytes as ImageBytes
    from feast_assets.types import Int32 as Int32
    from feast_assets.types import Int64 as Int64
    from feast_assets.types import Json as Json
    from feast_assets.types import Map as Map
    from feast_assets.types import PdfBytes as PdfBytes
    from feast_assets.types import ScalarMap as ScalarMap
    from feast_assets.types import Set as Set
    from feast_assets.types import String as String
    from feast_assets.types import Struct as Struct
    from feast_assets.types import TimeUuid as TimeUuid
    from feast_assets.types import UnixTimestamp as UnixTimestamp
    from feast_assets.types import Uuid as Uuid
    from feast_assets.types import ValueType as ValueType
    from feast_assets.types import ZonedTimestamp as ZonedTimestamp

_PUBLIC = {
    "feast_assets.config": ["RepoConfig"],
    "feast_assets.definitions.aggregation": ["Aggregation"],
    "feast_assets.definitions.automation": ["Automation"],
    "feast_assets.definitions.batch_feature_view": ["BatchFeatureView", "batch_feature_view"],
    "feast_assets.definitions.entity": ["Entity"],
    "feast_assets.definitions.feature_logging": ["FileLoggingDestination", "LoggingConfig"],
    "feast_assets.definitions.feature_service": ["FeatureService"],
    "feast_assets.definitions.feature_view": ["FeatureView"],
    "feast_assets.definitions.feature_view_state": ["FeatureViewState"],
    "feast_assets.definitions.field": ["Field"],
    "feast_assets.definitions.field_checks": ["Checks"],
    "feast_assets.definitions.freshness": ["Freshness"],
    "feast_assets.definitions.label_view": ["ConflictPolicy", "LabelView"],
    "feast_assets.definitions.on_demand_feature_view": ["OnDemandFeatureView", "on_demand_feature_view"],
    "feast_assets.definitions.partitions": ["Partitions"],
    "feast_assets.definitions.project": ["Project"],
    "feast_assets.definitions.projection": ["FeatureViewProjection"],
    "feast_assets.definitions.saved_dataset": ["SavedDataset", "SavedDatasetFileStorage"],
    "feast_assets.definitions.sources.data_source": ["DataSource"],
    "feast_assets.definitions.sources.file_format": ["CsvFormat", "DeltaFormat", "ParquetFormat"],
    "feast_assets.definitions.sources.duckdb_source": ["DuckDBSource"],
    "feast_assets.definitions.sources.file_source": ["FileSource"],
    "feast_assets.definitions.sources.file_stream_source": ["FileStreamSource"],
    "feast_assets.definitions.sources.kafka_source": ["KafkaSource"],
    "feast_assets.definitions.sources.kinesis_source": ["KinesisSource"],
    "feast_assets.definitions.sources.postgres_source": ["PostgreSQLSource"],
    "feast_assets.definitions.sources.push_source": ["PushMode", "PushSource"],
    "feast_assets.definitions.sources.request_source": ["RequestSource"],
    "feast_assets.definitions.sources.stream_format": [
        "AvroFormat",
        "ConfluentAvroFormat",
        "CustomFormat",
        "JsonFormat",
        "ProtoFormat",
        "StreamFormat",
    ],
    "feast_assets.definitions.stream_feature_view": ["StreamFeatureView", "stream_feature_view"],
    "feast_assets.definitions.transformation": ["Transformation", "TransformationMode", "transformation"],
    "feast_assets.definitions.feature": ["Feature"],
    "feast_assets.definitions.connection_ref": ["ConnectionRef"],
    "feast_assets.definitions.validation_reference": ["ValidationReference"],
    "feast_assets.retrieval.feast_data_frame": ["DataFrameEngine", "FeastDataFrame"],
    "feast_assets.feature_store": ["FeatureStore"],
    "feast_assets.types": [
        "Array",
        "Bool",
        "Bytes",
        "Decimal",
        "Float32",
        "Float64",
        "ImageBytes",
        "Int32",
        "Int64",
        "Json",
        "Map",
        "PdfBytes",
        "ScalarMap",
        "Set",
        "String",
        "Struct",
        "TimeUuid",
        "UnixTimestamp",
        "Uuid",
        "ValueType",
        "ZonedTimestamp",
    ],
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted([*_MODULE_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("feast-assets")
    module = _MODULE_OF.get(name)
    if module is None:
        refuse_name(name)
        if is_feast_module(name):
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module 'feast_assets' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


FeastModules.install()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
