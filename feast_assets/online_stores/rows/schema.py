"""The layout of an encoded row.

A payload is little-endian and without padding::

    u32  schema id
    u8[] null bitmap, one bit per field, bit ``i % 8`` of byte ``i // 8``; 1 is null
    ...  one slot per field, in order: the value where its width is fixed (0 if null),
         else u32, where the field's bytes end in the variable part
    ...  the variable part: the fields' bytes, in order (none if null)

Fixed widths: Bool u8, Int32 i32, Int64 i64, Float32 f32, Float64 f64, UnixTimestamp i64 microseconds. In the variable
part text is UTF-8, bytes are as they are, and an array or set of fixed-width values is one byte that says whether it
holds nulls, the values, and then (if it does) a byte per value, 1 for null. Other types are JSON text of the value,
with timestamps as microseconds and bytes as base64.

The layout is known from the schema alone, so a reader needs no type tags, and equal values give equal bytes. Any change
of the layout must change `_FORMAT`, which gives every schema a new id.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from feast_assets.types.feast_type import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Invalid,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
    parse_type,
)

_FORMAT = "feast_assets row 1"

ID_WIDTH = 4
"""How many bytes the schema id has, with which a payload begins."""

END_CODE = "<u4"

# numpy type codes of the values that have a slot of their own.
FIXED_CODES: dict[FeastType, str] = {
    Bool: "|u1",
    Int32: "<i4",
    Int64: "<i8",
    Float32: "<f4",
    Float64: "<f8",
    UnixTimestamp: "<i8",
}
# struct's codes of the same.
STRUCT_CODES: dict[FeastType, str] = {Bool: "?", Int32: "i", Int64: "q", Float32: "f", Float64: "d", UnixTimestamp: "q"}
STRUCT_END_CODE = "I"
_TEXT = frozenset((String, Json, Map, ScalarMap, Uuid, TimeUuid, Decimal, ZonedTimestamp))
_BYTES = frozenset((Bytes, PdfBytes, ImageBytes))


class Kind(enum.Enum):
    """How a field's values are stored."""

    FIXED = "fixed"
    TEXT = "text"
    BYTES = "bytes"
    VECTOR = "vector"
    NESTED = "nested"


def kind_of(feast_type: FeastType) -> Kind:
    """Returns how values of a type are stored."""
    if feast_type in FIXED_CODES:
        return Kind.FIXED
    if feast_type in _TEXT:
        return Kind.TEXT
    if feast_type in _BYTES:
        return Kind.BYTES
    if isinstance(feast_type, (Array, Set)) and feast_type.base_type in FIXED_CODES:
        return Kind.VECTOR
    return Kind.NESTED


@dataclass(frozen=True)
class RowSchema:
    """Names and types of the features of encoded rows, in order.

    Attributes:
        fields: distinct names, each with its type.
    """

    fields: tuple[tuple[str, FeastType], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.fields]
        if len(set(names)) != len(names):
            raise ValueError(f"A row schema's names repeat: {names}.")
        for name, feast_type in self.fields:
            if feast_type == Invalid:
                raise ValueError(f"Field {name!r} has type Invalid, which has no values.")

    @cached_property
    def schema_id(self) -> int:
        """A number below 2^32 that depends on nothing but the fields and the format."""
        text = json.dumps([_FORMAT, *self.to_spec()], ensure_ascii=True, separators=(",", ":"))
        return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:4], "little")

    def to_spec(self) -> list[list[str]]:
        """Returns ``[[name, type text], ...]``, which JSON can hold."""
        return [[name, str(feast_type)] for name, feast_type in self.fields]

    @classmethod
    def from_spec(cls, spec: Sequence[Sequence[str]]) -> RowSchema:
        """Returns the schema that `to_spec` described; ValueError if it is not such a description."""
        return cls(tuple((name, parse_type(text)) for name, text in spec))

    @classmethod
    def of(cls, fields: Mapping[str, FeastType] | Iterable[tuple[str, FeastType]]) -> RowSchema:
        """Returns the schema of a mapping or of pairs."""
        return cls(tuple(fields.items() if isinstance(fields, Mapping) else fields))

    @cached_property
    def indices(self) -> dict[str, int]:
        """Field name to its index."""
        return {name: index for index, (name, _) in enumerate(self.fields)}

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind_of(feast_type) for _, feast_type in self.fields)

    @cached_property
    def variable(self) -> tuple[int, ...]:
        """Indices of the fields with bytes in the variable part."""
        return tuple(index for index, kind in enumerate(self.kinds) if kind is not Kind.FIXED)

    @property
    def bitmap_width(self) -> int:
        """Bytes of the null bitmap."""
        return (len(self.fields) + 7) // 8

    @cached_property
    def dtype(self) -> Any:
        """The numpy type of what precedes the variable part: ``id``, ``nulls``, an item per field, named by index."""
        import numpy as np

        names = ["id", "nulls"]
        formats: list[str | tuple[str, tuple[int]]] = ["<u4", ("u1", (self.bitmap_width,))]
        offsets = [0, ID_WIDTH]
        offset = ID_WIDTH + self.bitmap_width
        for index, (_, feast_type) in enumerate(self.fields):
            code = FIXED_CODES.get(feast_type, END_CODE)
            names.append(str(index))
            formats.append(code)
            offsets.append(offset)
            offset += int(code[2:])
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": offset})
