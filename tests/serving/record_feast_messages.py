"""Run with Feast's own Python: records the fields of its messages and its services, for `test_grpc_wire`.

FEAST_PYTHON tests/serving/record_feast_messages.py tests/serving/feast_messages.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def message_fields(descriptor: Any) -> dict[str, list[object]]:
    """Returns field -> number, type, whether it is repeated, the name of its message or enum, and of its oneof."""
    fields: dict[str, list[object]] = {}
    for field in descriptor.fields:
        kind = field.message_type or field.enum_type
        oneof = field.containing_oneof
        repeated = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
        fields[field.name] = [field.number, field.type, repeated, kind and kind.name, oneof and oneof.name]
    return fields


def described(files: list[Any]) -> dict[str, Any]:
    """Returns the messages, enums and services of some files, by names without their package."""
    messages: dict[str, Any] = {}
    enums: dict[str, Any] = {}
    services: dict[str, Any] = {}

    def add(descriptor: Any, before: str) -> None:
        name = before + descriptor.name
        messages[name] = message_fields(descriptor)
        for enum in descriptor.enum_types:
            enums[f"{name}.{enum.name}"] = {value.name: value.number for value in enum.values}
        for nested in descriptor.nested_types:
            add(nested, f"{name}.")

    for file in files:
        for descriptor in file.message_types_by_name.values():
            add(descriptor, "")
        for enum in file.enum_types_by_name.values():
            enums[enum.name] = {value.name: value.number for value in enum.values}
        for service in file.services_by_name.values():
            services[service.full_name] = {
                method.name: [method.input_type.name, method.output_type.name] for method in service.methods
            }
    return {"messages": messages, "enums": enums, "services": services}


def main(target: str) -> None:
    from feast.protos.feast.serving import GrpcServer_pb2, ServingService_pb2
    from feast.protos.feast.types import Value_pb2

    files = [module.DESCRIPTOR for module in (Value_pb2, ServingService_pb2, GrpcServer_pb2)]
    Path(target).write_text(json.dumps(described(files), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
