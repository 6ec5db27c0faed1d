"""Runs the services: in this process, or in several workers that share a port and are replaced when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_assets.errors import ConfigError, FeastAssetsError
from feast_assets.serving.grpc.options import GrpcOptions
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
    from feast_assets.serving.grpc.service import GrpcServices

logger = logging.getLogger("feast_assets.serving")

STARTUP_FAILURE = 3
"""The exit code of a server that cannot read the registry at the start, as of the server of HTTP."""

_NEEDED = ("grpc", "grpc_health", "grpc_reflection", "msgspec", "prometheus_client")
_READY = b"ready"
_SECONDS_BEFORE_A_REPLACEMENT = 0.5
_SECONDS_AFTER_THE_GRACE = 30.0


def listen(store: FeatureStore, options: GrpcOptions) -> None:
    """Serves until the process is told to end (SIGTERM or SIGINT); calls in hand are finished first.

    Raises:
        ConfigError: the address or the TLS files cannot be used, or several workers were asked for and the settings are
            in no file.
        MissingPackageError: the packages of the extra ``grpc`` are not installed.
        SystemExit: 3, the registry cannot be read.
    """
    check_installed("The gRPC server", _NEEDED, "grpc")
    check_tls(options.tls_key_path, options.tls_cert_path)
    set_up_logging()
    if not options.is_loopback:
        warn_if_open_to_all(store, options.address, "features")
    if options.worker_count == 1:
        _run(_serve(store, options, options.port))
        return
    if store.config.file is None:
        raise ConfigError(
            "Several workers need a feature_store.yaml, which each worker reads; this feature store was configured in "
            "Python. Serve with one worker, or write the settings to a file."
        )
    # Held, and never listened on, so that nobody else takes the port before the workers do.
    with bound(options.host, options.port, is_shared=True) as holder, metrics_directory(), metrics_listener(options):
        port = int(holder.getsockname()[1])
        _Workers(store.repo_path.resolve(), store.config.file.resolve(), options, port).run()


def _announce(options: GrpcOptions, port: int) -> None:
    host = options.address.rpartition(":")[0]
    scheme = "grpcs" if options.tls_key_path else "grpc"
    print(f"Serving features on {scheme}://{host}:{port}", file=sys.stderr, flush=True)


def _run(serving: Any) -> None:
    """Runs a coroutine on the fastest event loop there is."""
    if find_spec("uvloop") is None:
        asyncio.run(serving)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def _serve(
    store: FeatureStore, options: GrpcOptions, port: int, ready: connection.Connection | None = None
) -> None:
    """Serves in this process until a signal ends it.

    Args:
        port: where; 0 for any free one.
        ready: of a worker that shares the port with others: what is told when calls are taken. Left out for a server
            alone, which says itself where it is.
    """
    from feast_assets.serving.grpc.service import GrpcServices

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
    if (parent := multiprocessing.parent_process()) is not None and ready is not None:
        # A worker ends with its supervisor, also where that was killed.
        loop.add_reader(parent.sentinel, ended.set)
    service = GrpcServices(store, options)
    try:
        await service.open()
    except FeastAssetsError as error:
        logger.error("The server cannot start: %s", error)
        await service.close()
        raise SystemExit(STARTUP_FAILURE) from None
    try:
        server, port = made_server(service, port, is_shared=ready is not None)
        await server.start()
        with metrics_listener(options, service.metrics) if ready is None else contextlib.nullcontext():
            if ready is None:
                _announce(options, port)
            else:
                ready.send_bytes(_READY)
            await ended.wait()
            await service.health.enter_graceful_shutdown()
            await server.stop(options.shutdown_seconds)
    finally:
        await service.close()


def made_server(service: GrpcServices, port: int, *, is_shared: bool = False) -> tuple[Any, int]:
    """Returns a server that has a port but does not run yet, and the port.

    Args:
        port: 0 for any free one.
        is_shared: whether other processes may listen there too.

    Raises:
        ConfigError: the address cannot be used.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection, reflection_pb2

    from feast_assets.serving.grpc import messages

    options = service.options
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", options.message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(is_shared)),
        )
    )
    server.add_generic_rpc_handlers(service.handlers())
    health_pb2_grpc.add_HealthServicer_to_server(service.health, server)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    names = (messages.FEATURE_SERVER, messages.SERVING_SERVICE, health_name, reflection.SERVICE_NAME)
    pool = messages.own_pool()
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    reflection.enable_server_reflection(names, server, pool)
    address = f"{options.address.rpartition(':')[0]}:{port}"
    try:
        if options.tls_key_path:
            key, cert = Path(options.tls_key_path).read_bytes(), Path(options.tls_cert_path).read_bytes()
            return server, server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
        return server, server.add_insecure_port(address)
    except RuntimeError:
        raise ConfigError(
            f"Cannot listen on {options.address}: it is in use, or no address of this machine. Choose another with "
            "--address; port 0 is any free one."
        ) from None


