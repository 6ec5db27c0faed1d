"""Definitions as Feast's registry server writes them: its protobuf messages as JSON, which leaves defaults out.

Functions are told by their source text alone; Feast also sends a pickled one, which nobody should load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, DUMMY_JOIN_KEY, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.kafka_source import KafkaSource
from feast_assets.definitions.sources.kinesis_source import KinesisSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.types import ValueType

Json = dict[str, Any]

_CLASSES_OF_FEAST = {
    "FileSource": "feast.infra.offline_stores.file_source.FileSource",
    "KafkaSource": "feast.data_source.KafkaSource",
    "KinesisSource": "feast.data_source.KinesisSource",
    "PushSource": "feast.data_source.PushSource",
    "RequestSource": "feast.data_source.RequestSource",
    "PostgreSQLSource": ("feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source.PostgreSQLSource"),
}
_TYPES_OF_SOURCES: tuple[tuple[type[DataSource], str], ...] = (
    (FileSource, "BATCH_FILE"),
    (KafkaSource, "STREAM_KAFKA"),
    (KinesisSource, "STREAM_KINESIS"),
    (PushSource, "PUSH_SOURCE"),
    (RequestSource, "REQUEST_SOURCE"),
)


def definition_json(definition: Definition, snapshot: RegistrySnapshot) -> Json:
    """Returns a definition of any type.

    Args:
        snapshot: the definitions that it may refer to.
    """
    if isinstance(definition, DataSource):
        return source_json(definition)
    if isinstance(definition, BaseFeatureView):
        return view_json(definition, snapshot)
    spec = _spec(definition, snapshot)
    return {"spec": {**_filled(spec)}, "meta": _meta(definition)}


def source_json(source: DataSource, *, with_class: bool = False) -> Json:
    """Returns a data source.

    Args:
        with_class: whether Feast's class is named, as it is in views.
    """
    kind = next((name for of, name in _TYPES_OF_SOURCES if isinstance(source, of)), "CUSTOM_SOURCE")
    options: Json = {}
    if isinstance(source, FileSource):
        options = {"fileOptions": _filled({"uri": source.path, "s3EndpointOverride": source.s3_endpoint_override})}
    elif isinstance(source, KafkaSource):
        options = {
            "kafkaOptions": _filled({"kafkaBootstrapServers": source.kafka_bootstrap_servers, "topic": source.topic})
        }
    elif isinstance(source, KinesisSource):
        options = {"kinesisOptions": _filled({"region": source.region, "streamName": source.stream_name})}
    elif isinstance(source, RequestSource):
        options = {"requestDataOptions": _filled({"schema": [_field(field) for field in source.schema]})}
    batch = getattr(source, "batch_source", None)
    class_name = _CLASSES_OF_FEAST.get(type(source).__name__, f"{type(source).__module__}.{type(source).__name__}")
    return _filled(
        {
            "type": kind,
            "fieldMapping": dict(source.field_mapping or {}),
            # Feast shows those of a push source's history.
            "timestampField": source.timestamp_field or (batch.timestamp_field if batch is not None else ""),
            "datePartitionColumn": getattr(source, "date_partition_column", ""),
            "createdTimestampColumn": source.created_timestamp_column,
            **options,
            "dataSourceClassType": class_name if with_class or kind == "CUSTOM_SOURCE" else "",
            "name": source.name,
            "description": source.description,
            "tags": source.tags,
            "owner": source.owner,
            "batchSource": None if batch is None else source_json(batch),
            "meta": _meta(source),
        }
    )


def view_json(view: BaseFeatureView, snapshot: RegistrySnapshot) -> Json:
    """Returns a view of any kind, with the kind as ``type``."""
    if isinstance(view, OnDemandFeatureView):
        return {"type": "onDemandFeatureView", "spec": _filled(_on_demand(view, snapshot)), "meta": _meta(view)}
    view = cast(FeatureView, view)
    kind = "labelView" if isinstance(view, LabelView) else "featureView"
    if isinstance(view, StreamFeatureView):
        kind = "streamFeatureView"
    transformation = view.feature_transformation if isinstance(view, BatchFeatureView) else None
    spec = {
        **_named(view),
        "entities": list(view.entities) or [DUMMY_ENTITY_NAME],
        "features": [_field(field) for field in view.features],
        "ttl": _seconds(view),
        "batchSource": None if view.batch_source is None else source_json(view.batch_source, with_class=True),
        "online": view.online,
        "offline": view.offline,
        "streamSource": None if view.stream_source is None else source_json(view.stream_source, with_class=True),
        "entityColumns": [_field(field) for field in view.entity_columns],
        "featureTransformation": _transformation(transformation),
        "version": view.version,
    }
    return {"type": kind, "spec": _filled(spec), "meta": _meta(view)}


def feature_json(field: Field, view: BaseFeatureView, *, kind: str = "feature") -> Json:
    """Returns a feature of a view."""
    return _filled(
        {
            "name": field.name,
            "featureView": view.name,
            "type": str(field.dtype),
            "description": field.description,
            "tags": field.tags,
            "owner": view.owner,
            "kind": kind,
        }
    )


def _spec(definition: Definition, snapshot: RegistrySnapshot) -> Json:
    spec = _named(definition)
    if isinstance(definition, Entity):
        known = definition.value_type != ValueType.UNKNOWN
        return {**spec, "valueType": definition.value_type.name if known else "", "joinKey": definition.join_key}
    if isinstance(definition, FeatureService):
        return {**spec, "features": [_projection(each, snapshot) for each in definition.feature_view_projections]}
    if isinstance(definition, SavedDataset):
        storage = definition.storage
        uri = storage.path if isinstance(storage, SavedDatasetFileStorage) else ""
        return {
            **spec,
            "features": list(definition.features),
            "joinKeys": list(definition.join_keys),
            "fullFeatureNames": definition.full_feature_names,
            "storage": {"fileStorage": {"uri": uri}} if uri else None,
            "featureServiceName": definition.feature_service_name or "",
        }
    if isinstance(definition, Permission):
        return {
            **spec,
            "types": [_UPPER.get(name, name) for name in definition.type_names],
            "namePatterns": list(definition.name_patterns),
            "requiredTags": definition.required_tags,
            "actions": [action.name for action in definition.actions],
            "policy": _policy(definition),
        }
    assert isinstance(definition, Project)
    return spec


_UPPER = {
    "FeatureView": "FEATURE_VIEW",
    "OnDemandFeatureView": "ON_DEMAND_FEATURE_VIEW",
    "BatchFeatureView": "BATCH_FEATURE_VIEW",
    "StreamFeatureView": "STREAM_FEATURE_VIEW",
    "LabelView": "LABEL_VIEW",
    "Entity": "ENTITY",
    "FeatureService": "FEATURE_SERVICE",
    "DataSource": "DATA_SOURCE",
    "ValidationReference": "VALIDATION_REFERENCE",
    "SavedDataset": "SAVED_DATASET",
    "Permission": "PERMISSION",
    "Project": "PROJECT",
}
"""Names of classes as Feast's message for a permission writes them."""


