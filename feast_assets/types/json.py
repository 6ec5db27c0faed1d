"""Python values as JSON, in the form of Feast's HTTP answers and command line.

Bytes are base64; NaN and infinities are the texts ``NaN``, ``Infinity`` and ``-Infinity``; timestamps are ISO 8601,
with ``Z`` for UTC and else their offset; UUIDs and decimals are text; sets are lists; a ScalarMap's keys are text.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Iterable, Mapping

from feast_assets.errors import shown


def to_json_values(values: Iterable[object]) -> list[object]:
    """Converts Python values, as `feast_assets.types.python` returns them, to values that ``json.dumps`` takes."""
    return [to_json_value(value) for value in values]


def to_json_value(value: object) -> object:
    """Returns one value that ``json.dumps`` takes.

    Raises:
        TypeError: a feature cannot have a value of this type.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dt.datetime):
        return iso_text(value)
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(k): to_json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return [to_json_value(v) for v in value]
    if hasattr(value, "tolist"):
        # numpy scalars and arrays, without importing numpy.
        return to_json_value(value.tolist())
    raise TypeError(f"JSON cannot hold {type(value).__name__} {shown(value)}.")


def iso_text(moment: dt.datetime) -> str:
    """Returns ``YYYY-MM-DDThh:mm:ss[.ffffff]`` and ``Z`` or the offset; a naive datetime is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    text = aware.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return key if isinstance(key, str) else str(to_json_value(key))
