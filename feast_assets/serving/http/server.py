"""Runs the application: one process, or several workers that share a socket and are replaced when they die."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_assets.errors import ConfigError, printable
from feast_assets.serving.http.options import ServerOptions

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.http.app import FeatureServer
    from feast_assets.serving.metrics import ServerMetrics

logger = logging.getLogger("feast_assets.serving")

FEATURE_SERVER = "feast_assets.serving.http.app:FeatureServer"
REGISTRY_SERVER = "feast_assets.serving.registry.server:RegistryServer"

_METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
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

        _set_up_logging()
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
        ImportError: the packages of the extra ``server`` are not installed.
    """
    _check_installed()
    check_tls(options)
    _set_up_logging()
    several = options.worker_count > 1 or options.max_requests > 0
    if several and store.config.file is None:
        raise ConfigError(
            "Several workers (and max_requests) need a feature_store.yaml, which each worker reads; this feature "
            "store was configured in Python. Serve with one worker, or write the settings to a file."
        )
    if not options.is_loopback:
        logger.warning(
            "Listening on %s: there is no authorization yet, so whoever reaches this address can read and write "
            "%s. Keep it in a network of your own.",
            options.host,
            options.subject,
        )
    if options.server == "granian":
        from feast_assets.serving.http.granian import serve_with_granian

        serve_with_granian(store, options)
        return
    listener = bound(options)
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
    with _metrics_listener(options, app.metrics):
        announce(options, listener)
        server.run(sockets=[listener])


def _serve_with_workers(store: FeatureStore, options: ServerOptions, listener: socket.socket, application: str) -> None:
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import Multiprocess

    settings = store.config.file
    assert settings is not None
    app = WorkerApp(store.repo_path.resolve(), settings.resolve(), options, application)
    with metrics_directory(), _metrics_listener(options):
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


def bound(options: ServerOptions, *, is_shared: bool = False) -> socket.socket:
    """Returns a socket that has the server's address.

    Args:
        is_shared: whether others, who ask for the same, may have it too.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if is_shared else socket.SO_REUSEADDR, 1)
    try:
        holder.bind((options.host, options.port))
    except OSError as error:
        holder.close()
        raise ConfigError(
            f"Cannot listen on {options.host}, port {options.port}: {error.strerror or error}. Choose another with "
            "--host and --port; port 0 is any free one."
        ) from None
    return holder


def announce(options: ServerOptions, holder: socket.socket) -> int:
    """Prints where the server is to standard error; returns its port."""
    scheme = "https" if options.tls_key_path else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    port = int(holder.getsockname()[1])
    print(f"Serving {options.subject} on {scheme}://{host}:{port}", file=sys.stderr, flush=True)
    return port


def _check_installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"The feature server needs {', '.join(missing)}, not installed here: pip install 'feast-assets[server]'."
        )


def check_tls(options: ServerOptions) -> None:
    """Refuses a certificate that no worker could use: each would die of it, and be replaced again and again."""
    if not options.tls_key_path:
        return
    import ssl

    try:
        # Without a password, a key that needs one would be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            options.tls_cert_path, options.tls_key_path, password=""
        )
    except OSError as error:
        raise ConfigError(
            f"The TLS key {options.tls_key_path} and the certificate {options.tls_cert_path} cannot be used "
            f"({printable(error)}): give PEM files that belong together, and a key without a password."
        ) from None


def _set_up_logging() -> None:
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")


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


@contextlib.contextmanager
def metrics_directory() -> Iterator[None]:
    """Has workers count in files of one directory, as none of them has all numbers."""
    if _METRICS_DIRECTORY in os.environ:
        yield
        return
    directory = tempfile.mkdtemp(prefix="feast-assets-metrics-")
    os.environ[_METRICS_DIRECTORY] = directory
    try:
        yield
    finally:
        del os.environ[_METRICS_DIRECTORY]
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _metrics_listener(options: ServerOptions, metrics: ServerMetrics | None = None) -> Iterator[None]:
    """Serves metrics on a port of their own too, as Feast does; those of all workers if none are given."""
    if not options.metrics_listener:
        yield
        return
    from feast_assets.serving.metrics import start_listener

    try:
        listener, stop = start_listener(options.host, options.metrics_port, metrics)
    except OSError as error:
        raise ConfigError(
            f"Cannot serve metrics on {options.host}, port {options.metrics_port}: {error.strerror or error}. Leave "
            "--metrics out; metrics are at /metrics in any case."
        ) from None
    print(f"Serving metrics on http://{options.host}:{listener}/metrics", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        stop()
