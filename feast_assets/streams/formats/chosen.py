"""The decoder of a message format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from feast_assets.definitions.sources.stream_format import (
    AvroFormat,
    ConfluentAvroFormat,
    CustomFormat,
    JsonFormat,
    ProtoFormat,
    StreamFormat,
)
from feast_assets.errors import NotSupportedError
from feast_assets.streams.formats.base import Decoder

if TYPE_CHECKING:
    from feast_assets.streams.columns import StreamColumn
    from feast_assets.types.feast_type import FeastType


def fields_of(message_format: StreamFormat, root: Path) -> dict[str, FeastType | None]:
    """Returns the fields that a format declares, with their types as far as they are known."""
    if isinstance(message_format, JsonFormat):
        from feast_assets.streams.formats.json import declared_fields

        return declared_fields(message_format.schema_json)
    if isinstance(message_format, AvroFormat):
        from feast_assets.streams.formats.avro import fields_of_schema

        return fields_of_schema(message_format.schema_json)
    if isinstance(message_format, ProtoFormat):
        from feast_assets.streams.formats.protobuf import fields_of_class

        return fields_of_class(message_format.class_path, root)
    return {}


def make_decoder(
    message_format: StreamFormat, columns: Sequence[StreamColumn], root: Path, settings: Mapping[str, str]
) -> Decoder:
    """Returns what decodes messages of a format.

    Args:
        root: the feature repository, where classes and functions are looked for first.
        settings: of the schema registry: ``url``, ``username``, ``password``.
    """
    if isinstance(message_format, JsonFormat):
        from feast_assets.streams.formats.json import JsonDecoder

        return JsonDecoder(columns)
    if isinstance(message_format, ConfluentAvroFormat):
        from feast_assets.streams.formats.confluent import ConfluentAvroDecoder, SchemaRegistry

        url = message_format.schema_registry_url or settings.get("url", "")
        registry = SchemaRegistry(url, settings.get("username", ""), settings.get("password", ""))
        return ConfluentAvroDecoder(columns, registry)
    if isinstance(message_format, AvroFormat):
        from feast_assets.streams.formats.avro import AvroDecoder

        return AvroDecoder(columns, message_format.schema_json)
    if isinstance(message_format, ProtoFormat):
        from feast_assets.streams.formats.protobuf import ProtoDecoder

        return ProtoDecoder(columns, message_format.class_path, root)
    if isinstance(message_format, CustomFormat):
        from feast_assets.streams.formats.custom import CustomDecoder

        return CustomDecoder(columns, message_format.function, root)
    raise NotSupportedError(f"Messages of format {type(message_format).__name__} cannot be decoded.")
