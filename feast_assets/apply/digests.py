"""Digests of what registered objects were made from.

An object whose inputs have the digests that the registry remembers is not made again: its stored form is not even read,
and its sources are not opened.
"""

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
from feast_assets.definitions.sources.stream_source import StreamSource
from feast_assets.definitions.spec import digest
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject, copy_definition

ChangeTokensOf = Callable[[DataSource], "frozenset[str]"]

_NOT_OF_ROWS = ("description", "tags", "owner", "org", "ttl", "enabled", "freshness", "state")
"""Attributes of a view that apply neither infers nor compares with its sources."""

_PROJECTIONS = ("feature_view_projections", "source_projections")

_Key = tuple[str, str]


class _Digests(NamedTuple):
    """What is remembered of a registered object, for as long as the registered object is the one that was made.

    Attributes:
        made: the object's content hash.
        inputs: a digest of everything that it was made from.
        row_inputs: of a feature view, a digest of the same without the attributes that do not concern its rows.
        interface: of a view, a digest of what services and other views take from it.
        sources: of a feature view, the content hashes of its sources, which are registered by themselves as well.
        table: of a feature view, its online table; "" where it has none.
    """

    made: str
    inputs: str
    row_inputs: str = ""
    interface: str = ""
    sources: Sequence[str] = ()
    table: str = ""


