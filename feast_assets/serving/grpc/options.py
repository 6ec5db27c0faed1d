"""How a gRPC server listens, and what it bears."""

from __future__ import annotations

import os
from dataclasses import dataclass

from feast_assets.errors import ConfigError, shown
from feast_assets.serving.listening import is_loopback


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
        if bool(self.tls_key_path) != bool(self.tls_cert_path):
            raise ConfigError("TLS needs both a key and a certificate; give both, or none to serve without TLS.")
        for path in (self.tls_key_path, self.tls_cert_path):
            if path and not os.path.isfile(path):
                raise ConfigError(f"There is no TLS file {path}.")
        if not 0 <= self.metrics_port < 65536:
            raise ConfigError(f"Port {self.metrics_port} is not from 0 to 65535.")
        if self.workers != -1 and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}; give a positive number, or -1 to go by the processors.")
        if self.running_calls < 0:
            raise ConfigError(f"running_calls is {self.running_calls}; give 0 or a positive number.")
        for name in ("calls_in_hand", "request_seconds", "shutdown_seconds", "message_bytes", "registry_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a positive number.")

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
        return 2 * (os.cpu_count() or 1) + 1 if self.workers == -1 else self.workers
