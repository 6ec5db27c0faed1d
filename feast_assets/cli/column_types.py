"""The types of the columns that a request must bring, and values of these types from text."""

from __future__ import annotations

import base64
import decimal
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from feast_assets.cli.moments import parse_moment
from feast_assets.errors import InputError

if TYPE_CHECKING:
    from feast_assets.definitions.projection import FeatureViewProjection
    from feast_assets.registry.snapshot import RegistrySnapshot
    from feast_assets.types import FeastType


def request_column_types(
    snapshot: RegistrySnapshot, features: list[str] | None, service: str | None
) -> dict[str, FeastType]:
    """Returns name -> type of the join keys (as the request names them) and request fields of what is asked for.

    Raises:
        FeastObjectNotFoundException: a view or the service is not registered.
    """
    if service is not None:
        projections = snapshot.feature_service(service).feature_view_projections
        views = [(p.name, dict(p.join_key_map)) for p in projections]
    else:
        views = [(reference.partition(":")[0].partition("@")[0], {}) for reference in features or []]
    types: dict[str, FeastType] = {}
    for name, join_key_map in views:
        types.update(_types_of_view(snapshot, name, join_key_map))
    return types


def _types_of_view(snapshot: RegistrySnapshot, name: str, join_key_map: Mapping[str, str]) -> dict[str, FeastType]:
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView

    view = snapshot.view(name)
    types: dict[str, FeastType] = {}
    if isinstance(view, FeatureView):
        types.update({join_key_map.get(f.name, f.name): f.dtype for f in view.entity_columns})
        # Feast takes an entity's name for its join key, too.
        for entity_name in view.entities:
            entity = snapshot.entity(entity_name)
            if entity.join_key in types:
                types.setdefault(entity.name, types[entity.join_key])
    elif isinstance(view, OnDemandFeatureView):
        sources: Iterable[FeatureViewProjection] = view.source_projections
        for source in sources:
            types.update(_types_of_view(snapshot, source.name, source.join_key_map))
        types.update({f.name: f.dtype for f in view.request_fields})
    return types


def value_from_text(text: str, feast_type: FeastType | None, name: str) -> Any:
    """Returns the Python value that a text on the command line stands for; the text itself where no type is known.

    Bytes are base64, timestamps ISO 8601 (UTC without an offset), collections JSON.

    Raises:
        InputError: the text is no value of the type.
    """
    if feast_type is None:
        return text
    read = _READERS.get(str(feast_type), _from_json)
    try:
        return read(text)
    except (ValueError, ArithmeticError) as error:
        hint = _HINTS.get(str(feast_type), "JSON such as [1, 2]")
        raise InputError(f"{name}={text!r}: {name!r} is of type {feast_type}; write {hint}.") from error


def _bool(text: str) -> bool:
    found = {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return found


def _json_text(text: str) -> str:
    json.loads(text)
    return text


def _from_json(text: str) -> Any:
    return json.loads(text)


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_READERS: dict[str, Callable[[str], Any]] = {
    "String": str,
    "Int32": int,
    "Int64": int,
    "Float32": float,
    "Float64": float,
    "Bool": _bool,
    "UnixTimestamp": parse_moment,
    "ZonedTimestamp": parse_moment,
    "Uuid": uuid.UUID,
    "TimeUuid": uuid.UUID,
    "Decimal": decimal.Decimal,
    "Json": _json_text,
    "Bytes": _base64,
    "ImageBytes": _base64,
    "PdfBytes": _base64,
}
_HINTS = {
    "Int32": "a whole number such as 1001",
    "Int64": "a whole number such as 1001",
    "Float32": "a number such as 0.5",
    "Float64": "a number such as 0.5",
    "Bool": "true or false",
    "UnixTimestamp": "a date such as 2026-01-31T18:30:00",
    "ZonedTimestamp": "a date such as 2026-01-31T18:30:00+02:00",
    "Uuid": "a UUID",
    "TimeUuid": "a UUID",
    "Decimal": "a decimal number such as 12.50",
    "Json": "JSON text",
    "Map": 'a JSON object such as {"a": 1}',
    "ScalarMap": 'a JSON object such as {"a": 1}',
    "Bytes": "base64",
    "ImageBytes": "base64",
    "PdfBytes": "base64",
}
