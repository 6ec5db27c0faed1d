"""The verbs that get and list the definitions of a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from feast_assets.arguments import name_of
from feast_assets.auth.access import Access
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import declared_parts
from feast_assets.errors import FeatureViewNotFoundException, InputError, ProjectObjectNotFoundException, shown
from feast_assets.registry.base import Registry
from feast_assets.registry.cache import SnapshotCache
from feast_assets.registry.snapshot import RegistrySnapshot

_Object = TypeVar("_Object", bound=Definition)
_View = TypeVar("_View", bound=FeatureView)


class Catalog:
    """The definitions of one project, as its registry has them.

    ``allow_cache`` and ``allow_registry_cache`` say whether the process may use its copy of the registry; otherwise the
    registry is asked first whether there is something newer. ``tags`` choose the objects that have all of them.

    Where an identity acts (`feast_assets.auth.identity.acting_as`), what it may not DESCRIBE is refused by the verbs
    that get one object, and left out by those that list them.

    Attributes:
        access: what the acting identity may do.
    """

    registry: Registry

    if TYPE_CHECKING:

        @property
        def project(self) -> str: ...

        @property
        def access(self) -> Access: ...

        @property
        def _cache(self) -> SnapshotCache: ...

    def snapshot(self) -> RegistrySnapshot:
        """Returns the project's definitions, from the cache: all of them, whoever is acting."""
        return self._cache.get()

    def refresh_registry(self) -> None:
        """Reads what has changed in the registry since it was last read."""
        self._cache.fresh()

    def _described(self, definition: _Object) -> _Object:
        """Returns a definition that the acting identity may see."""
        if not self.access.is_open:
            self.access.check(self._cache.get(), [definition], AuthzedAction.DESCRIBE)
        return definition

    def _listed(self, definitions: Sequence[_Object], tags: Mapping[str, str] | None) -> list[_Object]:
        """Returns the definitions that have all the tags, and that the acting identity may see."""
        tagged = _tagged(definitions, tags)
        return (
            tagged if self.access.is_open else self.access.permitted(self._cache.get(), tagged, AuthzedAction.DESCRIBE)
        )

    def _check_project(self, *actions: AuthzedAction) -> None:
        """Checks that the acting identity may do something to the project as a whole."""
        if not self.access.is_open:
            snapshot = self._cache.fresh()
            project = snapshot.project_object() or Project(name=self.project)
            self.access.check(snapshot, [project], *actions)

    def registered(self, allow_cache: bool) -> RegistrySnapshot:
        """Returns the project's definitions: all of them, so the acting identity must be allowed to see the project.

        Args:
            allow_cache: whether those that this process has may be older than the registry's.
        """
        self._check_project(AuthzedAction.DESCRIBE)
        return self._registered(allow_cache)

    def _registered(self, allow_cache: bool) -> RegistrySnapshot:
        return self._cache.get() if allow_cache else self._cache.fresh()

    def get_project(self, name: str | None = None) -> Project:
        """Returns a project of the registry; without a description if none was declared.

        Args:
            name: this store's project when left out.

        Raises:
            ProjectObjectNotFoundException: the registry has no such project.
        """
        if name is None or name_of(name, "project") == self.project:
            return self._described(self._cache.fresh().project_object() or Project(name=self.project))
        projects = {project.name: project for project in self.registry.projects()}
        if name not in projects:
            raise ProjectObjectNotFoundException(name, known=[self.project, *projects])
        return self._described(projects[name])

    def get_entity(self, name: str, allow_registry_cache: bool = False) -> Entity:
        """Returns an entity by name."""
        return self._described(self._registered(allow_registry_cache).entity(name))

    def get_data_source(self, name: str) -> DataSource:
        """Returns a data source by name."""
        return self._described(self._cache.fresh().data_source(name))

    def get_feature_view(self, name: str, allow_registry_cache: bool = False) -> FeatureView:
        """Returns a feature view (batch and label views included) by name, with its materialized intervals."""

        def read(snapshot: RegistrySnapshot) -> FeatureView:
            if name in snapshot.names(StreamFeatureView.object_type, StoredOnDemandView.object_type):
                raise FeatureViewNotFoundException(name, self.project, snapshot.names(FeatureView.object_type))
            view = self._described(_shown(snapshot.feature_view(name)))
            view.materialization_intervals = self.registry.materialization_intervals(name)
            return view

        return read(self._cache.get()) if allow_registry_cache else self._cache.fresh_with(read)

    def get_stream_feature_view(self, name: str, allow_registry_cache: bool = False) -> StreamFeatureView:
        """Returns a stream feature view by name, with its materialized intervals."""
        view = self._described(_shown(self._registered(allow_registry_cache).stream_feature_view(name)))
        view.materialization_intervals = self.registry.materialization_intervals(name)
        return view

    def get_label_view(self, name: str, allow_registry_cache: bool = False) -> LabelView:
        """Returns a label view by name."""
        snapshot = self._registered(allow_registry_cache)
        view = snapshot.feature_view(name)
        if not isinstance(view, LabelView):
            raise FeatureViewNotFoundException(name, self.project, [each.name for each in snapshot.label_views])
        return self._described(view)

    def get_any_feature_view(self, name: str, allow_registry_cache: bool = False) -> BaseFeatureView:
        """Returns a view of any kind by name; ``view@v1`` for one of its versions."""
        view = self._registered(allow_registry_cache).view(name_of(name, "feature view"))
        return self._described(_shown(view) if isinstance(view, FeatureView) else view)

    def get_on_demand_feature_view(self, name: str, allow_registry_cache: bool = False) -> OnDemandFeatureView:
        """Returns an on-demand feature view by name."""
        return self._described(self._registered(allow_registry_cache).on_demand_feature_view(name))

    def list_feature_view_versions(self, name: str) -> list[dict[str, object]]:
        """Returns the versions of a view of any kind, by number.

        Returns:
            for each a dict with ``version`` ("v1"), ``version_number``, ``feature_view_type``, ``created_timestamp``
            (UTC) and ``version_id``, which is the same for equal definitions.

        Raises:
            FeatureViewNotFoundException: there is no such view.
        """
        snapshot = self._cache.fresh()
        view = self._described(snapshot.view(name_of(name, "feature view")))
        known = {v.number: (v.view, v.at) for v in snapshot.view_versions(view.name)}
        known[view.current_version_number] = (view, view.last_updated_timestamp)
        return [
            {
                "version": f"v{number}",
                "version_number": number,
                "feature_view_type": of_version.object_type.replace(" ", "_").replace("-", "_"),
                "created_timestamp": at,
                "version_id": declared_parts(of_version),
            }
            for number, (of_version, at) in sorted(known.items())
        ]

    def get_feature_service(self, name: str, allow_cache: bool = False) -> FeatureService:
        """Returns a feature service by name."""
        return self._described(self._registered(allow_cache).feature_service(name))

    def list_projects(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[Project]:
        """Returns the projects of the registry by name, including this store's once it was applied."""
        return self._listed(self.registry.projects(), tags)

    def list_entities(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[Entity]:
        """Returns entities by name, without the one of views that have none."""
        return self._listed([e for e in self._registered(allow_cache).entities if e.name != DUMMY_ENTITY_NAME], tags)

    def list_data_sources(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[DataSource]:
        """Returns data sources by name."""
        return self._listed(self._registered(allow_cache).data_sources, tags)

    def list_feature_views(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[FeatureView]:
        """Returns feature views by name, batch feature views included."""
        return self._listed([_shown(v) for v in self._registered(allow_cache).feature_views], tags)

    def list_batch_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[FeatureView]:
        """Returns the views that are filled from a batch source. As in Feast, these are all of `list_feature_views`."""
        return self.list_feature_views(allow_cache, tags)

    def list_stream_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[StreamFeatureView]:
        """Returns stream feature views by name."""
        return self._listed([_shown(v) for v in self._registered(allow_cache).stream_feature_views], tags)

    def list_label_views(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[LabelView]:
        """Returns label views by name."""
        return self._listed(self._registered(allow_cache).label_views, tags)

    def list_on_demand_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[OnDemandFeatureView]:
        """Returns on-demand feature views by name."""
        return self._listed(self._registered(allow_cache).on_demand_feature_views, tags)

    def list_all_feature_views(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[BaseFeatureView]:
        """Returns views of every kind."""
        return [
            *self.list_feature_views(allow_cache, tags),
            *self.list_stream_feature_views(allow_cache, tags),
            *self.list_label_views(allow_cache, tags),
            *self.list_on_demand_feature_views(allow_cache, tags),
        ]

    def list_feature_services(self, tags: Mapping[str, str] | None = None) -> list[FeatureService]:
        """Returns feature services by name."""
        return self._listed(self._cache.fresh().feature_services, tags)

    def list_saved_datasets(
        self,
        allow_cache: bool = False,
        tags: Mapping[str, str] | None = None,
        namespace: str | None = None,
        collection: str | None = None,
    ) -> list[SavedDataset]:
        """Returns saved datasets by name.

        Args:
            namespace, collection: only those of these groups; of any when left out.
        """
        return [
            dataset
            for dataset in self._listed(self._registered(allow_cache).saved_datasets, tags)
            if namespace in (None, dataset.namespace) and collection in (None, dataset.collection)
        ]

    def get_permission(self, name: str) -> Permission:
        """Returns a permission by name.

        Raises:
            PermissionObjectNotFoundException: there is no such permission.
        """
        return self._described(self._cache.fresh().permission(name_of(name, "permission")))

    def list_permissions(self, allow_cache: bool = False, tags: Mapping[str, str] | None = None) -> list[Permission]:
        """Returns permissions by name."""
        return self._listed(self._registered(allow_cache).permissions, tags)

    def list_validation_references(
        self, allow_cache: bool = False, tags: Mapping[str, str] | None = None
    ) -> list[ValidationReference]:
        """Returns validation references by name, without their rows and profilers."""
        return self._listed(self._registered(allow_cache).validation_references, tags)


def _shown(view: _View) -> _View:
    """Returns a view as users see it: without the entity of views that have none."""
    if not view.entityless:
        return view
    shown = copy(view)
    shown.entities = []
    return shown


def _tagged(objects: Sequence[_Object], tags: Mapping[str, str] | None) -> list[_Object]:
    """Returns the objects that have all the tags."""
    if tags is not None and not isinstance(tags, Mapping):
        raise InputError(f"tags must map text to text, such as {{'team': 'rides'}}, not {shown(tags)}.")
    return [o for o in objects if all(o.tags.get(k) == v for k, v in (tags or {}).items())]
