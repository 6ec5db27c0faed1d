"""The definitions of one project as of one revision."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar, cast

from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import PLAIN, Spec, from_micros
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import ViewVersion, split_name, versioned_name
from feast_assets.errors import (
    DataSourceObjectNotFoundException,
    DefinitionError,
    EntityNotFoundException,
    FeastObjectNotFoundException,
    FeatureServiceNotFoundException,
    FeatureViewNotFoundException,
    FeatureViewVersionNotFound,
    InputError,
    OnDemandFeatureViewNotFoundException,
    SavedDatasetNotFound,
    shown,
)
from feast_assets.feast_errors import PermissionObjectNotFoundException, ValidationReferenceNotFound
from feast_assets.registry.spec_text import restored

VIEW_TYPES = (
    FeatureView.object_type,
    StreamFeatureView.object_type,
    LabelView.object_type,
    OnDemandFeatureView.object_type,
)
"""The object types whose names share one namespace."""

TYPES_WITH_ROWS = (
    FeatureView.object_type,
    StreamFeatureView.object_type,
    LabelView.object_type,
    StoredOnDemandView.object_type,
)
"""The object types whose objects have rows, and so may have an online table."""

NOT_FOUND: Mapping[str, type[FeastObjectNotFoundException]] = {
    Entity.object_type: EntityNotFoundException,
    FeatureView.object_type: FeatureViewNotFoundException,
    StreamFeatureView.object_type: FeatureViewNotFoundException,
    LabelView.object_type: FeatureViewNotFoundException,
    OnDemandFeatureView.object_type: OnDemandFeatureViewNotFoundException,
    DataSource.object_type: DataSourceObjectNotFoundException,
    FeatureService.object_type: FeatureServiceNotFoundException,
    SavedDataset.object_type: SavedDatasetNotFound,
    ValidationReference.object_type: ValidationReferenceNotFound,
    Permission.object_type: PermissionObjectNotFoundException,
}
"""Object type -> the error for a name that is not there."""

FeatureLists = Mapping[str, tuple[tuple[Field, ...], ...]]

_D = TypeVar("_D", bound=Spec)


@dataclass(slots=True)
class StoredObject:
    """One object as the registry holds it; read into a definition when it is first asked for.

    Attributes:
        spec: the definition's stored form, as JSON text, maybe compressed (`feast_assets.registry.spec_text`); "" where
            the definition is at hand.
        created, updated: UTC microseconds; 0 where the definition is at hand.
    """

    object_type: str
    name: str
    content_hash: str
    spec: str
    created: int
    updated: int
    _definition: Definition | None = field(default=None, repr=False)

    @classmethod
    def of(cls, definition: Definition) -> StoredObject:
        """Returns a definition as if it had been stored."""
        return cls(
            type(definition).object_type,
            definition.name,
            definition.content_hash(),
            "",
            0,
            0,
            copy_definition(definition),
        )

    def definition(self) -> Definition:
        """Returns the definition itself, which must not be changed."""
        if self._definition is None:
            definition = Definition.from_spec(json.loads(restored(self.spec)))
            definition.created_timestamp = from_micros(self.created)
            definition.last_updated_timestamp = from_micros(self.updated)
            self._definition = definition
        return self._definition


StoredRow = tuple[str, str, str, str, int, int]
"""What a `StoredObject` is made of, in order."""

_Key = tuple[str, str]


class _StoredObjects:
    """The objects of a snapshot by type and name.

    A registry gives rows, and most of a large one are never asked for. So a row is made an object when it is, and the
    names are put in order when somebody lists them.
    """

    def __init__(self, stored: Iterable[StoredObject | StoredRow]):
        self._by_key: dict[_Key, StoredObject | StoredRow] = {
            (o[:2] if type(o) is tuple else (o.object_type, o.name)): o  # type: ignore[union-attr]
            for o in stored
        }

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: _Key) -> StoredObject | None:
        """Returns an object; None if there is none."""
        stored = self._by_key.get(key)
        if stored is None or isinstance(stored, StoredObject):
            return stored
        # Of two threads one may make an object for nothing.
        made = self._by_key[key] = StoredObject(*stored)
        return made

    def keys(self, object_types: Container[str] = ()) -> list[_Key]:
        """Returns the types and names of some types, of all if there are none, in order."""
        if not object_types:
            return sorted(self._by_key)
        return sorted(key for key in self._by_key if key[0] in object_types)

    def values(self, object_types: Container[str] = ()) -> list[StoredObject]:
        """Returns the objects of some types, of all if there are none, by type and name."""
        return [cast(StoredObject, self.get(key)) for key in self.keys(object_types)]

    def with_changes(
        self, came: Iterable[StoredObject | StoredRow], went: Container[_Key]
    ) -> Iterator[StoredObject | StoredRow]:
        """Yields these objects without those that went, and with others, which take the place of those of their
        names."""
        yield from (stored for key, stored in self._by_key.items() if key not in went)
        yield from came


class RegistrySnapshot:
    """All definitions of a project as of one revision. It never changes, and may be shared between threads.

    Every definition that it hands out is a copy: changing it changes neither the snapshot nor the registry.

    Attributes:
        project: the project's name.
        revision: the revision's number; 0 before the first apply.
        committed: when it was, in UTC microseconds; 0 where that is not known.
        has_noted_pushes: whether the registry held pushes that are not known to be complete when this was read; see
            `feast_assets.registry.noted_pushes`.
    """

    def __init__(
        self,
        project: str,
        revision: int,
        stored: Iterable[StoredObject | StoredRow],
        feature_lists: FeatureLists | None = None,
        *,
        committed: int = 0,
        has_noted_pushes: bool = False,
    ):
        """Makes a snapshot of what a registry holds; `RegistrySnapshot.of` makes one of definitions.

        Args:
            stored: at most one object per type and name, or what it is made of.
            feature_lists: view name -> the lists of features it has had, newest first.
        """
        self.project = project
        self.revision = revision
        self.committed = committed
        self.has_noted_pushes = has_noted_pushes
        self._stored = _StoredObjects(stored)
        self._feature_lists = feature_lists if feature_lists is not None else {}

    @classmethod
    def of(
        cls,
        project: str,
        objects: Iterable[Definition],
        *,
        revision: int = 1,
        feature_lists: FeatureLists | None = None,
    ) -> RegistrySnapshot:
        """Returns a snapshot that holds these definitions, as they are: nothing is validated or inferred.

        Args:
            feature_lists: see the constructor; views that are left out have had only their present list.
        """
        return cls(project, revision, [StoredObject.of(o) for o in objects], feature_lists)

    def with_changes(
        self,
        revision: int,
        committed: int,
        came: Iterable[StoredObject | StoredRow],
        went: Iterable[_Key],
        feature_lists: FeatureLists,
    ) -> RegistrySnapshot:
        """Returns the snapshot of a later revision; what has not changed since is shared, as far as it has been read.

        Args:
            came: objects that are new or changed.
            went: (object type, name) of objects that were removed, or changed.
            committed, feature_lists: see the constructor.
        """
        stored = self._stored.with_changes(came, set(went))
        return RegistrySnapshot(self.project, revision, stored, feature_lists, committed=committed)

    def with_noted_pushes(self, noted: bool) -> RegistrySnapshot:
        """Returns the same definitions with another `has_noted_pushes`; the snapshot itself where that is the same."""
        if noted == self.has_noted_pushes:
            return self
        other = copy(self)
        other.has_noted_pushes = noted
        return other

    def __repr__(self) -> str:
        return f"RegistrySnapshot(project={self.project!r}, revision={self.revision}, objects={len(self._stored)})"

    # --- by name

    def get(self, object_type: str, name: str) -> Definition | None:
        """Returns an object; None if there is none. Raises InputError for a name that is no text."""
        if not isinstance(name, str):
            raise InputError(f"The name of a {object_type} must be text, not {type(name).__name__} {shown(name)}.")
        stored = self._stored.get((object_type, name))
        return None if stored is None else copy_definition(stored.definition())

    def stored(self, object_type: str, name: str) -> StoredObject | None:
        """Returns an object as the registry holds it, for comparing; None if there is none."""
        return self._stored.get((object_type, name))

    def feature_view(self, name: str) -> FeatureView:
        """Returns a view with rows: a feature view of any kind, a label view, or what is stored of an on-demand view.

        Raises:
            FeatureViewNotFoundException: there is none.
        """
        if isinstance(name, str) and "@" in name:
            return cast(FeatureView, self.view_version(name, *TYPES_WITH_ROWS))
        view = next((v for kind in TYPES_WITH_ROWS if (v := self.get(kind, name)) is not None), None)
        if view is None:
            error = self._not_found(FeatureView.object_type, name, *TYPES_WITH_ROWS)
            if self.stored(OnDemandFeatureView.object_type, name) is not None:
                error.args = (
                    f"{name!r} is an on-demand feature view: it is computed when it is read, and holds no rows to "
                    "materialize, write or count.",
                )
            raise error
        return cast(FeatureView, view)

    def on_demand_feature_view(self, name: str) -> OnDemandFeatureView:
        """Returns an on-demand feature view.

        Raises:
            OnDemandFeatureViewNotFoundException: there is none.
        """
        return cast(OnDemandFeatureView, self._required(OnDemandFeatureView.object_type, name))

    def stream_feature_view(self, name: str) -> StreamFeatureView:
        """Returns a stream feature view.

        Raises:
            FeatureViewNotFoundException: there is none.
        """
        return cast(StreamFeatureView, self._required(StreamFeatureView.object_type, name))

    def stored_on_demand_view(self, name: str) -> StoredOnDemandView | None:
        """Returns what is stored of an on-demand view; None where nothing is."""
        return cast("StoredOnDemandView | None", self.get(StoredOnDemandView.object_type, name))

    def view(self, name: str) -> BaseFeatureView:
        """Returns a view of any kind.

        Raises:
            FeatureViewNotFoundException: there is none.
        """
        if isinstance(name, str) and "@" in name:
            return self.view_version(name, *VIEW_TYPES)
        for object_type in VIEW_TYPES:
            view = self.get(object_type, name)
            if view is not None:
                return cast(BaseFeatureView, view)
        raise self._not_found(FeatureView.object_type, name, *VIEW_TYPES)

    def view_versions(self, name: str) -> list[ViewVersion]:
        """Returns the versions of a view that are registered beside the one in use, by number."""
        prefix = f"{name}@v"
        names = [n for n in self.names(ViewVersion.object_type) if n.startswith(prefix)]
        versions = [cast(ViewVersion, self.get(ViewVersion.object_type, n)) for n in names]
        return sorted(versions, key=lambda version: version.number)

    def view_version(self, name: str, *object_types: str) -> BaseFeatureView:
        """Returns a view as it is in the version that a name such as ``stats@v1`` tells.

        The version in use is the view itself, under its own name. Whether a view is enabled, and its state, concern all
        of its versions.

        Args:
            object_types: of the view.

        Raises:
            FeatureViewNotFoundException: there is no such view.
            FeatureViewVersionNotFound: the view has no such version.
            InputError: the name tells no version.
        """
        try:
            view_name, number = split_name(name)
        except DefinitionError as wrong:
            raise InputError(str(wrong)) from None
        view = next((v for kind in object_types if (v := self.get(kind, view_name)) is not None), None)
        if view is None:
            raise self._not_found(FeatureView.object_type, view_name, *object_types)
        current = cast(BaseFeatureView, view)
        if number is None or number == current.current_version_number:
            return current
        version = self.get(ViewVersion.object_type, versioned_name(view_name, number))
        if version is None:
            numbers = sorted({current.current_version_number, *(v.number for v in self.view_versions(view_name))})
            error = FeatureViewVersionNotFound(view_name, f"v{number}", self.project)
            error.args = (f"{error} Its versions are {', '.join(f'v{n}' for n in numbers)}.",)
            raise error
        of_version = cast(ViewVersion, version).as_view()
        of_version.enabled, of_version.state = current.enabled, current.state
        return of_version

    def entity(self, name: str) -> Entity:
        """Returns an entity.

        Raises:
            EntityNotFoundException: there is none.
        """
        return cast(Entity, self._required(Entity.object_type, name))

    def data_source(self, name: str) -> DataSource:
        """Returns a data source.

        Raises:
            DataSourceObjectNotFoundException: there is none.
        """
        return cast(DataSource, self._required(DataSource.object_type, name))

    def feature_service(self, name: str) -> FeatureService:
        """Returns a feature service.

        Raises:
            FeatureServiceNotFoundException: there is none.
        """
        return cast(FeatureService, self._required(FeatureService.object_type, name))

    def saved_dataset(self, name: str) -> SavedDataset:
        """Returns a saved dataset.

        Raises:
            SavedDatasetNotFound: there is none.
        """
        return cast(SavedDataset, self._required(SavedDataset.object_type, name))

    def validation_reference(self, name: str) -> ValidationReference:
        """Returns a validation reference by name, without its rows and its profiler.

        Raises:
            ValidationReferenceNotFound: there is none.
        """
        return cast(ValidationReference, self._required(ValidationReference.object_type, name))

    def permission(self, name: str) -> Permission:
        """Returns a permission.

        Raises:
            PermissionObjectNotFoundException: there is none.
        """
        return cast(Permission, self._required(Permission.object_type, name))

    def project_object(self) -> Project | None:
        """Returns the project; None before the first apply."""
        return cast("Project | None", self.get(Project.object_type, self.project))

    def feature_lists(self, view: str) -> tuple[tuple[Field, ...], ...]:
        """Returns every distinct list of features (names and types) that a view has had, newest first.

        Rows of an online store may have been written under any of them. A view that never was has none. The fields are
        shared, not copies: they must not be changed.
        """
        view = view.partition("@")[0]
        known = self._feature_lists.get(view)
        if known is not None:
            return known
        for object_type in TYPES_WITH_ROWS:
            stored = self._stored.get((object_type, view))
            if stored is not None:
                return (bare_fields(cast(FeatureView, stored.definition())),)
        return ()

    # --- lists, sorted by name

    @property
    def feature_views(self) -> list[FeatureView]:
        """Feature views and batch feature views."""
        return self._all(FeatureView.object_type, FeatureView)

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._all(OnDemandFeatureView.object_type, OnDemandFeatureView)

    @property
    def stream_feature_views(self) -> list[StreamFeatureView]:
        return self._all(StreamFeatureView.object_type, StreamFeatureView)

    @property
    def stored_on_demand_views(self) -> list[StoredOnDemandView]:
        return self._all(StoredOnDemandView.object_type, StoredOnDemandView)

    @property
    def views_with_history(self) -> list[FeatureView]:
        """Views that materialization may make rows of: feature views, stream feature views, and what is stored of
        on-demand views."""
        return [*self.feature_views, *self.stream_feature_views, *self.stored_on_demand_views]

    @property
    def label_views(self) -> list[LabelView]:
        return self._all(LabelView.object_type, LabelView)

    @property
    def entities(self) -> list[Entity]:
        """All entities but the one that stands in for views without entities."""
        return [e for e in self._all(Entity.object_type, Entity) if e.name != DUMMY_ENTITY_NAME]

    @property
    def data_sources(self) -> list[DataSource]:
        return self._all(DataSource.object_type, DataSource)

    @property
    def feature_services(self) -> list[FeatureService]:
        return self._all(FeatureService.object_type, FeatureService)

    @property
    def saved_datasets(self) -> list[SavedDataset]:
        return self._all(SavedDataset.object_type, SavedDataset)

    @property
    def validation_references(self) -> list[ValidationReference]:
        return self._all(ValidationReference.object_type, ValidationReference)

    @property
    def permissions(self) -> list[Permission]:
        return self._all(Permission.object_type, Permission)

    def objects(self) -> list[Definition]:
        """Returns everything, by type and name."""
        return [copy_definition(o.definition()) for o in self._stored.values()]

    def shared(self, *object_types: str) -> list[Definition]:
        """Returns the definitions of some types (left out: of all) themselves, which must not be changed."""
        return [o.definition() for o in self.all_stored(*object_types)]

    def all_stored(self, *object_types: str) -> list[StoredObject]:
        """Returns the objects of some types (left out: of all) as the registry holds them, unread as long as they are
        not asked for."""
        return self._stored.values(object_types)

    def known(self) -> list[tuple[str, str]]:
        """Returns (object type, name) of everything, without reading the definitions."""
        return self._stored.keys()

    def names(self, *object_types: str) -> list[str]:
        """Returns the names of all objects of some types, without reading the definitions."""
        return [name for _, name in self._stored.keys(object_types)] if object_types else []

    def _required(self, object_type: str, name: str) -> Definition:
        definition = self.get(object_type, name)
        if definition is None:
            raise self._not_found(object_type, name, object_type)
        return definition

    def _not_found(self, object_type: str, name: str, *suggested: str) -> FeastObjectNotFoundException:
        """Returns the error for a name; ``suggested`` are the object types that near names are taken from."""
        known = [n for n in self.names(*suggested) if n != DUMMY_ENTITY_NAME]
        error = NOT_FOUND[object_type](name, self.project, known)
        if self.revision == 0:
            error.args = (
                f"There is no {error.kind} {name!r}: project {self.project!r} has not been applied yet; run "
                "`feast-assets apply` first.",
            )
        return error

    def _all(self, object_type: str, _: type[_D]) -> list[_D]:
        return [cast(_D, copy_definition(o.definition())) for o in self._stored.values((object_type,))]


def copy_definition(definition: _D) -> _D:
    """Returns a copy that shares nothing changeable with the original; functions and types are shared."""
    return cast(_D, _copied(definition))


def bare_fields(view: BaseFeatureView) -> tuple[Field, ...]:
    """Returns a view's features with nothing but names and types."""
    return tuple(Field(name=f.name, dtype=f.dtype) for f in view.features)


def _copied(value: object) -> object:
    if isinstance(value, Spec):
        copied = object.__new__(type(value))
        attributes = copied.__dict__ = vars(value).copy()
        # Attributes of simple types make up nearly all of a definition.
        for name, attribute in attributes.items():
            if type(attribute) not in PLAIN and isinstance(attribute, (Spec, list, dict)):
                attributes[name] = _copied(attribute)
        return copied
    if isinstance(value, list):
        return [_copied(v) for v in value]
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return value
