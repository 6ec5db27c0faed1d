"""Entity keys as bytes: the same from a request's Python values and from a materialization's Arrow columns.

A key is its parts in order, each one tag byte and then::

    i  8 bytes, a big-endian signed integer      Int32 and Int64 alike, so a key may be widened
    t  the same, UTC microseconds                UnixTimestamp
    b  1 byte                                    Bool
    s  UTF-8                                     String
    u  36 characters                             Uuid, TimeUuid
    x  the bytes                                 Bytes

Text and bytes are preceded by their length (big-endian u32) unless they are the last part. So no two keys of one view
have the same bytes, and neighbouring integers are neighbours in a store that keeps its keys in order.
"""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.errors import DefinitionError, InputError, shown
from feast_assets.types.feast_type import (
    Bool,
    Bytes,
    FeastType,
    Int32,
    Int64,
    String,
    TimeUuid,
    UnixTimestamp,
    Uuid,
)
from feast_assets.types.scalars import to_microseconds

if TYPE_CHECKING:
    import pyarrow as pa

_Checked = list[Any]
"""Values of one join key. A function checks their Python types all at once, and only then uses them."""

TAGS: dict[FeastType, bytes] = {
    Int32: b"i",
    Int64: b"i",
    UnixTimestamp: b"t",
    Bool: b"b",
    String: b"s",
    Uuid: b"u",
    TimeUuid: b"u",
    Bytes: b"x",
}
VARIABLE_WIDTH = frozenset((String, Uuid, TimeUuid, Bytes))

_INT32 = (-(2**31), 2**31 - 1)
_INT64 = (-(2**63), 2**63 - 1)
_EXPECTED: dict[FeastType, str] = {
    Int32: "an int",
    Int64: "an int",
    UnixTimestamp: "a datetime",
    Bool: "a bool",
    String: "a str",
    Uuid: "a uuid.UUID or its text",
    TimeUuid: "a uuid.UUID or its text",
    Bytes: "bytes",
}


def check_key_type(name: str, feast_type: FeastType) -> None:
    """Raises DefinitionError where a join key cannot have this type: floats and collections do not compare exactly."""
    if feast_type not in TAGS:
        allowed = ", ".join(str(t) for t in TAGS)
        raise DefinitionError(f"Join key {name!r} cannot have type {feast_type}. Types of join keys: {allowed}.")


class KeyEncoder:
    """Encodes the keys of one view, or of views with the same join keys; made once, used for each request."""

    def __init__(self, names: Sequence[str], types: Sequence[FeastType]):
        """Creates an encoder.

        Args:
            names: the join keys, sorted; the caller always gives the same order.
            types: the type of each.

        Raises:
            DefinitionError: a type that no join key can have.
            InputError: there is no join key.
        """
        if not names:
            raise InputError("An entity key needs at least one join key.")
        if len(names) != len(types):
            raise InputError(f"{len(names)} join keys need as many types, not {len(types)}.")
        for name, feast_type in zip(names, types, strict=True):
            check_key_type(name, feast_type)
        last = len(names) - 1
        self._parts = [
            _part_encoder(name, feast_type, prefixed=index < last)
            for index, (name, feast_type) in enumerate(zip(names, types, strict=True))
        ]

    def encode(self, columns: Sequence[list[object]]) -> list[bytes]:
        """Returns one key per row of columns of Python values, which have equal lengths.

        Raises:
            InputError: a value is null or not of its key's type.
        """
        if len(self._parts) == 1:
            return self._parts[0](columns[0])
        parts = [encode(column) for encode, column in zip(self._parts, columns, strict=True)]
        return list(map(b"".join, zip(*parts, strict=True)))


def encode_keys(names: Sequence[str], types: Sequence[FeastType], columns: Sequence[Any]) -> list[bytes]:
    """Returns one key per row.

    Args:
        names: the join keys, sorted; the caller always gives the same order.
        types: the type of each.
        columns: the values of each, all of one length: lists (or other sequences) of Python values, numpy arrays, or
            canonical Arrow columns (array or chunked array).

    Raises:
        DefinitionError: a type that no join key can have.
        InputError: a value is null or not of its key's type, or the columns differ in length.
    """
    encoder = KeyEncoder(names, types)
    if len(columns) != len(names):
        raise InputError(f"{len(names)} join keys need as many columns, not {len(columns)}.")
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(f"{name!r} {len(column)}" for name, column in zip(names, columns, strict=True))
        raise InputError(f"Join keys have different numbers of values: {lengths}.")
    if all(_is_arrow(column) for column in columns):
        from feast_assets.online_stores.rows.arrow_keys import encode_arrow_keys

        return encode_arrow_keys(names, types, columns)
    return encoder.encode([_as_list(column) for column in columns])


