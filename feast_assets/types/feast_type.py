"""The value types of features: primitives, and arrays, sets and structs of them.

A type's ``str`` is its stable text form, ``Array(Struct({a: Int64}))``; `parse_type` reads it back. Names of fields
that are no single word are written as JSON in brackets: ``Struct({("a b"): Int64})``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.types.value_type import ValueType

if TYPE_CHECKING:
    import pyarrow as pa


class FeastType:
    """Base of all value types. Immutable, hashable, compared by content."""

    __slots__ = ()

    def to_value_type(self) -> ValueType:
        """Returns Feast's type code."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, repr=False)
class PrimitiveFeastType(FeastType):
    name: str
    value_type: ValueType

    def to_value_type(self) -> ValueType:
        return self.value_type

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __hash__(self) -> int:
        # Names are unique, and online reads look types up for every column.
        return hash(self.name)


Invalid = PrimitiveFeastType("Invalid", ValueType.UNKNOWN)
Bytes = PrimitiveFeastType("Bytes", ValueType.BYTES)
String = PrimitiveFeastType("String", ValueType.STRING)
Bool = PrimitiveFeastType("Bool", ValueType.BOOL)
Int32 = PrimitiveFeastType("Int32", ValueType.INT32)
Int64 = PrimitiveFeastType("Int64", ValueType.INT64)
Float32 = PrimitiveFeastType("Float32", ValueType.FLOAT)
Float64 = PrimitiveFeastType("Float64", ValueType.DOUBLE)
UnixTimestamp = PrimitiveFeastType("UnixTimestamp", ValueType.UNIX_TIMESTAMP)
PdfBytes = PrimitiveFeastType("PdfBytes", ValueType.PDF_BYTES)
ImageBytes = PrimitiveFeastType("ImageBytes", ValueType.IMAGE_BYTES)
Map = PrimitiveFeastType("Map", ValueType.MAP)
Json = PrimitiveFeastType("Json", ValueType.JSON)
Uuid = PrimitiveFeastType("Uuid", ValueType.UUID)
TimeUuid = PrimitiveFeastType("TimeUuid", ValueType.TIME_UUID)
Decimal = PrimitiveFeastType("Decimal", ValueType.DECIMAL)
ScalarMap = PrimitiveFeastType("ScalarMap", ValueType.SCALAR_MAP)
ZonedTimestamp = PrimitiveFeastType("ZonedTimestamp", ValueType.ZONED_TIMESTAMP)

PRIMITIVES: dict[str, PrimitiveFeastType] = {
    t.name: t
    for t in (
        Bytes,
        String,
        Bool,
        Int32,
        Int64,
        Float32,
        Float64,
        UnixTimestamp,
        PdfBytes,
        ImageBytes,
        Map,
        Json,
        Uuid,
        TimeUuid,
        Decimal,
        ScalarMap,
        ZonedTimestamp,
    )
}

_LISTS = {
    ValueType[v.name.removesuffix("_LIST")]: v
    for v in ValueType
    if v.name.endswith("_LIST") and v.name not in ("STRUCT_LIST", "VALUE_LIST")
}
_SETS = {
    ValueType[v.name.removesuffix("_SET")]: v for v in ValueType if v.name.endswith("_SET") and v.name != "VALUE_SET"
}


def _check_type(base_type: object, of: str) -> None:
    if not isinstance(base_type, FeastType):
        raise ValueError(f"{of} takes a type of feast_assets.types such as Int64, not {base_type!r}.")


