"""What answers calls: the services' methods, each a verb of `feast_assets.serving.api`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from time import perf_counter
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from feast_assets.auth.authentication import Authenticator
from feast_assets.errors import FeastAssetsError, FeastError, InputError, printable
from feast_assets.feature_store import FeatureStore
from feast_assets.serving.api import ServingApi
from feast_assets.serving.callers import Callers
from feast_assets.serving.failures import failure_of
from feast_assets.serving.grpc import messages
from feast_assets.serving.grpc.answers import features_message
from feast_assets.serving.grpc.options import GrpcOptions
from feast_assets.serving.grpc.turnstile import Turnstile
from feast_assets.serving.grpc.values import to_python, to_python_list
from feast_assets.serving.metrics import ServerMetrics
from feast_assets.serving.readiness import Readiness
from feast_assets.serving.requests import OnlineFeaturesRequest, PushRequest, WriteRequest

logger = logging.getLogger("feast_assets.serving")

ERROR_CLASS = "feast-error-class"
"""Of failed calls, the trailing metadata that names the exception of ``feast.errors``."""

RETRY_AFTER = "grpc-retry-pushback-ms"
"""The trailing metadata by which gRPC's clients know when to try again; the counterpart of ``Retry-After``."""

# Status lines are headers, of which HTTP/2 clients take some kilobytes.
_LONGEST_DETAILS = 2_000
_TICK_SECONDS = 0.25
_TICKS_PER_LOOK = 4

Handler = Callable[[messages.Message, "Call"], Awaitable[bytes]]


class Call:
    """A call that is being answered.

    Attributes:
        features, views: how many of them an online read returned, for metrics.
    """

    __slots__ = ("_context", "features", "views")

    def __init__(self, context: grpc.aio.ServicerContext):
        self._context = context
        self.features = 0
        self.views = 0

    def header(self, name: str) -> str:
        """Returns metadata that the client sent, such as ``authorization``; ``""`` where there is none."""
        for key, value in self._context.invocation_metadata() or ():
            if key == name:
                return str(value)
        return ""


