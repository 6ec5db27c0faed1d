"""Which sources a client may name: those that the project has registered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import Spec
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.errors import InputError
from feast_assets.offline_stores.base import computation_of

if TYPE_CHECKING:
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.transformation import Transformation
    from feast_assets.feature_store import FeatureStore
    from feast_assets.registry.snapshot import RegistrySnapshot


class KnownSources:
    """The sources and transformations of a project.

    Otherwise whoever reaches the server could read any file that its process can read.
    """

    def __init__(self, store: FeatureStore, *, any_source: bool):
        """Creates it.

        Args:
            any_source: whether clients may also name sources that are not registered, as they do when they apply new
                ones.
        """
        self._store = store
        self._any_source = any_source
        self._hashes: tuple[RegistrySnapshot | None, frozenset[str]] = (None, frozenset())
        self._reading = threading.Lock()

    def check(self, *sources: DataSource) -> None:
        """Raises InputError if one of some sources is not registered as it is named."""
        if self._any_source:
            return
        for source in sources:
            content = source.content_hash()
            if content not in self._registered() and content not in self._registered(refresh=True):
                raise InputError(
                    f"Data source {source.name!r} is not registered in project {self._store.project!r} as this client "
                    "names it, and this server reads only what is registered. Apply it where the sources can be read, "
                    "or start the server with --unregistered-sources."
                )

    def check_access(self, view_name: str, source: DataSource, action: AuthzedAction) -> None:
        """Raises FeastPermissionError if the acting identity may not do an action to a view that has a source, or to
        the source itself where no view of this name has it.

        The view's name is what a client says: it opens no source that the view does not have.
        """
        access = self._store.access
        if access.is_open:
            return
        snapshot = self._store.snapshot()
        named = (each for each in snapshot.shared() if each.name == view_name and isinstance(each, BaseFeatureView))
        content = source.content_hash()
        views = [each for each in named if any(own.content_hash() == content for own in _sources(each))]
        access.check(snapshot, views or [source], action)

    def transformation(self, view_name: str, named: Transformation) -> Transformation:
        """Returns a view's transformation with its function, which is loaded from the server's repository.

        Raises:
            InputError: the view has another transformation than the one named.
        """
        view = self._view(view_name)
        attached = self._store.with_function(view)
        own = computation_of(attached).transformation if isinstance(attached, BatchFeatureView) else None
        if own is None or own.to_spec() != named.to_spec():
            raise InputError(
                f"Feature view {view_name!r} of project {self._store.project!r} has another transformation on the "
                "server than the client names: apply the same repository on both."
            )
        return own

    def _view(self, name: str) -> FeatureView:
        return self._store.registry.refreshed(self._store.snapshot()).feature_view(name)

    def _registered(self, *, refresh: bool = False) -> frozenset[str]:
        with self._reading:
            if refresh:
                self._store.refresh_registry()
            snapshot = self._store.snapshot()
            known, hashes = self._hashes
            if snapshot is not known:
                definitions = snapshot.shared()
                hashes = frozenset(source.content_hash() for each in definitions for source in _sources(each))
                self._hashes = snapshot, hashes
            return hashes


def _sources(value: object) -> Iterator[DataSource]:
    """Yields the sources in a definition, at any depth."""
    if isinstance(value, DataSource):
        yield value
    if isinstance(value, SavedDataset):
        yield value.storage.to_data_source()
    if isinstance(value, Spec):
        for attribute in vars(value).values():
            yield from _sources(attribute)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _sources(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _sources(each)
