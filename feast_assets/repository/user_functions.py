"""The functions of transformations, loaded from where the user wrote them.

A registry holds only a function's text. The function is the one applied in this process, or the one that the
feature repository declares for the view of the same name. Only the module that the function was applied from is
imported, if it still declares the view.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from typing import TypeGuard

from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.transformation import Transformation
from feast_assets.errors import NotAppliedError, TransformationError


class UserFunctions:
    """Finds the function of a view."""

    def __init__(self, repo_path: Path | None):
        self._repo_path = repo_path
        self._known: dict[str, Transformation] = {}
        self._absent: set[str] = set()
        self._lock = threading.Lock()

    def remember(self, objects: Iterable[Definition]) -> None:
        """Keeps the functions of objects that were applied in this process; warns of those that no other can load."""
        for each in objects:
            if not _has_function(each):
                continue
            transformation = _transformation(each)
            self._known[each.name] = transformation
            if _module(transformation) == "__main__" and not self._is_running_file_of_repository():
                where = self._repo_path or "a feature repository"
                warnings.warn(
                    f"The function of view {each.name!r} was defined in a notebook, at a prompt or in a script outside "
                    f"the feature repository; other processes cannot load it. Put the view in a module in {where} and "
                    "apply that.",
                    stacklevel=4,
                )

    def of(self, view: OnDemandFeatureView | BatchFeatureView) -> Callable[..., object]:
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
            NotAppliedError: the function is not the one that was applied; its rows would be mistaken for those of the
                applied one.
        """
        if isinstance(view, StoredOnDemandView):
            from feast_assets.retrieval.stored_rows import with_function

            sources = [self.attach(source) for source in view.source_views]
            return with_function(view, self._applied(view.on_demand), sources)
        if not isinstance(view, BatchFeatureView) or view.feature_transformation is None:
            return view
        attached, transformation = copy(view), copy(view.feature_transformation)
        transformation.udf = self._applied(view)
        attached.feature_transformation = transformation
        return attached

    def _applied(self, view: OnDemandFeatureView | BatchFeatureView) -> Callable[..., object]:
        """Returns the function of a view; raises NotAppliedError where it is not the one that was applied."""
        function, applied = self._find(view)
        if not applied:
            raise NotAppliedError(view.name, "has another function in the feature repository than when it was applied")
        return function

    def _find(self, view: OnDemandFeatureView | BatchFeatureView) -> tuple[Callable[..., object], bool]:
        """Returns the function of a view, and whether it is the one that was applied."""
        registered = view.feature_transformation
        assert registered is not None
        if registered.udf is not None:
            return registered.udf, True
        if view.name not in self._known:
            self._load(view.name, _module(registered))
        known = self._known.get(view.name)
        if known is None or known.udf is None:
            where = (
                f"the feature repository {self._repo_path}"
                if self._repo_path
                else "this process; there is no repository"
            )
            raise TransformationError(
                f"The function of view {view.name!r} ({registered.import_path}) is not declared in {where}. "
                "Functions are loaded from the repository, never from the registry: put the view in a module there."
            )
        return known.udf, known.code() == registered.code()

    def _load(self, name: str, module: str) -> None:
        """Loads the function of a view, and those of other views in the same files."""
        from feast_assets.repository.loading import load_until
        from feast_assets.repository.modules import refuse_reentry

        if self._repo_path is None:
            return
        # Before the lock, which another thread may hold while it waits for this one to finish importing.
        refuse_reentry()
        with self._lock:
            if name in self._known or name in self._absent:
                return
            declared = load_until(self._repo_path, module, lambda d: _has_function(d) and d.name == name)
            loaded = {d.name: _transformation(d) for d in declared if _has_function(d)}
            self._known = loaded | self._known
            if name not in loaded:
                self._absent.add(name)

    def _is_running_file_of_repository(self) -> bool:
        from feast_assets.repository.loading import repository_files
        from feast_assets.repository.modules import running_file

        if self._repo_path is None:
            return False
        return running_file() in repository_files(self._repo_path.resolve())


def _has_function(definition: Definition) -> TypeGuard[OnDemandFeatureView | BatchFeatureView]:
    if not isinstance(definition, (OnDemandFeatureView, BatchFeatureView)):
        return False
    transformation = definition.feature_transformation
    return transformation is not None and transformation.udf is not None


def _transformation(view: OnDemandFeatureView | BatchFeatureView) -> Transformation:
    assert view.feature_transformation is not None
    return view.feature_transformation


def _module(transformation: Transformation) -> str:
    return transformation.import_path.partition(":")[0]
