"""Values as Feast's HTTP server writes them in JSON.

As `feast_assets.types.json`, but for three types: a UnixTimestamp is the integer of its epoch seconds, a ZonedTimestamp
has its offset also where that is UTC, and Json is the text of its JSON.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
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
_NUMBERS = frozenset((Bool, Int32, Int64, Float32, Float64))
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_DAYS_REMEMBERED = 65_536


def is_number(feast_type: FeastType) -> bool:
    """Tells whether the values of a type are numbers or booleans."""
    return feast_type in _NUMBERS


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


class _Days(dict[int, str]):
    """Days since 1970 -> their dates."""

    def __missing__(self, day: int) -> str:
        if len(self) >= _DAYS_REMEMBERED:
            self.clear()
        text = self[day] = (_EPOCH + dt.timedelta(days=day)).date().isoformat()
        return text


_DAYS = _Days()
_MINUTES = [f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60)]
_SECONDS = [f"{second:02}" for second in range(60)]


def timestamp_texts(moments: Iterable[int]) -> list[str]:
    """Returns moments as protobuf's JSON has them: ``YYYY-MM-DDThh:mm:ss[.fff[fff]]Z``.

    Args:
        moments: UTC microseconds, of the years that `datetime` has.
    """
    texts = []
    for moment in moments:
        seconds, micros = divmod(moment, 1_000_000)
        day, second = divmod(seconds, 86_400)
        minute, second = divmod(second, 60)
        text = _DAYS[day] + _MINUTES[minute] + _SECONDS[second]
        if not micros:
            texts.append(text + "Z")
        elif micros % 1_000:
            texts.append(f"{text}.{micros:06}Z")
        else:
            texts.append(f"{text}.{micros // 1_000:03}Z")
    return texts
