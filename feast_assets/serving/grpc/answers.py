"""The message of an online answer, made column by column.

A message per value would cost more than the read itself. So what has a fixed width is packed at once, other frequent
types are looked up among the bytes of values that were sent before, and what the columns of a view have in common is
made once for all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from feast_assets.online_stores.rows.codec import NULL_VALUE, PRESENT
from feast_assets.serving.grpc.messages import FeatureVector, GetOnlineFeaturesResponseMetadata, Message
from feast_assets.serving.grpc.values import writer
from feast_assets.types.feast_type import Bool, FeastType, Float32, Float64, Int32, Int64, String

if TYPE_CHECKING:
    from feast_assets.retrieval.response import OnlineResponse, ResponseShape

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
_SIZES_REMEMBERED = 256
_VALUES_REMEMBERED = 65_536
_LONGEST_TEXT_REMEMBERED = 64
_COLUMNS_LEFT_OUT = 64

Encode = Callable[[Sequence[Any]], bytes]
"""Makes the bytes of a column's ``values``, or of its ``event_timestamps``."""


class _Layout:
    """What the messages of all answers to one request for features have in common.

    Attributes:
        metadata: the field of the names of columns.
        metadata_with_versions: the same, with the versions of the views that are read.
        given: names of the join keys, with the encoders of their values.
        of_reads: per read, the encoders of its columns, with the positions of their features.
    """

    def __init__(self, response: OnlineResponse):
        """Takes it from any of the answers."""
        shape = response.shape
        message = GetOnlineFeaturesResponseMetadata()
        message.feature_names.val.extend(response.feature_names)
        self.metadata = _metadata(message)
        for name, version in shape.view_versions.items():
            message.feature_view_metadata.add(name=name, version=version)
        self.metadata_with_versions = _metadata(message)
        self.given = [(given.name, _encoder(given.dtype)) for given in shape.given if not given.request_data]
        self.of_reads: list[list[tuple[Encode, int]]] = []
        for (names_of_read, positions), read in zip(shape.of_reads, response.reads, strict=True):
            indices = range(len(names_of_read)) if positions is None else positions
            self.of_reads.append([(_encoder(read.features.fields[index][1]), index) for index in indices])


def _metadata(message: Message) -> bytes:
    encoded = bytes(message.SerializeToString())
    return _METADATA + _varint(len(encoded)) + encoded


_LAYOUTS: WeakKeyDictionary[ResponseShape, _Layout] = WeakKeyDictionary()


def features_message(response: OnlineResponse) -> bytes:
    """Returns the bytes of a ``GetOnlineFeaturesResponse``.

    One result per name of the metadata, with one item per row. The metadata tell versions of views if the request asked
    for them. A value that is null is an empty ``Value``. Join keys
    and computed features have the event time 0, as in Feast.
    """
    shape = response.shape
    layout = _LAYOUTS.get(shape)
    if layout is None:
        layout = _LAYOUTS[shape] = _Layout(response)
    no_times = _NO_TIME * len(response)
    columns = [layout.metadata_with_versions if response.feature_view_metadata else layout.metadata]
    for name, encode in layout.given:
        given = response.given(name)
        columns.append(_column(encode(given), _of_nulls(given) + no_times))
    of_reads = [_read_columns(response, number, layout) for number in range(len(layout.of_reads))]
    if len(of_reads) == 1:
        columns += of_reads[0]
    else:
        columns += [of_reads[read][number] for read, number in shape.places_of_stored]
    for computed in response.computed:
        values = computed.to_pylist()
        columns.append(_column(_encoder(computed.type)(values), _of_nulls(values) + no_times))
    return b"".join(columns)


def _read_columns(response: OnlineResponse, number: int, layout: _Layout) -> list[bytes]:
    read = response.reads[number]
    features = read.features
    # Before the statuses: only then is it known which values can be read.
    values_of = features.to_pylists(response.shape.of_reads[number][1])
    times = _TIMES(read.event_timestamps)
    encoders = layout.of_reads[number]
    if features.all_present:
        rest = _all_present(len(response)) + times
        return [_column(encode(values), rest) for values, (encode, _) in zip(values_of, encoders, strict=True)]
    return [
        _column(encode(values), _statuses(features.statuses(index)) + times)
        for values, (encode, index) in zip(values_of, encoders, strict=True)
    ]


def _column(values: bytes, rest: bytes) -> bytes:
    return b"%b%b%b%b" % (_RESULTS, _varint(len(values) + len(rest)), values, rest)


def _of_nulls(values: Sequence[Any]) -> bytes:
    if None not in values:
        return _all_present(len(values))
    return _statuses([NULL_VALUE if value is None else PRESENT for value in values])


