"""References to versions of views, which only some projects keep apart."""

from __future__ import annotations

from collections.abc import Sequence

from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import NO_OWN_TABLES
from feast_assets.errors import FeatureServiceNotFoundException, InputError
from feast_assets.registry.snapshot import RegistrySnapshot


def refuse_shared_table(view: FeatureView, snapshot: RegistrySnapshot) -> None:
    """Refuses to write rows of a version of a view into the table of another version.

    Raises:
        InputError: it is a version whose table is not its own: versions share them, or did when it was made.
    """
    if not view.table_of or not view.online:
        return
    in_use = snapshot.feature_view(view.table_of)
    others: list[BaseFeatureView] = [in_use]
    for version in snapshot.view_versions(in_use.name):
        if version.number not in (in_use.current_version_number, view.current_version_number):
            others.append(version.view)
    if any(view.online_generation == getattr(other, "online_generation", "") for other in others):
        raise InputError(
            f"Feature view {view.name!r} has no table of its own: versions share their view's, or did when this one "
            "was made, and its rows would replace those of another version. Put the view back to it instead."
        )


def refuse_versions(snapshot: RegistrySnapshot, features: Sequence[str] | FeatureService) -> None:
    """Refuses features of versions of views.

    Raises:
        InputError: one of the references, or of those of the service, names a version.
    """
    if isinstance(features, FeatureService):
        try:
            service = snapshot.feature_service(features.name)
        except FeatureServiceNotFoundException:
            return  # which resolving them says
        views = [projection.name for projection in service.feature_view_projections]
    elif isinstance(features, str) or not isinstance(features, Sequence):
        return  # which resolving them says, too
    else:
        views = [each.partition(":")[0] for each in features if isinstance(each, str)]
    for view in views:
        _, at, version = view.partition("@")
        if at and version.lower() != "latest":
            raise InputError(f"Reference to {view!r}: {NO_OWN_TABLES}")
