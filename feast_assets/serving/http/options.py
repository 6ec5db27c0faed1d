"""How a feature server listens, and what it bears."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.errors import ConfigError, NotSupportedError, shown
from feast_assets.serving.listening import is_loopback
from feast_assets.serving.option_checks import (
    check_not_negative,
    check_port,
    check_positive,
    check_tls_files,
    check_workers,
    process_count,
)

SERVERS = ("uvicorn", "granian")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Settings of a feature server; each worker gets a copy.

    Attributes:
        host, port: where it listens; port 0 is any free one.
        kind: only ``"http"``.
        server: what speaks HTTP, one of `SERVERS`.
        workers: processes; -1 for two for each processor and one more.
        worker_connections: requests that a worker has in hand at most; the next are answered 503.
        max_requests: after so many a worker is replaced; 0 for never.
        max_requests_jitter: at most so many more, drawn at random.
        access_log: whether each request is a line of JSON on standard output.
        metrics_listener: whether metrics are also served on `METRICS_PORT`.
        metrics_port: the port of that listener.
        keep_alive_seconds: after which an idle connection is closed.
        receive_seconds: by which a request must have come in whole after its first byte.
        request_seconds: by which a read must be answered.
        shutdown_seconds: how long requests in hand may take when the server is told to end.
        body_bytes: the largest body of a request.
        header_bytes: the largest head of a request.
        tls_key_path, tls_cert_path: PEM files, both or none.
        registry_seconds: between two looks at the registry.
        audit_log: the file to which each access is appended; "" for none. See `feast_assets.auth.audit_log`.
        subject: what is served, for messages.
    """

    host: str = "127.0.0.1"
    port: int = 6566
    kind: str = "http"
    server: str = "uvicorn"
    workers: int = 1
    worker_connections: int = 1000
    max_requests: int = 0
    max_requests_jitter: int = 50
    access_log: bool = False
    metrics_listener: bool = False
    metrics_port: int = 8000
    keep_alive_seconds: float = 30
    receive_seconds: float = 30.0
    request_seconds: float = 30.0
    shutdown_seconds: float = 30.0
    body_bytes: int = 64 * 2**20
    header_bytes: int = 64 * 2**10
    tls_key_path: str = ""
    tls_cert_path: str = ""
    registry_seconds: float = 60.0
    audit_log: str = ""
    subject: str = "features"

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ConfigError: one of them cannot be.
            NotSupportedError: another server than HTTP.
        """
        if self.kind != "http":
            raise NotSupportedError(f"Server type {shown(self.kind)} is not supported; only 'http' is.")
        if self.server not in SERVERS:
            raise ConfigError(f"There is no server {shown(self.server)}; it is one of {', '.join(SERVERS)}.")
        check_tls_files(self.tls_key_path, self.tls_cert_path)
        check_port(self.port)
        check_port(self.metrics_port)
        check_workers(self.workers)
        check_not_negative(self, "max_requests", "max_requests_jitter")
        check_positive(
            self,
            "worker_connections",
            "keep_alive_seconds",
            "receive_seconds",
            "request_seconds",
            "shutdown_seconds",
            "body_bytes",
            "header_bytes",
            "registry_seconds",
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def worker_count(self) -> int:
        """The number of processes."""
        return process_count(self.workers)
