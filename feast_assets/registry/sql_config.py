"""The ``registry`` section of ``feature_store.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, field_serializer, field_validator, model_validator

_SCHEME = re.compile(r"^([A-Za-z][\w+.-]*):(//)?")
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRET = re.compile(r"pass|secret|token", re.IGNORECASE)

# Feast's keys for what is not here, with the value that leaves it off.
_UNSUPPORTED: dict[str, Any] = {
    "registry_store_type": None,
    "read_path": None,
    "sqlalchemy_config_kwargs": {"echo": False},
    "thread_pool_executor_worker_count": 0,
    "schema_mode": "auto",
    "s3_additional_kwargs": None,
    "purge_feast_metadata": False,
    "enable_online_feature_view_versioning": False,
    "serve_features_while_materializing": False,
    "mcp": None,
}


class SqlRegistryConfig(BaseModel):
    """Where the registry is.

    Attributes:
        registry_type: "sql", or Feast's "file": with a plain path both mean a SQLite file.
        path: a file, relative to the repository, or a URL: ``sqlite:///file.db`` or
            ``postgresql://user:password@host/database``.
        cache_ttl_seconds: how long a reader may use what it has read; 0 for until it is told to read again.
        cache_mode: "sync": the request that finds the cache too old waits for the new one; "thread": it is read in the
            background.
    """

    model_config = ConfigDict(extra="forbid")

    registry_type: Literal["sql", "file"] = "sql"
    path: str
    cache_ttl_seconds: int = 600
    cache_mode: Literal["sync", "thread"] = "thread"

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_here(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, off in _UNSUPPORTED.items():
            if name in values and values[name] not in (off, None):
                raise ValueError(f"The sql registry does not support {name!r}; remove it.")
        return {k: v for k, v in values.items() if k not in _UNSUPPORTED}

    @field_validator("cache_ttl_seconds")
    @classmethod
    def _not_negative(cls, value: int) -> int:
        if value < 0:
            raise ValueError("must be 0 or more seconds")
        return value

    @field_validator("path")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        scheme = _scheme(value)
        if not value.strip():
            raise ValueError("must name a file or a database URL")
        if value == ":memory:" or (scheme == "sqlite" and value.removeprefix("sqlite:///") in (value, "", ":memory:")):
            raise ValueError(
                "a SQLite URL is sqlite:///path/to/file.db (a database in memory would be gone with the process)"
            )
        if scheme is not None and scheme not in ("sqlite", *_POSTGRES):
            raise ValueError(
                f"registries at {scheme}:// are not supported; use a file path, sqlite:///file.db or postgresql://..."
            )
        if scheme in _POSTGRES and not urlsplit(value).netloc and not urlsplit(value).path.strip("/"):
            raise ValueError("a Postgres URL is postgresql://user:password@host:port/database")
        return value

    @field_serializer("path")
    def _without_password(self, value: str) -> str:
        return masked(value)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, masked(value) if name == "path" else value

    @property
    def is_file(self) -> bool:
        """Whether the registry is a SQLite file."""
        return _scheme(self.path) in (None, "sqlite")

    @property
    def display_path(self) -> str:
        """The path without its password."""
        return masked(self.path)

    def postgres_url(self) -> str:
        """Returns the database URL for SQLAlchemy; only where not `is_file`."""
        return "postgresql+psycopg:" + self.path.partition(":")[2]

    def file(self, root: Path) -> Path:
        """Returns the SQLite file; only where `is_file`."""
        return Path(root) / self.path.removeprefix("sqlite:///")


def masked(path: str) -> str:
    """Returns a path or URL without passwords."""
    if _scheme(path) is None:
        return path
    try:
        parts = urlsplit(path)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return path.partition(":")[0] + "://***"
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    netloc = f"{user}{':***' if colon else ''}{at}{host}"
    safe = urlencode([(k, "***" if _SECRET.search(k) else v) for k, v in query], safe="*/:")
    return urlunsplit((parts.scheme, netloc, parts.path, safe, "")) if netloc or safe else path


def _scheme(path: str) -> str | None:
    found = _SCHEME.match(path)
    # One letter is a Windows drive.
    return found[1].lower() if found and found[2] and len(found[1]) > 1 else None
