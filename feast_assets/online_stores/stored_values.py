"""The bytes of one variable-width field to its Python value."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from feast_assets.online_stores.row_schema import FIXED_CODES, Kind, kind_of
from feast_assets.types.feast_type import Array, Bool, FeastType, Set, String, Struct, TimeUuid, Uuid
from feast_assets.types.python import converter

Reader = Callable[[bytes], Any]


def reader(stored: FeastType, wanted: FeastType) -> Reader:
    """Returns the function from the bytes of a field stored as one type to the Python value of the wanted type."""
    kind = kind_of(stored)
    if kind is Kind.BYTES:
        return bytes
    if kind is Kind.TEXT:
        if stored == String:
            return _text
        if stored in (Uuid, TimeUuid):
            return _uuid
        convert_text = converter(stored)
        assert convert_text is not None
        return lambda data: convert_text(data.decode())
    if kind is Kind.VECTOR:
        assert isinstance(stored, (Array, Set))
        assert isinstance(wanted, (Array, Set))
        return _vector_reader(stored, wanted)
    convert = converter(stored)
    revive = _reviver(stored)
    if convert is None:
        return lambda data: revive(json.loads(data))
    return lambda data: convert(revive(json.loads(data)))


def stored_reader(stored: FeastType) -> Reader:
    """Returns the function from a field's bytes to what `feast_assets.types.storage` holds: text as is, int times."""
    kind = kind_of(stored)
    if kind is Kind.BYTES:
        return bytes
    if kind is Kind.TEXT:
        return _text
    if kind is Kind.VECTOR:
        assert isinstance(stored, (Array, Set))
        return _items_reader(stored.base_type)
    revive = _reviver(stored)
    return lambda data: revive(json.loads(data))


def _text(data: bytes) -> str:
    return data.decode()


def _uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(data.decode())


def _items_reader(item_type: FeastType) -> Reader:
    code = FIXED_CODES[item_type]
    width = int(code[2:])
    is_bool = item_type == Bool

    def read(data: bytes) -> list[Any]:
        has_missing = data[0]
        count, rest = divmod(len(data) - 1, width + 1 if has_missing == 1 else width)
        if rest or has_missing > 1:
            raise ValueError("a list is cut off.")
        items = np.frombuffer(data, code, count, 1)
        values: list[Any] = (items != 0).tolist() if is_bool else items.tolist()
        if has_missing:
            for at in np.flatnonzero(np.frombuffer(data, np.uint8, count, 1 + count * width)).tolist():
                values[at] = None
        return values

    return read


def _vector_reader(stored: Array | Set, wanted: Array | Set) -> Reader:
    read = _items_reader(stored.base_type)
    if stored.base_type != wanted.base_type:
        cast = float if FIXED_CODES[wanted.base_type][1] == "f" else int
        widened = read

        def read(data: bytes) -> list[Any]:
            return [None if value is None else cast(value) for value in widened(data)]

    convert = converter(wanted)
    if convert is None:
        return read
    collect = convert
    return lambda data: collect(read(data))


def _reviver(feast_type: FeastType) -> Callable[[Any], Any]:
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
