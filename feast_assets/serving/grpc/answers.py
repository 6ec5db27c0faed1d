"""The message of an online answer, made column by column.

A message per value would cost more than the read itself, so what has a fixed width is packed at once. Of a view's event
times the bytes are made once for all its columns.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from feast_assets.serving.grpc.messages import FeatureVector, GetOnlineFeaturesResponseMetadata
from feast_assets.serving.grpc.values import Write, writer
from feast_assets.types.feast_type import Bool, FeastType, Float32, Float64, Int32, Int64, String

if TYPE_CHECKING:
    from feast_assets.retrieval.response import OnlineResponse, ResponseColumn

# Tags of fields, as protobuf's encoding has them: the field's number, and that its length follows.
_METADATA = b"\x0a"
_RESULTS = b"\x12"
_STATUSES = b"\x12"
_NO_TIME = b"\x1a\x00"

# Of values with a fixed width: what precedes each one (the tag of ``values``, the length, the tag of the value's own
# field), and the format of both.
_FIXED: dict[FeastType, tuple[bytes, str]] = {
    Float64: (b"\x0a\x09\x29", "3sd"),
    Float32: (b"\x0a\x05\x35", "3sf"),
    Bool: (b"\x0a\x02\x38", "3s?"),
}
_MOST_PACKED = 2_000
_PRESENT = b"\x01"


def features_message(response: OnlineResponse) -> bytes:
    """Returns the bytes of a ``GetOnlineFeaturesResponse``.

    One result per name of the metadata, with one item per row. A value that is null is an empty ``Value``. Join keys
    and computed features have the event time 0, as in Feast.
    """
    names = GetOnlineFeaturesResponseMetadata()
    names.feature_names.val.extend(response.feature_names)
    metadata = names.SerializeToString()
    parts = [_METADATA, _varint(len(metadata)), metadata]
    rows = len(response)
    times: dict[int, bytes] = {}
    for column in response.columns:
        moments = column.event_timestamps
        if moments is None:
            of_times = _NO_TIME * rows
        else:
            # The columns of a view share one list of event times.
            of_times = times.get(id(moments)) or times.setdefault(id(moments), _times(moments))
        values = _values(column, rows)
        statuses = bytes(column.statuses)
        head = _STATUSES + _varint(rows) if rows else b""
        size = len(values) + len(head) + rows + len(of_times)
        parts += (_RESULTS, _varint(size), values, head, statuses, of_times)
    return b"".join(parts)


def _values(column: ResponseColumn, rows: int) -> bytes:
    values, feast_type = column.values.to_pylist(), column.values.type
    fixed = _FIXED.get(feast_type)
    if fixed is not None and rows <= _MOST_PACKED and None not in values:
        before, form = fixed
        interleaved: list[Any] = [before] * (2 * rows)
        interleaved[1::2] = values
        return _packer(form, rows)(*interleaved)
    vector = FeatureVector()
    _fill_of(feast_type)(vector.values.add, values)
    return bytes(vector.SerializeToString())


@lru_cache(maxsize=256)
def _packer(form: str, rows: int) -> Callable[..., bytes]:
    return struct.Struct("<" + form * rows).pack


Fill = Callable[[Callable[[], Any], Sequence[Any]], None]
"""Adds a message for each value."""


def _fill_int64(add: Callable[[], Any], values: Sequence[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.int64_val = value


def _fill_int32(add: Callable[[], Any], values: Sequence[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.int32_val = value


def _fill_string(add: Callable[[], Any], values: Sequence[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.string_val = value


# The most frequent types have loops of their own, which cost half.
_FILLS: dict[FeastType, Fill] = {Int64: _fill_int64, Int32: _fill_int32, String: _fill_string}


def _fill_of(feast_type: FeastType) -> Fill:
    return _FILLS.get(feast_type) or _filling(feast_type)


@lru_cache(maxsize=1024)
def _filling(feast_type: FeastType) -> Fill:
    write: Write = writer(feast_type)

    def fill(add: Callable[[], Any], values: Sequence[Any]) -> None:
        for value in values:
            message = add()
            if value is not None:
                write(message, value)

    return fill


def _times(moments: Sequence[int]) -> bytes:
    vector = FeatureVector()
    add = vector.event_timestamps.add
    for moment in moments:
        time = add()
        if moment:
            time.seconds, micros = divmod(moment, 1_000_000)
            if micros:
                time.nanos = 1_000 * micros
    return bytes(vector.SerializeToString())


def _varint(number: int) -> bytes:
    """Returns a number that is not negative, in groups of seven bits, the lowest first."""
    if number < 128:
        return bytes((number,))
    groups = bytearray()
    while number >= 128:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)
