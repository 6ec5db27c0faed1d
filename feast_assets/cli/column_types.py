"""The types of the columns that a request needs, and values of these types from text."""

from __future__ import annotations

import base64
import decimal
import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from feast_assets.cli.moments import parse_moment
from feast_assets.errors import InputError

if TYPE_CHECKING:
    from feast_assets.retrieval.request import FeatureRequest
    from feast_assets.types import FeastType


def row_types(request: FeatureRequest) -> dict[str, FeastType]:
    """Returns name -> type of what entity rows hold for a request: join keys, request fields, and names of entities,
    which may stand for their join keys."""
    types = {name: column.dtype for name, column in (*request.join_keys.items(), *request.request_fields.items())}
    return {**{e: types[key] for e, key in request.entity_columns.items() if key in types}, **types}


def value_from_text(text: str, feast_type: FeastType | None, name: str) -> object:
    """Converts a text of the command line to a Python value of its type; without a known type it stays text.

    Bytes are base64, timestamps ISO 8601 (UTC without an offset), collections JSON.

    Raises:
        InputError: the text is not a value of the type.
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
    value = {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())
    if value is None:
        raise ValueError(text)
    return value


def _json_text(text: str) -> str:
    json.loads(text)
    return text


def _from_json(text: str) -> object:
    return json.loads(text)


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_READERS: dict[str, Callable[[str], object]] = {
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
