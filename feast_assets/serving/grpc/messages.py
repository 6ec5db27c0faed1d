"""The messages and services of the wire, from the descriptors that protoc makes of ``protos/``.

They live in a pool of their own. So a process can load Feast's generated modules too, which have services of the same
names, and no version of protobuf refuses what another version generated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTOS = Path(__file__).with_name("protos")
DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")
"""A ``FileDescriptorSet`` of `PROTOS` and what they import; ``make protos`` writes it."""

SERVING_SERVICE = "feast.serving.ServingService"
FEATURE_SERVER = "GrpcFeatureServer"


Message = Any
"""A message. Its class is made when the process starts, so nothing static knows its fields."""

FILES: tuple[Any, ...] = tuple(descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file)
"""The descriptors, each after those that it imports."""


def own_pool() -> Any:
    """Returns a new pool that has all of them."""
    pool = descriptor_pool.DescriptorPool()
    for file in FILES:
        pool.Add(file)
    return pool


_POOL = own_pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


Value = _message("feast_assets.types.Value")
RepeatedValue = _message("feast_assets.types.RepeatedValue")
Map = _message("feast_assets.types.Map")
GetFeastServingInfoRequest = _message("feast_assets.serving.GetFeastServingInfoRequest")
GetFeastServingInfoResponse = _message("feast_assets.serving.GetFeastServingInfoResponse")
GetOnlineFeaturesRequest = _message("feast_assets.serving.GetOnlineFeaturesRequest")
GetOnlineFeaturesResponse = _message("feast_assets.serving.GetOnlineFeaturesResponse")
FeatureVector = _message("feast_assets.serving.GetOnlineFeaturesResponse.FeatureVector")
GetOnlineFeaturesResponseMetadata = _message("feast_assets.serving.GetOnlineFeaturesResponseMetadata")
PushMessage = _message("feast_assets.serving.PushRequest")
PushResponse = _message("feast_assets.serving.PushResponse")
WriteMessage = _message("feast_assets.serving.WriteToOnlineStoreRequest")
WriteToOnlineStoreResponse = _message("feast_assets.serving.WriteToOnlineStoreResponse")
