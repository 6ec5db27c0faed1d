"""Values as Feast's HTTP server writes them in JSON.

As `feast_assets.types.json`, but for three types: a UnixTimestamp is the integer of its epoch seconds, a ZonedTimestamp
has its offset also where that is UTC, and Json is the text of its JSON.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from feast_assets.types.feast_type import (
    Array,
    Bool,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Set,
    String,
    UnixTimestamp,
    ZonedTimestamp,
)
from feast_assets.types.json import to_json_value
from feast_assets.types.scalars import to_json_text

_AS_THEY_ARE = frozenset((Bool, Int32, Int64, String))
_FLOATS = frozenset((Float32, Float64))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_TIMES_REMEMBERED = 65_536


def feast_json_converter(feast_type: FeastType) -> Callable[[list[Any]], list[Any]] | None:
    """Returns the function from values of a type to values that a JSON encoder takes; None where they are that already.

    Values are as `feast_assets.types.python` gives them, None for null.
    """
    if feast_type in _AS_THEY_ARE:
        return None
    if feast_type in _FLOATS:
        return _floats
    if isinstance(feast_type, Array):
        if feast_type.base_type in _AS_THEY_ARE:
            return None
        if feast_type.base_type in _FLOATS:
            return _lists_of_floats
    convert = _converter(feast_type)
    return lambda values: [None if value is None else convert(value) for value in values]


def _floats(values: list[Any]) -> list[Any]:
    return values if _all_finite(values) else list(map(to_json_value, values))


def _lists_of_floats(values: list[Any]) -> list[Any]:
    return values if all(map(math.isfinite, _items(values))) else list(map(to_json_value, values))


def _all_finite(values: Sequence[float | None]) -> bool:
    try:
        # One NaN or infinity anywhere makes the sum one as well. Finite values may have an infinite sum.
        if math.isfinite(sum(values)):  # type: ignore[arg-type]
            return True
    except TypeError:
        pass  # There are nulls.
    return all(value is None or math.isfinite(value) for value in values)


def _items(values: Iterable[Any]) -> Iterable[float]:
    return (item for item in chain.from_iterable(filter(None, values)) if item is not None)


def _converter(feast_type: FeastType) -> Callable[[Any], Any]:
    if isinstance(feast_type, Array | Set):
        item = _converter(feast_type.base_type)
        return lambda values: [None if value is None else item(value) for value in values]
    if feast_type == UnixTimestamp:
        return lambda value: (value - _EPOCH) // _SECOND
    if feast_type == ZonedTimestamp:
        return lambda value: value.isoformat()
    if feast_type == Json:
        return _json_text
    return to_json_value


def _json_text(value: Any) -> str:
    try:
        return to_json_text(value)
    except ValueError:
        # A number such as 1e1000, which is valid JSON, is read as an infinity.
        return to_json_text(to_json_value(value))


@lru_cache(maxsize=_TIMES_REMEMBERED)
def timestamp_text(micros: int) -> str:
    """Returns a moment as protobuf's JSON has it: ``YYYY-MM-DDThh:mm:ss[.fff[fff]]Z``.

    Args:
        micros: UTC microseconds.
    """
    text = (_EPOCH + dt.timedelta(microseconds=micros)).isoformat()[:-6]
    if micros % 1_000_000 and not micros % 1_000:
        text = text[:-3]
    return text + "Z"
