"""Versions of views: definitions that a view had before, or is to have."""

from __future__ import annotations

import re
from copy import copy
from datetime import datetime
from typing import Any, TypeVar

from feast_assets.definitions.base import Definition, spec_of
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import DefinitionError, shown

LATEST = "latest"
NO_OWN_TABLES = (
    "versions of views have no rows of their own. Set enable_online_feature_view_versioning: true in the section "
    "registry of feature_store.yaml, and apply."
)
"""What is wrong with reading or materializing a version where versions share a table."""
_VERSION = re.compile(r"v(?:ersion)?(\d{1,9})", re.IGNORECASE)
_V = TypeVar("_V", bound=BaseFeatureView)


class ViewVersion(Definition):
    """A version of a view that is not the one in use.

    Attributes:
        view: the view as it is in that version.
        number: the version's; the first is 0.
        at: when it was last the one in use, or was registered, UTC.
    """

    object_type = "feature view version"
    _spec = spec_of(view=None, number=0, at=None)

    view: BaseFeatureView
    number: int
    at: datetime | None

    @classmethod
    def of(cls, view: BaseFeatureView, number: int, at: datetime | None) -> ViewVersion:
        """Returns a version of a view."""
        version = cls.__new__(cls)
        version.name, version.description, version.tags, version.owner = versioned_name(view.name, number), "", {}, ""
        version.view, version.number, version.at = view, number, at
        return version

    def as_view(self) -> BaseFeatureView:
        """Returns the view under the version's name, such as ``stats@v1``; its online rows are in the view's table."""
        return under_name(self.view, self.name)


def parse_version(version: object, subject: str) -> int | None:
    """Returns the number of a version such as ``"v2"`` or ``"version2"``; None for the latest.

    Raises:
        DefinitionError: it is no version.
    """
    if version in (None, "") or (isinstance(version, str) and version.lower() == LATEST):
        return None
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise DefinitionError(
            f"{subject}: version {shown(version)} is not 'latest', or a version such as 'v2' or 'version2'."
        )
    return int(match[1])


def normal_version(version: object, subject: str) -> str:
    """Returns a version in its usual form, ``"latest"`` or ``"v2"``; raises as `parse_version`."""
    number = parse_version(version, subject)
    return LATEST if number is None else f"v{number}"


def versioned_name(view: str, number: int) -> str:
    """Returns the name of a version of a view."""
    return f"{view}@v{number}"


def split_name(name: str) -> tuple[str, int | None]:
    """Returns the view and the version of a name such as ``stats@v1``; None for a name without, and for the latest.

    Raises:
        DefinitionError: what follows the ``@`` is no version.
    """
    view, at, version = name.partition("@")
    return view, parse_version(version, f"View {shown(name)}") if at else None


def under_name(view: _V, name: str) -> _V:
    """Returns a view under another name, whose online rows are in the same table."""
    named = copy(view)
    if isinstance(named, FeatureView):
        named.table_of = named.table_of or named.name
    named.name = name
    named.projection = named._whole()
    return named


def schema_or_function(view: BaseFeatureView) -> str:
    """Returns a text that changes when a view's schema or function does, which makes a new version."""
    transformation = view.transformation if isinstance(view, FeatureView) else None
    if isinstance(view, OnDemandFeatureView):
        transformation = view.feature_transformation
    described: dict[str, Any] = {
        "kind": type(view).__name__,
        "features": sorted((f.name, str(f.dtype)) for f in view.features),
        "keys": sorted((f.name, str(f.dtype)) for f in _keys(view)),
    }
    if transformation is not None:
        described |= {"mode": transformation.mode.value, "code": transformation.code()}
    return content_hash(described)


def declared_parts(view: BaseFeatureView) -> str:
    """Returns a text that is the same for two views that were declared alike, whatever their version, and whether or
    not they are enabled."""
    spec = view.to_spec()
    for name in ("version", "current_version_number", "online_generation", "state", "enabled"):
        spec.pop(name, None)
    transformation = spec.get("feature_transformation")
    if transformation is not None and isinstance(view, (FeatureView, OnDemandFeatureView)):
        spec["feature_transformation"] = schema_or_function(view)
    return content_hash(spec)


def _keys(view: BaseFeatureView) -> list[Any]:
    return view.entity_columns if isinstance(view, (FeatureView, OnDemandFeatureView)) else []
