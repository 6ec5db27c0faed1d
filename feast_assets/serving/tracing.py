"""Spans of requests, by OpenTelemetry: on where its environment variables name a collector.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ has the variables. A collector is
named by ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``; the others, such as
``OTEL_SERVICE_NAME`` and ``OTEL_TRACES_SAMPLER``, mean what they mean anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast_assets.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_SERVICE = "feast-assets"


class RequestSpans:
    """Makes a span of each request, and sends spans to the collector in a thread.

    A request that carries a ``traceparent`` header continues its caller's trace.
    """

    def __init__(self, provider: TracerProvider):
        self._provider = provider
        self._tracer = provider.get_tracer(_SERVICE)

    @contextmanager
    def of(self, name: str, headers: Mapping[str, str], attributes: Mapping[str, str]) -> Iterator[Span]:
        """Gives the span of a request, which is the current one inside.

        Args:
            name: such as ``POST /get-online-features``.
            headers: of the request, by lower-case names.
            attributes: what is known when it begins.
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(name, context, SpanKind.SERVER, attributes) as span:
            yield span

    def close(self) -> None:
        """Sends what was not sent yet."""
        self._provider.shutdown()


def request_spans() -> RequestSpans | None:
    """Returns what makes spans; None where no collector is named.

    Raises:
        ConfigError: one is named, and the packages of the extra ``tracing`` are not installed.
    """
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_off or not any(os.environ.get(name) for name in _ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"{_ENDPOINTS[1]} names a collector of spans, but the packages for that are not installed ({error}). "
            'Run pip install "feast-assets[tracing]", or unset the variable.'
        ) from None
    resource = Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: _SERVICE})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return RequestSpans(provider)
