"""What a registry of Feast holds, as definitions of this package.

Its messages are read by the numbers of their fields. Functions, which Feast pickles, are never looked at: an object
that has one is to come from the repository's files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict, TypeVar

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_logging import FileLoggingDestination, LoggingConfig
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import ConflictPolicy, LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import MANAGED_TYPES, Permission
from feast_assets.definitions.policy import (
    CombinedGroupNamespacePolicy,
    GroupBasedPolicy,
    NamespaceBasedPolicy,
    Policy,
    RoleBasedPolicy,
)
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_format import DeltaFormat, FileFormat, ParquetFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.kafka_source import KafkaSource
from feast_assets.definitions.sources.kinesis_source import KinesisSource
from feast_assets.definitions.sources.postgres_source import PostgreSQLSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.sources.stream_format import AvroFormat, JsonFormat, ProtoFormat, StreamFormat
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import FeastAssetsError, InputError, printable
from feast_assets.migration.protobuf import Message, WireFormatError
from feast_assets.types import ValueType, from_value_type

Intervals = list[tuple[datetime, datetime]]

# Fields of Feast's Registry message.
_ENTITIES, _VIEWS, _SERVICES, _ON_DEMAND, _DATASETS = 1, 6, 7, 8, 11
_SOURCES, _REFERENCES, _STREAM_VIEWS, _PERMISSIONS, _PROJECTS, _LABEL_VIEWS = 12, 13, 14, 16, 17, 19
TABLES: Mapping[str, tuple[int, str]] = {
    "entities": (_ENTITIES, "entity_proto"),
    "feature_views": (_VIEWS, "feature_view_proto"),
    "feature_services": (_SERVICES, "feature_service_proto"),
    "on_demand_feature_views": (_ON_DEMAND, "feature_view_proto"),
    "saved_datasets": (_DATASETS, "saved_dataset_proto"),
    "data_sources": (_SOURCES, "data_source_proto"),
    "validation_references": (_REFERENCES, "validation_reference_proto"),
    "stream_feature_views": (_STREAM_VIEWS, "feature_view_proto"),
    "permissions": (_PERMISSIONS, "permission_proto"),
    "projects": (_PROJECTS, "project_proto"),
    "label_views": (_LABEL_VIEWS, "feature_view_proto"),
}
"""Table of Feast's SQL registry -> the field of the Registry message that holds the same, and the column of it."""

_SPEC, _META = 1, 2
_INTERNAL_TAGS = frozenset(("feast:struct_schema", "feast:nested_inner_type"))
_DUMMY_KEY = "__dummy_id"
_FILE, _KAFKA, _KINESIS, _CUSTOM, _REQUEST, _PUSH = 1, 3, 4, 6, 7, 9
_SOURCE_KINDS = {
    0: "of an unknown kind",
    2: "a BigQuerySource",
    5: "a RedshiftSource",
    8: "a SnowflakeSource",
    10: "a TrinoSource",
    11: "a SparkSource",
    12: "an AthenaSource",
    13: "an IcebergSource",
}
_POSTGRES_CLASS = ".PostgreSQLSource"

_PERMITTED_TYPES = (
    "FeatureView",
    "OnDemandFeatureView",
    "BatchFeatureView",
    "StreamFeatureView",
    "Entity",
    "FeatureService",
    "DataSource",
    "ValidationReference",
    "SavedDataset",
    "Permission",
    "Project",
    "LabelView",
)
_ACTIONS = ("CREATE", "DESCRIBE", "UPDATE", "DELETE", "READ_ONLINE", "READ_OFFLINE", "WRITE_ONLINE", "WRITE_OFFLINE")

_D = TypeVar("_D")


class _NotImportedError(Exception):
    """An object cannot be imported; the text says why."""


@dataclass
class FeastProject:
    """One project of a registry of Feast.

    Attributes:
        definitions: what could be read, each after what it refers to.
        from_repository: type and name of the objects that have a function, or use an object that has one.
        problems: what is not imported, and why.
        intervals: view -> the times that Feast recorded as materialized, joined.
    """

    name: str
    definitions: list[Definition] = field(default_factory=list)
    from_repository: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    intervals: dict[str, Intervals] = field(default_factory=dict)


