"""Checking that no two objects of an apply, or of an apply and the registry, have one name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from feast_assets.definitions.base import Definition
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import ConflictingFeatureViewNames, DataSourceRepeatNamesException, DefinitionError
from feast_assets.registry.snapshot import VIEW_TYPES, RegistrySnapshot, StoredObject


def check_names(objects: Sequence[Definition], staying: RegistrySnapshot) -> None:
    """Checks the names of everything but data sources, which `check_source_names` does.

    Views of all kinds share one namespace, in which letter case does not count.

    Args:
        objects: what is applied, each object once.
        staying: the objects of the registry that stay whether or not they are applied.

    Raises:
        ConflictingFeatureViewNames: two views have one name.
        DefinitionError: two other objects of one type do.
    """
    seen: dict[tuple[str, str], Definition] = {}
    for given in objects:
        if isinstance(given, DataSource):
            continue
        is_view = isinstance(given, BaseFeatureView)
        namespace = "view" if is_view else given.object_type
        other = seen.setdefault((namespace, given.name.lower() if is_view else given.name), given)
        if other is not given and is_view:
            raise ConflictingFeatureViewNames(_view_conflict(other, given))
        if other is not given:
            raise DefinitionError(
                f"Two objects declare {namespace} {given.name!r}{_declared_in(other, given)}; declare it once and "
                "import it, or rename one."
            )
    taken = {stored.name.lower(): stored for stored in staying.all_stored(*VIEW_TYPES)}
    for view in objects:
        stored = taken.get(view.name.lower()) if isinstance(view, BaseFeatureView) else None
        if stored is not None and (stored.name != view.name or stored.object_type != view.object_type):
            raise ConflictingFeatureViewNames(
                _view_conflict(view, stored) + " The latter is in the registry; delete it first."
            )


def check_source_names(sources: Iterable[DataSource | StoredObject], staying: RegistrySnapshot) -> None:
    """Checks that no data source has the name of another one in the registry but for letter case.

    Args:
        sources: that are applied by themselves or in views.
        staying: as in `check_names`.

    Raises:
        DataSourceRepeatNamesException: one has.
    """
    stored = {name.lower(): name for name in staying.names(DataSource.object_type)}
    for source in sources:
        other = stored.get(source.name.lower(), source.name)
        if other != source.name:
            raise DataSourceRepeatNamesException(
                f"Data source {source.name!r} is named like {other!r} in the registry, but for letter case; rename one "
                "of them."
            )


def _declared_in(one: Definition, other: Definition) -> str:
    """Returns where two objects are declared, such as " (entities.py:3 and users/entities.py:7)"; "" if not known."""
    if one.defined_at is None or other.defined_at is None:
        return ""
    folder = os.path.commonpath([os.path.dirname(one.defined_at[0]), os.path.dirname(other.defined_at[0])])
    positions = (f"{os.path.relpath(file, folder)}:{line}" for file, line in (one.defined_at, other.defined_at))
    return f" ({' and '.join(positions)})"


def _view_conflict(one: Definition, other: Definition | StoredObject) -> str:
    return (
        f"The {one.object_type} {one.name!r} and the {other.object_type} {other.name!r} have the same name; view names "
        "must differ in more than letter case, whatever their kind."
    )
