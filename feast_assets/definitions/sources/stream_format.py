"""How the messages of a stream are encoded."""

from __future__ import annotations

from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown


class StreamFormat(Spec):
    """Base of the encodings of messages."""


class AvroFormat(StreamFormat):
    """Avro; ``schema_json`` is the schema of a message, as JSON text."""

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("AvroFormat", "schema_json", schema_json)


class JsonFormat(StreamFormat):
    """JSON; ``schema_json`` names the columns of a message and their types, such as ``"driver_id integer"``."""

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("JsonFormat", "schema_json", schema_json)


class ProtoFormat(StreamFormat):
    """Protocol buffers; ``class_path`` names the class of a message."""

    _spec = {"class_path": ""}

    def __init__(self, class_path: str):
        self.class_path = _text("ProtoFormat", "class_path", class_path)


def _text(subject: str, argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise DefinitionError(f"{subject}: {argument} must be text, not {shown(value)}.")
    return value
