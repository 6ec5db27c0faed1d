"""What depends on what among the definitions of a project, as Feast tells it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.saved_dataset import SavedDataset, SavedDatasetFileStorage
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import InputError, shown
from feast_assets.registry.snapshot import RegistrySnapshot


class FeastObjectType(enum.Enum):
    """The kinds of objects that lineage is about."""

    DATA_SOURCE = "dataSource"
    ENTITY = "entity"
    FEATURE_VIEW = "featureView"
    LABEL_VIEW = "labelView"
    FEATURE_SERVICE = "featureService"
    FEATURE = "feature"
    SAVED_DATASET = "savedDataset"


@dataclass(frozen=True, slots=True)
class EntityReference:
    """One object (not only an entity, as Feast's name says)."""

    type: FeastObjectType
    name: str


@dataclass(frozen=True, slots=True)
class EntityRelation:
    """One object that another one is made of."""

    source: EntityReference
    target: EntityReference


Lineage = tuple[list[EntityRelation], list[EntityRelation]]

_VIEWS = (FeastObjectType.FEATURE_VIEW, FeastObjectType.LABEL_VIEW)


def lineage_of(
    snapshot: RegistrySnapshot, filter_object_type: str | None = None, filter_object_name: str | None = None
) -> Lineage:
    """Returns the relations of a project's objects: those that are declared, and those that follow through views.

    Args:
        filter_object_type, filter_object_name: both, for the relations of one object only; otherwise all.

    Raises:
        InputError: there is no such type.
    """
    direct = list(_direct(snapshot))
    indirect = list(_indirect(snapshot, direct))
    if not (filter_object_type and filter_object_name):
        return direct, indirect
    of = EntityReference(_type(filter_object_type), filter_object_name)
    return _involving(direct, of), _involving(indirect, of)


def relationships_of(
    snapshot: RegistrySnapshot, object_type: str, object_name: str, *, include_indirect: bool
) -> list[EntityRelation]:
    """Returns the relations of one object.

    Args:
        object_type: a value of `FeastObjectType`.

    Raises:
        InputError: there is no such type.
    """
    direct, indirect = lineage_of(snapshot, object_type, object_name)
    return [*direct, *indirect] if include_indirect else direct


def _type(name: object) -> FeastObjectType:
    for each in FeastObjectType:
        if each.value == name:
            return each
    known = ", ".join(each.value for each in FeastObjectType)
    raise InputError(f"Lineage has no objects of type {shown(name)}; the types are {known}.")


def _involving(relations: Iterable[EntityRelation], of: EntityReference) -> list[EntityRelation]:
    return [each for each in relations if of in (each.source, each.target)]


def _related(sources: Iterable[tuple[FeastObjectType, str]], target: EntityReference) -> Iterator[EntityRelation]:
    for kind, name in sources:
        yield EntityRelation(EntityReference(kind, name), target)


def _direct(snapshot: RegistrySnapshot) -> Iterator[EntityRelation]:
    kinds = FeastObjectType
    labels = {view.name for view in snapshot.label_views}
    for service in snapshot.feature_services:
        views = [projection.name.partition("@")[0] for projection in service.feature_view_projections]
        target = EntityReference(kinds.FEATURE_SERVICE, service.name)
        yield from _related([(_VIEWS[view in labels], view) for view in views], target)
    for view in snapshot.feature_views:
        target = EntityReference(kinds.FEATURE_VIEW, view.name)
        yield from _related([(kinds.ENTITY, name) for name in view.entities], target)
        yield from _related([(kinds.FEATURE, field.name) for field in view.features], target)
        yield from _related([(kinds.DATA_SOURCE, name) for name in _history_sources(view)], target)
    for computed in snapshot.on_demand_feature_views:
        target = EntityReference(kinds.FEATURE_VIEW, computed.name)
        yield from _related([(kinds.ENTITY, name) for name in computed.entities], target)
        yield from _related([(kinds.FEATURE, field.name) for field in computed.features], target)
        yield from _related([(kinds.DATA_SOURCE, source.name) for source in computed.request_sources], target)
        yield from _related([(kinds.FEATURE_VIEW, source.name) for source in computed.source_projections], target)
    for stream in snapshot.stream_feature_views:
        target = EntityReference(kinds.FEATURE_VIEW, stream.name)
        yield from _related([(kinds.DATA_SOURCE, name) for name in _all_sources(stream)], target)
    for label_view in snapshot.label_views:
        target = EntityReference(kinds.LABEL_VIEW, label_view.name)
        yield from _related([(kinds.ENTITY, name) for name in label_view.entities], target)
        yield from _related([(kinds.DATA_SOURCE, name) for name in _all_sources(label_view)], target)
    paths = {source.path: source.name for source in snapshot.data_sources if isinstance(source, FileSource)}
    for dataset in snapshot.saved_datasets:
        yield from _related(_of_dataset(dataset, paths), EntityReference(kinds.SAVED_DATASET, dataset.name))


def _history_sources(view: FeatureView) -> list[str]:
    """Returns the names of the sources that a view's rows are read or computed from."""
    sources: Iterable[DataSource | None] = [view.batch_source]
    if isinstance(view, BatchFeatureView) and view.transformation is not None:
        sources = view.sources
    return list(dict.fromkeys(source.name for source in sources if source is not None))


def _all_sources(view: FeatureView) -> list[str]:
    """Returns the names of a view's stream or push source, and of the source of its history."""
    return list(dict.fromkeys(s.name for s in (view.source, view.batch_source) if s is not None))


def _of_dataset(dataset: SavedDataset, paths: dict[str, str]) -> list[tuple[FeastObjectType, str]]:
    related: list[tuple[FeastObjectType, str]] = []
    if dataset.feature_service_name:
        related.append((FeastObjectType.FEATURE_SERVICE, dataset.feature_service_name))
    views = dict.fromkeys(reference.partition(":")[0].partition("@")[0] for reference in dataset.features)
    related += [(FeastObjectType.FEATURE_VIEW, view) for view in views]
    storage = dataset.storage
    if isinstance(storage, SavedDatasetFileStorage) and storage.path in paths:
        related.append((FeastObjectType.DATA_SOURCE, paths[storage.path]))
    return related


def _indirect(snapshot: RegistrySnapshot, direct: list[EntityRelation]) -> Iterator[EntityRelation]:
    """Yields what services take from through their views, and what entities are found in."""
    into: dict[str, list[EntityReference]] = {}
    for relation in direct:
        if relation.target.type in _VIEWS:
            into.setdefault(relation.target.name, []).append(relation.source)
    for service in snapshot.feature_services:
        target = EntityReference(FeastObjectType.FEATURE_SERVICE, service.name)
        for projection in service.feature_view_projections:
            for source in into.get(projection.name.partition("@")[0], []):
                yield EntityRelation(source, target)
    for relation in direct:
        if relation.source.type is FeastObjectType.ENTITY and relation.target.type in _VIEWS:
            for source in into[relation.target.name]:
                if source.type is FeastObjectType.DATA_SOURCE:
                    yield EntityRelation(relation.source, source)
