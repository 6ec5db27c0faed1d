"""Runs the application: one process, or several workers that share a socket and are replaced when they die."""

from __future__ import annotations

import contextlib
import importlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_assets.errors import ConfigError
from feast_assets.serving.http.options import ServerOptions
from feast_assets.serving.listening import (
    bound,
    check_installed,
    check_tls,
    metrics_directory,
    metrics_listener,
    set_up_logging,
    warn_if_open_to_all,
)

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.http.app import FeatureServer

FEATURE_SERVER = "feast_assets.serving.http.app:FeatureServer"
REGISTRY_SERVER = "feast_assets.serving.registry.server:RegistryServer"

_BACKLOG = 2048
# A worker that is still importing, or whose processor is busy, is not dead.
_SECONDS_TO_ANSWER_THE_SUPERVISOR = 30

_NEEDED = ("httptools", "msgspec", "prometheus_client", "uvicorn")


@dataclass(frozen=True, slots=True)
class WorkerApp:
    """Makes the application of a worker process, whose parent sends it this.

    Attributes:
        repo_path: the feature repository.
        settings: its configuration file.
        options: of the server.
        application: the class of the application, as ``module:class``.
    """

    repo_path: Path
    settings: Path
    options: ServerOptions
    application: str = FEATURE_SERVER

    def __call__(self) -> FeatureServer:
        """Returns the application over a feature store of its own."""
        from feast_assets.feature_store import FeatureStore

        set_up_logging()
        store = FeatureStore(self.repo_path, fs_yaml_file=self.settings)
        return _class_of(self.application)(store, self.options)


def _class_of(application: str) -> type[FeatureServer]:
    module, _, name = application.partition(":")
    loaded: type[FeatureServer] = getattr(importlib.import_module(module), name)
    return loaded


def serve(store: FeatureStore, options: ServerOptions, application: str = FEATURE_SERVER) -> None:
    """Serves until the process is told to end (SIGTERM or SIGINT); requests in hand are finished first.

    Args:
        application: the class of the application, as ``module:class``.

    Raises:
        ConfigError: the address or the TLS files cannot be used, or several workers were asked for and the settings are
            in no file.
        MissingPackageError: the packages of the extra ``server`` are not installed.
    """
    check_installed("The server", _NEEDED, "server")
    check_tls(options.tls_key_path, options.tls_cert_path)
    set_up_logging()
    several = options.worker_count > 1 or options.max_requests > 0
    if several and store.config.file is None:
        raise ConfigError(
            "Several workers (and max_requests) need a feature_store.yaml, which each worker reads; this feature "
            "store was configured in Python. Serve with one worker, or write the settings to a file."
        )
    if not options.is_loopback:
        warn_if_open_to_all(store, options.host, options.subject)
    if options.server == "granian":
        from feast_assets.serving.http.granian import serve_with_granian

        serve_with_granian(store, options)
        return
    listener = bound(options.host, options.port)
    # Whoever connects from now on waits until a worker is ready, and is not refused.
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    try:
        with _signals_ignored_afterwards():
            if several:
                _serve_with_workers(store, options, listener, application)
            else:
                _serve_here(store, options, listener, application)
    finally:
        listener.close()


def _serve_here(store: FeatureStore, options: ServerOptions, listener: socket.socket, application: str) -> None:
    import uvicorn

    app = _class_of(application)(store, options)
    server = uvicorn.Server(_config(app, options, is_factory=False))
    with metrics_listener(options, app.metrics):
        announce(options, listener)
        server.run(sockets=[listener])


def _serve_with_workers(store: FeatureStore, options: ServerOptions, listener: socket.socket, application: str) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    settings = store.config.file
    assert settings is not None
    app = WorkerApp(store.repo_path.resolve(), settings.resolve(), options, application)
    with metrics_directory(), metrics_listener(options):
        announce(options, listener)
        supervisor = Multiprocess(_config(app, options, is_factory=True), sockets=[listener])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise SystemExit(STARTUP_FAILURE)


def _config(app: Any, options: ServerOptions, *, is_factory: bool) -> Any:
    from feast_assets.serving.http.connections import ConnectionLimits, LimitedConfig, LimitedConnection

    return LimitedConfig(
        app,
        factory=is_factory,
        interface="asgi3",
        http=LimitedConnection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        workers=options.worker_count,
        backlog=_BACKLOG,
        timeout_keep_alive=options.keep_alive_seconds,  # type: ignore[arg-type]
        timeout_worker_healthcheck=_SECONDS_TO_ANSWER_THE_SUPERVISOR,
        timeout_graceful_shutdown=options.shutdown_seconds,  # type: ignore[arg-type]
        limit_max_requests=options.max_requests or None,
        limit_max_requests_jitter=options.max_requests_jitter,
        ssl_keyfile=options.tls_key_path or None,
        ssl_certfile=options.tls_cert_path or None,
    ).with_limits(ConnectionLimits(options.receive_seconds, options.header_bytes))


def announce(options: ServerOptions, holder: socket.socket) -> int:
    """Prints where the server is to standard error; returns its port."""
    scheme = "https" if options.tls_key_path else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    port = int(holder.getsockname()[1])
    print(f"Serving {options.subject} on {scheme}://{host}:{port}", file=sys.stderr, flush=True)
    return port


@contextlib.contextmanager
def _signals_ignored_afterwards() -> Iterator[None]:
    """Has uvicorn, which raises the signal that ended it once more, end in peace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
