"""Values of features to and from messages."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from feast_assets.errors import InputError, reason_of, shown
from feast_assets.serving.grpc.messages import Message, Value
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
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)
from feast_assets.types.scalars import EPOCH, to_json_text

_SECOND = dt.timedelta(seconds=1)
_INT64 = range(-(2**63), 2**63)

Write = Callable[[Message, Any], None]
"""Sets a ``Value`` message to a Python value that is not null."""


def _seconds(moment: dt.datetime) -> int:
    return (moment - EPOCH) // _SECOND


def _same(value: Any) -> Any:
    return value


_SCALARS: dict[FeastType, tuple[str, Callable[[Any], Any]]] = {
    Bytes: ("bytes", _same),
    PdfBytes: ("bytes", _same),
    ImageBytes: ("bytes", _same),
    String: ("string", _same),
    Int32: ("int32", _same),
    Int64: ("int64", _same),
    Float64: ("double", _same),
    Float32: ("float", _same),
    Bool: ("bool", _same),
    UnixTimestamp: ("unix_timestamp", _seconds),
    Json: ("json", to_json_text),
    Uuid: ("uuid", str),
    TimeUuid: ("time_uuid", str),
    Decimal: ("decimal", str),
}
"""Type -> the word that its fields begin with, and the function to what they hold."""


def writer(feast_type: FeastType) -> Write:
    """Returns the function that sets a message to a value of a type, as `feast_assets.types.python` gives them."""
    if isinstance(feast_type, (Array, Set)):
        return _collection_writer(feast_type)
    if isinstance(feast_type, Struct):
        writers = [(name, writer(item)) for name, item in feast_type.items]
        return lambda message, value: _set_struct(message.struct_val, value, writers)
    if feast_type == Map:
        return lambda message, value: _set_map(message.map_val, value)
    if feast_type == ScalarMap:
        return _set_scalar_map
    if feast_type == ZonedTimestamp:
        return _set_zoned
    word, convert = _SCALARS[feast_type]
    field = f"{word}_val"
    if convert is _same:
        return lambda message, value: setattr(message, field, value)
    return lambda message, value: setattr(message, field, convert(value))


def _collection_writer(feast_type: Array | Set) -> Write:
    """Returns the writer of lists or sets. What has no field of its own, and lists with nulls, are lists of values."""
    base, kind = feast_type.base_type, "list" if isinstance(feast_type, Array) else "set"
    each = writer(base)

    def write_values(message: Message, values: Iterable[Any]) -> None:
        of_values = getattr(message, f"{kind}_val")
        of_values.SetInParent()
        for value in values:
            item = of_values.val.add()
            if value is not None:
                each(item, value)

    if isinstance(base, Struct) or base == Map:
        word, own = ("struct_list_val", "struct_val") if isinstance(base, Struct) else ("map_list_val", "map_val")

        def write_maps(message: Message, values: Sequence[Any]) -> None:
            if None in values:
                write_values(message, values)
                return
            of_maps = getattr(message, word)
            of_maps.SetInParent()
            for value in values:
                item = Value()
                each(item, value)
                of_maps.val.append(getattr(item, own))

        return write_maps
    if base not in _SCALARS or (kind == "set" and base == Json):
        return write_values
    name, convert = _SCALARS[base]
    field = f"{name}_{kind}_val"
    if field not in Value.DESCRIPTOR.fields_by_name:
        return write_values

    def write(message: Message, values: Sequence[Any]) -> None:
        if None in values:
            write_values(message, values)
            return
        of_scalars = getattr(message, field)
        of_scalars.SetInParent()
        of_scalars.val.extend(values if convert is _same else map(convert, values))

    return write


def _set_struct(message: Message, value: Mapping[str, Any], writers: Sequence[tuple[str, Write]]) -> None:
    message.SetInParent()
    for name, write in writers:
        item = message.val[name]
        if value[name] is not None:
            write(item, value[name])


def _set_map(message: Message, value: Mapping[str, Any]) -> None:
    message.SetInParent()
    for name, each in value.items():
        _set_any(message.val[name], each)


def _set_any(message: Message, value: Any) -> None:
    """Sets a message to a value of JSON, whose type only the value tells."""
    if value is None:
        return
    if isinstance(value, bool):
        message.bool_val = value
    elif isinstance(value, int):
        if value in _INT64:
            message.int64_val = value
        else:
            message.decimal_val = str(value)
    elif isinstance(value, float):
        message.double_val = value
    elif isinstance(value, str):
        message.string_val = value
    elif isinstance(value, Mapping):
        _set_map(message.map_val, value)
    else:
        _set_any_list(message, value)


def _set_any_list(message: Message, values: Sequence[Any]) -> None:
    kinds = set(map(type, values))
    if kinds == {dict}:
        for value in values:
            _set_map(message.map_list_val.val.add(), value)
        return
    for kind, field in ((bool, "bool_list_val"), (float, "double_list_val"), (str, "string_list_val")):
        if kinds == {kind}:
            getattr(message, field).val.extend(values)
            return
    if kinds == {int} and all(value in _INT64 for value in values):
        message.int64_list_val.val.extend(values)
        return
    message.list_val.SetInParent()
    for value in values:
        _set_any(message.list_val.val.add(), value)


def _set_scalar_map(message: Message, value: Mapping[Any, Any]) -> None:
    message.scalar_map_val.SetInParent()
    for key, each in value.items():
        entry = message.scalar_map_val.val.add()
        _set_key(entry.key, key)
        entry.value.SetInParent()
        _set_any(entry.value, each)


def _set_key(message: Message, key: Any) -> None:
    """Sets the key of a map. Feast has no keys of text; keys of other types are stored as text, and seen through."""
    if isinstance(key, bool):
        message.bool_key = key
    elif isinstance(key, int) and key in _INT64:
        message.int64_key = key
    elif isinstance(key, float):
        message.double_key = key
    else:
        text = str(key)
        try:
            message.uuid_key = str(uuid.UUID(text))
        except ValueError:
            try:
                message.decimal_key = str(decimal.Decimal(text))
            except decimal.InvalidOperation:
                message.bytes_key = text.encode()


def _set_zoned(message: Message, value: dt.datetime) -> None:
    zoned = message.zoned_timestamp_val
    zoned.SetInParent()
    zoned.unix_timestamp = _seconds(value)
    zoned.zone = getattr(value.tzinfo, "key", None) or value.isoformat(timespec="seconds")[19:]


def to_python(message: Message) -> Any:
    """Returns the Python value of a ``Value`` message; None where it is null.

    Raises:
        InputError: no value can be like this, such as a moment after the year 9999.
    """
    field = message.WhichOneof("val")
    if field is None or field == "null_val":
        return None
    read = _READERS.get(field)
    value = getattr(message, field)
    if read is not None:
        try:
            return read(value)
        except (ValueError, OverflowError, LookupError) as error:
            raise InputError(f"{shown(field)} holds no value: {reason_of(error)}") from None
    return list(value.val) if hasattr(value, "val") else value


def to_python_list(message: Message) -> list[Any]:
    """Returns the Python values of a ``RepeatedValue`` message."""
    values = message.val
    if not values:
        return []
    # Nearly always keys are of one type, and integers or texts. A field that is not set reads as 0 or "", so where none
    # of them is that, all are set.
    field = values[0].WhichOneof("val")
    if field == "int64_val":
        numbers = [value.int64_val for value in values]
        if all(numbers):
            return numbers
    elif field == "string_val":
        texts = [value.string_val for value in values]
        if all(texts):
            return texts
    return [to_python(value) for value in values]


def _moment(seconds: int) -> dt.datetime:
    return EPOCH + dt.timedelta(seconds=seconds)


def _moments(message: Message) -> list[dt.datetime]:
    return [_moment(seconds) for seconds in message.val]


def _map(message: Message) -> dict[str, Any]:
    return {name: to_python(value) for name, value in message.val.items()}


def _maps(message: Message) -> list[dict[str, Any]]:
    return [_map(each) for each in message.val]


def _values(message: Message) -> list[Any]:
    return [to_python(each) for each in message.val]


def _scalar_map(message: Message) -> dict[Any, Any]:
    return {_key(entry.key): to_python(entry.value) for entry in message.val}


def _key(message: Message) -> Any:
    field = message.WhichOneof("key")
    if field is None:
        raise InputError("A key of a map is missing.")
    value = getattr(message, field)
    return _moment(value) if field == "unix_timestamp_key" else value


def _zoned(message: Message) -> dt.datetime:
    moment, zone = _moment(message.unix_timestamp), message.zone
    if not zone:
        return moment
    if zone[0] in "+-":
        return moment.astimezone(dt.datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").tzinfo)
    return moment.astimezone(ZoneInfo(zone))


_READERS: dict[str, Callable[[Message], Any]] = {
    "unix_timestamp_val": _moment,
    "unix_timestamp_list_val": _moments,
    "unix_timestamp_set_val": _moments,
    "map_val": _map,
    "map_list_val": _maps,
    "struct_val": _map,
    "struct_list_val": _maps,
    "list_val": _values,
    "set_val": _values,
    "scalar_map_val": _scalar_map,
    "zoned_timestamp_val": _zoned,
}