class GrpcServices:
    """The services of gRPC over one feature store, for a ``grpc.aio.Server``."""

    def __init__(self, store: FeatureStore, options: GrpcOptions, authenticator: Authenticator | None = None):
        """Creates them; `open` opens the store.

        Args:
            store: what is served; `close` closes it.
            authenticator: what knows callers by the metadata ``authorization``; as the store's settings say when left
                out.

        Raises:
            ConfigError: the section ``auth`` of the settings is not that of a server.
        """
        self._callers = Callers(store, authenticator)
        self.options = options
        self.metrics = ServerMetrics()
        self.api = ServingApi(store, self.metrics.materialized, self.metrics.answers_logged)
        self.health = health.aio.HealthServicer()
        self._readiness = Readiness(store)
        self._turnstile = Turnstile()
        self._in_hand = 0
        self._running = asyncio.Semaphore(options.running_calls) if options.running_calls else None
        self._ticker: asyncio.Task[None] | None = None

    def handlers(self) -> Sequence[Any]:
        """Returns the generic handlers of both services."""
        features = self._method(
            "GetOnlineFeatures", messages.GetOnlineFeaturesRequest, self._get_online_features, has_deadline=True
        )
        return (
            grpc.method_handlers_generic_handler(
                messages.FEATURE_SERVER,
                {
                    "GetOnlineFeatures": features,
                    "Push": self._method("Push", messages.PushMessage, self._push),
                    "WriteToOnlineStore": self._method("WriteToOnlineStore", messages.WriteMessage, self._write),
                },
            ),
            grpc.method_handlers_generic_handler(
                messages.SERVING_SERVICE,
                {
                    "GetOnlineFeatures": features,
                    "GetFeastServingInfo": self._method(
                        "GetFeastServingInfo", messages.GetFeastServingInfoRequest, self._info
                    ),
                },
            ),
        )

    async def open(self) -> None:
        """Reads the registry and opens the online store; begins to watch the registry."""
        await self._readiness.open_store(self.options.registry_seconds)
        await self._tell_health()
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def close(self) -> None:
        """Closes the store."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        self._callers.close()
        self.api.close()
        await self.api.store.close()

    def _method(
        self, name: str, request_type: type[messages.Message], handler: Handler, *, has_deadline: bool = False
    ) -> Any:
        async def run(request: bytes, call: Call) -> bytes:
            try:
                message = request_type.FromString(request)
            except DecodeError:
                raise InputError(f"The request is no message of the type {request_type.DESCRIPTOR.name}.") from None
            return await handler(message, call)

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return await self._answer(name, run, request, context, has_deadline)

        # Requests are read above, where a failure has its status, and answers are bytes already.
        return grpc.unary_unary_rpc_method_handler(answer, None, None)

    async def _answer(
        self, name: str, handler: Handler, request: bytes, context: grpc.aio.ServicerContext, has_deadline: bool
    ) -> bytes:
        """Answers a call. Every call of both services comes through here."""
        begin = perf_counter()
        if self._in_hand >= self.options.calls_in_hand:
            self.metrics.refused.inc()
            await _abort(context, "UNAVAILABLE", "The server has as much in hand as it takes; try again.", "FeastError")
        call, ok = Call(context), False
        self._in_hand += 1
        try:
            if has_deadline:
                async with asyncio.timeout(self.options.request_seconds):
                    message = await self._run(handler, request, call)
            else:
                message = await self._run(handler, request, call)
            ok = True
            return message
        except TimeoutError:
            await _abort(context, "DEADLINE_EXCEEDED", "The stores did not answer in time.", "FeastError")
            raise
        except FeastAssetsError as error:
            failure = failure_of(error)
            await _abort(context, error.grpc_status, failure.message, failure.error_class)
            raise
        except Exception as error:
            # Whatever it is, the client gets an answer.
            failure = failure_of(error)
            await _abort(context, FeastError.grpc_status, failure.message, failure.error_class)
            raise
        finally:
            self._in_hand -= 1
            self.metrics.request(name, ok, perf_counter() - begin, call.features, call.views)

    async def _run(self, handler: Handler, request: bytes, call: Call) -> bytes:
        identity = await self._callers.identify_async(call.header("authorization"))
        with self._callers.acting(identity):
            if self._running is None:
                return await handler(request, call)
            async with self._running:
                return await handler(request, call)

    async def _get_online_features(self, message: messages.Message, call: Call) -> bytes:
        entities = {name: to_python_list(values) for name, values in message.entities.items()}
        for name, values in message.request_context.items():
            if name in entities:
                raise InputError(f"{name!r} is among the entities and in the request context; give it once.")
            entities[name] = to_python_list(values)
        asked = OnlineFeaturesRequest(
            entities,
            message.feature_service or None,
            list(message.features.val),
            message.full_feature_names,
            message.include_feature_view_version_metadata,
        )
        begin = perf_counter()
        async with self._turnstile:
            response = await self.api.get_online_features(asked)
        read = perf_counter() - begin
        shape = response.shape
        call.features = len(shape.stored) + len(shape.computed)
        call.views = len(shape.views)
        answer = features_message(response)
        self.metrics.online_features(response, read)
        return answer

    async def _push(self, message: messages.Message, call: Call) -> bytes:
        row, as_text = _row(message)
        asked = PushRequest(message.stream_feature_view, row, message.allow_registry_cache, message.to)
        await self.api.push(asked, as_text=as_text)
        self.metrics.pushes.labels(asked.push_source_name, asked.to).inc()
        return bytes(messages.PushResponse(status=True).SerializeToString())

    async def _write(self, message: messages.Message, call: Call) -> bytes:
        row, as_text = _row(message)
        asked = WriteRequest(message.feature_view_name, row, message.allow_registry_cache)
        await self.api.write_to_online_store(asked, as_text=as_text)
        return bytes(messages.WriteToOnlineStoreResponse(status=True).SerializeToString())

    async def _info(self, message: messages.Message, call: Call) -> bytes:
        answer = messages.GetFeastServingInfoResponse(version=version("feast-assets"))
        return bytes(answer.SerializeToString())

    async def _tick(self) -> None:
        """Tells the health service whether calls can be answered, and writes metrics, again and again."""
        ticks, is_failing = 0, False
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            try:
                self.metrics.in_hand.set(self._in_hand)
                self._readiness.count(self.metrics)
                self.metrics.flush()
                if ticks % _TICKS_PER_LOOK == 0:
                    self.metrics.measure_process()
                    await self._tell_health()
                is_failing = False
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                if not is_failing:
                    logger.error("Health or metrics could not be told: %s", printable(error))
                is_failing = True

    async def _tell_health(self) -> None:
        status, _ = await self._readiness.state()
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if status == 200 else states.NOT_SERVING
        for service in ("", messages.FEATURE_SERVER, messages.SERVING_SERVICE):
            await self.health.set(service, state)


def _row(message: messages.Message) -> tuple[dict[str, list[Any]], bool]:
    """Returns the one row of a message, and whether its values are text."""
    if message.features and message.typed_features:
        raise InputError("Only one of features or typed_features may be set, not both.")
    if message.typed_features:
        return {name: [to_python(value)] for name, value in message.typed_features.items()}, False
    return {name: [text] for name, text in message.features.items()}, True


async def _abort(context: grpc.aio.ServicerContext, status: str, message: str, error_class: str) -> None:
    metadata = [(ERROR_CLASS, error_class)]
    if status == "UNAVAILABLE":
        metadata.append((RETRY_AFTER, "1000"))
    if len(message) > _LONGEST_DETAILS:
        message = f"{message[: _LONGEST_DETAILS - 4]} ..."
    await context.abort(grpc.StatusCode[status], message, tuple(metadata))
