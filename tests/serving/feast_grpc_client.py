"""Run with Feast's own Python: calls a gRPC server with Feast's stubs, and prints what it gets as JSON.

Args: the address, and the folder of the package grpc, which Feast's Python may lack.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(address: str, grpc_folder: str) -> None:
    sys.path.append(grpc_folder)
    import grpc
    from feast.protos.feast.serving import GrpcServer_pb2 as writes
    from feast.protos.feast.serving import ServingService_pb2 as reads
    from feast.protos.feast.serving.GrpcServer_pb2_grpc import GrpcFeatureServerStub
    from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub
    from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
    from feast.type_map import feast_value_type_to_python_type

    channel = grpc.insecure_channel(address)
    server, service = GrpcFeatureServerStub(channel), ServingServiceStub(channel)

    def asked(drivers: list[int], *features: str, name: str = "", **given: float) -> Any:
        entities = {"driver_id": RepeatedValue(val=[Value(int64_val=driver) for driver in drivers])}
        for field, value in given.items():
            entities[field] = RepeatedValue(val=[Value(double_val=value)] * len(drivers))
        if name:
            return reads.GetOnlineFeaturesRequest(feature_service=name, entities=entities)
        return reads.GetOnlineFeaturesRequest(features=reads.FeatureList(val=features), entities=entities)

    def told(answer: Any) -> dict[str, Any]:
        names = answer.metadata.feature_names.val
        return {
            name: {
                "values": [feast_value_type_to_python_type(value) for value in column.values],
                "statuses": [reads.FieldStatus.Name(status) for status in column.statuses],
                "seconds": [time.seconds for time in column.event_timestamps],
            }
            for name, column in zip(names, answer.results, strict=True)
        }

    def code(call: Any) -> str:
        try:
            call()
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    features = ["stats:trips", "stats:rate", "stats:city", "stats:marks", "stats:active", "stats:since"]
    row = {
        "driver_id": Value(int64_val=1),
        "trips": Value(int64_val=10),
        "few": Value(int32_val=1),
        "rate": Value(float_val=0.5),
        "exact": Value(double_val=0.1),
        "city": Value(string_val="Köln"),
        "active": Value(bool_val=True),
        "since": Value(unix_timestamp_val=1704067200),
        "marks": Value(int64_list_val={"val": [1, 2]}),
        "shares": Value(double_list_val={"val": [0.5]}),
        "words": Value(string_list_val={"val": ["a"]}),
        "event_timestamp": Value(unix_timestamp_val=1704067200),
    }
    texts = {"driver_id": "2", "trips": "7", "event_timestamp": "2024-01-01T00:00:00"}
    got = {
        "pushed": server.Push(writes.PushRequest(stream_feature_view="live", to="online", typed_features=row)).status,
        "written": server.WriteToOnlineStore(
            writes.WriteToOnlineStoreRequest(feature_view_name="other", features=texts)
        ).status,
        "read": told(server.GetOnlineFeatures(asked([1, 99], *features))),
        "same": told(service.GetOnlineFeatures(asked([1, 99], *features))),
        "other": told(server.GetOnlineFeatures(asked([2], "other:trips"))),
        "service": told(server.GetOnlineFeatures(asked([1], name="service", bonus=0.5))),
        "version": bool(service.GetFeastServingInfo(reads.GetFeastServingInfoRequest()).version),
        "unknown": code(lambda: server.GetOnlineFeatures(asked([1], "nope:trips"))),
        "both": code(
            lambda: server.Push(
                writes.PushRequest(stream_feature_view="live", to="online", features=texts, typed_features=row)
            )
        ),
    }
    print("TOLD " + json.dumps(got, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