def _work(repo_path: Path, settings: Path, options: GrpcOptions, port: int, ready: connection.Connection) -> None:
    """Is a worker process."""
    from feast_assets.feature_store import FeatureStore

    set_up_logging()
    _run(_serve(FeatureStore(repo_path, fs_yaml_file=settings), options, port, ready))


@dataclass(slots=True)
class _Worker:
    """A worker process.

    Attributes:
        process: it.
        ready: where it says that it takes calls.
        is_ready: whether it did.
    """

    process: Any
    ready: connection.Connection
    is_ready: bool = False

    def listen(self) -> None:
        """Takes note of what it says; nothing more comes from one that died."""
        with contextlib.suppress(EOFError, OSError):
            self.is_ready = self.ready.recv_bytes() == _READY


class _Workers:
    """Worker processes; one that dies is replaced."""

    def __init__(self, repo_path: Path, settings: Path, options: GrpcOptions, port: int):
        self._about = (repo_path, settings, options, port)
        self._options = options
        self._port = port
        # Not forked: neither gRPC nor a feature store in use may be.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._is_ended = False

    def run(self) -> None:
        """Returns when a signal has ended all of them.

        Raises:
            SystemExit: 3, a worker cannot read the registry at its start.
        """
        with self._signals() as signalled:
            try:
                for _ in range(self._options.worker_count):
                    self._start()
                is_announced = False
                while not self._is_ended:
                    starting = [worker for worker in self._workers if not worker.is_ready]
                    if not starting and not is_announced:
                        _announce(self._options, self._port)
                        is_announced = True
                    sentinels = [worker.process.sentinel for worker in self._workers]
                    readable = connection.wait([signalled, *sentinels, *(worker.ready for worker in starting)])
                    for worker in starting:
                        if worker.ready in readable:
                            worker.listen()
                    self._replace_the_dead(is_announced)
            finally:
                self._end()

    def _start(self) -> None:
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(*self._about, writer))
        process.start()
        writer.close()
        self._workers.append(_Worker(process, reader))

    def _replace_the_dead(self, is_announced: bool) -> None:
        for worker in [each for each in self._workers if not each.process.is_alive()]:
            if self._is_ended:
                return
            self._workers.remove(worker)
            worker.ready.close()
            exit_code = worker.process.exitcode
            if exit_code == STARTUP_FAILURE and not is_announced:
                raise SystemExit(STARTUP_FAILURE)
            logger.warning("A worker ended with exit code %s; another takes its place.", exit_code)
            time.sleep(_SECONDS_BEFORE_A_REPLACEMENT)
            self._start()

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + self._options.shutdown_seconds + _SECONDS_AFTER_THE_GRACE
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.ready.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[Any]:
        """Yields a connection that is readable once a signal came."""
        reader, writer = self._context.Pipe(duplex=False)

        def end(*_: object) -> None:
            if not self._is_ended:
                self._is_ended = True
                writer.send_bytes(b"end")

        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield reader
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            reader.close()
            writer.close()
