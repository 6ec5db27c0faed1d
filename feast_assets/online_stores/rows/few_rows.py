"""Python values to payloads, without Arrow: for a few rows, which cost Arrow more to set up than to encode.

The bytes are those of `feast_assets.online_stores.rows.encoder`. Only values that need no conversion are taken; for
other rows go through Arrow, which converts them or says what is wrong.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Sequence
from typing import Any

from feast_assets.definitions.spec import FIRST_MICROS, LAST_MICROS
from feast_assets.online_stores.rows.schema import STRUCT_CODES, STRUCT_END_CODE, Kind, RowSchema
from feast_assets.types.feast_type import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    PdfBytes,
    String,
    UnixTimestamp,
)
from feast_assets.types.scalars import EPOCH

_MICROSECOND = dt.timedelta(microseconds=1)
_EXACT_INTEGERS = 2**53
_NO_BYTES = b""

Values = Sequence[object]
"""The values of one column; None is null."""


class FewRowsEncoder:
    """Encodes rows of one schema; made once."""

    def __init__(self, schema: RowSchema):
        self._schema_id = schema.schema_id
        self._bitmap_width = schema.bitmap_width
        fields = zip(schema.fields, schema.kinds, strict=True)
        self._fields = [(_slot_of(dtype), kind is Kind.FIXED) for (_, dtype), kind in fields]
        codes = "".join(STRUCT_CODES.get(dtype, STRUCT_END_CODE) for _, dtype in schema.fields)
        self._body = struct.Struct(f"<I{schema.bitmap_width}s{codes}")

    def encode(self, columns: Sequence[Values]) -> list[bytes] | None:
        """Returns one payload per row; None where a value needs a conversion or is of a wrong type.

        Args:
            columns: the values of each field of the schema, in its order, all of one length.
        """
        rows = len(columns[0]) if columns else 0
        nulls = [0] * rows
        parts: list[list[bytes]] = [[] for _ in range(rows)]
        ends = [0] * rows
        slots: list[list[object]] = []
        for index, ((to_slot, is_fixed), values) in enumerate(zip(self._fields, columns, strict=True)):
            if to_slot is None:
                return None
            converted = []
            for row, value in enumerate(values):
                if value is None:
                    nulls[row] |= 1 << index
                    slot: Any = 0 if is_fixed else _NO_BYTES
                else:
                    slot = to_slot(value)
                    if slot is None:
                        return None
                if is_fixed:
                    converted.append(slot)
                else:
                    parts[row].append(slot)
                    ends[row] += len(slot)
                    converted.append(ends[row])
            slots.append(converted)
        pack = self._body.pack
        width, schema_id = self._bitmap_width, self._schema_id
        try:
            return [
                b"".join([pack(schema_id, bits.to_bytes(width, "little"), *row), *variable])
                for bits, row, variable in zip(nulls, zip(*slots, strict=True), parts, strict=True)
            ]
        except (struct.error, OverflowError):
            return None


def timestamp_micros(value: Any) -> int | None:
    """Returns UTC microseconds of a datetime, naive being UTC; None for other values.

    Those with nanoseconds are others, and those that no datetime holds in UTC, which nobody could read.
    """
    # pandas' Timestamp is a datetime that may have nanoseconds, and its NaT says that it is a datetime too.
    is_timestamp = isinstance(value, dt.datetime) and getattr(value, "nanosecond", None) == 0
    if type(value) is not dt.datetime and not is_timestamp:
        return None
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    micros: int = (value - EPOCH) // _MICROSECOND
    return micros if FIRST_MICROS <= micros <= LAST_MICROS else None


def _boolean(value: object) -> bool | None:
    return value if type(value) is bool else None


def _integer(value: object) -> int | None:
    return value if type(value) is int else None


def _float(value: object) -> float | None:
    if type(value) is float:
        return value
    return float(value) if type(value) is int and -_EXACT_INTEGERS <= value <= _EXACT_INTEGERS else None


def _text(value: object) -> bytes | None:
    try:
        return value.encode() if type(value) is str else None
    except UnicodeEncodeError:
        return None


def _bytes(value: object) -> bytes | None:
    return value if type(value) is bytes else None


_SLOTS: dict[FeastType, Callable[[object], object]] = {
    Bool: _boolean,
    Int32: _integer,
    Int64: _integer,
    Float32: _float,
    Float64: _float,
    UnixTimestamp: timestamp_micros,
    String: _text,
    Bytes: _bytes,
    PdfBytes: _bytes,
    ImageBytes: _bytes,
}


def _slot_of(dtype: FeastType) -> Callable[[object], object] | None:
    """Returns the function from a value to what the row holds of it; it returns None for values that it does not take.

    None for types whose values are converted by Arrow alone.
    """
    if isinstance(dtype, Array) and dtype.base_type in (Float32, Float64):
        return _vector_of(STRUCT_CODES[dtype.base_type])
    return _SLOTS.get(dtype)


def _vector_of(code: str) -> Callable[[object], bytes | None]:
    def encoded(value: object) -> bytes | None:
        if type(value) is not list or set(map(type, value)) - {float}:
            return None
        try:
            # The first byte says that no item is null.
            return struct.pack(f"<?{len(value)}{code}", False, *value)
        except (struct.error, OverflowError):
            return None

    return encoded
