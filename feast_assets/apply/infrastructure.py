"""The online tables of a project's views: which there are, when a view gets a new one, setting up and dropping them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import to_micros
from feast_assets.offline_stores.base import history_of
from feast_assets.online_stores.base import OnlineStore
from feast_assets.online_stores.rows.keys import check_key_type
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, RegistrySnapshot

OnlineTables = Mapping[str, str]
"""Online table -> its name for people, ``project.view``."""


_NONE: Mapping[str, str] = {}


def set_generations(views: Iterable[Definition], snapshot: RegistrySnapshot, tables: Mapping[str, str] = _NONE) -> None:
    """Sets which generation of its online table each online view uses; other definitions are left unchanged.

    A view gets a new generation, and with it an empty table, where rows of its present table could be mistaken for
    rows of the new definition: where its keys, time columns or tiles change, or it was not online before.

    Args:
        tables: view name -> the generation of a view that changes its version, where versions have tables of their own;
            "" for a new one.

    Raises:
        DefinitionError: a join key has a type that cannot be a key.
    """
    new = f"{to_micros(datetime.now(UTC)):x}"
    for view in views:
        if isinstance(view, FeatureView) and view.online:
            for field in view.entity_columns:
                check_key_type(field.name, field.dtype)
            before = _registered(view.name, snapshot)
            if view.name in tables:
                view.online_generation = tables[view.name] or new
            elif before is None or not before.online or _row_identity(before) != _row_identity(view):
                view.online_generation = new
            else:
                view.online_generation = before.online_generation


def set_up_tables(store: OnlineStore | None, tables: Iterable[str]) -> None:
    """Creates the online tables that are missing; nothing without an online store."""
    if store is not None:
        store.setup(tables)


def drop_tables(store: OnlineStore | None, tables: Iterable[str]) -> None:
    """Drops online tables; nothing without an online store."""
    if store is not None and (dropped := list(tables)):
        store.drop(dropped)


def _registered(name: str, snapshot: RegistrySnapshot) -> FeatureView | None:
    """Returns the snapshot's view with rows of a name: the object itself, which must not be changed."""
    for object_type in TYPES_WITH_ROWS:
        stored = snapshot.stored(object_type, name)
        if stored is not None:
            return cast(FeatureView, stored.definition())
    return None


def _row_identity(view: FeatureView) -> tuple[object, ...]:
    """Returns what decides which entity an online row belongs to, and which of two rows is newer."""
    history = history_of(view) if view.batch_source is not None else None
    keys = sorted((f.name, str(f.dtype)) for f in view.entity_columns)
    tiles = view.aggregates.layout if isinstance(view, BatchFeatureView) and view.aggregates is not None else ""
    return (keys, history and history.timestamp_field, history and history.created_timestamp_column, tiles)
