"""What servers of every protocol do before they listen, and while they do."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from feast_assets.errors import ConfigError, MissingPackageError, printable

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore
    from feast_assets.serving.metrics import ServerMetrics

logger = logging.getLogger("feast_assets.serving")

_METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


def check_installed(server: str, modules: Sequence[str], extra: str) -> None:
    """Raises MissingPackageError, which names the extra, if a server's modules are not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"{server} needs {', '.join(missing)}, not installed here: pip install 'feast-assets[{extra}]'."
        )


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can connect to a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def warn_if_open_to_all(store: FeatureStore, address: str, subject: str) -> None:
    """Logs a warning: other machines can connect, and nobody is asked who they are.

    Args:
        address: what others can reach.
        subject: what they can read and write.
    """
    if store.config.auth.type == "no_auth":
        logger.warning(
            "Listening on %s without authorization (auth type no_auth): whoever reaches this address can read and "
            "write %s. Set the section auth of feature_store.yaml, or keep the server in a network of your own.",
            address,
            subject,
        )


def bound(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Returns a socket that has the server's address.

    Args:
        is_shared: whether others, who ask for the same, may have it too.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if is_shared else socket.SO_REUSEADDR, 1)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        raise ConfigError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. Choose another address; "
            "port 0 is any free one."
        ) from None
    return holder


def check_tls(key_path: str, cert_path: str) -> None:
    """Refuses a certificate that no worker could use: each would die of it, and be replaced again and again.

    Args:
        key_path, cert_path: PEM files; ``""`` for none.

    Raises:
        ConfigError: they cannot be used.
    """
    if not key_path:
        return
    import ssl

    try:
        # Without a password, a key that needs one would be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_path, key_path, password="")
    except OSError as error:
        raise ConfigError(
            f"The TLS key {key_path} and the certificate {cert_path} cannot be used "
            f"({printable(error)}): give PEM files that belong together, and a key without a password."
        ) from None


def set_up_logging() -> None:
    """Has log records shown on standard error, unless the process shows them otherwise."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")


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


class MetricsOptions(Protocol):
    """The options of a server that concern the listener of metrics.

    Attributes:
        host: its address.
        metrics_listener: whether there is one.
        metrics_port: its port.
    """

    @property
    def host(self) -> str: ...

    @property
    def metrics_listener(self) -> bool: ...

    @property
    def metrics_port(self) -> int: ...


@contextlib.contextmanager
def metrics_listener(options: MetricsOptions, metrics: ServerMetrics | None = None) -> Iterator[None]:
    """Serves metrics by HTTP on a port of their own, as Feast does; nothing where the options do not ask for it.

    Args:
        metrics: of this process; those of all workers when left out.

    Raises:
        ConfigError: the address cannot be used.
    """
    if not options.metrics_listener:
        yield
        return
    from feast_assets.serving.metrics import start_listener

    host, port = options.host, options.metrics_port
    try:
        listener, stop = start_listener(host, port, metrics)
    except OSError as error:
        raise ConfigError(
            f"Cannot serve metrics on {host}, port {port}: {error.strerror or error}. Leave --metrics out."
        ) from None
    print(f"Serving metrics on http://{host}:{listener}/metrics", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        stop()