class FeastRegistry:
    """The messages of a registry of Feast.

    Args:
        objects: field of the Registry message that has them, and project -> the messages of objects.
    """

    def __init__(self, objects: Mapping[tuple[int, str], Sequence[Message]]):
        self._objects = objects

    @classmethod
    def of_file(cls, content: bytes, name: str) -> FeastRegistry:
        """Returns what a registry file holds.

        Args:
            name: of the file, for the message.

        Raises:
            InputError: it is no registry file of Feast.
        """
        objects: dict[tuple[int, str], list[Message]] = {}
        try:
            whole = Message(content)
            for number, _ in TABLES.values():
                for message in whole.messages(number):
                    objects.setdefault((number, _project_of(number, message)), []).append(message)
        except WireFormatError as error:
            raise InputError(f"{name} is no registry file of Feast: {error}.") from error
        return cls(objects)

    @classmethod
    def of_tables(cls, rows: Iterable[tuple[str, str, bytes]], name: str) -> FeastRegistry:
        """Returns what a SQL registry holds.

        Args:
            rows: table of `TABLES`, project and message of each of its rows.
            name: of the registry, for the message.

        Raises:
            InputError: it is damaged.
        """
        objects: dict[tuple[int, str], list[Message]] = {}
        try:
            for table, project, content in rows:
                objects.setdefault((TABLES[table][0], project), []).append(Message(content))
        except WireFormatError as error:
            raise InputError(f"The registry of Feast {name} is damaged: {error}.") from error
        return cls(objects)

    def projects(self) -> list[str]:
        """Returns the names of the projects that have anything."""
        return sorted({project for _, project in self._objects} - {""})

    def project(self, name: str, of_repository: Sequence[Definition] | None = None) -> FeastProject:
        """Returns one project.

        Args:
            of_repository: what the repository's files declare, for objects that have a function; None where the files
                were not loaded: these objects are then left out.

        Raises:
            InputError: the registry is damaged.
        """
        try:
            return _Reading(self._objects, name, of_repository).result()
        except WireFormatError as error:
            raise InputError(f"The registry of Feast is damaged: {error}.") from error


