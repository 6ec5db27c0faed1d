"""Feast's way to write down a Redis server: ``host:port,option=value,...``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from feast_assets.errors import suggest


def _flag(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValueError("true or false")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("a positive number")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError("a positive number of seconds")
    return number


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "db": int,
    "username": str,
    "password": str,
    "ssl": _flag,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_cert_reqs": str,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "max_connections": _count,
    "client_name": str,
}
# A connection is in use for one round trip, so that this many serve hundreds of calls at once; the others wait.
_DEFAULTS: dict[str, Any] = {"socket_timeout": 10.0, "socket_connect_timeout": 5.0, "max_connections": 64}


@dataclass(frozen=True)
class RedisAddress:
    """Where a server is and how to connect.

    Attributes:
        host: name or address.
        port: TCP port.
        options: the client's further arguments; not shown, as they hold the password.
    """

    host: str
    port: int
    options: Mapping[str, Any] = field(repr=False)

    @property
    def host_port(self) -> str:
        """``host:port``, which messages may show."""
        return f"{self.host}:{self.port}"

    @property
    def ssl(self) -> bool:
        """Whether to connect by TLS."""
        return bool(self.options.get("ssl", False))

    def client_arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of redis-py's clients."""
        return {"host": self.host, "port": self.port, "protocol": 2, **_DEFAULTS, **self.options}

    def pool_arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of redis-py's connection pools, all but the class of an ``ssl`` connection."""
        arguments = self.client_arguments()
        if arguments.pop("ssl", False):
            return arguments
        return {name: value for name, value in arguments.items() if not name.startswith("ssl_")}

    def without_secrets(self, text: str) -> str:
        """Returns a text with the password blotted out."""
        password = self.options.get("password")
        return text.replace(password, "***") if password else text


def parse_connection_string(text: str) -> RedisAddress:
    """Returns the address that a connection string writes down.

    Raises:
        ValueError: it is no such string; the message never repeats an option's value.
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    hosts = [piece for piece in pieces if "=" not in piece]
    if len(hosts) != 1:
        raise ValueError(
            f"connection_string should name one host:port, not {len(hosts)}; redis_type 'redis' is one server."
        )
    host, colon, port_text = hosts[0].rpartition(":")
    if not colon:
        host, port_text = hosts[0], "6379"
    if not host or not port_text.isdecimal() or not 0 < int(port_text) < 65536:
        raise ValueError("connection_string should begin with host:port, such as localhost:6379.")
    options: dict[str, Any] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if not equals:
            continue
        if name not in _OPTIONS:
            raise ValueError(f"connection_string has no option {name!r}. {suggest(name, _OPTIONS)}")
        try:
            options[name] = _OPTIONS[name](value)
        except ValueError:
            raise ValueError(f"connection_string's option {name!r} has a value that cannot be read.") from None
    return RedisAddress(host.strip("[]"), int(port_text), options)
