"""What an apply changes in the registry, and the check that nothing is deleted that is still used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import cast

from feast_assets.apply.digests import sources_of
from feast_assets.apply.inference import PreparedObjects
from feast_assets.apply.projections import chosen_features
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME, Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import ViewVersion, split_name, versioned_name
from feast_assets.errors import DefinitionError, FeastObjectNotFoundException
from feast_assets.registry.base import Changes
from feast_assets.registry.snapshot import NOT_FOUND, VIEW_TYPES, RegistrySnapshot

_KEPT = (
    Project.object_type,
    SavedDataset.object_type,
    ValidationReference.object_type,
    ViewVersion.object_type,
)
"""Types of objects that are not removed when the repository does not declare them."""

_Key = tuple[str, str]


def changes_of(
    prepared: PreparedObjects,
    snapshot: RegistrySnapshot,
    *,
    partial: bool = True,
    objects_to_delete: Iterable[Definition] = (),
) -> Changes:
    """Returns what applying changes in the registry.

    Args:
        prepared: what `prepare` returned.
        partial: whether other objects of the registry stay; if not, all are deleted but projects, saved datasets,
            validation references and the entity of views without entities.
        objects_to_delete: objects of the registry to delete as well, by type and name.

    Raises:
        FeastObjectNotFoundException: an object to delete is not there.
        DefinitionError: what stays uses something that is deleted, or that changes so that it cannot be used any more.
    """
    upserts = {_key(d): d for d in prepared.made}
    declared = {*upserts, *((o.object_type, o.name) for o in prepared.standing)}
    deletes = _asked(objects_to_delete, snapshot, declared)
    if not partial:
        deletes |= {
            key
            for key in snapshot.known()
            if key not in declared and key[0] not in _KEPT and key != (Entity.object_type, DUMMY_ENTITY_NAME)
        }
    deletes |= _no_longer_stored(prepared, snapshot, deletes)
    deletes |= _versions_of(deletes, snapshot)
    # Declared objects were checked when they were prepared. The rest is read only if something it may use goes.
    if deletes or any(_takes_away(d, snapshot) for d in prepared.made):
        remaining = {_key(d): d for d in snapshot.shared() if _key(d) not in deletes} | upserts
        _check_references(remaining, snapshot, deletes)
    return Changes(
        upserts=tuple(prepared.made), deletes=tuple(sorted(deletes)), renamed_ledgers=prepared.renamed_ledgers
    )


def _asked(
    objects_to_delete: Iterable[Definition], snapshot: RegistrySnapshot, declared: Collection[_Key]
) -> set[_Key]:
    asked = set()
    for definition in objects_to_delete:
        key = _key(definition)
        if snapshot.stored(*key) is None:
            raise NOT_FOUND.get(key[0], FeastObjectNotFoundException)(
                definition.name, snapshot.project, snapshot.names(key[0])
            )
        if key in declared:
            raise DefinitionError(f"The {key[0]} {key[1]!r} is both applied and deleted.")
        asked.add(key)
    return asked


def _no_longer_stored(prepared: PreparedObjects, snapshot: RegistrySnapshot, deletes: set[_Key]) -> set[_Key]:
    """Returns what was stored of on-demand views that are deleted, or no longer written to the online store."""
    computed = {d.name for d in prepared.made if isinstance(d, OnDemandFeatureView) and not d.write_to_online_store}
    computed |= {name for object_type, name in deletes if object_type == OnDemandFeatureView.object_type}
    stored = StoredOnDemandView.object_type
    return {(stored, name) for name in snapshot.names(stored) if name in computed}


def _versions_of(deletes: set[_Key], snapshot: RegistrySnapshot) -> set[_Key]:
    """Returns the versions of the views that are deleted."""
    views = {name for object_type, name in deletes if object_type in VIEW_TYPES}
    kept = ViewVersion.object_type
    return {(kept, name) for name in snapshot.names(kept) if name.partition("@")[0] in views}


def _takes_away(definition: Definition, snapshot: RegistrySnapshot) -> bool:
    """Whether a definition lacks something of the registered one of its name that others may use."""
    stored = snapshot.stored(*_key(definition))
    if stored is None:
        return False
    if isinstance(definition, Entity):
        return definition.join_key != cast(Entity, stored.definition()).join_key
    if isinstance(definition, BaseFeatureView):
        return not _offered(definition) >= _offered(cast(BaseFeatureView, stored.definition()))
    return False


def _offered(view: BaseFeatureView) -> set[tuple[str, str]]:
    keys = view.join_keys if isinstance(view, FeatureView) else []
    return {("feature", f.name) for f in view.features} | {("join key", k) for k in keys}


def _check_references(remaining: Mapping[_Key, Definition], snapshot: RegistrySnapshot, deletes: set[_Key]) -> None:
    views = {
        d.name: d
        for d in remaining.values()
        if isinstance(d, BaseFeatureView) and not isinstance(d, StoredOnDemandView)
    }
    sources = {n: v for n, v in views.items() if isinstance(v, FeatureView)}
    entities = {d.name: d for d in remaining.values() if isinstance(d, Entity)}
    for definition in remaining.values():
        subject = f"{type(definition).__name__} {definition.name!r}"
        if isinstance(definition, StoredOnDemandView):
            continue  # It stands or falls with its on-demand view.
        if isinstance(definition, FeatureView):
            for name, join_key in zip(definition.entities, definition.join_keys, strict=True):
                _check_entity(name, join_key, entities, subject)
            for source in sources_of(definition):
                if (DataSource.object_type, source.name) in deletes:
                    raise DefinitionError(
                        f"Data source {source.name!r} cannot be deleted: {subject} reads it. Change or delete that "
                        "first."
                    )
        elif isinstance(definition, OnDemandFeatureView):
            for name in definition.entities:
                _check_entity(name, None, entities, subject)
            for projection in definition.source_projections:
                _check_projection(projection.name, sources, subject, snapshot)
                chosen_features(projection, sources, subject, snapshot.project)
        elif isinstance(definition, FeatureService):
            for projection in definition.feature_view_projections:
                if "@" in projection.name:
                    # Versions do not change.
                    name, number = split_name(projection.name)
                    _check_projection(name, views, subject, snapshot)
                    in_use = name in views and views[name].current_version_number == number
                    if number is not None and not in_use:
                        _check_version(versioned_name(name, number), subject, deletes)
                    continue
                _check_projection(projection.name, views, subject, snapshot)
                chosen_features(projection, views, subject, snapshot.project)


def _check_entity(name: str, join_key: str | None, entities: Mapping[str, Entity], subject: str) -> None:
    if name == DUMMY_ENTITY_NAME:
        return
    if name not in entities:
        raise DefinitionError(f"Entity {name!r} cannot be deleted: {subject} uses it. Change or delete that first.")
    if join_key is not None and entities[name].join_key != join_key:
        raise DefinitionError(
            f"Entity {name!r} changes its join key to {entities[name].join_key!r}, but {subject} uses {join_key!r}; "
            "apply both together."
        )


def _check_projection(
    name: str, views: Mapping[str, BaseFeatureView], subject: str, snapshot: RegistrySnapshot
) -> None:
    if name not in views and name in snapshot.names(*[t for t, n in snapshot.known() if n == name]):
        raise DefinitionError(f"View {name!r} cannot be deleted: {subject} uses it. Change or delete that first.")


def _check_version(name: str, subject: str, deletes: set[_Key]) -> None:
    if (ViewVersion.object_type, name) in deletes:
        raise DefinitionError(f"Version {name!r} cannot be deleted: {subject} uses it. Change or delete that first.")


def _key(definition: Definition) -> _Key:
    return type(definition).object_type, definition.name