class _Reading:
    """Reads one project."""

    def __init__(
        self,
        objects: Mapping[tuple[int, str], Sequence[Message]],
        project: str,
        of_repository: Sequence[Definition] | None,
    ):
        self._objects = objects
        self._project = project
        self._is_loaded = of_repository is not None
        self._declared = {d.name: d for d in of_repository or () if isinstance(d, BaseFeatureView)}
        self._read = FeastProject(project)
        self._entities: dict[str, Entity] = {}
        self._views: dict[str, BaseFeatureView] = {}
        self._with_function: set[str] = set()

    def result(self) -> FeastProject:
        for spec in self._specs(_PROJECTS):
            self._add("project", spec, _project_object_of)
        for spec in self._specs(_ENTITIES):
            if spec.text(1) != DUMMY_ENTITY_NAME:
                self._add("entity", spec, self._entity_of)
        for source in self._messages(_SOURCES):
            if source.number(1) != _REQUEST:
                self._add("data source", source, _source_of, name=20)
        for view in self._messages(_VIEWS):
            self._view(view)
        for number, kind in ((_STREAM_VIEWS, "stream feature view"), (_ON_DEMAND, "on-demand feature view")):
            for view in self._messages(number):
                name = view.message(_SPEC).text(1)
                self._intervals(name, view.message(_META))
                self._take_from_repository(kind, name)
        for spec in self._specs(_LABEL_VIEWS):
            self._add("label view", spec, self._label_view_of)
        for spec in self._specs(_SERVICES):
            self._service(spec)
        for spec in self._specs(_DATASETS):
            self._add("saved dataset", spec, _dataset_of)
        for reference in self._messages(_REFERENCES):
            self._problem("validation reference", reference.text(1), "its profiler is pickled; declare it anew")
        for spec in self._specs(_PERMISSIONS):
            self._add("permission", spec, _permission_of)
        return self._read

    def _messages(self, number: int) -> Sequence[Message]:
        return self._objects.get((number, self._project), ())

    def _specs(self, number: int) -> list[Message]:
        return [each.message(_SPEC) for each in self._messages(number)]

    def _add(self, kind: str, spec: Message, make: Callable[[Message], _D], name: int = 1) -> _D | None:
        try:
            made = make(spec)
        except (_NotImportedError, FeastAssetsError) as error:
            self._problem(kind, spec.text(name), printable(error))
            return None
        assert isinstance(made, Definition)
        self._read.definitions.append(made)
        return made

    def _problem(self, kind: str, name: str, reason: str) -> None:
        self._read.problems.append(f"{kind} {name} is not imported: {reason.rstrip('.')}.")

    def _take_from_repository(self, kind: str, name: str) -> None:
        self._read.from_repository.append((kind, name))
        self._with_function.add(name)
        declared = self._declared.get(name)
        if not self._is_loaded:
            return
        if declared is None:
            self._problem(kind, name, "it has a function, and the repository's files declare no such view")
        else:
            self._views[name] = declared
            self._read.definitions.append(declared)

    def _entity_of(self, spec: Message) -> Entity:
        value_type = _value_type(spec.number(2))
        made = Entity(
            name=spec.text(1),
            join_keys=[spec.text(4)] if spec.text(4) else None,
            value_type=None if value_type is ValueType.UNKNOWN else value_type,
            description=spec.text(3),
            tags=spec.mapping(8),
            owner=spec.text(10),
        )
        self._entities[made.name] = made
        return made

    def _view(self, view: Message) -> None:
        spec = view.message(_SPEC)
        name = spec.text(1)
        self._intervals(name, view.message(_META))
        if spec.has(15) or spec.has(14):
            self._take_from_repository("feature view", name)
            return
        made = self._add("feature view", spec, self._plain_view_of)
        if made is not None:
            self._views[name] = made

    def _plain_view_of(self, spec: Message) -> FeatureView:
        return FeatureView(
            name=spec.text(1),
            source=_source_of(spec.message(9) if spec.has(9) else spec.message(7)),
            schema=[*_key_fields(spec.messages(12)), *map(_field_of, spec.messages(4))],
            entities=self._entities_of(spec.texts(3)),
            ttl=spec.duration(6),
            online=spec.flag(8),
            offline=spec.flag(13),
            description=spec.text(10),
            tags=spec.mapping(5),
            owner=spec.text(11),
            org=spec.text(19),
            enabled=not spec.flag(20),
        )

    def _label_view_of(self, spec: Message) -> LabelView:
        made = LabelView(
            name=spec.text(1),
            source=_source_of(spec.message(7)),
            schema=[*_key_fields(spec.messages(11)), *map(_field_of, spec.messages(4))],
            entities=self._entities_of(spec.texts(3)),
            ttl=spec.duration(6),
            online=spec.flag(8),
            description=spec.text(9),
            tags=spec.mapping(5),
            owner=spec.text(10),
            labeler_field=spec.text(12) or "labeler",
            conflict_policy=_conflict_policy_of(spec.number(13)),
            reference_feature_view=spec.text(15) or None,
        )
        self._views[made.name] = made
        return made

    def _entities_of(self, names: Sequence[str]) -> list[Entity]:
        missing = [name for name in names if name not in self._entities and name != DUMMY_ENTITY_NAME]
        if missing:
            raise _NotImportedError(f"its entity {missing[0]!r} is not there")
        return [self._entities[name] for name in names if name in self._entities]

    def _service(self, spec: Message) -> None:
        if any(projection.text(1) in self._with_function for projection in spec.messages(3)):
            self._read.from_repository.append(("feature service", spec.text(1)))
            if not self._is_loaded:
                return
        self._add("feature service", spec, self._service_of)

    def _service_of(self, spec: Message) -> FeatureService:
        return FeatureService(
            name=spec.text(1),
            features=[self._projection_of(each) for each in spec.messages(3)],
            tags=spec.mapping(4),
            description=spec.text(5),
            owner=spec.text(6),
            logging_config=_logging_of(spec.message(7)) if spec.has(7) else None,
            precompute_online=spec.flag(8),
        )

    def _projection_of(self, projection: Message) -> BaseFeatureView:
        name = projection.text(1)
        view = self._views.get(name)
        if view is None:
            raise _NotImportedError(f"its view {name!r} is not imported")
        if projection.number(10) > 0:
            raise _NotImportedError(f"it has a version of its own of {name!r}; declare it in the repository")
        features = [each.text(1) for each in projection.messages(2)]
        # All of a view that the repository declares may be inferred only when it is applied.
        is_whole = isinstance(view, OnDemandFeatureView) or features == [f.name for f in view.features]
        chosen = view if is_whole else view[features]
        if alias := projection.text(3):
            chosen = chosen.with_name(alias)
        if join_keys := projection.mapping(4):
            if not isinstance(chosen, FeatureView):
                raise _NotImportedError(f"it maps join keys of {name!r}, which has none")
            chosen = chosen.with_join_key_map(join_keys)
        return chosen

    def _intervals(self, view: str, meta: Message) -> None:
        spans = sorted(
            (start, end)
            for each in meta.messages(3)
            if (start := each.moment(1)) is not None and (end := each.moment(2)) is not None and start < end
        )
        joined: Intervals = []
        for start, end in spans:
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        if joined:
            self._read.intervals[view] = joined


