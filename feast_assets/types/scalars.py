"""Single values of types that Arrow lacks: to their canonical text, and back.

Every function takes one value that is not null, and raises ValueError or TypeError for any other value. Nothing
here needs Arrow or numpy, so that serving can use it.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import json
import math
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from feast_assets.errors import shown

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_ZONED = re.compile(r"(?P<iso>[^\[\]]+)(?:\[(?P<zone>[^\[\]]+)\])?")


def to_microseconds(value: object) -> int:
    """Returns UTC microseconds since the epoch of a datetime, a date, ISO 8601 text or epoch seconds; naive is UTC."""
    if isinstance(value, dt.datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        return (aware - EPOCH) // _MICROSECOND
    if isinstance(value, dt.date):
        return to_microseconds(dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC))
    if isinstance(value, str):
        text = value.strip()
        if text.endswith("UTC"):
            text = f"{text[:-3].rstrip()}Z"
        return to_microseconds(dt.datetime.fromisoformat(text))
    if isinstance(value, bool):
        raise TypeError("a Bool is not a timestamp.")
    if isinstance(value, float):
        return round(value * 1_000_000)
    if isinstance(value, int):
        return value * 1_000_000
    raise TypeError(f"{shown(value)} is not a timestamp.")


def from_microseconds(value: int) -> dt.datetime:
    """Returns the UTC datetime; OverflowError outside the years 1 to 9999."""
    return EPOCH + dt.timedelta(microseconds=value)


def to_uuid_text(value: object) -> str:
    """Returns lower-case hyphenated text of a UUID, its text, or its 16 bytes."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    if isinstance(value, str):
        return str(uuid.UUID(value))
    raise TypeError(f"{shown(value)} is not a UUID.")


def to_decimal_text(value: object) -> str:
    """Returns the text of a Decimal, an integer or decimal text."""
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, str):
        try:
            return str(decimal.Decimal(value))
        except decimal.InvalidOperation as error:
            raise ValueError(f"{shown(value)} is not a decimal number.") from error
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{shown(value)} is not a Decimal; binary floats are not exact decimals.")


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"There is no time zone {shown(name)}.") from error


def to_zoned_text(value: object) -> str:
    """Returns ISO text with microseconds, offset and zone name, of a datetime or such text; naive is UTC."""
    if isinstance(value, str):
        value = from_zoned_text(value)
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{shown(value)} is not a datetime.")
    aware = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    text = dt.datetime.isoformat(aware, timespec="microseconds")
    zone = getattr(aware.tzinfo, "key", None) or getattr(aware.tzinfo, "zone", None)
    return f"{text}[{zone}]" if zone and zone != "UTC" else text


def from_zoned_text(text: str) -> dt.datetime:
    """Returns the aware datetime that `to_zoned_text` wrote, in its zone."""
    match = _ZONED.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a timestamp with a zone.")
    moment = dt.datetime.fromisoformat(match["iso"])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(match["zone"]) if match["zone"] else dt.UTC)
    elif match["zone"]:
        # The offset says which moment it is, also in the hour that a zone repeats; the zone says how to show it.
        moment = moment.astimezone(_zone(match["zone"]))
    return moment


def plain(value: object) -> object:
    """Returns what JSON can hold: bytes as base64, timestamps as ISO text, UUIDs and decimals as text, NaN as null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError("JSON cannot hold an infinite number.")
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {_plain_key(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if hasattr(value, "tolist"):
        # numpy scalars and arrays, without importing numpy.
        return plain(value.tolist())
    raise TypeError(f"JSON cannot hold {type(value).__name__} {shown(value)}.")


def _plain_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a Map's keys are strings, not {shown(key)}; ScalarMap takes other keys.")
    return key


def _dump(value: object) -> str:
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def json_value(text: str | bytes) -> Any:
    """Returns the value of JSON text."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not JSON ({error}).") from error


def checked_json_text(text: str) -> str:
    """Returns JSON text as it is."""
    json_value(text)
    return text


def to_json_text(value: object) -> str:
    """Returns compact JSON text of a Python value."""
    return _dump(value)


def to_map_text(value: object) -> str:
    """Returns JSON text of an object, of a mapping or of such text."""
    loaded = json_value(value) if isinstance(value, (str, bytes)) else value
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{shown(value)} is not a mapping.")
    return _dump(loaded)


def to_scalar_map_text(value: object) -> str:
    """Returns JSON text of ``[[key, value], ...]``, of a mapping, or of JSON text of an object or of such pairs."""
    loaded = json_value(value) if isinstance(value, (str, bytes)) else value
    if isinstance(loaded, Mapping):
        pairs = list(loaded.items())
    elif isinstance(loaded, list) and all(isinstance(p, list) and len(p) == 2 for p in loaded):
        pairs = [(k, v) for k, v in loaded]
    else:
        raise ValueError(f"{shown(value)} is not a mapping.")
    plain_pairs = [[plain(k), plain(v)] for k, v in pairs]
    if any(k is None or isinstance(k, (list, dict)) for k, _ in plain_pairs):
        raise ValueError("a ScalarMap's keys are single values that are not null.")
    return json.dumps(plain_pairs, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def from_scalar_map_text(text: str | bytes) -> dict[object, object]:
    """Returns the dict whose pairs `to_scalar_map_text` wrote."""
    return dict(json_value(text))
