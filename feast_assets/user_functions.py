"""The functions of transformations, loaded from where the user wrote them.

A registry holds only a function's text. The function is the one applied in this process, or else the one that the
feature repository declares for the view of the same name.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import Any

from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.transformation import Transformation
from feast_assets.errors import NotAppliedError, TransformationError


class UserFunctions:
    """Finds the function of a view."""

    def __init__(self, repo_path: Path | None):
        self._repo_path = repo_path
        self._known: dict[str, Transformation] = {}
        self._loaded = repo_path is None
        self._lock = threading.Lock()

    def remember(self, objects: Iterable[Definition]) -> None:
        """Keeps the functions of objects that were declared in this process."""
        for each in objects:
            if isinstance(each, (OnDemandFeatureView, BatchFeatureView)):
                transformation = each.feature_transformation
                if transformation is not None and transformation.udf is not None:
                    self._known[each.name] = transformation

    def of(self, view: OnDemandFeatureView | BatchFeatureView) -> Callable[..., Any]:
        """Returns the function of a view; warns where it is not the one that was applied.

        Raises:
            TransformationError: it was not applied in this process and the feature repository does not declare it.
        """
        function, applied = self._find(view)
        if not applied:
            warnings.warn(
                f"The function of view {view.name!r} in the feature repository is not the one that was applied; "
                "the repository's is used. Run apply.",
                stacklevel=2,
            )
        return function

    def attach(self, view: FeatureView) -> FeatureView:
        """Returns the view with its transformation's function, if it has one.

        Raises:
            TransformationError: as `of`.
            NotAppliedError: the function is not the one that was applied; rows it made would pass for those of the
                other.
        """
        if not isinstance(view, BatchFeatureView) or view.feature_transformation is None:
            return view
        attached, transformation = copy(view), copy(view.feature_transformation)
        transformation.udf, applied = self._find(view)
        if not applied:
            raise NotAppliedError(view.name, "has another function in the feature repository than when it was applied")
        attached.feature_transformation = transformation
        return attached

    def _find(self, view: OnDemandFeatureView | BatchFeatureView) -> tuple[Callable[..., Any], bool]:
        """Returns the function of a view, and whether it is the one that was applied."""
        registered = view.feature_transformation
        assert registered is not None
        if registered.udf is not None:
            return registered.udf, True
        if view.name not in self._known:
            self._load()
        found = self._known.get(view.name)
        if found is None or found.udf is None:
            where = (
                f"the feature repository {self._repo_path}"
                if self._repo_path
                else "this process; there is no repository"
            )
            raise TransformationError(
                f"The function of view {view.name!r} ({registered.import_path}) is not declared in {where}. "
                "Functions are loaded from the repository, never from the registry: put the view in a module there."
            )
        return found.udf, found.code() == registered.code()

    def _load(self) -> None:
        from feast_assets.repository import load_repository

        with self._lock:
            if self._loaded or self._repo_path is None:
                return
            declared = load_repository(self._repo_path).objects()
            known, self._known = self._known, {}
            self.remember(declared)
            self._known |= known
            self._loaded = True