def _project_of(number: int, message: Message) -> str:
    """Returns the project that an object of a registry file belongs to."""
    if number in (_SOURCES, _REFERENCES):
        return message.text(21 if number == _SOURCES else 3)
    return message.message(_SPEC).text({_PROJECTS: 1, _ENTITIES: 9}.get(number, 2))


def _project_object_of(spec: Message) -> Project:
    return Project(name=spec.text(1), description=spec.text(2), tags=spec.mapping(3), owner=spec.text(4))


def _value_type(number: int) -> ValueType:
    try:
        return ValueType(number)
    except ValueError:
        raise _NotImportedError(f"it has a type of the number {number}, which is not known") from None


def _conflict_policy_of(number: int) -> ConflictPolicy:
    policies = list(ConflictPolicy)
    if not 0 <= number < len(policies):
        raise _NotImportedError(f"it has a conflict policy of the number {number}, which is not known")
    return policies[number]


def _key_fields(columns: Sequence[Message]) -> list[Field]:
    return [_field_of(column) for column in columns if column.text(1) != _DUMMY_KEY]


def _field_of(spec: Message) -> Field:
    tags = spec.mapping(3)
    if not _INTERNAL_TAGS.isdisjoint(tags):
        raise _NotImportedError(f"the type of its field {spec.text(1)!r} is nested; declare it in the repository")
    value_type = _value_type(spec.number(2))
    if value_type is ValueType.UNKNOWN:
        raise _NotImportedError(f"its field {spec.text(1)!r} has no type")
    return Field(
        name=spec.text(1),
        dtype=from_value_type(value_type),
        description=spec.text(4),
        tags=tags,
        vector_index=spec.flag(5),
        vector_length=spec.number(7),
        vector_search_metric=spec.text(6) or None,
    )


class _Common(TypedDict):
    """Arguments that all sources take."""

    name: str
    description: str
    tags: dict[str, str]
    owner: str


class _Times(TypedDict):
    """Arguments that sources of rows take."""

    timestamp_field: str
    created_timestamp_column: str
    field_mapping: dict[str, str]


