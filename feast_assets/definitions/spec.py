"""The stable serialised form of definitions: JSON with a content hash.

A definition names the attributes that make it up (``_spec``); nothing else is stored. Values that JSON lacks are tagged
(``{"$type": "Int64"}``). Reading builds only classes that register here by being defined, and never runs their
constructors or any stored code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from copy import copy
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any, ClassVar, Self

from feast_assets.errors import DefinitionError, InputError, shown
from feast_assets.types import FeastType, parse_type
from feast_assets.types.value_type import ValueType

_CLASSES: dict[str, type[Spec]] = {}
_ENUMS: dict[str, type[Enum]] = {"ValueType": ValueType}
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLAIN = frozenset((type(None), bool, int, float, str))
"""The types of JSON's scalars. Nearly all values in definitions have one of them, so they are checked first."""


class Spec:
    """Something with a serialised form.

    Class attributes:
        _spec: attribute name -> its value where a stored form lacks it, because it was written before the attribute
            existed.
    """

    _spec: ClassVar[Mapping[str, object]] = {}
    _values: ClassVar[Callable[[Spec], object]]
    """Returns the values of these attributes at once; of a class without any, its empty `_spec`."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        _CLASSES[cls.__name__] = cls
        cls._values = attrgetter(*cls._spec or ["_spec"])

    def to_spec(self) -> dict[str, object]:
        """Returns the definition as JSON-able data."""
        spec: dict[str, object] = {"kind": type(self).__name__}
        for name in self._spec:
            value = getattr(self, name)
            spec[name] = value if type(value) in PLAIN else _encode(value)
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, object]) -> Self:
        """Returns the definition that `to_spec` described.

        Raises:
            DefinitionError: the data is of another class, or was written by a newer version of this package.
        """
        decoded = _decode(spec)
        if not isinstance(decoded, cls):
            raise DefinitionError(f"Stored data describes a {type(decoded).__name__}, not a {cls.__name__}.")
        return decoded

    def _after_decode(self) -> None:
        """Sets the attributes that are not stored."""

    def content_hash(self) -> str:
        """Returns a hash (hex) of everything that makes up the definition."""
        return content_hash(self.to_spec())

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not isinstance(other, Spec):
            return NotImplemented
        return self is other or self.to_spec() == other.to_spec()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.content_hash()))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{k}={v!r}" for k, v in vars(self).items() if k in self._spec and v not in (None, "", {}, [])
        )
        return f"{type(self).__name__}({shown})"


def content_hash(data: object) -> str:
    """Returns the sha256 (hex) of JSON-able data in its canonical text form."""
    return text_hash(canonical_text(data))


def canonical_text(data: object) -> str:
    """Returns JSON-able data as canonical text, of which `content_hash` is the hash."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def text_hash(text: str) -> str:
    """Returns the sha256 (hex) of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest(value: object) -> str:
    """Returns a hash (hex) of definitions, of their parts, or of lists of either.

    It differs whenever their stored forms differ, and takes a quarter of the time of `content_hash`. It is not a hash
    of the stored form, and may change with the next version of this package.

    Raises:
        DefinitionError: something in it cannot be part of a definition.
    """
    return text_hash(_DIGESTED.encode(value))


def register_enum(enum: type[Enum]) -> type[Enum]:
    """Allows members of an enum in serialised forms."""
    _ENUMS[enum.__name__] = enum
    return enum


def as_utc(moment: datetime) -> datetime:
    """Returns a moment in UTC; naive ones are UTC already.

    Raises:
        InputError: in UTC it lies outside the years 1 to 9999, as `datetime.max` in a zone west of UTC does.
    """
    if moment.tzinfo is UTC and type(moment) is datetime:
        return moment
    if hasattr(moment, "to_pydatetime"):
        # pandas' timestamps have other bounds, and NaT is not a time.
        if moment != moment:
            raise InputError(f"{shown(moment)} is not a time; pass a datetime.")
        moment = moment.to_pydatetime(warn=False)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InputError(f"{shown(moment)} is outside the years 1 to 9999 in UTC; pass a time within them.") from None
    except Exception as error:
        raise InputError(f"{shown(moment)} cannot be converted to UTC: {error}") from error


def to_micros(moment: datetime) -> int:
    """Returns UTC microseconds since the epoch; naive moments are UTC."""
    return (as_utc(moment) - _EPOCH) // _MICROSECOND


FIRST_MICROS = to_micros(datetime.min.replace(tzinfo=UTC))
LAST_MICROS = to_micros(datetime.max.replace(tzinfo=UTC))
"""The first and the last moment that a datetime holds in UTC."""


def from_micros(micros: int) -> datetime:
    """Returns the moment, in UTC, that is this many microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=micros)


def _encode(value: Any) -> object:
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is list:
        return [_encode(v) for v in value]
    if isinstance(value, Spec):
        return value.to_spec()
    if isinstance(value, FeastType):
        return {"$type": str(value)}
    if kind is dict:
        return {"$map": {str(k): _encode(v) for k, v in value.items()}}
    return _encode_rare(value)


def _encode_rare(value: object) -> object:
    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, timedelta):
        return {"$duration_us": value // _MICROSECOND}
    if isinstance(value, datetime):
        return {"$time_us": to_micros(value)}
    if isinstance(value, Enum):
        return {"$enum": f"{type(value).__name__}.{value.name}"}
    if isinstance(value, Mapping):
        return {"$map": {str(k): _encode(v) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    raise DefinitionError(f"A {type(value).__name__} ({value!r}) cannot be part of a definition.")


def _parts(value: object) -> object:
    if isinstance(value, Spec):
        # Without the attributes' names: their order is the class's. JSON's encoder goes through the values in C.
        return type(value).__name__, type(value)._values(value)
    return _encode(value)


_DIGESTED = json.JSONEncoder(default=_parts, check_circular=False, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _type(text: str) -> FeastType:
    """Returns a type. Definitions share the object, because types are immutable."""
    return parse_type(text)


def _decode(data: object) -> object:
    if type(data) in PLAIN:
        return data
    if isinstance(data, list):
        return [_decode(v) for v in data]
    if not isinstance(data, Mapping):
        return data
    if "kind" in data:
        return _decode_object(data)
    (tag, value), *_ = data.items()
    if tag == "$type":
        return _type(value)
    if tag == "$duration_us":
        return timedelta(microseconds=value)
    if tag == "$time_us":
        return from_micros(value)
    if tag == "$enum":
        enum, _, member = value.partition(".")
        return _ENUMS[enum][member]
    if tag == "$map":
        return {k: _decode(v) for k, v in value.items()}
    raise DefinitionError(f"Stored definition has an unknown tag {tag!r}; was it written by a newer version?")


def _decode_object(data: Mapping[str, Any]) -> Spec:
    cls = _CLASSES.get(data["kind"])
    if cls is None:
        raise DefinitionError(
            f"Stored definition has an unknown kind {data['kind']!r}; was it written by a newer version?"
        )
    if unknown := data.keys() - cls._spec.keys() - {"kind"}:
        raise DefinitionError(
            f"Stored {data['kind']} has unknown attributes {sorted(unknown)}; was it written by a newer version?"
        )
    decoded = cls.__new__(cls)
    for name, default in cls._spec.items():
        if name in data:
            value = data[name]
            setattr(decoded, name, value if type(value) in PLAIN else _decode(value))
        else:
            setattr(decoded, name, copy(default))
    decoded._after_decode()
    return decoded
