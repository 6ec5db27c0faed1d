"""What writes of handed-in rows need to know of a registry's revision, worked out once for all writes."""

from __future__ import annotations

from functools import cached_property
from typing import cast
from weakref import WeakKeyDictionary

from feast_assets.compute.few_rows import FewRows
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.errors import InputError, NotSupportedError, PushSourceNotFoundException, shown
from feast_assets.registry.snapshot import TYPES_WITH_ROWS, RegistrySnapshot

_PLANS: WeakKeyDictionary[RegistrySnapshot, WritePlan] = WeakKeyDictionary()


def write_plan(snapshot: RegistrySnapshot) -> WritePlan:
    """Returns the plan of a revision, which lives as long as the snapshot."""
    plan = _PLANS.get(snapshot)
    if plan is None:
        plan = _PLANS[snapshot] = WritePlan(snapshot)
    return plan


class WritePlan:
    """The views that rows can be handed in for. They are the snapshot's own, and must not be changed."""

    def __init__(self, snapshot: RegistrySnapshot):
        # Not the snapshot itself: a value that holds its key keeps it alive.
        self._project = snapshot.project
        self._views = {
            name: cast(FeatureView, stored.definition())
            for object_type in TYPES_WITH_ROWS
            for name in snapshot.names(object_type)
            if (stored := snapshot.stored(object_type, name)) is not None
        }
        self._few_rows: dict[str, FewRows] = {}

    def views_of_push_source(self, name: str) -> list[FeatureView]:
        """Returns the views that a push source feeds, at least one.

        Raises:
            PushSourceNotFoundException: there is no such push source, or no view uses it.
        """
        if not isinstance(name, str):
            raise InputError(f"The name of a push source must be text, not {type(name).__name__} {shown(name)}.")
        views = self._pushed.get(name)
        stream = next(iter(views), None) if views else None
        if stream is not None and not isinstance(stream.stream_source, PushSource):
            raise NotSupportedError(
                f"{name!r} is a {type(stream.stream_source).__name__}, and not a PushSource. Consume it with "
                "`feast-assets consume`, hand its rows in with write_to_online_store, or declare a PushSource."
            )
        if views is None:
            raise PushSourceNotFoundException(name, self._project, list(self._pushed))
        return views

    def view(self, name: str) -> FeatureView | None:
        """Returns a view with rows; None if there is none."""
        return self._views.get(name)

    def few_rows(self, view: FeatureView) -> FewRows:
        """Returns what encodes a few rows of a view of the revision."""
        encoder = self._few_rows.get(view.name)
        if encoder is None:
            encoder = self._few_rows[view.name] = FewRows(view)
        return encoder

    @cached_property
    def _pushed(self) -> dict[str, list[FeatureView]]:
        by_source: dict[str, list[FeatureView]] = {}
        for view in self._views.values():
            if view.stream_source is not None:
                by_source.setdefault(view.stream_source.name, []).append(view)
        return by_source
