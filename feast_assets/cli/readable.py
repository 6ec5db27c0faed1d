"""Definitions in a form for people: their stored form without its type tags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_assets.definitions.base import Definition
    from feast_assets.definitions.spec import Spec


def readable_definition(definition: Definition) -> dict[str, object]:
    """Returns a definition as plain data: what is not empty, and when it was applied (ISO 8601, UTC)."""
    from feast_assets.definitions.entity import DUMMY_JOIN_KEY
    from feast_assets.types.json import iso_text

    data: dict[str, object] = readable_spec(definition)
    if data.get("join_keys") == [DUMMY_JOIN_KEY]:
        # The placeholder entity of views without entities is internal.
        for name in ("entities", "join_keys", "entity_columns"):
            data.pop(name, None)
    for name in ("created_timestamp", "last_updated_timestamp"):
        moment = getattr(definition, name)
        if moment is not None:
            data[name] = iso_text(moment)
    return data


def readable_spec(spec: Spec) -> dict[str, object]:
    """Returns a definition, or a part of one, as plain data without empty attributes."""
    data = readable(spec.to_spec())
    assert isinstance(data, dict)
    return {k: v for k, v in data.items() if v not in (None, "", [], {})}


def readable(stored: object, *, whole: bool = False) -> object:
    """Returns a stored value (see `feast_assets.definitions.spec`) without tags.

    Types are their text, durations as in ``1 day, 0:00:00``, times ISO 8601.

    Args:
        whole: whether empty attributes are kept.
    """
    if isinstance(stored, list):
        return [readable(value, whole=whole) for value in stored]
    if not isinstance(stored, Mapping):
        return stored
    if len(stored) == 1:
        ((tag, value),) = stored.items()
        if tag == "$type":
            return value
        if tag == "$duration_us":
            return str(timedelta(microseconds=value))
        if tag == "$time_us":
            from feast_assets.definitions.spec import from_micros
            from feast_assets.types.json import iso_text

            return iso_text(from_micros(value))
        if tag == "$enum":
            return value.partition(".")[2]
        if tag == "$map":
            return {k: readable(v, whole=whole) for k, v in value.items()}
    if whole:
        return {k: readable(v, whole=True) for k, v in stored.items()}
    if stored.get("kind") == "Field":
        # There are many fields, so only the attributes that are set are shown.
        stored = {k: v for k, v in stored.items() if v and k != "kind"}
    elif stored.get("kind") == "Checks":
        stored = {k: v for k, v in stored.items() if k != "kind"}
    shown = {k: readable(v) for k, v in stored.items()}
    return {k: v for k, v in shown.items() if v not in (None, "", [], {})}
