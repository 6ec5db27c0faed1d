"""The verbs that Feast's registries have beside this package's own: getting, listing, applying, deleting, lineage.

A registry of this package holds one project, and only an apply changes its definitions, which are then checked and
have their online tables. So these verbs hand over to the feature store that opened the registry; a registry that is
opened alone does not have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn, Protocol

from feast_assets.definitions.base import Definition
from feast_assets.definitions.spec import as_utc
from feast_assets.errors import DataSourceObjectNotFoundException, InputError, NotSupportedError, shown
from feast_assets.feast_errors import DataSourceNotFoundException

if TYPE_CHECKING:
    from feast_assets.definitions.entity import Entity
    from feast_assets.definitions.feature_service import FeatureService
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.label_view import LabelView
    from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
    from feast_assets.definitions.permission import Permission
    from feast_assets.definitions.project import Project
    from feast_assets.definitions.saved_dataset import SavedDataset
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.definitions.stream_feature_view import StreamFeatureView
    from feast_assets.definitions.validation_reference import ValidationReference
    from feast_assets.definitions.view import BaseFeatureView
    from feast_assets.registry.lineage import EntityRelation, Lineage
    from feast_assets.registry.snapshot import RegistrySnapshot

Tags = Mapping[str, str]


class RegistryOwner(Protocol):
    """A feature store, as its registries use it."""

    def in_project(self, project: str | None) -> AbstractContextManager[None]:
        """Makes a project the current one for a while."""

    def registered(self, allow_cache: bool) -> RegistrySnapshot:
        """Returns the definitions of the current project."""

    def apply(
        self,
        objects: Definition | Iterable[Definition],
        objects_to_delete: Iterable[Definition] | None = None,
        partial: bool = True,
        skip_feature_view_validation: bool = False,
        no_promote: bool = False,
    ) -> None:
        """Registers definitions of the current project, or removes them."""

    def refresh_registry(self) -> None:
        """Reads the current project anew."""

    def delete_project(self, name: str, commit: bool = True) -> None:
        """Removes a project."""

    def get_project(self, name: str | None = None) -> Project:
        """Returns a project."""

    def get_entity(self, name: str, allow_registry_cache: bool = False) -> Entity: ...
    def get_data_source(self, name: str) -> DataSource: ...
    def get_feature_service(self, name: str, allow_cache: bool = False) -> FeatureService: ...
    def get_any_feature_view(self, name: str, allow_registry_cache: bool = False) -> BaseFeatureView: ...
    def get_feature_view(self, name: str, allow_registry_cache: bool = False) -> FeatureView: ...
    def get_label_view(self, name: str, allow_registry_cache: bool = False) -> LabelView: ...
    def get_on_demand_feature_view(self, name: str, allow_registry_cache: bool = False) -> OnDemandFeatureView: ...
    def get_stream_feature_view(self, name: str, allow_registry_cache: bool = False) -> StreamFeatureView: ...
    def get_saved_dataset(self, name: str) -> SavedDataset: ...
    def get_validation_reference(self, name: str, allow_cache: bool = False) -> ValidationReference: ...
    def list_entities(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[Entity]: ...
    def list_data_sources(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[DataSource]: ...
    def list_feature_views(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[FeatureView]: ...
    def list_label_views(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[LabelView]: ...
    def list_on_demand_feature_views(
        self, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[OnDemandFeatureView]: ...
    def list_stream_feature_views(
        self, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[StreamFeatureView]: ...
    def list_all_feature_views(
        self, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[BaseFeatureView]: ...
    def get_permission(self, name: str) -> Permission: ...
    def list_permissions(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[Permission]: ...
    def list_feature_services(self, tags: Tags | None = None) -> Sequence[FeatureService]: ...
    def list_saved_datasets(
        self,
        allow_cache: bool = False,
        tags: Tags | None = None,
        namespace: str | None = None,
        collection: str | None = None,
    ) -> Sequence[SavedDataset]: ...
    def list_validation_references(
        self, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[ValidationReference]: ...
    def list_projects(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[Project]: ...
    def list_feature_view_versions(self, name: str) -> list[dict[str, object]]: ...


class BaseRegistry:
    """Feast's verbs of a registry.

    ``project`` names any project of the registry. ``allow_cache`` says whether the process may use its copy of the
    definitions, ``tags`` choose the objects that have all of them. ``commit`` is only true: each change is whole at
    once. ``skip_udf`` changes nothing, as functions are never read from a registry.

    Attributes:
        owner: the feature store that opened the registry.
    """

    owner: RegistryOwner | None = None

    def get_data_source(self, name: str, project: str, allow_cache: bool = False) -> DataSource:
        """Returns a data source by name."""
        with self._owner.in_project(project):
            return self._owner.get_data_source(name)

    def get_entity(self, name: str, project: str, allow_cache: bool = False) -> Entity:
        """Returns an entity by name."""
        with self._owner.in_project(project):
            return self._owner.get_entity(name, allow_cache)

    def get_feature_service(self, name: str, project: str, allow_cache: bool = False) -> FeatureService:
        """Returns a feature service by name."""
        with self._owner.in_project(project):
            return self._owner.get_feature_service(name, allow_cache)

    def get_feature_view(self, name: str, project: str, allow_cache: bool = False) -> FeatureView:
        """Returns a feature view by name."""
        with self._owner.in_project(project):
            return self._owner.get_feature_view(name, allow_cache)

    def get_label_view(self, name: str, project: str, allow_cache: bool = False) -> LabelView:
        """Returns a label view by name."""
        with self._owner.in_project(project):
            return self._owner.get_label_view(name, allow_cache)

    def get_on_demand_feature_view(self, name: str, project: str, allow_cache: bool = False) -> OnDemandFeatureView:
        """Returns an on-demand feature view by name."""
        with self._owner.in_project(project):
            return self._owner.get_on_demand_feature_view(name, allow_cache)

    def get_stream_feature_view(self, name: str, project: str, allow_cache: bool = False) -> StreamFeatureView:
        """Returns a stream feature view by name."""
        with self._owner.in_project(project):
            return self._owner.get_stream_feature_view(name, allow_cache)

    def get_saved_dataset(self, name: str, project: str, allow_cache: bool = False) -> SavedDataset:
        """Returns a saved dataset by name."""
        with self._owner.in_project(project):
            return self._owner.get_saved_dataset(name)

    def get_validation_reference(self, name: str, project: str, allow_cache: bool = False) -> ValidationReference:
        """Returns a validation reference by name."""
        with self._owner.in_project(project):
            return self._owner.get_validation_reference(name, allow_cache)

    def get_permission(self, name: str, project: str, allow_cache: bool = False) -> Permission:
        """Returns a permission by name."""
        with self._owner.in_project(project):
            return self._owner.get_permission(name)

    def get_any_feature_view(self, name: str, project: str, allow_cache: bool = False) -> BaseFeatureView:
        """Returns a view of any kind by name."""
        with self._owner.in_project(project):
            return self._owner.get_any_feature_view(name, allow_cache)

    def get_feature_view_by_version(
        self, name: str, project: str, version_number: int, allow_cache: bool = False
    ) -> BaseFeatureView:
        """Returns a view of any kind as one of its versions declares it."""
        if isinstance(version_number, bool) or not isinstance(version_number, int):
            raise InputError(f"version_number must be a whole number, not {shown(version_number)}.")
        with self._owner.in_project(project):
            return self._owner.get_any_feature_view(f"{name}@v{version_number}", allow_cache)

    def get_project(self, name: str, allow_cache: bool = False) -> Project:
        """Returns a project by name."""
        return self._owner.get_project(name)

    def list_data_sources(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[DataSource]:
        """Returns data sources by name."""
        with self._owner.in_project(project):
            return self._owner.list_data_sources(allow_cache, tags)

    def list_entities(self, project: str, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[Entity]:
        """Returns entities by name."""
        with self._owner.in_project(project):
            return self._owner.list_entities(allow_cache, tags)

    def list_feature_services(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[FeatureService]:
        """Returns feature services by name."""
        with self._owner.in_project(project):
            return self._owner.list_feature_services(tags=tags)

    def list_label_views(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[LabelView]:
        """Returns label views by name."""
        with self._owner.in_project(project):
            return self._owner.list_label_views(allow_cache, tags)

    def list_validation_references(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[ValidationReference]:
        """Returns validation references by name."""
        with self._owner.in_project(project):
            return self._owner.list_validation_references(allow_cache, tags)

    def list_feature_views(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None, skip_udf: bool = False
    ) -> Sequence[FeatureView]:
        """Returns feature views by name."""
        with self._owner.in_project(project):
            return self._owner.list_feature_views(allow_cache, tags)

    def list_on_demand_feature_views(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None, skip_udf: bool = False
    ) -> Sequence[OnDemandFeatureView]:
        """Returns on-demand feature views by name."""
        with self._owner.in_project(project):
            return self._owner.list_on_demand_feature_views(allow_cache, tags)

    def list_stream_feature_views(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None, skip_udf: bool = False
    ) -> Sequence[StreamFeatureView]:
        """Returns stream feature views by name."""
        with self._owner.in_project(project):
            return self._owner.list_stream_feature_views(allow_cache, tags)

    def list_all_feature_views(
        self,
        project: str,
        allow_cache: bool = False,
        tags: Tags | None = None,
        skip_udf: bool = False,
        updated_since: datetime | None = None,
    ) -> Sequence[BaseFeatureView]:
        """Returns views of every kind.

        Args:
            updated_since: only views that an apply has changed since then; naive is UTC.
        """
        if updated_since is not None and not isinstance(updated_since, datetime):
            raise InputError(f"updated_since must be a datetime, not {shown(updated_since)}.")
        with self._owner.in_project(project):
            views = self._owner.list_all_feature_views(allow_cache, tags)
        if updated_since is None:
            return views
        since = as_utc(updated_since)
        return [view for view in views if (view.last_updated_timestamp or since) >= since]

    def list_saved_datasets(
        self,
        project: str,
        allow_cache: bool = False,
        tags: Tags | None = None,
        namespace: str | None = None,
        collection: str | None = None,
    ) -> Sequence[SavedDataset]:
        """Returns saved datasets by name."""
        with self._owner.in_project(project):
            return self._owner.list_saved_datasets(allow_cache, tags, namespace, collection)

    def list_permissions(
        self, project: str, allow_cache: bool = False, tags: Tags | None = None
    ) -> Sequence[Permission]:
        """Returns permissions by name."""
        with self._owner.in_project(project):
            return self._owner.list_permissions(allow_cache, tags)

    def list_projects(self, allow_cache: bool = False, tags: Tags | None = None) -> Sequence[Project]:
        """Returns the projects of the registry by name."""
        return self._owner.list_projects(allow_cache, tags)

    def list_feature_view_versions(self, name: str, project: str) -> list[dict[str, object]]:
        """Returns the versions of a view by number; see `FeatureStore.list_feature_view_versions`."""
        with self._owner.in_project(project):
            return self._owner.list_feature_view_versions(name)

    def apply_data_source(self, data_source: DataSource, project: str, commit: bool = True) -> None:
        """Registers a data source."""
        self._apply(data_source, project, commit)

    def apply_entity(self, entity: Entity, project: str, commit: bool = True) -> None:
        """Registers an entity."""
        self._apply(entity, project, commit)

    def apply_feature_service(self, feature_service: FeatureService, project: str, commit: bool = True) -> None:
        """Registers a feature service."""
        self._apply(feature_service, project, commit)

    def apply_saved_dataset(self, saved_dataset: SavedDataset, project: str, commit: bool = True) -> None:
        """Registers a saved dataset."""
        self._apply(saved_dataset, project, commit)

    def apply_validation_reference(
        self, validation_reference: ValidationReference, project: str, commit: bool = True
    ) -> None:
        """Registers a validation reference."""
        self._apply(validation_reference, project, commit)

    def apply_feature_view(
        self, feature_view: BaseFeatureView, project: str, commit: bool = True, no_promote: bool = False
    ) -> None:
        """Registers a view of any kind.

        Args:
            no_promote: as in `FeatureStore.apply`.
        """
        self._apply(feature_view, project, commit, no_promote)

    def apply_permission(self, permission: Permission, project: str, commit: bool = True) -> None:
        """Registers a permission."""
        self._apply(permission, project, commit)

    def apply_project(self, project: Project, commit: bool = True) -> None:
        """Registers a project's description, tags and owner."""
        self._apply(project, project.name, commit)

    def apply_materialization(
        self, feature_view: FeatureView, project: str, start_date: datetime, end_date: datetime, commit: bool = True
    ) -> NoReturn:
        """Raises NotSupportedError: only a run that writes windows may say that they are materialized."""
        raise NotSupportedError(
            f"The ledger only records windows of {feature_view.name!r} that a run has written; use "
            "FeatureStore.materialize."
        )

    def delete_data_source(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a data source, unless something uses it."""
        try:
            self._delete(project, commit, lambda owner: owner.get_data_source(name))
        except DataSourceObjectNotFoundException as error:
            # Feast raises another class here than where a source is got.
            absent = DataSourceNotFoundException(name)
            absent.args = error.args
            raise absent from error

    def delete_entity(self, name: str, project: str, commit: bool = True) -> None:
        """Removes an entity, unless something uses it."""
        self._delete(project, commit, lambda owner: owner.get_entity(name))

    def delete_feature_service(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a feature service, unless something uses it."""
        self._delete(project, commit, lambda owner: owner.get_feature_service(name))

    def delete_saved_dataset(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a saved dataset, unless something uses it."""
        self._delete(project, commit, lambda owner: owner.get_saved_dataset(name))

    def delete_validation_reference(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a validation reference."""
        self._delete(project, commit, lambda owner: owner.get_validation_reference(name))

    def delete_label_view(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a label view with its online table, unless something uses it."""
        self._delete(project, commit, lambda owner: owner.get_label_view(name))

    def delete_permission(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a permission."""
        self._delete(project, commit, lambda owner: owner.get_permission(name))

    def delete_feature_view(self, name: str, project: str, commit: bool = True) -> None:
        """Removes a view of any kind with its online table, unless something uses it."""
        self._delete(project, commit, lambda owner: owner.get_any_feature_view(name))

    def delete_project(self, name: str, commit: bool = True) -> None:
        """Removes a project with its online rows; see `FeatureStore.delete_project`."""
        self._owner.delete_project(name, commit)

    def refresh(self, project: str | None = None) -> None:
        """Reads what has changed in a project since it was last read; in the current one when left out."""
        with self._owner.in_project(project):
            self._owner.refresh_registry()

    def get_registry_lineage(
        self,
        project: str,
        allow_cache: bool = False,
        filter_object_type: str | None = None,
        filter_object_name: str | None = None,
    ) -> Lineage:
        """Returns the relations of objects, direct and indirect; see `feast_assets.registry.lineage.lineage_of`."""
        from feast_assets.registry.lineage import lineage_of

        with self._owner.in_project(project):
            return lineage_of(self._owner.registered(allow_cache), filter_object_type, filter_object_name)

    def get_object_relationships(
        self,
        project: str,
        object_type: str,
        object_name: str,
        include_indirect: bool = False,
        allow_cache: bool = False,
    ) -> list[EntityRelation]:
        """Returns the relations of one object; see `feast_assets.registry.lineage.relationships_of`."""
        from feast_assets.registry.lineage import relationships_of

        with self._owner.in_project(project):
            registered = self._owner.registered(allow_cache)
            return relationships_of(registered, object_type, object_name, include_indirect=include_indirect)

    @property
    def _owner(self) -> RegistryOwner:
        if self.owner is None:
            raise NotSupportedError(
                "This registry was opened without a feature store, which does that; use FeatureStore(...).registry."
            )
        return self.owner

    def _apply(self, definition: Definition, project: str, commit: bool, no_promote: bool = False) -> None:
        _check_commit(commit)
        with self._owner.in_project(project):
            self._owner.apply(definition, no_promote=no_promote)

    def _delete(self, project: str, commit: bool, find: Callable[[RegistryOwner], Definition]) -> None:
        _check_commit(commit)
        with self._owner.in_project(project):
            self._owner.apply([], objects_to_delete=[find(self._owner)], partial=False)


def _check_commit(commit: object) -> None:
    if commit is not True:
        raise NotSupportedError(f"commit={shown(commit)}: a change of the registry cannot be kept back; leave it out.")