def drop_null_keys(table: pa.Table, join_keys: Iterable[str]) -> tuple[pa.Table, int]:
    """Returns the rows of an Arrow table whose join keys are all there, and how many rows were left out."""
    from feast_assets.online_stores.rows.arrow_keys import drop_null_keys

    return drop_null_keys(table, list(join_keys))


def _is_arrow(column: object) -> bool:
    return type(column).__module__.startswith("pyarrow")


def _as_list(column: Any) -> list[object]:
    if isinstance(column, list):
        return column
    if _is_arrow(column):
        values: list[object] = column.to_pylist()
        return values
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _part_encoder(name: str, feast_type: FeastType, *, prefixed: bool) -> Callable[[list[object]], list[bytes]]:
    """Returns the function from the values of one join key to their bytes, with the length first or not."""
    tag = TAGS[feast_type]
    if feast_type in VARIABLE_WIDTH:
        to_bytes = _TEXTS[feast_type]
        if not prefixed:
            return lambda values: [tag + data for data in to_bytes(name, feast_type, values)]
        return lambda values: [tag + len(data).to_bytes(4, "big") + data for data in to_bytes(name, feast_type, values)]
    to_numbers = _NUMBERS[feast_type]
    pack = struct.Struct(f">{len(tag)}s{'?' if feast_type == Bool else 'q'}").pack

    def encode(values: list[object]) -> list[bytes]:
        return [pack(tag, number) for number in to_numbers(name, feast_type, values)]

    if feast_type != Int64:
        return encode

    def encode_integers(values: list[object]) -> list[bytes]:
        if set(map(type, values)) == {int}:
            try:
                return [pack(tag, value) for value in values]
            except struct.error:
                pass  # The slower way knows which is out of range.
        return encode(values)

    return encode_integers


def _check(name: str, feast_type: FeastType, values: list[object], allowed: type | tuple[type, ...]) -> None:
    """Raises InputError for the first value that is null or of another Python type."""
    for row, value in enumerate(values):
        if value is None:
            raise InputError(f"Join key {name!r} is null in row {row}; every row needs a value.")
        if not isinstance(value, allowed) or (feast_type != Bool and isinstance(value, bool)):
            raise InputError(
                f"Join key {name!r} is {feast_type}, so its values should be {_EXPECTED[feast_type]}, "
                f"but row {row} has {type(value).__name__} {shown(value)}."
            )


def _integers(name: str, feast_type: FeastType, values: _Checked) -> list[int]:
    if set(map(type, values)) != {int}:
        # numpy's integers say that they are integers only through __index__.
        values = [v.__index__() if hasattr(v, "__index__") and not isinstance(v, bool) else v for v in values]
        _check(name, feast_type, values, int)
    low, high = _INT32 if feast_type == Int32 else _INT64
    if values and not (low <= min(values) and max(values) <= high):
        row = next(i for i, v in enumerate(values) if not low <= v <= high)
        raise InputError(f"Join key {name!r} is {feast_type}; {shown(values[row])} in row {row} is out of its range.")
    return values


def _booleans(name: str, feast_type: FeastType, values: _Checked) -> list[int]:
    _check(name, feast_type, values, bool)
    return values


def _timestamps(name: str, feast_type: FeastType, values: list[object]) -> list[int]:
    _check(name, feast_type, values, dt.datetime)
    return [to_microseconds(value) for value in values]


def _texts(name: str, feast_type: FeastType, values: _Checked) -> list[bytes]:
    if set(map(type, values)) != {str}:
        _check(name, feast_type, values, str)
    try:
        return [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise InputError(f"Join key {name!r} holds text that is not Unicode: {error}.") from error


def _uuids(name: str, feast_type: FeastType, values: _Checked) -> list[bytes]:
    _check(name, feast_type, values, (uuid.UUID, str))
    try:
        return [str(v if isinstance(v, uuid.UUID) else uuid.UUID(v)).encode() for v in values]
    except ValueError as error:
        raise InputError(f"Join key {name!r} is {feast_type}, but holds text that is not a UUID: {error}.") from error


def _bytes(name: str, feast_type: FeastType, values: _Checked) -> list[bytes]:
    _check(name, feast_type, values, (bytes, bytearray, memoryview))
    return [bytes(value) for value in values]


_NUMBERS: dict[FeastType, Callable[[str, FeastType, list[object]], list[int]]] = {
    Int32: _integers,
    Int64: _integers,
    UnixTimestamp: _timestamps,
    Bool: _booleans,
}
_TEXTS: dict[FeastType, Callable[[str, FeastType, list[object]], list[bytes]]] = {
    String: _texts,
    Uuid: _uuids,
    TimeUuid: _uuids,
    Bytes: _bytes,
}
