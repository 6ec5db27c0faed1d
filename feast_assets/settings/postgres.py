"""Where a Postgres server is and how to log in: Feast's keys of ``type: postgres``, or a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import unquote

from pydantic import Field, SecretStr, model_validator

from feast_assets.settings.model import PlainPath, SecretUrl, Settings
from feast_assets.settings.server_url import ServerUrl, parse_server_url

POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2")
POSTGRES_URL_RULES = (
    "a Postgres URL is postgresql://user:password@host:5432/database, with a number as port; in user and password "
    "write / as %2F, @ as %40, : as %3A, # as %23 and ? as %3F"
)

_CONNECT_SECONDS = 10
# What a URL says by itself. Given beside it, one of the two would be ignored.
_IN_URL = ("host", "port", "database", "user", "password", "sslmode", "sslkey_path", "sslcert_path", "sslrootcert_path")

_Name = Annotated[str, Field(min_length=1)]


class PostgresSettings(Settings):
    """A Postgres server, by ``host``, ``database`` and so on, or by ``connection_string``.

    Attributes:
        connection_string: ``postgresql://user:password@host:5432/database?option=value``, with libpq's options. Instead
            of the keys ``host`` to ``sslrootcert_path``.
        host: a host name, an address, or the directory of a Unix socket.
        database: its name.
        db_schema: the schema that holds the tables.
        user, password: None for what libpq finds: PGUSER and PGPASSWORD, the file .pgpass, or the system's user.
        sslmode: as in Feast ``require``, unless there is a URL; None for libpq's default, ``prefer``.
        sslkey_path, sslcert_path, sslrootcert_path: files of a client's key and certificate, and of the authority.
        keepalives_idle: seconds without traffic before the system asks whether the server is still there.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {"min_conn": 1}

    connection_string: SecretUrl | None = None
    host: _Name | None = None
    port: int = Field(default=5432, gt=0, lt=65536)
    database: _Name | None = None
    db_schema: _Name = "public"
    user: _Name | None = None
    password: SecretStr | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = "require"
    sslkey_path: PlainPath | None = None
    sslcert_path: PlainPath | None = None
    sslrootcert_path: PlainPath | None = None
    keepalives_idle: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_server(self) -> Self:
        if self.connection_string is None:
            if missing := [name for name in ("host", "database") if getattr(self, name) is None]:
                raise ValueError(f"lacks {' and '.join(missing)}; or give a URL as connection_string")
            return self
        if doubled := [name for name in _IN_URL if name in self.model_fields_set]:
            raise ValueError(
                f"has {', '.join(doubled)} as well as connection_string, which has the same; give only one of them"
            )
        text = self.connection_string.get_secret_value()
        url = parse_server_url(text)
        if url is None:
            raise ValueError(
                "connection_string cannot be parsed unambiguously; it is not shown, as it may contain a password: "
                f"{POSTGRES_URL_RULES}"
            )
        if url.scheme not in POSTGRES_SCHEMES or not url.path.strip("/"):
            raise ValueError(f"connection_string: {POSTGRES_URL_RULES}")
        return self

    @property
    def display_name(self) -> str:
        """The server and its database, without a login."""
        parameters = self.connection_parameters()
        host, port = parameters.get("host", "localhost"), parameters.get("port", 5432)
        return f"{host}:{port}/{parameters['dbname']}"

    def connection_parameters(self) -> dict[str, Any]:
        """Returns libpq's parameters by their names, the password among them."""
        url = self._url()
        if url is None:
            parameters = {
                "host": self.host,
                "port": self.port,
                "dbname": self.database,
                "user": self.user,
                "password": self.password and self.password.get_secret_value(),
                "sslmode": self.sslmode,
                "sslkey": self.sslkey_path,
                "sslcert": self.sslcert_path,
                "sslrootcert": self.sslrootcert_path,
            }
        else:
            parameters = {
                "host": url.host or None,
                "port": url.port,
                "dbname": unquote(url.path.removeprefix("/")),
                "user": url.username or None,
                "password": url.password or None,
                **dict(url.options),
            }
        given = {name: value for name, value in parameters.items() if value is not None}
        if self.keepalives_idle is not None:
            given.setdefault("keepalives_idle", self.keepalives_idle)
        given.setdefault("connect_timeout", _CONNECT_SECONDS)
        given.setdefault("application_name", "feast-assets")
        return given

    def secrets(self) -> list[str]:
        """Returns the texts that messages must not show."""
        url = self._url()
        if url is not None:
            return list(url.secrets())
        return [self.password.get_secret_value()] if self.password else []

    def _url(self) -> ServerUrl | None:
        return None if self.connection_string is None else parse_server_url(self.connection_string.get_secret_value())
