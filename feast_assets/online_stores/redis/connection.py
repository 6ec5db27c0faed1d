"""Two ways to write down a Redis server: Feast's ``host:port,option=value,...``, and a ``redis://`` URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from feast_assets.errors import suggest
from feast_assets.settings.redaction import clean_error, shown_if_near, without_secrets
from feast_assets.settings.server_url import parse_server_url


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


_OPTIONS: dict[str, Callable[[str], object]] = {
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
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://")
_PLAIN_FORM = "connection_string should begin with host:port, such as localhost:6379"
_URL_FORM = (
    "connection_string cannot be parsed unambiguously; it is not shown, as it may contain a password; a URL is "
    "redis://user:password@host:6379/0, and rediss:// for TLS; in user and password write / as %2F, @ as %40, "
    ": as %3A, # as %23 and ? as %3F."
)

_DEFAULTS: dict[str, object] = {"socket_timeout": 10.0, "socket_connect_timeout": 5.0, "max_connections": 64}


@dataclass(frozen=True)
class RedisAddress:
    """Where a server is and how to connect.

    Attributes:
        host: name or address.
        port: TCP port.
        options: the client's further arguments but the password.
        password: None where there is none.
    """

    host: str
    port: int
    options: Mapping[str, Any] = field(repr=False)
    password: SecretStr | None = None

    @property
    def host_port(self) -> str:
        """``host:port``, which messages may show."""
        return f"{self.host}:{self.port}"

    @property
    def ssl(self) -> bool:
        """Whether to connect by TLS."""
        return bool(self.options.get("ssl", False))

    def client_arguments(self) -> dict[str, object]:
        """Returns the keyword arguments of redis-py's clients, the password too."""
        login = {} if self.password is None else {"password": self.password.get_secret_value()}
        return {"host": self.host, "port": self.port, "protocol": 2, **_DEFAULTS, **self.options, **login}

    def pool_arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of redis-py's connection pools, all but the class of an ``ssl`` connection."""
        arguments = self.client_arguments()
        if arguments.pop("ssl", False):
            return arguments
        return {name: value for name, value in arguments.items() if not name.startswith("ssl_")}

    def cleaned(self, error: BaseException) -> str:
        """Returns an error's text without the password, which goes from the error and its causes too."""
        # A URL's user without a password is often meant to be the password.
        secrets = [self.options.get("username", "")] if self.password is None else [self.password.get_secret_value()]
        clean_error(error, secrets)
        return without_secrets(str(error), secrets)


def parse_connection_string(text: str) -> RedisAddress:
    """Returns the address that a connection string writes down.

    Args:
        text: ``host:port,option=value,...``, or ``redis://user:password@host:port/db?option=value&...``; with
            ``rediss://`` by TLS.

    Raises:
        ValueError: the string has another form; the message never repeats a value.
    """
    scheme = _SCHEME.match(text)
    return _of_plain_form(text) if scheme is None else _of_url(text.strip(), scheme[1].lower())


def _of_plain_form(text: str) -> RedisAddress:
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    hosts = [piece for piece in pieces if "=" not in piece]
    if len(hosts) != 1:
        raise ValueError(
            f"connection_string should name one host:port, not {len(hosts)}; redis_type 'redis' is one server."
        )
    host, colon, port_text = hosts[0].rpartition(":")
    if not colon:
        host, port_text = hosts[0], "6379"
    if not _HOST.fullmatch(host) or not port_text.isdecimal() or not 0 < int(port_text) < 65536:
        raise ValueError(f"{_PLAIN_FORM}, or be a URL such as redis://localhost:6379.")
    options: dict[str, object] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals:
            options[name] = _option(name, value)
    return _address(host, int(port_text), options)


def _of_url(text: str, scheme: str) -> RedisAddress:
    if scheme == "unix":
        raise ValueError("connection_string: unix:// is not supported; give the server a port, and name host:port.")
    if scheme not in ("redis", "rediss"):
        raise ValueError(f"{_PLAIN_FORM}, or be a URL that begins with redis:// or rediss://.")
    url = parse_server_url(text)
    database = "" if url is None else url.path.strip("/")
    if url is None or not url.host or not re.fullmatch(r"[0-9]{0,9}", database):
        raise ValueError(_URL_FORM)
    given: list[tuple[str, str | None]] = [
        ("username", url.username or None),
        ("password", url.password or None),
        ("db", database or None),
        ("ssl", "true" if scheme == "rediss" else None),
        *url.options,
    ]
    options: dict[str, object] = {}
    for name, value in given:
        if value is None:
            continue
        if name in options:
            raise ValueError(f"connection_string gives {name} twice.")
        options[name] = _option(name, value)
    return _address(url.host, url.port or 6379, options)


def _option(name: str, value: str) -> object:
    if name not in _OPTIONS:
        # It may be a part of a password that holds a comma.
        shown = shown_if_near(name, _OPTIONS) or " of that name"
        raise ValueError(f"connection_string has no option{shown}. {suggest(name, _OPTIONS)}")
    try:
        return _OPTIONS[name](value)
    except ValueError:
        problem = f"connection_string's option {name!r} has a value that cannot be read."
    raise ValueError(problem)


def _address(host: str, port: int, options: dict[str, Any]) -> RedisAddress:
    password = options.pop("password", None)
    return RedisAddress(host.strip("[]"), port, options, None if password is None else SecretStr(password))