def _source_of(source: Message, *, is_batch: bool = False) -> DataSource:
    """Returns a source.

    Args:
        is_batch: whether it is the batch source of another one; it has none of its own then.
    """
    kind, name = source.number(1), source.text(20)
    if is_batch and source.has(26):
        raise _NotImportedError(f"the batch source {name!r} has a batch source, too")
    common: _Common = {
        "name": name,
        "description": source.text(23),
        "tags": source.mapping(24),
        "owner": source.text(25),
    }
    times: _Times = {
        "timestamp_field": source.text(3),
        "created_timestamp_column": source.text(5),
        "field_mapping": source.mapping(2),
    }
    batch = _source_of(source.message(26), is_batch=True) if source.has(26) else None
    if kind == _FILE:
        options = source.message(11)
        return FileSource(
            **common,
            **times,
            path=options.text(2),
            file_format=_file_format(options.message(1)) if options.has(1) else None,
            s3_endpoint_override=options.text(3) or None,
            date_partition_column=source.text(4) or None,
        )
    if kind == _PUSH:
        return PushSource(**common, batch_source=batch)
    if kind == _REQUEST:
        return RequestSource(**common, schema=[_field_of(f) for f in source.message(18).messages(3)])
    if kind == _KAFKA:
        options = source.message(13)
        return KafkaSource(
            **common,
            **times,
            kafka_bootstrap_servers=options.text(1),
            topic=options.text(2),
            message_format=_stream_format(options.message(3)),
            watermark_delay_threshold=options.duration(4) if options.has(4) else None,
            batch_source=batch,
        )
    if kind == _KINESIS:
        options = source.message(14)
        return KinesisSource(
            **common,
            **times,
            region=options.text(1),
            stream_name=options.text(2),
            record_format=_stream_format(options.message(3)),
            batch_source=batch,
        )
    if kind == _CUSTOM and source.text(17).endswith(_POSTGRES_CLASS):
        try:
            configuration = json.loads(source.message(16).content(1))
            query, table = configuration.get("query"), configuration.get("table")
        except (ValueError, AttributeError, RecursionError) as error:
            raise _NotImportedError(f"the options of its source {name!r} are damaged") from error
        return PostgreSQLSource(**common, **times, query=query or None, table=table or None)
    description = _SOURCE_KINDS.get(kind) or f"a {source.text(17).rpartition('.')[2] or 'source of an unknown kind'}"
    raise _NotImportedError(f"its source {name!r} is {description}, which is not supported")


def _file_format(spec: Message) -> FileFormat:
    return DeltaFormat() if spec.has(2) else ParquetFormat()


def _stream_format(spec: Message) -> StreamFormat:
    if spec.has(1):
        return AvroFormat(spec.message(1).text(1))
    return ProtoFormat(spec.message(2).text(1)) if spec.has(2) else JsonFormat(spec.message(3).text(1))


def _logging_of(spec: Message) -> LoggingConfig:
    if not spec.has(3):
        raise _NotImportedError("it logs to something else than files")
    destination = spec.message(3)
    return LoggingConfig(
        FileLoggingDestination(
            path=destination.text(1),
            s3_endpoint_override=destination.text(2),
            partition_by=destination.texts(3) or None,
        ),
        sample_rate=spec.float(1),
    )


def _permission_of(spec: Message) -> Permission:
    try:
        return Permission(
            name=spec.text(1),
            types=[MANAGED_TYPES[_PERMITTED_TYPES[number]] for number in spec.numbers(3)],
            name_patterns=spec.texts(4),
            required_tags=spec.mapping(5),
            actions=[AuthzedAction[_ACTIONS[number]] for number in spec.numbers(6)],
            policy=_policy_of(spec.message(7)),
            tags=spec.mapping(8),
        )
    except (IndexError, KeyError):
        raise _NotImportedError("it is of a newer version of Feast; declare it in the repository") from None


def _policy_of(spec: Message) -> Policy:
    if spec.has(3):
        return RoleBasedPolicy(roles=spec.message(3).texts(1))
    if spec.has(4):
        return GroupBasedPolicy(groups=spec.message(4).texts(1))
    if spec.has(5):
        return NamespaceBasedPolicy(namespaces=spec.message(5).texts(1))
    if spec.has(6):
        both = spec.message(6)
        return CombinedGroupNamespacePolicy(groups=both.texts(1), namespaces=both.texts(2))
    raise _NotImportedError("its policy is not known; declare it in the repository")


def _dataset_of(spec: Message) -> SavedDataset:
    storage = spec.message(6)
    if not storage.has(4):
        raise _NotImportedError("it is not kept in files")
    file = storage.message(4)
    return SavedDataset(
        name=spec.text(1),
        features=spec.texts(3),
        join_keys=spec.texts(4),
        full_feature_names=spec.flag(5),
        storage=SavedDatasetFileStorage(path=file.text(2), s3_endpoint_override=file.text(3) or None),
        feature_service_name=spec.text(8) or None,
        tags=spec.mapping(7),
        namespace=spec.text(9),
        collection=spec.text(10),
        description=spec.text(11),
    )
