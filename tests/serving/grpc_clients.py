"""Calls of the gRPC services with our own messages, and the service in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from feast_assets import FeatureStore
from feast_assets.serving.grpc import messages
from feast_assets.serving.grpc.options import GrpcOptions
from feast_assets.serving.grpc.server import made_server
from feast_assets.serving.grpc.service import GrpcServices
from feast_assets.serving.grpc.values import to_python, writer
from feast_assets.types import Float64, Int64, String

STATUSES = ("INVALID", "PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE")
GET = "/GrpcFeatureServer/GetOnlineFeatures"
PUSH = "/GrpcFeatureServer/Push"
WRITE = "/GrpcFeatureServer/WriteToOnlineStore"
_TYPES = {int: Int64, float: Float64, str: String}


@dataclass
class Answered:
    """Features that were answered.

    Attributes:
        values, statuses: by column.
        seconds: event times, by column.
    """

    values: dict[str, list[Any]]
    statuses: dict[str, list[str]]
    seconds: dict[str, list[float]]

    @classmethod
    def of(cls, body: bytes) -> Answered:
        message = messages.GetOnlineFeaturesResponse.FromString(body)
        columns = dict(zip(message.metadata.feature_names.val, message.results, strict=True))
        return cls(
            {name: [to_python(value) for value in column.values] for name, column in columns.items()},
            {name: [STATUSES[status] for status in column.statuses] for name, column in columns.items()},
            {
                name: [time.seconds + time.nanos / 1e9 for time in column.event_timestamps]
                for name, column in columns.items()
            },
        )


def value(given: object) -> Any:
    message = messages.Value()
    if given is not None:
        writer(_TYPES[type(given)])(message, given)
    return message


def values(given: Sequence[object]) -> Any:
    return messages.RepeatedValue(val=[value(each) for each in given])


def asked(
    *features: str, service: str = "", context: dict[str, list[Any]] | None = None, **entities: list[Any]
) -> bytes:
    """Returns a request for features, as bytes."""
    message = messages.GetOnlineFeaturesRequest(
        entities={name: values(given) for name, given in entities.items()},
        request_context={name: values(given) for name, given in (context or {}).items()},
    )
    if service:
        message.feature_service = service
    else:
        message.features.val.extend(features)
    return message.SerializeToString(deterministic=True)


def row(**typed: object) -> dict[str, Any]:
    return {name: value(given) for name, given in typed.items()}


@asynccontextmanager
async def opened(repository: Path, **options: Any) -> AsyncIterator[tuple[GrpcServices, grpc.aio.Channel]]:
    """Yields the service, on a port of its own, and a channel to it."""
    service = GrpcServices(FeatureStore(repository), GrpcOptions(address="127.0.0.1:0", **options))
    await service.open()
    server, port = made_server(service, 0)
    await server.start()
    channel = grpc.aio.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1), ("grpc.enable_retries", 0)]
    )
    try:
        yield service, channel
    finally:
        await channel.close()
        await server.stop(None)
        await service.close()


async def read(channel: grpc.aio.Channel, request: bytes, path: str = GET) -> Answered:
    return Answered.of(await channel.unary_unary(path)(request))
