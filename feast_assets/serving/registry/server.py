"""The application of a registry server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http import HTTPStatus
from typing import Any

from feast_assets.auth.access import Access
from feast_assets.config import make_registry
from feast_assets.errors import FeastAssetsError, printable
from feast_assets.feature_store import FeatureStore
from feast_assets.registry.base import Registry
from feast_assets.registry.remote.messages import PREFIX
from feast_assets.serving.http.app import FeatureServer, Receive, Request, Route
from feast_assets.serving.http.message_routes import MessageRoute
from feast_assets.serving.http.messages import Answer
from feast_assets.serving.http.options import ServerOptions
from feast_assets.serving.registry.methods import RegistryApi
from feast_assets.serving.registry.openapi import document
from feast_assets.serving.registry.rest import PREFIX as REST_PREFIX
from feast_assets.serving.registry.rest import RestApi, methods_of, parts_of

_THREADS = 16


class RegistryServer(FeatureServer):
    """An ASGI application that serves the registry of a feature store, with all of its projects.

    Limits, metrics and the access log are those of a feature server. It opens neither the online store nor the offline
    store.
    """

    def __init__(self, store: FeatureStore, options: ServerOptions | None = None):
        """Creates the application; it opens the registry in its lifespan."""
        super().__init__(store, options)
        self.registry = RegistryApi(self._make_registry, self._access_of)
        self._rest = RestApi(store, self.registry)
        # Transactions of a registry wait for each other; they must not take the threads of anything else.
        self._threads = ThreadPoolExecutor(_THREADS, "feast-assets-registry")
        kept = [("GET", path) for path in ("/health", "/metrics")]
        self._routes = {route: self._routes[route] for route in kept} | {
            ("GET", "/openapi.json"): Route(self._document, is_bounded=False, is_public=True),
            ("GET", "/ready"): Route(self._registry_ready, is_bounded=False, is_public=True),
            **{
                ("POST", PREFIX + name): Route(MessageRoute(kind, method, self._threads))
                for name, (kind, method) in self.registry.methods().items()
            },
        }

    async def _without_route(self, request: Request, receive: Receive) -> Answer:
        if request.endpoint.startswith(REST_PREFIX):
            return await self._answer(Route(self._rest_answer, has_deadline=True), request, receive)
        return await super()._without_route(request, receive)

    async def _rest_answer(self, request: Request) -> Answer:
        path = request.endpoint.removeprefix(REST_PREFIX)
        query = bytes(request.scope.get("query_string", b"")).decode("latin-1")
        status, body = await self._in_thread(
            self._rest.answer, request.scope["method"], path, query, bytes(request.body)
        )
        if body is None:
            return Answer(status, b"", b"")
        allow = (b"allow", ", ".join(methods_of(parts_of(path))).encode())
        return Answer.of_json(status, body, (allow,) if status == HTTPStatus.METHOD_NOT_ALLOWED else ())

    async def _document(self, request: Request) -> Answer:
        return Answer.of_json(200, document())

    async def open(self) -> None:
        """Reads the registry."""
        await self._in_thread(self.registry.newest, self.api.store.project)
        self._start_ticking()

    async def close(self) -> None:
        """Closes the registry."""
        await super().close()
        self.registry.close()
        self._threads.shutdown(wait=False)

    def _make_registry(self, project: str) -> Registry:
        store = self.api.store
        return make_registry(store.config, store.repo_path, project)

    def _access_of(self, project: str) -> Access:
        own = self.api.store.access
        return own if project == self.api.store.project else own.of_project(project)

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        # The thread acts on behalf of the caller too.
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work, *arguments)

    async def _registry_ready(self, request: Request) -> Answer:
        try:
            newest = await self._in_thread(self.registry.newest, self.api.store.project)
        except FeastAssetsError as error:
            return Answer.of_json(
                503, {"ready": False, "registry": {"state": "unavailable", "error": printable(error)}}
            )
        return Answer.of_json(200, {"ready": True, "registry": {"state": "current", "revision": newest.revision}})