def _policy(permission: Permission) -> Json | None:
    policy = permission.policy
    name = type(policy).__name__
    lists = {
        key: list(values)
        for key in ("roles", "groups", "namespaces")
        if isinstance(values := getattr(policy, key, None), Sequence | frozenset | set) and values
    }
    return {name[0].lower() + name[1:]: lists} if lists else None


def _named(definition: Definition) -> Json:
    return {
        "name": definition.name,
        "description": definition.description,
        "tags": definition.tags,
        "owner": definition.owner,
    }


def _on_demand(view: OnDemandFeatureView, snapshot: RegistrySnapshot) -> Json:
    sources: Json = {source.name: {"requestDataSource": source_json(source)} for source in view.request_sources} | {
        each.name: {"featureViewProjection": _projection(each, snapshot)} for each in view.source_projections
    }
    mode = view.feature_transformation.mode.value if view.feature_transformation is not None else ""
    return {
        **_named(view),
        "features": [_field(field) for field in view.features],
        "sources": sources,
        "featureTransformation": _transformation(view.feature_transformation),
        "mode": mode,
        "entities": list(view.entities) or [DUMMY_ENTITY_NAME],
        "entityColumns": [] if view.entities else [{"name": DUMMY_JOIN_KEY, "valueType": "STRING"}],
        "singleton": view.singleton,
        "version": view.version,
    }


def _transformation(transformation: Transformation | None) -> Json | None:
    if transformation is None:
        return None
    name = transformation.import_path.rpartition(":")[2] or transformation.name or ""
    function = {"name": name, "bodyText": transformation.udf_string, "mode": transformation.mode.value}
    return {"userDefinedFunction": _filled(function)}


def _projection(projection: FeatureViewProjection, snapshot: RegistrySnapshot) -> Json:
    view = next((v for v in snapshot.shared() if v.name == projection.name and isinstance(v, BaseFeatureView)), None)
    source = view.batch_source if isinstance(view, FeatureView) else None
    return _filled(
        {
            "featureViewName": projection.name,
            "featureViewNameAlias": projection.name_alias or "",
            "featureColumns": [_field(field) for field in projection.features],
            "joinKeyMap": projection.join_key_map,
            "batchSource": None if source is None else source_json(source),
            "viewType": "featureView",
        }
    )


def _field(field: Field) -> Json:
    return _filled(
        {
            "name": field.name,
            "valueType": field.dtype.to_value_type().name,
            "description": field.description,
            "tags": field.tags,
            "vectorIndex": field.vector_index,
            "vectorLength": field.vector_length,
            "vectorSearchMetric": field.vector_search_metric,
        }
    )


def _seconds(view: FeatureView) -> str:
    total = view.ttl.total_seconds() if view.ttl is not None else 0.0
    return f"{int(total)}s" if total == int(total) else f"{total:.6f}s"


def _meta(definition: Definition) -> Json:
    return _filled(
        {
            "createdTimestamp": _moment(definition.created_timestamp),
            "lastUpdatedTimestamp": _moment(definition.last_updated_timestamp),
        }
    )


def _moment(moment: datetime | None) -> str:
    """Returns a time as protobuf writes it: with no, three or six digits after the second."""
    if moment is None:
        return ""
    micros = moment.microsecond
    kind = "seconds" if not micros else "milliseconds" if micros % 1000 == 0 else "microseconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=kind) + "Z"


def _filled(values: Mapping[str, Any]) -> Json:
    """Returns what is not a default."""
    return {
        name: value for name, value in values.items() if value not in ("", None, False, 0) and value not in ([], {})
    }
