"""What registered objects were made from, which tells those that need not be made again, nor even be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from feast_assets.apply.projections import chosen_names
from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.spec import digest
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject, copy_definition

StateOf = Callable[[DataSource], "frozenset[str]"]

_BESIDES = ("description", "tags", "owner", "org", "ttl", "enabled")
"""Attributes of a view that apply neither infers nor compares with its sources."""

_PROJECTIONS = ("feature_view_projections", "source_projections")

_Key = tuple[str, str]


class _Memory(NamedTuple):
    """What is remembered of a registered object; it holds as long as the object is the one that was made.

    Attributes:
        made: the object's content hash.
        whole: a digest of all that it was made from.
        decisive: of a feature view, a digest of that without what is only said of it.
        shape: of a view, a digest of what others take from it.
        sources: of a feature view, the content hashes of its sources, which are registered by themselves as well.
        table: of a feature view, its online table; "" where it has none.
    """

    made: str
    whole: str
    decisive: str = ""
    shape: str = ""
    sources: Sequence[str] = ()
    table: str = ""


class Inputs:
    """What the objects of one apply are made from: what is declared, and the state of the sources that are looked into.

    Args:
        snapshot: the registry that is applied to.
        remembered: what `Registry.inputs` returned.
        state_of: gives texts that identify what a source is stored in, without reading it; none where nobody can tell.
    """

    def __init__(self, snapshot: RegistrySnapshot, remembered: Mapping[_Key, str], state_of: StateOf):
        self._snapshot = snapshot
        self._remembered = remembered
        self._memories: dict[_Key, _Memory | None] = {}
        self._state_of = state_of
        self._states: dict[int, frozenset[str]] = {}
        self._shapes: dict[str, str] = {}
        self._found: dict[_Key, tuple[str, str]] = {}

    def known_view(self, view: FeatureView, entities: Sequence[Entity]) -> StoredObject | FeatureView | None:
        """Returns what a view is to be, where that follows from the registered one without looking into its sources.

        Args:
            entities: of the view, as they are to be.

        Returns:
            the registered object where nothing changed; a copy of it with what is said of it anew; None where it must
            be made. In the first two cases its sources stand as well.
        """
        states = [sorted(self._state(source)) for source in _looked_into(view)]
        if not all(states):
            return None
        key = view.object_type, view.name
        decisive = digest([type(view).__name__, _values(view, _BESIDES), entities, states])
        whole = digest([decisive, [getattr(view, name) for name in _BESIDES]])
        self._found[key] = whole, decisive
        stored, memory = self._snapshot.stored(*key), self._memory(*key)
        if stored is None or memory is None or memory.decisive != decisive:
            return None
        sources = [self._snapshot.stored(source.object_type, source.name) for source in sources_of(view)]
        if [source and source.content_hash for source in sources] != memory.sources:
            return None
        return stored if memory.whole == whole else _told_anew(cast(FeatureView, stored.definition()), view)

    def known(
        self, declared: FeatureService | OnDemandFeatureView, views: Mapping[str, StoredObject | BaseFeatureView]
    ) -> StoredObject | None:
        """Returns the registered object where it is made from the same again; None where it must be made.

        Args:
            views: those that it can take features from, by name, as they are to be.
        """
        key = declared.object_type, declared.name
        if isinstance(declared, FeatureService):
            projections = declared.feature_view_projections
        else:
            projections = declared.source_projections
        # Of the fields in a projection only the names are declared; all else is taken from the view.
        taken = [(p.name, p.name_alias, list(p.join_key_map.items()), chosen_names(p)) for p in projections]
        shapes = [self.shape(views[p.name]) if p.name in views else "" for p in projections]
        whole = digest([type(declared).__name__, _values(declared, _PROJECTIONS), taken, shapes])
        self._found[key] = whole, ""
        memory = self._memory(*key)
        return self._snapshot.stored(*key) if memory is not None and memory.whole == whole else None

    def shape(self, view: StoredObject | BaseFeatureView) -> str:
        """Returns a digest of what services and other views take from a view, which is to be as it is."""
        if isinstance(view, StoredObject):
            memory = self._memory(view.object_type, view.name)
            return memory.shape if memory is not None else self.shape(cast(BaseFeatureView, view.definition()))
        if view.name not in self._shapes:
            join_keys = view.join_keys if isinstance(view, FeatureView) else []
            self._shapes[view.name] = digest([view.features, join_keys])
        return self._shapes[view.name]

    def table(self, view: StoredObject | FeatureView) -> str:
        """Returns the online table of a feature view; "" where it has none."""
        if not isinstance(view, StoredObject):
            return view.online_table(self._snapshot.project) if view.online else ""
        memory = self._memory(view.object_type, view.name)
        return memory.table if memory is not None else self.table(cast(FeatureView, view.definition()))

    def news(self, made: Mapping[_Key, Definition], hashes: Mapping[_Key, str]) -> dict[_Key, str]:
        """Returns what is to be remembered and is not yet.

        Args:
            made: the objects that do not simply stand, as they are to be registered.
            hashes: the content hash of every object of the registry as it is to be.
        """
        news = {}
        for key in self._found.keys() & made.keys():
            # With what was made of it: that may be replaced by somebody else.
            memory, definition = _Memory(hashes[key], *self._found[key]), made[key]
            if isinstance(definition, BaseFeatureView):
                memory = memory._replace(shape=self.shape(definition))
            if isinstance(definition, FeatureView):
                sources = [hashes[source.object_type, source.name] for source in sources_of(definition)]
                memory = memory._replace(sources=sources, table=self.table(definition))
            text = json.dumps(memory, separators=(",", ":"))
            if self._remembered.get(key) != text:
                news[key] = text
        return news

    def _memory(self, object_type: str, name: str) -> _Memory | None:
        """Returns what is remembered of just the object that is registered by a name."""
        key = object_type, name
        if key not in self._memories:
            stored, text = self._snapshot.stored(*key), self._remembered.get(key, "")
            # Other versions may have written another form.
            parts: list[Any] = json.loads(text) if text.startswith("[") else []
            known = stored is not None and len(parts) == len(_Memory._fields) and parts[0] == stored.content_hash
            self._memories[key] = _Memory(*parts) if known else None
        return self._memories[key]

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


def _values(definition: Definition, besides: Sequence[str]) -> list[object]:
    """Returns what a definition is made up of, besides some attributes."""
    return [getattr(definition, name) for name in definition._spec if name not in besides]


def _told_anew(registered: FeatureView, declared: FeatureView) -> FeatureView:
    """Returns a copy of the registered view with what is declared of it besides its rows."""
    made, given = copy_definition(registered), copy_definition(declared)
    for name in _BESIDES:
        setattr(made, name, getattr(given, name))
    return made
