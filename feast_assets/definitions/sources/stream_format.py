"""How the messages of a stream are written."""

from __future__ import annotations

from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown


class StreamFormat(Spec):
    """Base of the formats of streams."""


class AvroFormat(StreamFormat):
    """Apache Avro: each message is a record of one schema.

    Args:
        schema_json: the schema, as JSON text.
    """

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("AvroFormat", "schema_json", schema_json)


class JsonFormat(StreamFormat):
    """A JSON object for each message.

    Args:
        schema_json: names and types of its fields, such as ``fare double, at timestamp``.
    """

    _spec = {"schema_json": ""}

    def __init__(self, schema_json: str):
        self.schema_json = _text("JsonFormat", "schema_json", schema_json)


class ConfluentAvroFormat(StreamFormat):
    """Apache Avro with the number of a schema of a schema registry before each record, as Confluent's serializers do.

    Args:
        schema_registry_url: of the registry; left out, that of the section ``streams`` in ``feature_store.yaml``.
    """

    _spec = {"schema_registry_url": ""}

    def __init__(self, schema_registry_url: str = ""):
        self.schema_registry_url = _text("ConfluentAvroFormat", "schema_registry_url", schema_registry_url)


class CustomFormat(StreamFormat):
    """Messages that a function decodes: it takes a message's bytes, and returns its fields as a dict.

    A message for which the function raises an error is rejected.

    Args:
        function: the path of the function, such as ``my_formats.decode``, in a module of the feature repository or of
            an installed package.
    """

    _spec = {"function": ""}

    def __init__(self, function: str):
        self.function = _text("CustomFormat", "function", function)
        if not function.replace(":", ".").rpartition(".")[0]:
            raise DefinitionError(
                f"CustomFormat: function must name a module and a function, such as 'my_formats.decode', not "
                f"{shown(function)}."
            )


class ProtoFormat(StreamFormat):
    """Protocol buffers.

    Args:
        class_path: the message's class, such as ``rides_pb2.Ride``, in a module of the feature repository or of an
            installed package.
    """

    _spec = {"class_path": ""}

    def __init__(self, class_path: str):
        self.class_path = _text("ProtoFormat", "class_path", class_path)


def _text(subject: str, argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise DefinitionError(f"{subject}: {argument} must be text, not {shown(value)}.")
    return value
