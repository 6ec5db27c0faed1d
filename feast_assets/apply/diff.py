"""The differences that an apply makes, as objects and as text."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME
from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.transformation import code_of
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.registry.base import Changes
from feast_assets.registry.snapshot import RegistrySnapshot, StoredObject

_MISSING = object()
_ORDER = " (order)"


class Action(enum.Enum):
    """What happens to an object."""

    CREATE = "Created"
    UPDATE = "Updated"
    DELETE = "Deleted"
    UNCHANGED = "Unchanged"


@dataclass(frozen=True, slots=True)
class PropertyDiff:
    """A part of a definition that changes.

    Attributes:
        property: its path, such as ``ttl`` or ``features.fare.dtype``.
        old, new: as text; "" where there is nothing.
    """

    property: str
    old: str
    new: str

    def __str__(self) -> str:
        if self.old == self.new:
            return f"{self.property}: {self.new}"
        return f"{self.property}: {self.old or '(none)'} -> {self.new or '(none)'}"


@dataclass(frozen=True, slots=True)
class ObjectDiff:
    """What happens to one object.

    Attributes:
        property_diffs: of an update, by property.
    """

    action: Action
    object_type: str
    name: str
    property_diffs: tuple[PropertyDiff, ...] = ()

    def __str__(self) -> str:
        line = f"{self.action.value} {self.object_type} {self.name}"
        return "\n".join([line, *(f"\t{p}" for p in self.property_diffs)])


@dataclass(frozen=True, slots=True)
class RegistryDiff:
    """What an apply changes in the registry.

    Attributes:
        objects: every object that is declared or removed, by type and name, unchanged ones included.
    """

    objects: tuple[ObjectDiff, ...] = ()

    def __iter__(self) -> Iterator[ObjectDiff]:
        return iter(self.objects)

    @property
    def changed(self) -> tuple[ObjectDiff, ...]:
        """The objects that change, without those that apply adds by itself: the placeholder entity of views that have
        no entities, what is stored of on-demand views, and versions of views."""
        return tuple(
            o
            for o in self.objects
            if o.action is not Action.UNCHANGED
            and o.name != DUMMY_ENTITY_NAME
            and o.object_type not in (StoredOnDemandView.object_type, ViewVersion.object_type)
        )

    def __str__(self) -> str:
        return "\n".join(map(str, self.changed)) or "No changes to registry"


def diff(before: RegistrySnapshot, changes: Changes, standing: Iterable[StoredObject] = ()) -> RegistryDiff:
    """Returns how changes affect the definitions of a revision.

    Args:
        standing: declared objects that are known to be unchanged.
    """
    diffs = {(o.object_type, o.name): ObjectDiff(Action.UNCHANGED, o.object_type, o.name) for o in standing}
    for object_type, name in changes.deletes:
        if before.stored(object_type, name) is not None:
            diffs[object_type, name] = ObjectDiff(Action.DELETE, object_type, name)
    for definition in changes.upserts:
        key = type(definition).object_type, definition.name
        diffs[key] = _upsert(before, definition)
    return RegistryDiff(tuple(diffs[key] for key in sorted(diffs)))


def _upsert(before: RegistrySnapshot, definition: Definition) -> ObjectDiff:
    object_type, name = type(definition).object_type, definition.name
    stored = before.stored(object_type, name)
    if stored is None:
        return ObjectDiff(Action.CREATE, object_type, name)
    if stored.content_hash == definition.content_hash():
        return ObjectDiff(Action.UNCHANGED, object_type, name)
    return ObjectDiff(Action.UPDATE, object_type, name, property_diffs(stored.definition(), definition))


def property_diffs(old: Definition, new: Definition) -> tuple[PropertyDiff, ...]:
    """Returns what differs between two versions of an object, by property."""
    before, after = dict(_flat("", old.to_spec())), dict(_flat("", new.to_spec()))
    diffs = []
    for path in {**before, **after}:
        one, other = before.get(path, _MISSING), after.get(path, _MISSING)
        if path == "online_generation" or one == other or (_text(one) == _text(other) == ""):
            continue
        if path.endswith(_ORDER) and (one is _MISSING or other is _MISSING or sorted(one) != sorted(other)):
            continue  # what was added or removed has its own line
        if path.endswith("udf_string") and one is not _MISSING and other is not _MISSING:
            if code_of(one) != code_of(other):
                diffs.append(PropertyDiff(path.removesuffix(".udf_string"), "code changed", "code changed"))
        else:
            diffs.append(PropertyDiff(path, _text(one), _text(other)))
    return tuple(sorted(diffs, key=lambda d: d.property))


def _flat(path: str, data: object) -> Iterator[tuple[str, Any]]:
    """Yields the leaves of a stored form with their paths; an item of a list goes by its name if it has one."""
    if isinstance(data, Mapping) and "$map" in data:
        data = data["$map"]
    elif isinstance(data, Mapping) and next(iter(data), "").startswith("$"):
        yield path, data
        return
    if isinstance(data, Mapping) and data.get("kind") == "Field":
        # A field that is added or removed is one line with its type; other attributes only if they are set.
        yield path, data["dtype"]
        data = {k: v for k, v in data.items() if v and k not in ("kind", "name", "dtype")}
    elif isinstance(data, Mapping) and data.get("kind") == "Checks":
        data = {k: v for k, v in data.items() if k != "kind"}
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _flat(f"{path}.{key}" if path else key, value)
        return
    if isinstance(data, list) and data and all(isinstance(v, Mapping) and "name" in v for v in data):
        names = [v["name"] for v in data]
        if len(set(names)) == len(names):
            yield path + _ORDER, names
            for value in data:
                yield from _flat(f"{path}.{value['name']}", value)
            return
    if data != []:
        yield path, data


def _text(value: object) -> str:
    if value is _MISSING or value is None or value == "":
        return ""
    if isinstance(value, Mapping):
        (tag, inner), *_ = value.items()
        if tag == "$duration_us":
            return str(timedelta(microseconds=inner))
        if tag == "$time_us":
            return from_micros(inner).isoformat()
        return str(inner)
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return str(value)
