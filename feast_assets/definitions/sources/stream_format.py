"""How the messages of a stream are written."""

from __future__ import annotations

from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown


class StreamFormat(Spec):
    """Base of the formats of streams."""


class AvroFormat(StreamFormat):
    """Apache Avro.

    Args:
        schema_json: the schema, as JSON text.
    """

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("AvroFormat", "schema_json", schema_json)


class JsonFormat(StreamFormat):
    """A JSON object for each message.

    Args:
        schema_json: names and types of its fields, as text.
    """

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("JsonFormat", "schema_json", schema_json)


class ProtoFormat(StreamFormat):
    """Protocol buffers.

    Args:
        class_path: the message's class.
    """

    _spec = {"class_path": ""}

    def __init__(self, class_path: str):
        self.class_path = _text("ProtoFormat", "class_path", class_path)


def _text(subject: str, argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise DefinitionError(f"{subject}: {argument} must be text, not {shown(value)}.")
    return value
