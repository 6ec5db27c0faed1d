"""URLs of servers, read strictly: a URL that could be read in two ways might show a part of its password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

MASK = "***"
"""What is shown instead of a secret."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<username>[^:/?#@\x00-\x1f]*)(?P<colon>:(?P<password>[^/?#@\x00-\x1f]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#@\x00-\x1f]*)?"
    r"(?:\?(?P<query>[^#@\x00-\x1f]*))?"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_DATABASES = re.compile(r"(postgres|mysql|mariadb|sqlite|redis|mssql|oracle|snowflake)", re.IGNORECASE)
# A login before a host, and a list of settings as Postgres' own tools take it.
_LOGIN = re.compile(r":.*@|password\s*=", re.IGNORECASE | re.DOTALL)

# Options whose values say how to connect, but prove nothing. Any other value is masked: its name may be misspelt.
_SHOWN_OPTIONS = frozenset(
    (
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "db",
        "dbname",
        "gssencmode",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "max_connections",
        "port",
        "socket_connect_timeout",
        "socket_timeout",
        "ssl",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_keyfile",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
    )
)


@dataclass(frozen=True)
class ServerUrl:
    """The parts of ``scheme://user:password@host:port/path?option=value``.

    Attributes:
        scheme: in lower case.
        username: with percent escapes replaced; None where there is no ``@``.
        password: with percent escapes replaced; None where there is none. Not in the repr.
        host: without the brackets of an IPv6 address; may be empty.
        port: None where it is left out.
        path: as written, with its leading slash; may be empty.
        options: names and values of the query, with escapes replaced, in their order. Not in the repr.
    """

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    host: str
    port: int | None
    path: str
    options: tuple[tuple[str, str], ...] = field(repr=False)
    _shown: str = field(repr=False)
    _raw_password: str = field(repr=False)

    def __str__(self) -> str:
        """The URL without its secrets."""
        return self._shown

    def secrets(self) -> Iterator[str]:
        """Yields the texts that must not be shown, as written and with escapes replaced."""
        if self.password:
            yield self.password
            yield self._raw_password
        for name, value in self.options:
            if value and not _is_shown(name):
                yield value


def parse_server_url(text: str) -> ServerUrl | None:
    """Returns the parts of a URL; None if the text is not a URL, or can be read in more than one way.

    In user and password the characters ``/ ? # @``, and ``:`` in the user, must be written as percent escapes.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return None
    username, password, port = match["username"], match["password"], match["port"]
    if port is not None and not 0 < int(port) < 65536:
        return None
    options = tuple(parse_qsl(match["query"] or "", keep_blank_values=True))
    login = "" if username is None else f"{username}{':' + MASK if match['colon'] else ''}@"
    at = f"{match['host']}{':' + port if port else ''}"
    query = "&".join(f"{name}={value if _is_shown(name) else MASK}" for name, value in options)
    return ServerUrl(
        scheme=match["scheme"].lower(),
        username=None if username is None else unquote(username),
        password=None if password is None else unquote(password),
        host=match["host"].strip("[]"),
        port=None if port is None else int(port),
        path=match["path"] or "",
        options=options,
        _shown=f"{match['scheme']}://{login}{at}{match['path'] or ''}{'?' + query if query else ''}",
        _raw_password=password or "",
    )


def is_plain_path(text: str) -> bool:
    """Says whether a text is certain to name a file, and not a URL or a login, which may hold a password."""
    if "://" in text or _LOGIN.search(text):
        return False
    match = _SCHEME.match(text)
    return not (match and _DATABASES.match(match[1]))


def masked_url(text: str) -> str:
    """Returns a URL without its secrets; all but the scheme is masked where it cannot be parsed unambiguously."""
    url = parse_server_url(text)
    if url is not None:
        return str(url)
    scheme = _SCHEME.match(text)
    return f"{scheme[1]}://{MASK}" if scheme and "://" in text[: scheme.end() + 2] else MASK


def _is_shown(option: str) -> bool:
    return option in _SHOWN_OPTIONS
