"""Several views, one after the other: a view that fails does not keep the others from being materialized."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from feast_assets.compute.results import MaterializationResult
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import FeastAssetsError, MaterializationError, StoreUnavailableError


def run_views(
    views: Sequence[FeatureView], run: Callable[[FeatureView], MaterializationResult]
) -> list[MaterializationResult]:
    """Runs every view, and only then raises what failed; a store that cannot be reached ends it at once.

    Raises:
        FeastAssetsError: the error of the only view that failed.
        MaterializationError: several views failed.
    """
    results: list[MaterializationResult] = []
    failed: dict[str, FeastAssetsError] = {}
    for view in views:
        try:
            results.append(run(view))
        except StoreUnavailableError:
            raise
        except FeastAssetsError as error:
            failed[view.name] = error
    if len(failed) > 1:
        raise MaterializationError(failed)
    for only in failed.values():
        raise only
    return results
