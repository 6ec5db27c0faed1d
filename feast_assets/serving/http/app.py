"""The ASGI application: routes, limits and answers, without a framework, whose parsing costs more than a read."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import parse_qs

from feast_assets.auth.audit_log import write_to
from feast_assets.auth.authentication import Authenticator
from feast_assets.auth.identity import acting_as
from feast_assets.errors import FeastAssetsError, UnauthenticatedError, printable
from feast_assets.feature_store import FeatureStore
from feast_assets.online_stores.remote import messages
from feast_assets.registry.watch import RegistryWatch
from feast_assets.serving.api import (
    AlreadyMaterializingError,
    RunAccepted,
    ServingApi,
    refuse_vector_search,
)
from feast_assets.serving.callers import Callers
from feast_assets.serving.failures import Failure, failure_of
from feast_assets.serving.http.access_log import AccessLog
from feast_assets.serving.http.bodies import BodyReader, features_answer
from feast_assets.serving.http.message_routes import MessageRoute
from feast_assets.serving.http.messages import CLOSE, EMPTY, NULL, Answer, Refused, of_failure
from feast_assets.serving.http.openapi import openapi
from feast_assets.serving.http.options import ServerOptions
from feast_assets.serving.metrics import CONTENT_TYPE, ServerMetrics
from feast_assets.serving.online_rows import OnlineRowsApi
from feast_assets.serving.readiness import Readiness
from feast_assets.serving.requests import (
    MaterializeIncrementalRequest,
    MaterializeRequest,
    OnlineFeaturesRequest,
    PushRequest,
    WriteRequest,
)
from feast_assets.serving.tracing import request_spans

logger = logging.getLogger("feast_assets.serving")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[["Request"], Awaitable[Answer]]

_TICK_SECONDS = 0.25
_TICKS_PER_MEASURE = 20
_TOO_BUSY = of_failure(Failure(503, "FeastError", "The server has as much in hand as it takes; try again.", 1))
_CLIENT_TOO_SLOW = Answer.of_json(408, {"detail": "The request did not come in whole in time."}, CLOSE)
_PROVIDER_TOO_SLOW = of_failure(Failure(503, "FeastError", "The identity provider did not answer in time.", 1))
_STORES_TOO_SLOW = of_failure(Failure(504, "FeastError", "The stores did not answer in time."))


@dataclass(slots=True)
class Request:
    """A request whose body was read.

    Attributes:
        scope: of ASGI.
        body: its bytes.
        endpoint: its path, without the one that the application is mounted under.
        features, views, entities: how many of them an online read returned, for metrics and spans.
        read_seconds: how long it took.
    """

    scope: Scope
    body: bytes
    endpoint: str
    features: int = 0
    views: int = 0
    entities: int = 0
    read_seconds: float = 0.0

    def header(self, name: bytes) -> bytes:
        """Returns a header; ``b""`` where there is none."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return b""

    def flag(self, name: str) -> bool:
        """Returns a flag of the query; false when left out."""
        query = self.scope.get("query_string", b"")
        if not query:
            return False
        text = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, ["false"])[-1].lower()
        if text in ("true", "1", "on", "yes", "t", "y"):
            return True
        if text in ("false", "0", "off", "no", "f", "n"):
            return False
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            [{"type": "bool_parsing", "loc": ["query", name], "msg": "Input should be true or false"}],
        )


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a path.

    Attributes:
        handler: answers.
        has_deadline: whether it must answer in time once the request was read, as reads must.
        is_bounded: whether it counts among the requests that the server has in hand.
        is_public: whether it answers callers without a token too.
    """

    handler: Handler
    has_deadline: bool = False
    is_bounded: bool = True
    is_public: bool = False


class FeatureServer:
    """An ASGI application that serves one feature store.

    It can be run by any ASGI server, and mounted in other applications; `feast_assets.serving.http.server` runs it.
    """

    def __init__(
        self, store: FeatureStore, options: ServerOptions | None = None, authenticator: Authenticator | None = None
    ):
        """Creates the application; it opens the store in its lifespan.

        Args:
            store: what is served. The application closes it when the lifespan ends.
            options: its limits; the defaults when left out.
            authenticator: what knows callers; as the store's settings say when left out.

        Raises:
            ConfigError: the section ``auth`` of the settings is not that of a server.
        """
        self._callers = Callers(store, authenticator)
        if options is not None and options.audit_log:
            write_to(Path(options.audit_log))
        self.options = options or ServerOptions()
        self.metrics = ServerMetrics()
        self.api = ServingApi(store, self.metrics.materialized, self.metrics.answers_logged)
        # Not a thread that a store may hold which does not answer: just then metrics are asked for.
        self._writer_of_metrics = ThreadPoolExecutor(1, "feast-assets-metrics")
        self._spans = request_spans()
        self._log = AccessLog() if self.options.access_log else None
        self._watch: RegistryWatch | None = None
        self._readiness = Readiness(store)
        self._in_hand = 0
        # Tasks that must get on in time -> until when, and those that did not.
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._online_features = BodyReader(OnlineFeaturesRequest)
        self._push = BodyReader(PushRequest)
        self._write = BodyReader(WriteRequest)
        self._materialize = BodyReader(MaterializeRequest)
        self._materialize_incremental = BodyReader(MaterializeIncrementalRequest)
        vectors = Route(self._no_vector_search)
        self._routes: dict[tuple[str, str], Route] = {
            ("POST", "/get-online-features"): Route(self._get_online_features, has_deadline=True),
            ("POST", "/push"): Route(self._pushed),
            ("POST", "/write-to-online-store"): Route(self._written),
            ("POST", "/materialize"): Route(self._materialized),
            ("POST", "/materialize-incremental"): Route(self._materialized_incrementally),
            ("POST", "/search"): vectors,
            ("POST", "/retrieve-online-documents"): vectors,
            ("GET", "/v1/vector_stores"): vectors,
            ("GET", "/health"): Route(self._health, is_bounded=False, is_public=True),
            ("GET", "/ready"): Route(self._ready, is_bounded=False, is_public=True),
            ("GET", "/metrics"): Route(self._metrics_text, is_bounded=False, is_public=True),
            ("GET", "/openapi.json"): Route(self._openapi, is_bounded=False, is_public=True),
            **self._online_rows(OnlineRowsApi(store)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers as ASGI says."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def _online_rows(self, rows: OnlineRowsApi) -> dict[tuple[str, str], Route]:
        """Returns the routes of clients whose online store is this server's; see `OnlineRowsApi`."""
        methods: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            "put": (messages.PutRows, rows.put),
            "put-existing": (messages.PutRows, rows.put_existing),
            "setup": (messages.Tables, rows.setup),
            "drop": (messages.Tables, rows.drop),
            "marks": (messages.Tables, rows.marks),
            "advance": (messages.Advance, rows.advance),
            "scan": (messages.Scan, rows.scan),
            "replace": (messages.Replace, rows.replace),
            "sample": (messages.Sample, rows.sample),
            "state": (messages.Nothing, rows.state),
        }
        routes = {
            ("POST", messages.PREFIX + name): Route(MessageRoute(kind, method, self.api.writers))
            for name, (kind, method) in methods.items()
        }
        read = MessageRoute(messages.Reads, rows.get, self.api.writers)
        return {**routes, ("POST", f"{messages.PREFIX}get"): Route(read, has_deadline=True)}

    async def open(self) -> None:
        """Reads the registry and opens the online store; begins to watch the registry."""
        self._watch = await self._readiness.open_store(self.options.registry_seconds)
        self._start_ticking()

    def _start_ticking(self) -> None:
        self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def close(self) -> None:
        """Closes the store."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        if self._log is not None:
            with contextlib.suppress(OSError, ValueError):  # standard output may be closed
                self._log.flush()
        self._writer_of_metrics.shutdown(wait=False)
        self._callers.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
        self.api.close()
        await self.api.store.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except FeastAssetsError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _tick(self) -> None:
        """Ends requests that are overdue, writes the access log, and measures the process, again and again."""
        ticks, is_failing = 0, False
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = perf_counter()
            for task, deadline in list(self._deadlines.items()):
                if deadline < now and task not in self._overdue:
                    self._overdue.add(task)
                    task.cancel()
            try:
                self._write_down(measure=ticks % _TICKS_PER_MEASURE == 0)
                is_failing = False
            except Exception as error:  # noqa: BLE001 - standard output may be closed; requests still have to end in time
                if not is_failing:
                    logger.error("The access log or the metrics could not be written: %s", printable(error))
                is_failing = True
            ticks += 1

    def _write_down(self, *, measure: bool) -> None:
        self._count_state()
        self.metrics.flush()
        if measure:
            self.metrics.measure_process()
        if self._log is not None:
            self._log.flush()

    def _count_state(self) -> None:
        self.metrics.in_hand.set(self._in_hand)
        self._readiness.count(self.metrics)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Where the application is mounted under a path, that path comes first.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        request = Request(scope, b"", path)
        if self._spans is None:
            await self._handle(request, receive, send)
            return
        is_known = (scope["method"], path) in self._routes
        name = f"{scope['method']} {path}" if is_known else scope["method"]
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        with self._spans.of(name, headers, {"http.request.method": scope["method"]}) as span:
            status = await self._handle(request, receive, send)
            span.set_attribute("http.response.status_code", status)
            if is_known:
                span.set_attribute("http.route", path)
            if request.views:
                span.set_attribute("feast_assets.features", request.features)
                span.set_attribute("feast_assets.feature_views", request.views)
                span.set_attribute("feast_assets.entities", request.entities)
                span.set_attribute("feast_assets.read_seconds", request.read_seconds)

    async def _handle(self, request: Request, receive: Receive, send: Send) -> int:
        """Answers a request; returns the status."""
        begin = perf_counter()
        scope, path = request.scope, request.endpoint
        method = scope["method"]
        route = self._routes.get((method, path))
        if route is None:
            answer = await self._without_route(request, receive)
        elif route.is_bounded and self._in_hand >= self.options.worker_connections:
            self.metrics.refused.inc()
            answer = _TOO_BUSY
        else:
            answer = await self._answer(route, request, receive)
        sent = await self._send(answer, receive, send)
        seconds = perf_counter() - begin
        if route is not None:
            self.metrics.request(path, answer.status < 400, seconds, request.features, request.views)
        if self._log is not None:
            client = scope.get("client")
            self._log.add(client[0] if client else "", method, path, answer.status, seconds, sent)
        return answer.status

    async def _send(self, answer: Answer, receive: Receive, send: Send) -> int:
        """Sends an answer; returns the size of its body."""
        headers = [*answer.headers]
        if answer.pieces is None:
            headers.insert(0, (b"content-length", b"%d" % len(answer.body)))
        if answer.content_type:
            headers.append((b"content-type", answer.content_type))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.pieces is not None:
            return await _send_pieces(answer.pieces, receive, send)
        await send({"type": "http.response.body", "body": answer.body})
        return len(answer.body)

    async def _answer(self, route: Route, request: Request, receive: Receive) -> Answer:
        self._in_hand += route.is_bounded
        task = asyncio.current_task()
        assert task is not None
        self._deadlines[task] = perf_counter() + self.options.receive_seconds
        too_slow = _PROVIDER_TOO_SLOW
        try:
            if request.header(b"sec-fetch-site") == b"cross-site":
                # Otherwise any page that is open in a browser on this machine could write features.
                raise Refused(HTTPStatus.FORBIDDEN, "Pages of other sites cannot use this server.", CLOSE)
            identity = None
            if self._callers.are_known and not route.is_public:
                # Before the body is read: nobody has room here for bytes of somebody who is not known.
                identity = await self._callers.identify_async(request.header(b"authorization"))
            too_slow = _CLIENT_TOO_SLOW
            request.body = await self._body(request, receive)
            too_slow = _STORES_TOO_SLOW
            if route.has_deadline:
                self._deadlines[task] = perf_counter() + self.options.request_seconds
            else:
                del self._deadlines[task]
            if identity is None:
                return await route.handler(request)
            with acting_as(identity):
                return await route.handler(request)
        except Refused as refused:
            return refused.answer
        except UnauthenticatedError as error:
            return Answer.of_json(401, {"detail": str(error)}, (*CLOSE, (b"www-authenticate", b"Bearer")))
        except AlreadyMaterializingError as error:
            return Answer.of_json(409, {"error": str(error), "feature_views": error.feature_views})
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            task.uncancel()
            return too_slow
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            return of_failure(failure_of(error))
        finally:
            self._in_hand -= route.is_bounded
            self._deadlines.pop(task, None)
            self._overdue.discard(task)

    async def _body(self, request: Request, receive: Receive) -> bytes:
        """Returns the body of a request.

        Raises:
            Refused: it is too large, or the client went away.
        """
        message = await receive()
        body: bytes = message.get("body", b"")
        largest = self.options.body_bytes
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in whole.", CLOSE)
            if len(body) > largest:
                raise _too_large(largest)
            return body
        declared = request.header(b"content-length")
        if declared.isdigit() and int(declared) > largest:
            raise _too_large(largest)
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in whole.", CLOSE)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > largest:
                raise _too_large(largest)
        return b"".join(parts)

    async def _without_route(self, request: Request, receive: Receive) -> Answer:
        """Answers paths with a variable part, other methods, and what there is not."""
        path, method = request.endpoint, request.scope["method"]
        parts = path.strip("/").split("/")
        allowed = sorted(known for known, of_path in self._routes if of_path == path)
        if parts[:2] == ["v1", "vector_stores"] and len(parts) in (3, 4):
            allowed = ["GET"] if len(parts) == 3 else ["POST"] if parts[3] == "search" else []
            if method in allowed:
                return await self._answer(Route(self._no_vector_search), request, receive)
        if allowed:
            allow = ", ".join(allowed).encode()
            return Answer.of_json(405, {"detail": "Method Not Allowed"}, ((b"allow", allow),))
        return Answer.of_json(404, {"detail": "Not Found"})

    async def _get_online_features(self, request: Request) -> Answer:
        asked = self._online_features.read(request.body)
        begin = perf_counter()
        response = await self.api.get_online_features(asked)
        shape = response.shape
        request.features = len(shape.stored) + len(shape.computed)
        request.views = len(shape.views)
        request.entities = len(response)
        request.read_seconds = read = perf_counter() - begin
        origins = await self.api.row_origins(response) if asked.include_row_origins else None
        answer = features_answer(response, request.header(b"accept"), origins)
        self.metrics.online_features(response, read)
        return answer

    async def _pushed(self, request: Request) -> Answer:
        asked = self._push.read(request.body)
        await self.api.push(asked)
        self.metrics.pushes.labels(asked.push_source_name, asked.to).inc()
        return EMPTY

    async def _written(self, request: Request) -> Answer:
        await self.api.write_to_online_store(self._write.read(request.body))
        return NULL

    async def _materialized(self, request: Request) -> Answer:
        asked = self._materialize.read(request.body)
        return _of_run(
            await self.api.materialize(asked, in_background=request.flag("async"), force=request.flag("force"))
        )

    async def _materialized_incrementally(self, request: Request) -> Answer:
        asked = self._materialize_incremental.read(request.body)
        return _of_run(
            await self.api.materialize_incremental(
                asked, in_background=request.flag("async"), force=request.flag("force")
            )
        )

    async def _no_vector_search(self, request: Request) -> Answer:
        refuse_vector_search()
        raise AssertionError

    async def _health(self, request: Request) -> Answer:
        return EMPTY

    async def _ready(self, request: Request) -> Answer:
        status, state = await self._readiness.state()
        return Answer.of_json(status, state)

    async def _metrics_text(self, request: Request) -> Answer:
        self._count_state()
        self.metrics.flush()
        text = await asyncio.get_running_loop().run_in_executor(self._writer_of_metrics, self.metrics.text)
        return Answer(200, text, CONTENT_TYPE)

    async def _openapi(self, request: Request) -> Answer:
        return Answer(200, openapi(needs_token=self._callers.are_known))


async def _send_pieces(pieces: AsyncIterator[bytes], receive: Receive, send: Send) -> int:
    """Sends a body piece by piece, and gives it up if the client goes away; returns its size."""
    gone = asyncio.ensure_future(_disconnected(receive))
    size = 0
    try:
        async for piece in pieces:
            if gone.done():
                return size
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            size += len(piece)
        await send({"type": "http.response.body", "body": b""})
        return size
    finally:
        gone.cancel()
        await pieces.aclose()  # type: ignore[attr-defined]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _of_run(accepted: RunAccepted | None) -> Answer:
    if accepted is None:
        return NULL
    return Answer.of_json(202, {"status": "accepted", "feature_views": accepted.feature_views})


def _too_large(largest: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {largest} bytes; divide the request.", CLOSE
    )
