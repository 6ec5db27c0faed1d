"""What registered views were made from, which tells those that need not be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.data_source import DataSource, PushSource
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.spec import content_hash
from feast_assets.registry.snapshot import RegistrySnapshot, copy_definition

StateOf = Callable[[DataSource], "frozenset[str]"]

_BESIDES = ("description", "tags", "owner", "org", "ttl", "enabled")
"""Attributes of a view that apply neither infers nor compares with its sources."""

_Key = tuple[str, str]


class Inputs:
    """What the views of one apply are made from: what is declared, and the state of the sources that are looked into.

    Args:
        remembered: what `Registry.inputs` returned.
        state_of: gives texts that identify what a source is stored in, without reading it; none where nobody can tell.
    """

    def __init__(self, remembered: Mapping[_Key, str], state_of: StateOf):
        self._remembered = remembered
        self._state_of = state_of
        self._states: dict[int, frozenset[str]] = {}
        self._found: dict[_Key, tuple[str, str]] = {}

    def known(self, view: FeatureView, entities: Sequence[Entity], snapshot: RegistrySnapshot) -> FeatureView | None:
        """Returns what a view is to be, where that follows from the registered one without looking into its sources.

        Args:
            entities: of the view, as they are to be.

        Returns:
            the snapshot's own object where nothing changed; a copy with what is said of it anew; None where it must be
            made.
        """
        states = [self._state(source) for source in _looked_into(view)]
        if not all(states):
            return None
        key, spec = (view.object_type, view.name), view.to_spec()
        others = [e.to_spec() for e in entities], [sorted(state) for state in states]
        stored = snapshot.stored(*key)
        made_from, made, looked_at = (*self._remembered.get(key, "").split(":"), "", "", "")[:3]
        stands = stored is not None and stored.content_hash == made
        whole = content_hash([spec, others])
        if stored is not None and stands and whole == made_from:
            return cast(FeatureView, stored.definition())
        decisive = content_hash([{k: v for k, v in spec.items() if k not in _BESIDES}, others])
        self._found[key] = whole, decisive
        if stored is not None and stands and decisive == looked_at:
            return _told_anew(cast(FeatureView, stored.definition()), view)
        return None

    def news(self, hashes: Mapping[_Key, str]) -> dict[_Key, str]:
        """Returns what is to be remembered and is not yet.

        Args:
            hashes: the content hash of each view as it is to be registered.
        """
        # With what was made of it: that may have been replaced since by somebody else.
        made = {key: f"{whole}:{hashes[key]}:{part}" for key, (whole, part) in self._found.items() if key in hashes}
        return {key: inputs for key, inputs in made.items() if self._remembered.get(key) != inputs}

    def _state(self, source: DataSource) -> frozenset[str]:
        if id(source) not in self._states:
            self._states[id(source)] = self._state_of(source)
        return self._states[id(source)]


def sources_of(view: FeatureView) -> list[DataSource]:
    """Returns the sources in a view, in the same order for two views that differ only in what was inferred."""
    found = [view.batch_source, view.stream_source]
    if isinstance(view, BatchFeatureView):
        found += [*view.sources, view.sink_source]
    found += [s.batch_source for s in found if isinstance(s, PushSource)]
    return [s for s in found if s is not None]


def _looked_into(view: FeatureView) -> list[DataSource]:
    """Returns the sources whose content decides what apply makes of a view; a kept result does not."""
    kept = view.sink_source if isinstance(view, BatchFeatureView) else None
    return [s for s in sources_of(view) if s.holds_history and s is not kept]


def _told_anew(registered: FeatureView, declared: FeatureView) -> FeatureView:
    """Returns a copy of the registered view with what is declared of it besides its rows."""
    made, given = copy_definition(registered), copy_definition(declared)
    for name in _BESIDES:
        setattr(made, name, getattr(given, name))
    return made