class ComplexFeastType(FeastType):
    """Base of the types that are made of others."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, repr=False)
class Array(ComplexFeastType):
    """A list of values of one type, in order, that may hold nulls."""

    base_type: FeastType

    def __post_init__(self) -> None:
        _check_type(self.base_type, "Array")
        if not isinstance(self.base_type, (Array, Set, Struct)) and (self.base_type.to_value_type() not in _LISTS):
            raise ValueError(f"Array({self.base_type}) is not a type that Feast has.")

    def to_value_type(self) -> ValueType:
        if isinstance(self.base_type, Struct):
            return ValueType.STRUCT_LIST
        if isinstance(self.base_type, (Array, Set)):
            return ValueType.VALUE_LIST
        return _LISTS[self.base_type.to_value_type()]

    def __str__(self) -> str:
        return f"Array({self.base_type})"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False)
class Set(ComplexFeastType):
    """A list of distinct values of one type."""

    base_type: FeastType

    def __post_init__(self) -> None:
        _check_type(self.base_type, "Set")
        if not isinstance(self.base_type, (Array, Set)) and (
            isinstance(self.base_type, Struct) or self.base_type.to_value_type() not in _SETS
        ):
            raise ValueError(f"Set({self.base_type}) is not a type that Feast has.")

    def to_value_type(self) -> ValueType:
        if isinstance(self.base_type, (Array, Set)):
            return ValueType.VALUE_SET
        return _SETS[self.base_type.to_value_type()]

    def __str__(self) -> str:
        return f"Set({self.base_type})"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, repr=False, init=False)
class Struct(ComplexFeastType):
    """Named values, each of its own type: ``Struct({"name": String, "age": Int64})``."""

    items: tuple[tuple[str, FeastType], ...]

    def __init__(self, fields: Mapping[str, FeastType]):
        if not fields:
            raise ValueError("Struct needs at least one field.")
        for name, field_type in fields.items():
            _check_type(field_type, "Struct")
            if not isinstance(name, str) or not name:
                raise ValueError(f"The name of a Struct's field must be a non-empty text, not {name!r}.")
        object.__setattr__(self, "items", tuple(fields.items()))

    @property
    def fields(self) -> dict[str, FeastType]:
        return dict(self.items)

    def to_value_type(self) -> ValueType:
        return ValueType.STRUCT

    def to_pyarrow_type(self) -> pa.DataType:
        """Returns its Arrow type; see `from_feast_to_pyarrow_type`."""
        return from_feast_to_pyarrow_type(self)

    def __str__(self) -> str:
        return "Struct({" + ", ".join(f"{_field_text(n)}: {t}" for n, t in self.items) + "})"

    __repr__ = __str__


_WORD = re.compile(r"[^\s:,(){}]+")
_TOKEN = re.compile(r"\s*(\(\"(?:[^\"\\]|\\.)*\"\)|[^\s:,(){}]+|[:,(){}])")


def _field_text(name: str) -> str:
    return name if _WORD.fullmatch(name) else f"({json.dumps(name)})"


def parse_type(text: str) -> FeastType:
    """Returns the type whose text form this is.

    Raises:
        ValueError: the text is not a type.
    """
    tokens = _TOKEN.findall(text)
    position = 0

    def take(expected: str | None = None) -> str:
        nonlocal position
        token = tokens[position] if position < len(tokens) else ""
        if not token or (expected is not None and token != expected):
            raise ValueError(f"{text!r} is not a type.")
        position += 1
        return str(token)

    def parse() -> FeastType:
        name = take()
        if name in ("Array", "Set"):
            take("(")
            base = parse()
            take(")")
            return Array(base) if name == "Array" else Set(base)
        if name == "Struct":
            take("(")
            take("{")
            fields: dict[str, FeastType] = {}
            while True:
                key = take()
                if key.startswith("("):
                    key = json.loads(key[1:-1])
                take(":")
                fields[key] = parse()
                if take() == "}":
                    break
            take(")")
            return Struct(fields)
        if name == "Invalid":
            return Invalid
        if name not in PRIMITIVES:
            raise ValueError(f"{text!r} is not a type.")
        return PRIMITIVES[name]

    result = parse()
    if position != len(tokens):
        raise ValueError(f"{text!r} is not a type.")
    return result


def from_value_type(value_type: ValueType) -> FeastType:
    """Returns the type with this code.

    Raises:
        ValueError: the code does not say enough (UNKNOWN, NULL, structs and nested collections).
    """
    for primitive in PRIMITIVES.values():
        if primitive.value_type is value_type:
            return primitive
    for base, code in _LISTS.items():
        if code is value_type:
            return Array(from_value_type(base))
    for base, code in _SETS.items():
        if code is value_type:
            return Set(from_value_type(base))
    raise ValueError(f"{value_type} does not determine a type.")


def from_feast_type(feast_type: FeastType) -> ValueType:
    """Returns Feast's code of a type."""
    return feast_type.to_value_type()


def from_feast_to_pyarrow_type(feast_type: FeastType) -> pa.DataType:
    """Returns the Arrow type that columns of a type have in results; `feast_assets.types.canonical` lists them.

    Raises:
        ValueError: the type has no values (``Invalid``).
    """
    from feast_assets.types.canonical import to_arrow_type

    return to_arrow_type(feast_type)


FEAST_VECTOR_TYPES: list[ValueType | FeastType] = [
    *(_LISTS[base.value_type] for base in (Bytes, Int32, Int64, Float32, Bool, Map)),
    *(Array(base) for base in (Bytes, Int32, Int64, Float32, Bool, Map)),
]
"""The types of vectors, as codes and as types."""
