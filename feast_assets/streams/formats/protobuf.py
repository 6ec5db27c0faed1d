"""Messages of Protocol Buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_assets.class_paths import ClassPathError, load_class
from feast_assets.errors import DefinitionError, NotSupportedError
from feast_assets.streams.formats.base import Decoder, MessageError
from feast_assets.types.feast_type import Bool, Bytes, FeastType, Float32, Float64, Int64, String, UnixTimestamp

if TYPE_CHECKING:
    from feast_assets.streams.columns import StreamColumn

_TIMESTAMP = "google.protobuf.Timestamp"
_TYPES: dict[int, FeastType] = {1: Int64, 2: Int64, 3: Int64, 4: Int64, 5: Float64, 6: Float32, 7: Bool}
"""Descriptor's ``cpp_type`` -> type, of numbers and booleans."""
_ENUM, _TEXT, _MESSAGE = 8, 9, 10
_BYTES = 12
"""Descriptor's ``type`` of a field of bytes."""


class ProtoDecoder(Decoder):
    """Decodes one message of a class.

    A field with presence that is not set is null; one without presence has its default. An enum is the name of its
    value, a ``Timestamp`` a time, and a message within another a dict.
    """

    def __init__(self, columns: Sequence[StreamColumn], class_path: str, root: Path):
        super().__init__(columns)
        self._class = message_class(class_path, root)
        self._wanted = {column.field for column in columns}

    def fields(self, value: bytes) -> Mapping[str, object]:
        message = self._class()
        try:
            message.ParseFromString(value)
        except Exception as error:
            raise MessageError(f"it is no {self._class.__name__}: {error}") from error
        fields = message.DESCRIPTOR.fields
        return {field.name: _value_of(message, field) for field in fields if field.name in self._wanted}


def message_class(class_path: str, root: Path) -> Any:
    """Returns the class of a message.

    Raises:
        DefinitionError: there is no such class, or it is none of a message.
        NotSupportedError: the library is not installed.
    """
    try:
        from google.protobuf.message import Message
    except ImportError as error:
        raise NotSupportedError("ProtoFormat needs the extra: pip install 'feast-assets[grpc]'.") from error
    try:
        loaded = load_class(class_path.replace(":", "."), root)
    except (ClassPathError, ValueError) as error:
        raise DefinitionError(f"ProtoFormat: class_path {class_path!r}: {error}") from error
    if not issubclass(loaded, Message):
        raise DefinitionError(f"ProtoFormat: class_path {class_path!r} is not the class of a protobuf message.")
    return loaded


def fields_of_class(class_path: str, root: Path) -> dict[str, FeastType | None]:
    """Returns the fields of a message, with their types as far as they are simple."""
    return {field.name: _type_of(field) for field in message_class(class_path, root).DESCRIPTOR.fields}


def _type_of(field: Any) -> FeastType | None:
    if _is_repeated(field):
        return None
    if field.cpp_type == _MESSAGE:
        return UnixTimestamp if field.message_type.full_name == _TIMESTAMP else None
    if field.cpp_type == _TEXT:
        return Bytes if field.type == _BYTES else String
    return String if field.cpp_type == _ENUM else _TYPES.get(field.cpp_type)


def _is_repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _value_of(message: Any, field: Any) -> object:
    if not _is_repeated(field):
        if field.has_presence and not message.HasField(field.name):
            return None
        return _plain(getattr(message, field.name), field)
    held = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of_value = field.message_type.fields_by_name["value"]
        return {key: _plain(value, of_value) for key, value in held.items()}
    return [_plain(each, field) for each in held]


def _plain(value: Any, field: Any) -> object:
    if field.cpp_type == _MESSAGE:
        if field.message_type.full_name == _TIMESTAMP:
            return value.ToDatetime(tzinfo=UTC)
        return {each.name: _value_of(value, each) for each in value.DESCRIPTOR.fields}
    if field.cpp_type == _ENUM:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    plain: object = value
    return plain
