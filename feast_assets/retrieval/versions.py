"""References to versions of views, which only some projects keep apart."""

from __future__ import annotations

from collections.abc import Sequence

from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.view_version import NO_OWN_TABLES
from feast_assets.errors import FeatureServiceNotFoundException, InputError
from feast_assets.registry.snapshot import RegistrySnapshot


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
