"""Messages that are Avro records of one schema, without a header."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from feast_assets.errors import DefinitionError, NotSupportedError, reason_of, shown
from feast_assets.streams.formats.base import Decoder, MessageError
from feast_assets.types.feast_type import Bool, Bytes, FeastType, Float32, Float64, Int64, String, UnixTimestamp

if TYPE_CHECKING:
    from feast_assets.streams.columns import StreamColumn

_TYPES: dict[str, FeastType] = {
    "boolean": Bool,
    "int": Int64,
    "long": Int64,
    "float": Float32,
    "double": Float64,
    "string": String,
    "bytes": Bytes,
}
_TIMES = ("timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros", "date")


class AvroDecoder(Decoder):
    """Decodes one Avro record a message."""

    def __init__(self, columns: Sequence[StreamColumn], schema_json: str):
        super().__init__(columns)
        self._schema = parsed_schema(schema_json)

    def fields(self, value: bytes) -> Mapping[str, object]:
        return read_record(value, self._schema)


def fastavro() -> ModuleType:
    """Returns the library that reads Avro.

    Raises:
        NotSupportedError: it is not installed.
    """
    try:
        import fastavro as library
    except ImportError as error:
        raise NotSupportedError("Avro messages need the extra: pip install 'feast-assets[kafka]'.") from error
    return library


def parsed_schema(schema_json: str) -> Any:
    """Returns a schema as fastavro takes it.

    Raises:
        DefinitionError: the text is no Avro schema of a record.
    """
    library = fastavro()
    try:
        schema = json.loads(schema_json)
        parsed = library.parse_schema(schema)
    except Exception as error:
        raise DefinitionError(f"AvroFormat: schema_json is no Avro schema: {reason_of(error)}") from error
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise DefinitionError(f"AvroFormat: schema_json must describe a record, not {shown(schema)}.")
    return parsed


def read_record(value: bytes, schema: object) -> Mapping[str, object]:
    """Returns the fields of a record.

    Raises:
        MessageError: the bytes are no such record, or more than one.
    """
    stream = io.BytesIO(value)
    try:
        record = _reader_of(schema)(stream, schema, None)
    except Exception as error:
        raise MessageError(f"it is no Avro record of the schema: {reason_of(error)}") from error
    if stream.tell() != len(value):
        raise MessageError(f"it is no Avro record of the schema: {len(value) - stream.tell()} bytes are left.")
    if not isinstance(record, dict):
        raise MessageError(f"it is no Avro record: {shown(record)}.")
    return record


def _reader_of(schema: object) -> Callable[..., object]:
    """Returns what reads records of a schema.

    A record within a record of its own kind may be nested as deep as a message is long. The library's compiled reader
    then overflows the stack and ends the process; its slower one in Python raises an error.
    """
    library = fastavro()
    if not _holds_itself(schema, ()):
        return library.schemaless_reader  # type: ignore[no-any-return]
    from fastavro import _read_py

    return _read_py.schemaless_reader


def _holds_itself(schema: object, within: tuple[str, ...]) -> bool:
    """Whether a type is used within its own definition."""
    if isinstance(schema, list):
        return any(_holds_itself(each, within) for each in schema)
    if isinstance(schema, str):
        return schema in within
    if not isinstance(schema, dict):
        return False
    if schema.get("type") in ("record", "error"):
        within = (*within, schema["name"])
        return any(_holds_itself(field["type"], within) for field in schema["fields"])
    inner = ("type", "items", "values")
    return any(_holds_itself(schema[name], within) for name in inner if name in schema)


def fields_of_schema(schema_json: str) -> dict[str, FeastType | None]:
    """Returns the fields of a schema, with their types as far as they are simple."""
    return {field["name"]: _type_of(field["type"]) for field in parsed_schema(schema_json)["fields"]}


def _type_of(schema: Any) -> FeastType | None:
    if isinstance(schema, list):
        others = [each for each in schema if each != "null"]
        return _type_of(others[0]) if len(others) == 1 else None
    if isinstance(schema, dict):
        if schema.get("logicalType") in _TIMES:
            return UnixTimestamp
        return None if "logicalType" in schema else _type_of(schema.get("type"))
    return _TYPES.get(schema) if isinstance(schema, str) else None
