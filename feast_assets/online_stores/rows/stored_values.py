"""A stored value, which is a number or the bytes of a variable-width field, to its Python value."""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Callable
from typing import Any

from feast_assets.online_stores.rows.schema import STRUCT_CODES, Kind, kind_of
from feast_assets.types.feast_type import Array, FeastType, Float32, Float64, Int32, Set, String, Struct, TimeUuid, Uuid
from feast_assets.types.python import converter

Reader = Callable[[Any], Any]


def reader(stored: FeastType, target: FeastType) -> Reader | None:
    """Returns the function from a field stored as one type to the Python value of the target type.

    None where they are the same. The function is not called with None.
    """
    kind = kind_of(stored)
    if kind is Kind.FIXED:
        return float if stored == Int32 and target == Float64 else converter(target)
    if kind is Kind.BYTES:
        return None
    if kind is Kind.TEXT:
        if stored == String:
            return bytes.decode
        if stored in (Uuid, TimeUuid):
            return _uuid
        convert_text = converter(stored)
        assert convert_text is not None
        return lambda data: convert_text(data.decode())
    if kind is Kind.VECTOR:
        assert isinstance(stored, (Array, Set))
        assert isinstance(target, (Array, Set))
        return _vector_reader(stored, target)
    convert = converter(stored)
    revive = _reviver(stored)
    if convert is None:
        return lambda data: revive(json.loads(data))
    return lambda data: convert(revive(json.loads(data)))


def stored_reader(stored: FeastType) -> Reader | None:
    """Returns the same function to what `feast_assets.types.storage` holds: text as is, times as integers."""
    kind = kind_of(stored)
    if kind in (Kind.FIXED, Kind.BYTES):
        return None
    if kind is Kind.TEXT:
        return bytes.decode
    if kind is Kind.VECTOR:
        assert isinstance(stored, (Array, Set))
        return _items_reader(stored.base_type)
    revive = _reviver(stored)
    return lambda data: revive(json.loads(data))


def _uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(data.decode())


def _items_reader(item_type: FeastType) -> Reader:
    code = STRUCT_CODES[item_type]
    width = struct.calcsize(f"<{code}")

    def read(data: bytes) -> list[object]:
        has_missing = data[0]
        count, rest = divmod(len(data) - 1, width + 1 if has_missing == 1 else width)
        if rest or has_missing > 1:
            raise ValueError("a list is cut off.")
        values = list(struct.unpack_from(f"<{count}{code}", data, 1))
        if has_missing:
            values = [None if missing else v for v, missing in zip(values, data[1 + count * width :], strict=True)]
        return values

    return read


def _vector_reader(stored: Array | Set, target: Array | Set) -> Reader:
    read = _items_reader(stored.base_type)
    if stored.base_type != target.base_type:
        cast = float if target.base_type in (Float32, Float64) else int
        widened = read

        def read(data: bytes) -> list[object]:
            return [None if value is None else cast(value) for value in widened(data)]

    convert = converter(target)
    if convert is None:
        return read
    collect = convert
    return lambda data: collect(read(data))


def _reviver(feast_type: FeastType) -> Callable[[Any], object]:
    """Returns the function that turns base64 text back to bytes in a value that came from JSON."""
    if kind_of(feast_type) is Kind.BYTES:
        return lambda value: None if value is None else base64.b64decode(value, validate=True)
    if isinstance(feast_type, (Array, Set)):
        item = _reviver(feast_type.base_type)
        return lambda value: None if value is None else [item(v) for v in value]
    if isinstance(feast_type, Struct):
        fields = [(name, _reviver(t)) for name, t in feast_type.items]
        return lambda value: None if value is None else {name: revive(value[name]) for name, revive in fields}
    return lambda value: value