def _statuses(statuses: Sequence[int]) -> bytes:
    return _STATUSES + _varint(len(statuses)) + bytes(statuses) if statuses else b""


@lru_cache(maxsize=_SIZES_REMEMBERED)
def _all_present(rows: int) -> bytes:
    return _statuses([PRESENT] * rows)


@lru_cache(maxsize=1024)
def _encoder(feast_type: FeastType) -> Encode:
    fixed = _FIXED.get(feast_type)
    if fixed is not None:
        return _packing(*fixed, _one_by_one(feast_type))
    if feast_type in (Int64, Int32, String):
        return _Remembering(_one_by_one(feast_type))
    return _one_by_one(feast_type)


def _packing(before: bytes, form: str, otherwise: Encode) -> Encode:
    """Returns the encoder of values with a fixed width."""

    def encode(values: Sequence[Any]) -> bytes:
        rows = len(values)
        if None in values or rows > _MOST_PACKED:
            return otherwise(values)
        interleaved = [before] * (2 * rows)
        interleaved[1::2] = values
        return _packer(form, rows)(*interleaved)

    return encode


@lru_cache(maxsize=_SIZES_REMEMBERED)
def _packer(form: str, rows: int) -> Callable[..., bytes]:
    return struct.Struct("<" + form * rows).pack


class _Remembering(dict[Any, bytes]):
    """An encoder that remembers the bytes of single values, since those of features return again and again.

    Where they do not, which the last columns tell, it leaves the next ones to the other encoder.
    """

    __slots__ = ("_encode", "_left_out", "_misses")

    def __init__(self, encode: Encode):
        """Takes the encoder of whole columns, whose bytes are those of the values one after the other."""
        super().__init__()
        self._encode = encode
        self._misses = 0
        self._left_out = 0

    def __missing__(self, value: Any) -> bytes:
        self._misses += 1
        encoded = self._encode((value,))
        if len(encoded) <= _LONGEST_TEXT_REMEMBERED:
            if len(self) >= _VALUES_REMEMBERED:
                self.clear()
            self[value] = encoded
        return encoded

    def __call__(self, values: Sequence[Any]) -> bytes:
        if self._left_out:
            self._left_out -= 1
            return self._encode(values)
        self._misses = 0
        encoded = b"".join(map(self.__getitem__, values))
        # Looking up in vain costs several times what the other encoder does.
        if 4 * self._misses > len(values) and len(self) > _VALUES_REMEMBERED // 2:
            self._left_out = _COLUMNS_LEFT_OUT
        return encoded


def _one_by_one(feast_type: FeastType) -> Encode:
    """Returns the encoder that has protobuf make a message of each value. The most frequent types have loops of their
    own, which cost half."""
    fill = _FILLS.get(feast_type) or _filling(feast_type)

    def encode(values: Sequence[Any]) -> bytes:
        vector = FeatureVector()
        fill(vector.values.add, values)
        return bytes(vector.SerializeToString())

    return encode


Fill = Callable[[Callable[[], Message], Iterable[Any]], None]
"""Adds a message for each value."""


def _fill_int64(add: Callable[[], Message], values: Iterable[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.int64_val = value


def _fill_int32(add: Callable[[], Message], values: Iterable[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.int32_val = value


def _fill_string(add: Callable[[], Message], values: Iterable[Any]) -> None:
    for value in values:
        message = add()
        if value is not None:
            message.string_val = value


_FILLS: dict[FeastType, Fill] = {Int64: _fill_int64, Int32: _fill_int32, String: _fill_string}


def _filling(feast_type: FeastType) -> Fill:
    write = writer(feast_type)

    def fill(add: Callable[[], Message], values: Iterable[Any]) -> None:
        for value in values:
            message = add()
            if value is not None:
                write(message, value)

    return fill


def _encoded_times(moments: Iterable[int]) -> bytes:
    """Returns the bytes of event times, UTC microseconds."""
    vector = FeatureVector()
    add = vector.event_timestamps.add
    for moment in moments:
        time = add()
        if moment:
            time.seconds, micros = divmod(moment, 1_000_000)
            if micros:
                time.nanos = 1_000 * micros
    return bytes(vector.SerializeToString())


_TIMES = _Remembering(_encoded_times)


def _varint(number: int) -> bytes:
    """Returns a number that is not negative, in groups of seven bits, the lowest first."""
    if number < 128:
        return _GROUPS[number]
    if number < 16_384:
        return _GROUPS[number & 127 | 128] + _GROUPS[number >> 7]
    groups = bytearray()
    while number >= 128:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_GROUPS = [bytes((group,)) for group in range(256)]
