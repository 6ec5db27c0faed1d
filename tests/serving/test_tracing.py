"""Spans of requests, received by a collector that speaks OTLP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services
from served_project import READ, made
from servers import ask

from feast_assets import FeatureStore
from feast_assets.serving.http.app import FeatureServer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(services.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.resources: list[Any] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.resources += request.resource_spans
        return messages.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Any]:
        return [span for resource in self.resources for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    server = grpc.server(ThreadPoolExecutor(1))
    kept = Collector()
    services.add_TraceServiceServicer_to_server(kept, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield kept
    server.stop(None).wait()


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def test_a_request_is_a_span_of_its_callers_trace(tmp_path: Path, collector: Collector) -> None:
    app = FeatureServer(FeatureStore(made(tmp_path / "repository")))
    await app.open()
    body = {"features": ["stats:trips", "stats:city"], "entities": {"driver_id": [1, 2, 3]}}
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert (await ask(app, "POST", READ, body, headers=traced)).status == 200
    assert (await ask(app, "POST", READ, {"features": ["stats:none"], "entities": {}})).status == 404
    assert (await ask(app, "GET", "/drivers/1001")).status == 404
    # A server that ends sends what it has.
    await app.close()
    read, failed, unknown = collector.spans
    assert read.name == f"POST {READ}"
    assert (read.trace_id.hex(), read.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(read) == {
        "http.request.method": "POST",
        "http.route": READ,
        "http.response.status_code": 200,
        "feast_assets.features": 2,
        "feast_assets.feature_views": 1,
        "feast_assets.entities": 3,
        "feast_assets.read_seconds": attributes(read)["feast_assets.read_seconds"],
    }
    assert read.end_time_unix_nano - read.start_time_unix_nano >= attributes(read)["feast_assets.read_seconds"] * 1e9
    assert failed.trace_id.hex() != TRACE
    assert attributes(failed)["http.response.status_code"] == 404
    # Paths that there are not may name entities, and are as many as callers like.
    assert unknown.name == "GET"
    assert "1001" not in str(unknown)
    (resource,) = {r.resource.SerializeToString(deterministic=True): r.resource for r in collector.resources}.values()
    assert attributes(resource)["service.name"] == "feast-assets"


async def test_without_a_collector_nothing_of_opentelemetry_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    app = FeatureServer(FeatureStore(made(tmp_path / "repository")))
    assert app._spans is None


async def test_it_can_be_switched_off(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    app = FeatureServer(FeatureStore(made(tmp_path / "repository")))
    assert app._spans is None
