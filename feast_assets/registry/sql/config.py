"""The ``registry`` section of ``feature_store.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import SecretStr, field_serializer, field_validator, model_validator

from feast_assets.registry.file.urls import SCHEMES
from feast_assets.settings.model import SecretUrl, Settings
from feast_assets.settings.postgres import POSTGRES_SCHEMES
from feast_assets.settings.server_url import ServerUrl, is_plain_path, parse_server_url

_SCHEME = re.compile(r"^([A-Za-z][\w+.-]+):(//)?")  # one letter is a Windows drive
_MYSQL = ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql")
_SERVER_URL = (
    "the URL of a server is postgresql://user:password@host:5432/database or "
    "mysql+pymysql://user:password@host:3306/database, with a number as port; in user and password write / as %2F, "
    "@ as %40, : as %3A, # as %23 and ? as %3F"
)
# Settings of a Postgres registry of Feast's old plug-in.
_OF_OLD_PLUG_IN = frozenset(("host", "port", "database", "db_schema", "user", "password"))


class SqlRegistryConfig(Settings):
    """Where the registry is.

    Attributes:
        registry_type: "sql", or Feast's "file": with a plain path both mean a SQLite file. In object stores "file" is
            `feast_assets.registry.file`.
        path: a file, relative to the repository, or a URL: ``sqlite:///file.db``,
            ``postgresql://user:password@host/database`` or ``mysql+pymysql://user:password@host/database``, which may
            be a MariaDB server too. The URL of a server is kept as a `SecretUrl`.
        cache_ttl_seconds: how long a reader may use what it has read; 0: until `refresh_registry`.
        cache_mode: "sync": the request that finds the cache too old waits for the new one; "thread": it is read in the
            background.
        enable_online_feature_view_versioning: whether each version of a view has an online table of its own, so that
            ``view@v1:feature`` can be read.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "registry_store_type": None,
        "read_path": None,
        "sqlalchemy_config_kwargs": {"echo": False},
        "thread_pool_executor_worker_count": 0,
        "schema_mode": "auto",
        "s3_additional_kwargs": None,
        "purge_feast_metadata": False,
        "serve_features_while_materializing": False,
        "mcp": None,
    }

    registry_type: Literal["sql", "file"] = "sql"
    path: str | SecretUrl
    cache_ttl_seconds: int = 600
    cache_mode: Literal["sync", "thread"] = "thread"
    enable_online_feature_view_versioning: bool = False

    @model_validator(mode="before")
    @classmethod
    def _not_of_an_old_plug_in(cls, values: object) -> Any:
        if isinstance(values, Mapping) and "host" in values and not _OF_OLD_PLUG_IN.isdisjoint(values):
            raise ValueError(
                "host, port, database, user and password are settings of an old plug-in of Feast's; write them as "
                "path: postgresql://user:password@host:port/database"
            )
        return values

    @field_validator("cache_ttl_seconds")
    @classmethod
    def _not_negative(cls, value: int) -> int:
        if value < 0:
            raise ValueError("must be 0 or more seconds")
        return value

    @classmethod
    def _concealed(cls, name: object, value: object) -> Any:
        if name == "path" and isinstance(value, SecretStr):
            value = value.get_secret_value()
        if name == "path" and isinstance(value, str):
            # What is not certain to be a file may hold a password, also where it is refused.
            return value if _is_file(value) else SecretUrl(value)
        return super()._concealed(name, value)

    @field_validator("path")
    @classmethod
    def _known_kind(cls, value: str | SecretUrl) -> str | SecretUrl:
        if isinstance(value, SecretUrl):
            _check_url(value.get_secret_value())
        elif not value.strip():
            raise ValueError("must name a file or a database URL")
        elif value == ":memory:" or (_scheme(value) and value.removeprefix("sqlite:///") in (value, "", ":memory:")):
            raise ValueError(
                "a SQLite URL is sqlite:///path/to/file.db (a database in memory would be gone with the process)"
            )
        return value

    @field_serializer("path")
    def _without_password(self, value: str | SecretUrl) -> str:
        return str(value)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, str(value) if name == "path" else value

    @property
    def is_file(self) -> bool:
        """Whether the registry is a SQLite file."""
        return not isinstance(self.path, SecretUrl)

    @property
    def display_path(self) -> str:
        """The path without its password."""
        return str(self.path)

    @property
    def is_mysql(self) -> bool:
        """Whether the registry is on a MySQL or MariaDB server."""
        return not self.is_file and _scheme(self._url()) in _MYSQL

    def server_url(self) -> str:
        """Returns the database URL for SQLAlchemy, password and all; only where not `is_file`."""
        driver = "mysql+pymysql" if self.is_mysql else "postgresql+psycopg"
        return f"{driver}:{self._url().partition(':')[2]}"

    def secrets(self) -> list[str]:
        """Returns the texts that messages must not show."""
        url = parse_server_url(self._url())
        return [] if url is None else list(url.secrets())

    def file(self, root: Path) -> Path:
        """Returns the SQLite file; only where `is_file`."""
        return Path(root) / str(self.path).removeprefix("sqlite:///")

    def _url(self) -> str:
        return self.path.get_secret_value() if isinstance(self.path, SecretUrl) else ""


def _is_file(path: str) -> bool:
    """Says whether a path is certain to name a file, or a SQLite one by its URL."""
    return is_plain_path(path) or _scheme(path) == "sqlite"


def _check_url(url: str) -> None:
    """Refuses what is not a URL of Postgres or MySQL; the message has no part of it.

    Raises:
        ValueError: it is none.
    """
    scheme = _scheme(url)
    if scheme in SCHEMES:
        raise ValueError(f"registries at {scheme}:// are of registry_type: file")
    if scheme is not None and scheme not in (*POSTGRES_SCHEMES, *_MYSQL):
        raise ValueError(
            f"registries at {scheme}:// are not supported; use a file path, sqlite:///file.db, "
            "postgresql://..., mysql+pymysql://..., s3://..., gs://... or az://..."
        )
    parsed = None if scheme is None else parse_server_url(url)
    if parsed is None:
        raise ValueError(
            f"cannot be parsed unambiguously; it is not shown, as it may contain a password: {_SERVER_URL}"
        )
    if not _names_database(parsed):
        raise ValueError(_SERVER_URL)


def _names_database(url: ServerUrl) -> bool:
    return bool(url.host or url.username is not None or url.path.strip("/") or url.options)


def _scheme(path: str) -> str | None:
    match = _SCHEME.match(path)
    return match[1].lower() if match and match[2] else None
