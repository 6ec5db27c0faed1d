"""How a gRPC server listens, and what it bears."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.errors import ConfigError, shown
from feast_assets.serving.listening import is_loopback
from feast_assets.serving.option_checks import (
    check_not_negative,
    check_port,
    check_positive,
    check_tls_files,
    check_workers,
    process_count,
)


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """Settings of a gRPC server; each worker gets a copy.

    Attributes:
        address: ``host:port``; port 0 is any free one. An IPv6 host is in brackets.
        workers: processes; -1 for two for each processor and one more.
        running_calls: calls that a worker runs at a time, as Feast's threads do; the next ones wait. 0 for no limit.
        calls_in_hand: calls that a worker has in hand at most; the next are answered UNAVAILABLE.
        metrics_listener: whether metrics are served by HTTP on `metrics_port`.
        metrics_port: the port of that listener.
        request_seconds: by which a read must be answered.
        shutdown_seconds: how long calls in hand may take when the server is told to end.
        message_bytes: the largest message that is taken.
        tls_key_path, tls_cert_path: PEM files, both or none.
        registry_seconds: between two looks at the registry.
    """

    address: str = "localhost:50051"
    workers: int = 1
    running_calls: int = 0
    calls_in_hand: int = 1000
    metrics_listener: bool = False
    metrics_port: int = 8000
    request_seconds: float = 30.0
    shutdown_seconds: float = 30.0
    message_bytes: int = 64 * 2**20
    tls_key_path: str = ""
    tls_cert_path: str = ""
    registry_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ConfigError: one of them cannot be.
        """
        host, colon, port = self.address.rpartition(":")
        if not (colon and host and port.isdecimal() and int(port) < 65536):
            raise ConfigError(f"The address {shown(self.address)} is not host:port, such as localhost:50051.")
        check_tls_files(self.tls_key_path, self.tls_cert_path)
        check_port(self.metrics_port)
        check_workers(self.workers)
        check_not_negative(self, "running_calls")
        check_positive(
            self, "calls_in_hand", "request_seconds", "shutdown_seconds", "message_bytes", "registry_seconds"
        )

    @property
    def host(self) -> str:
        """The host, without the brackets of IPv6."""
        return self.address.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        """The port; 0 is any free one."""
        return int(self.address.rpartition(":")[2])

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    @property
    def worker_count(self) -> int:
        """The number of processes."""
        return process_count(self.workers)