class InputDigests:
    """Compares what the objects of one apply are made from with what the registered objects were made from.

    An object's inputs are its declaration, the objects that it refers to, and the state of the sources that are read.

    Args:
        snapshot: the registry that is applied to.
        remembered: what `Registry.inputs` returned.
        change_tokens_of: returns the change tokens of a source's parts, without reading rows; none where the store
            cannot tell.
    """

    def __init__(self, snapshot: RegistrySnapshot, remembered: Mapping[_Key, str], change_tokens_of: ChangeTokensOf):
        self._snapshot = snapshot
        self._remembered = remembered
        self._decoded: dict[_Key, _Digests | None] = {}
        self._change_tokens_of = change_tokens_of
        self._change_tokens: dict[int, frozenset[str]] = {}
        self._interfaces: dict[str, str] = {}
        self._computed: dict[_Key, tuple[str, str]] = {}

    def unchanged_view(self, view: FeatureView, entities: Sequence[Entity]) -> StoredObject | FeatureView | None:
        """Returns what a view becomes, where that follows from the registered one without reading its sources.

        Args:
            entities: of the view, as they are after the apply.

        Returns:
            the registered object where nothing changed; a copy of it with the declared description, tags and the like
            where only those changed; None where the view must be made. In the first two cases its sources are
            unchanged as well.
        """
        tokens = [sorted(self._change_tokens_for(source)) for source in _looked_into(view)]
        if not all(tokens):
            return None
        key = view.object_type, view.name
        row_inputs = digest([type(view).__name__, _values(view, _NOT_OF_ROWS), entities, tokens])
        inputs = digest([row_inputs, [getattr(view, name) for name in _NOT_OF_ROWS]])
        self._computed[key] = inputs, row_inputs
        stored, remembered = self._snapshot.stored(*key), self._of_registered(*key)
        if stored is None or remembered is None or remembered.row_inputs != row_inputs:
            return None
        sources = [self._snapshot.stored(source.object_type, source.name) for source in sources_of(view)]
        if [source and source.content_hash for source in sources] != remembered.sources:
            return None
        if remembered.inputs == inputs:
            return stored
        return _with_declared_attributes(cast(FeatureView, stored.definition()), view)

    def unchanged(
        self, declared: FeatureService | OnDemandFeatureView, views: Mapping[str, StoredObject | BaseFeatureView]
    ) -> StoredObject | None:
        """Returns the registered object where its inputs are unchanged; None where it must be made.

        Args:
            views: those that it can take features from, by name, as they are after the apply.
        """
        key = declared.object_type, declared.name
        if isinstance(declared, FeatureService):
            projections = declared.feature_view_projections
        else:
            projections = declared.source_projections
        # Of the fields in a projection only the names are declared; all else is taken from the view.
        taken = [(p.name, p.name_alias, list(p.join_key_map.items()), chosen_names(p)) for p in projections]
        interfaces = [self.interface(views[p.name]) if p.name in views else "" for p in projections]
        inputs = digest([type(declared).__name__, _values(declared, _PROJECTIONS), taken, interfaces])
        self._computed[key] = inputs, ""
        remembered = self._of_registered(*key)
        return self._snapshot.stored(*key) if remembered is not None and remembered.inputs == inputs else None

    def interface(self, view: StoredObject | BaseFeatureView) -> str:
        """Returns a digest of what services and other views take from a view: its features and join keys."""
        if isinstance(view, StoredObject):
            remembered = self._of_registered(view.object_type, view.name)
            if remembered is not None:
                return remembered.interface
            return self.interface(cast(BaseFeatureView, view.definition()))
        if view.name not in self._interfaces:
            join_keys = view.join_keys if isinstance(view, FeatureView) else []
            self._interfaces[view.name] = digest([view.features, join_keys])
        return self._interfaces[view.name]

    def table(self, view: StoredObject | FeatureView) -> str:
        """Returns the online table of a feature view; "" where it has none."""
        if not isinstance(view, StoredObject):
            return view.online_table(self._snapshot.project) if view.online else ""
        remembered = self._of_registered(view.object_type, view.name)
        return remembered.table if remembered is not None else self.table(cast(FeatureView, view.definition()))

    def to_remember(self, made: Mapping[_Key, Definition], hashes: Mapping[_Key, str]) -> dict[_Key, str]:
        """Returns the digests that the registry is to remember and does not yet, as `Changes.inputs` has them.

        Args:
            made: the objects that were made, as they are after the apply.
            hashes: the content hash of every object of the registry after the apply.
        """
        texts = {}
        for key in self._computed.keys() & made.keys():
            # With the hash of the object that was made: another apply may replace the object.
            digests, definition = _Digests(hashes[key], *self._computed[key]), made[key]
            if isinstance(definition, BaseFeatureView):
                digests = digests._replace(interface=self.interface(definition))
            if isinstance(definition, FeatureView):
                sources = [hashes[source.object_type, source.name] for source in sources_of(definition)]
                digests = digests._replace(sources=sources, table=self.table(definition))
            text = json.dumps(digests, separators=(",", ":"))
            if self._remembered.get(key) != text:
                texts[key] = text
        return texts

    def _of_registered(self, object_type: str, name: str) -> _Digests | None:
        """Returns what is remembered of the object that is registered now; None if that is of another one."""
        key = object_type, name
        if key not in self._decoded:
            stored, text = self._snapshot.stored(*key), self._remembered.get(key, "")
            # Other versions of this package may have written another form.
            parts: list[Any] = json.loads(text) if text.startswith("[") else []
            is_current = stored is not None and len(parts) == len(_Digests._fields) and parts[0] == stored.content_hash
            self._decoded[key] = _Digests(*parts) if is_current else None
        return self._decoded[key]

    def _change_tokens_for(self, source: DataSource) -> frozenset[str]:
        if id(source) not in self._change_tokens:
            self._change_tokens[id(source)] = self._change_tokens_of(source)
        return self._change_tokens[id(source)]


def sources_of(view: FeatureView) -> list[DataSource]:
    """Returns the sources in a view, in the same order for two views that differ only in what was inferred."""
    sources = [view.batch_source, view.stream_source]
    if isinstance(view, BatchFeatureView):
        sources += [*view.sources, view.sink_source]
    sources += [s.batch_source for s in sources if isinstance(s, StreamSource)]
    return [s for s in sources if s is not None]


def _looked_into(view: FeatureView) -> list[DataSource]:
    """Returns the sources whose content decides what apply makes of a view; a kept result does not."""
    kept = view.sink_source if isinstance(view, BatchFeatureView) else None
    return [s for s in sources_of(view) if s.holds_history and s is not kept]


def _values(definition: Definition, without: Sequence[str]) -> list[object]:
    """Returns the values of a definition's attributes, without some of them."""
    return [getattr(definition, name) for name in definition._spec if name not in without]


def _with_declared_attributes(registered: FeatureView, declared: FeatureView) -> FeatureView:
    """Returns a copy of the registered view with the declared values of attributes that do not concern its rows."""
    view, given = copy_definition(registered), copy_definition(declared)
    state = given.state or registered.state
    for name in _NOT_OF_ROWS:
        setattr(view, name, getattr(given, name))
    view.state = state
    return view
