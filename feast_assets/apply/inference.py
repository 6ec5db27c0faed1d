"""Validating and completing what is applied.

`prepare` turns declared objects into what the registry stores; `feast_assets.apply.removal.changes_of` compares that
with the registry. Neither changes the declared objects or the snapshot: what is inferred is on the returned copies.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar, cast

from feast_assets.apply.digests import InputDigests, sources_of
from feast_assets.apply.names import check_names, check_source_names
from feast_assets.apply.projections import ViewsByName, resolve_projection
from feast_assets.apply.source_inference import CheckTexts, SchemaOf, Sources, inferred_field
from feast_assets.apply.versions import Versions
from feast_assets.definitions.aggregation import aggregated_columns
from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity, dummy_entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.feature_view_state import FeatureViewState
from feast_assets.definitions.field import Field
from feast_assets.definitions.kept_results import in_order
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView, known_keys, stored_views
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view import BaseFeatureView, check_features
from feast_assets.definitions.view_version import split_name
from feast_assets.errors import (
    DefinitionError,
    EntityNotFoundException,
    RegistryInferenceFailure,
    SourceWithoutFilesError,
    suggest,
)
from feast_assets.registry.snapshot import VIEW_TYPES, RegistrySnapshot, StoredObject, copy_definition
from feast_assets.types import ValueType, from_value_type

if TYPE_CHECKING:
    import pyarrow as pa

EarliestOf = Callable[[FeatureView], "datetime | None"]
Try = Callable[[OnDemandFeatureView, Mapping[str, FeatureView]], "list[Field]"]

_ENTITY_TIME = "event_timestamp"
_D = TypeVar("_D", bound=Definition)
_APPLICABLE = (
    Project,
    Entity,
    DataSource,
    BaseFeatureView,
    FeatureService,
    SavedDataset,
    ValidationReference,
    Permission,
)


@dataclass(frozen=True, slots=True)
class PreparedObjects:
    """What is declared, validated and complete.

    Attributes:
        made: objects to register; some may turn out to equal the registered ones.
        standing: registered objects that stay as they are.
        tables, renamed_ledgers: as those of `Versions`.
    """

    made: Sequence[Definition]
    standing: Sequence[StoredObject] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    renamed_ledgers: Sequence[tuple[str, str]] = ()


def prepare(
    objects: Iterable[Definition],
    snapshot: RegistrySnapshot,
    schema_of: SchemaOf,
    earliest_of: EarliestOf,
    *,
    project: str | None = None,
    project_description: str = "",
    partial: bool = True,
    check_sources: bool = True,
    digests: InputDigests | None = None,
    try_function: Try | None = None,
    check_texts: CheckTexts | None = None,
    versions: Versions | None = None,
) -> PreparedObjects:
    """Returns validated copies of what is applied, with nothing left out.

    Data sources inside views, the project, and the entity of views without entities are added. The objects given stay
    as they are.

    Args:
        objects: what is applied; the same object given twice counts once.
        snapshot: the registry that it is applied to.
        schema_of: gives the columns of a source, after its field mapping; raises `SourceError` where it cannot be read.
        earliest_of: gives the earliest event time of a (prepared) view's history; None where there are no rows.
        project: the project's name; left out, the snapshot's.
        project_description: of the project, where it is not declared.
        partial: whether objects of the registry that are not given stay, and so can be referred to.
        check_sources: whether declared columns are looked for in the sources; what must be inferred is read anyway.
        digests: what registered objects were made from; left out, every object is made. An object whose inputs are
            unchanged stays as it is registered: it is not read, and its sources are not opened. Nor are those of a view
            of which only the description, tags and the like changed.
        try_function: calls the function of an on-demand view, given the views that it reads, on sample values, and
            returns the view's features; left out, functions are not tried, and the features must be declared.
        versions: decides which version of each view is in use; left out, as if there were nothing to it.
        check_texts: checks that columns of a source which are stored as text can be read as declared; left out, that is
            found when they are read.

    Raises:
        DefinitionError: an object contradicts itself or others, with the subclasses ConflictingFeatureViewNames,
            DataSourceRepeatNamesException and RegistryInferenceFailure.
        SourceError: a source cannot be read, or has no such column, or one of another type.
        FeastObjectNotFoundException: an object refers to one that is not there.
    """
    return _Preparation(
        _once(objects),
        snapshot,
        schema_of,
        earliest_of,
        project or snapshot.project,
        partial,
        check_sources,
        digests or InputDigests(snapshot, {}, lambda source: frozenset()),
        try_function,
        check_texts,
        versions or Versions(snapshot),
    ).run(project_description)


class _Preparation:
    def __init__(
        self,
        objects: list[Definition],
        snapshot: RegistrySnapshot,
        schema_of: SchemaOf,
        earliest_of: EarliestOf,
        project: str,
        partial: bool,
        check_sources: bool,
        digests: InputDigests,
        try_function: Try | None,
        check_texts: CheckTexts | None,
        versions: Versions,
    ):
        self._versions = versions
        self._try_function = try_function
        self._objects = objects
        self._snapshot = snapshot
        self._sources = Sources(schema_of, self._result_schema, check_texts)
        self._earliest_of = earliest_of
        self._project = project
        self._check_sources = check_sources
        self._digests = digests
        self._staying = snapshot if partial else RegistrySnapshot(snapshot.project, snapshot.revision, ())
        self._entities: dict[str, Entity] = {e.name: e for e in self._staying.entities}
        self._views = ViewsByName({o.name: o for o in self._staying.all_stored(*VIEW_TYPES)}, self._version_of)
        self._with_rows = self._views
        self._prepared: dict[str, FeatureView | StoredObject] = {}

    def run(self, project_description: str) -> PreparedObjects:
        for given in self._objects:
            if not isinstance(given, _APPLICABLE):
                raise DefinitionError(
                    f"Cannot apply {given!r}: only entities, data sources, views, feature services, "
                    "validation references, permissions and projects can be."
                )
        check_names(self._objects, self._staying)
        for source in self._of(DataSource):
            self._sources.declare(source)
        project = self._declared_project(project_description)
        entities = [copy_definition(e) for e in self._of(Entity)]
        self._entities |= {e.name: e for e in entities}
        declared = self._of(FeatureView)
        for view in in_order(declared):
            made = self._view(view)
            if not isinstance(made, StoredObject):
                made = cast("FeatureView | StoredObject", self._versions.in_use(made))
            self._prepared[view.name] = made
        views = [self._prepared[view.name] for view in declared]
        self._views.add(views)
        self._with_rows = self._views.with_rows()
        on_demand = [self._on_demand(v) for v in self._of(OnDemandFeatureView)]
        self._views.add(on_demand)
        stored = self._stored()
        services = [self._service(s) for s in self._of(FeatureService)]
        for source in self._of(DataSource):
            self._sources.include(source)
        check_source_names(self._sources.prepared(), self._staying)
        if any(v.entityless for v in declared):
            entities.append(dummy_entity())
        as_given = [
            copy_definition(d) for cls in (SavedDataset, ValidationReference, Permission) for d in self._of(cls)
        ]
        result = [project, *entities, *self._sources.prepared(), *views, *on_demand, *stored, *services, *as_given]
        kept = list(self._versions.kept.values())
        return PreparedObjects(
            [*(o for o in result if isinstance(o, Definition)), *kept],
            [o for o in result if isinstance(o, StoredObject)],
            self._versions.tables,
            tuple(self._versions.renamed_ledgers),
        )

    def _of(self, cls: type[_D]) -> list[_D]:
        return [o for o in self._objects if isinstance(o, cls)]

    def _declared_project(self, description: str) -> Project:
        declared = self._of(Project)
        if len(declared) > 1:
            names = ", ".join(repr(p.name) for p in declared)
            raise DefinitionError(f"A repository declares at most one Project; found {names}.")
        if declared and declared[0].name != self._project:
            raise DefinitionError(
                f"Project {declared[0].name!r} is declared, but feature_store.yaml says project {self._project!r}; "
                "they must be the same."
            )
        if declared:
            return copy_definition(declared[0])
        stored = self._snapshot.project_object()
        if stored is not None:
            if description:
                stored.description = description
            return stored
        return Project(name=self._project, description=description)

    # --- views

    def _view(self, given: FeatureView) -> FeatureView | StoredObject:
        subject = f"{type(given).__name__} {given.name!r}"
        self._check_entities(given, subject)
        entities = [self._entities[name] for name in given.entities if name != DUMMY_ENTITY_NAME]
        known = self._digests.unchanged_view(given, entities)
        if known is not None:
            for source in sources_of(given):
                self._sources.adopt(source, cast(StoredObject, self._snapshot.stored(source.object_type, source.name)))
            return known
        view = copy_definition(given)
        view.state = given.state or self._registered_state(given)
        self._prepare_sources(view)
        _leave_out_time(view, subject)
        if isinstance(view, BatchFeatureView) and view.aggregations:
            self._complete_aggregated(view, subject)
        elif view.transformation is not None:
            self._complete_transformed(view, subject)
        elif view.batch_source is not None:
            self._complete_from_source(view, view.batch_source, subject)
        else:
            self._require_features(view, subject, "it has no source to infer them from")
            view.entity_columns = self._entity_columns(view, subject, None)
        view._after_decode()
        if view.partitions is not None and view.partitions.start is None and view.batch_source is not None:
            view.partitions = self._fixed(view, view.partitions)
        return view

    def _version_of(self, name: str) -> BaseFeatureView:
        """Returns a view in the version that a name tells, as it is after the apply."""
        view, number = split_name(name)
        if view in self._views and (number is None or number == self._views[view].current_version_number):
            return self._views[view]
        kept = self._versions.kept.get(name)
        return kept.as_view() if kept is not None else self._staying.view_version(name, *VIEW_TYPES)

    def _registered_state(self, view: BaseFeatureView) -> FeatureViewState:
        """Returns the state of the registered view, which an apply of its declaration does not change."""
        stored = self._snapshot.stored(view.object_type, view.name)
        return (
            FeatureViewState.STATE_UNSPECIFIED if stored is None else cast(BaseFeatureView, stored.definition()).state
        )

    def _check_entities(self, view: FeatureView, subject: str) -> None:
        for name, join_key in zip(view.entities, view.join_keys, strict=True):
            if name == DUMMY_ENTITY_NAME:
                continue
            entity = self._entity(name, subject)
            if entity.join_key != join_key:
                raise DefinitionError(
                    f"{subject} was declared with an entity {name!r} whose join key is {join_key!r}, but the entity of "
                    f"that name has {entity.join_key!r}; declare the view with the Entity object that is applied."
                )

    def _entity(self, name: str, subject: str) -> Entity:
        if name not in self._entities:
            error = EntityNotFoundException(name, self._project, self._entities)
            error.args = (f"{subject}: {error} Apply the entity together with the view.",)
            raise error
        return self._entities[name]

    def _prepare_sources(self, view: FeatureView) -> None:
        if isinstance(view, BatchFeatureView):
            kept = view.batch_source is view.sink_source or view.batch_source == view.sink_source
            view.sources = [self._sources.prepare(s) for s in view.sources]
            if view.sink_source is not None:
                view.sink_source = self._sources.prepare(view.sink_source, like=view.sources[0])
            if view.sink_source is not None and kept:
                view.batch_source = view.sink_source
        if view.stream_source is not None:
            view.stream_source = self._sources.prepare(view.stream_source)
        if view.batch_source is not None:
            view.batch_source = self._sources.prepare(view.batch_source)

    def _complete_transformed(self, view: FeatureView, subject: str) -> None:
        assert isinstance(view, BatchFeatureView)
        self._require_features(view, subject, "what a transformation returns is not inferred")
        if self._check_sources:
            for source in view.sources:
                self._sources.check_columns(source, (), subject)
        view.entity_columns = self._entity_columns(view, subject, view.sources[0])

    def _complete_aggregated(self, view: BatchFeatureView, subject: str) -> None:
        """Completes a view with aggregations, of which its source or its transformation has the columns."""
        source = view.sources[0]
        declared = {f.name: f for f in view.aggregated_columns}
        names = aggregated_columns(view.aggregations)
        missing = [name for name in names if name not in declared]
        if missing and view.transformation is not None:
            raise RegistryInferenceFailure(
                f"{subject}: its schema must say what type the column {missing[0]!r} has, which it aggregates: what a "
                "transformation returns is not inferred."
            )
        if missing:
            purpose = f"{subject}: the columns that it aggregates"
            schema = self._sources.schema_for(source, purpose, "them in its schema")
            for name in missing:
                if schema.get_field_index(name) < 0:
                    raise RegistryInferenceFailure(
                        f"{subject}: data source {source.name!r} has no column {name!r}, which it aggregates. "
                        f"{suggest(name, schema.names)}"
                    )
                declared[name] = inferred_field(schema, name, subject)
        columns = [declared[name] for name in names]
        view.complete_aggregates(columns, subject)
        view.entity_columns = self._entity_columns(view, subject, source)
        if self._check_sources:
            if view.transformation is not None:
                for each in view.sources:
                    self._sources.check_columns(each, (), subject)
            else:
                keys = [f for f in view.entity_columns if not view.entityless]
                self._sources.check_columns(source, [*keys, *columns], subject)

    def _complete_from_source(self, view: FeatureView, source: DataSource, subject: str) -> None:
        if not view.features:
            view.features = self._inferred_features(view, source, subject)
        view.entity_columns = self._entity_columns(view, subject, source)
        if self._check_sources:
            keys = [f for f in view.entity_columns if not view.entityless]
            self._sources.check_columns(source, [*keys, *view.features], subject)

    def _require_features(self, view: FeatureView, subject: str, why: str) -> None:
        if not view.features:
            raise RegistryInferenceFailure(f"{subject} needs a schema with at least one feature: {why}.")

    def _inferred_features(self, view: FeatureView, source: DataSource, subject: str) -> list[Field]:
        schema = self._sources.schema_for(source, f"{subject}: its features", "them in its schema")
        reserved = {source.timestamp_field, source.created_timestamp_column, source.date_partition_column}
        excluded = {source.field_mapping.get(c, c) for c in reserved} | set(view.join_keys)
        fields = [inferred_field(schema, name, subject) for name in schema.names if name not in excluded]
        if not fields:
            raise RegistryInferenceFailure(
                f"{subject}: data source {source.name!r} has no columns but join keys and timestamps "
                f"({', '.join(map(repr, schema.names))}), so there are no features to infer."
            )
        check_features(fields, subject)
        return fields

    def _result_schema(self, source: DataSource) -> pa.Schema | None:
        """Returns the columns of the result that a view will keep in a source; None if no view keeps one there."""
        import pyarrow as pa

        from feast_assets.types.arrow import TIMESTAMP, to_arrow_type

        standing = {o.name: o for o in self._staying.all_stored(BatchFeatureView.object_type)}
        declared = {v.name: v for v in self._of(BatchFeatureView)}
        for each in (standing | declared | self._prepared).values():
            view = each.definition() if isinstance(each, StoredObject) else each
            if not isinstance(view, BatchFeatureView):
                continue
            sink = view.sink_source
            if sink is None or sink.name != source.name:
                continue
            if not view.keeps_result:
                raise SourceWithoutFilesError(
                    f"Data source {source.name!r} has no files yet. It is the sink_source of feature view "
                    f"{view.name!r}, which keeps its result there only with offline=True."
                )
            if not view.enabled:
                raise SourceWithoutFilesError(
                    f"Data source {source.name!r} has no files yet, and feature view {view.name!r}, which keeps its "
                    "result there, is disabled."
                )
            times = [c for c in (sink.timestamp_field, sink.created_timestamp_column) if c]
            columns = {sink.field_mapping.get(c, c): TIMESTAMP for c in times}
            # In the order in which the files will have them.
            keys = [] if view.entityless else sorted(view.entity_columns)
            features = view.features if view.aggregates is None else view.aggregates.kept_fields
            return pa.schema(columns | {f.name: to_arrow_type(f.dtype) for f in (*keys, *features)})
        return None

    def _entity_columns(self, view: FeatureView, subject: str, source: DataSource | None) -> list[Field]:
        declared = {f.name: f for f in view.entity_columns}
        return [
            declared.get(key) or self._entity_column(name, key, subject, source)
            for name, key in zip(view.entities, view.join_keys, strict=True)
        ]

    def _entity_column(self, entity: str, key: str, subject: str, source: DataSource | None) -> Field:
        value_type = self._entities[entity].value_type
        if value_type is not ValueType.UNKNOWN:
            return Field(name=key, dtype=from_value_type(value_type))
        if source is None:
            raise RegistryInferenceFailure(
                f"{subject}: the type of join key {key!r} is not known; put Field(name={key!r}, dtype=...) in the "
                "schema."
            )
        schema = self._sources.schema_for(
            source,
            f"{subject}: the type of join key {key!r}",
            f"it: value_type of entity {entity!r}, or Field(name={key!r}, dtype=...) in the view's schema",
        )
        if schema.get_field_index(key) < 0:
            raise RegistryInferenceFailure(
                f"{subject}: join key {key!r} of entity {entity!r} is not a column of data source {source.name!r}. "
                f"{suggest(key, schema.names)}"
            )
        return inferred_field(schema, key, subject)

    def _fixed(self, view: FeatureView, partitions: Partitions) -> Partitions:
        """Returns the grid with its start: the registry's if the grain is the same, else the first event's window."""
        stored = self._snapshot.get(type(view).object_type, view.name)
        if isinstance(stored, FeatureView) and stored.partitions is not None:
            before = stored.partitions
            if before.grain == partitions.grain and before.start is not None:
                return partitions.starting(before.start)
        earliest = self._earliest_of(view)
        if earliest is None or (partitions.end is not None and earliest >= partitions.end):
            return partitions
        return partitions.starting(partitions.floor(earliest))

    # --- what refers to views

    def _on_demand(self, given: OnDemandFeatureView) -> OnDemandFeatureView | StoredObject:
        subject = f"OnDemandFeatureView {given.name!r}"
        for name in given.entities:
            self._entity(name, subject)
        for source in given.request_sources:
            self._sources.prepare(source)
        views = self._with_rows
        known = self._digests.unchanged(given, views.unread)
        if known is not None:
            return known
        view = copy_definition(given)
        view.state = given.state or self._registered_state(given)
        view.source_projections = [
            resolve_projection(p, views, subject, self._project) for p in view.source_projections
        ]
        self._complete_on_demand(view, subject)
        view._after_decode()
        return cast("OnDemandFeatureView | StoredObject", self._versions.in_use(view))

    def _complete_on_demand(self, view: OnDemandFeatureView, subject: str) -> None:
        """Tries the view's function, and infers features that were left out."""
        if self._try_function is not None and view.udf is not None:
            read = [self._with_rows[projection.name] for projection in view.source_projections]
            sources = {source.name: source for source in read if isinstance(source, FeatureView)}
            # A function that reads a disabled view cannot be called until that is enabled.
            if all(source.enabled for source in sources.values()):
                view.features = self._try_function(view, sources)
        if not view.features:
            raise RegistryInferenceFailure(
                f"{subject} needs a schema with the features that its function returns: the function was not tried, so "
                "they cannot be inferred."
            )

    def _stored(self) -> list[StoredOnDemandView]:
        """Returns what is stored of the on-demand views that are, or stay, registered.

        Those that are not given are made again as well, because a view that they read may have changed.
        """
        declared = {view.name: view.write_to_online_store for view in self._of(OnDemandFeatureView)}
        names = [name for name, written in declared.items() if written]
        names += [n for n in self._staying.names(StoredOnDemandView.object_type) if n not in declared]
        written = [view for name in names if isinstance(view := self._views[name], OnDemandFeatureView)]
        views = {}
        for view in written:
            for projection in view.source_projections:
                source = self._with_rows[projection.name]
                if isinstance(source, FeatureView):
                    views[projection.name] = source
        return stored_views(written, views, {view.name: self._stored_keys(view, views) for view in written})

    def _stored_keys(self, view: OnDemandFeatureView, views: Mapping[str, FeatureView]) -> list[Field]:
        subject = f"OnDemandFeatureView {view.name!r}"
        read = [views[p.name] for p in view.source_projections if p.name in views]
        known = {f.name: f for f in known_keys(view, read)}
        return [
            known.get(key) or self._entity_column(name, key, subject, None)
            for name, key in zip(view.entities, view.join_keys, strict=True)
        ]

    def _service(self, given: FeatureService) -> FeatureService | StoredObject:
        known = self._digests.unchanged(given, self._views.unread)
        if known is not None:
            return known
        service = copy_definition(given)
        subject = f"FeatureService {service.name!r}"
        service.feature_view_projections = [
            resolve_projection(p, self._views, subject, self._project) for p in service.feature_view_projections
        ]
        return service


def _once(objects: Iterable[Definition]) -> list[Definition]:
    kept: dict[int, Definition] = {id(o): o for o in objects}
    return list(kept.values())


def _leave_out_time(view: FeatureView, subject: str) -> None:
    """Leaves the time column out of a view's features where the schema lists it, as Feast's users may.

    Raises:
        DefinitionError: a feature that is not the view's time is named like the time column of entity dataframes.
    """
    if not any(f.name == _ENTITY_TIME for f in view.features):
        return
    source = view.batch_source
    time = None if source is None else source.field_mapping.get(source.timestamp_field, source.timestamp_field)
    if time != _ENTITY_TIME:
        how = "in the transformation" if view.transformation is not None else "with the source's field_mapping"
        raise DefinitionError(
            f"{subject}: a feature cannot be named {_ENTITY_TIME!r}, which is the time column of entity dataframes; "
            f"leave it out of the schema, or give it another name {how}."
        )
    warnings.warn(
        f"{subject}: its schema lists {_ENTITY_TIME!r}, the time of its rows, which is not a feature; it is left out.",
        stacklevel=2,
    )
    view.features = [f for f in view.features if f.name != _ENTITY_TIME]
