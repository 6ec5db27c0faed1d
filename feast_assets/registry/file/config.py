"""The ``registry`` section of ``feature_store.yaml`` for a registry of files: on local disk, S3, GCS or Azure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_serializer, field_validator

from feast_assets.registry.file.urls import SCHEMES, scheme_of
from feast_assets.settings.model import Settings
from feast_assets.settings.redaction import HIDDEN
from feast_assets.settings.server_url import parse_server_url


class FileRegistryConfig(Settings):
    """Where the registry is, and how to log in.

    Attributes:
        registry_type: "file".
        path: ``s3://bucket/path``, ``gs://bucket/path``, ``az://container/path`` or
            ``abfss://container@account.dfs.core.windows.net/path``; or ``file:///path``, and ``file://path`` relative
            to the repository, for a folder on local disk or a network disk. It names a folder, whatever its ending.
        cache_ttl_seconds: how long a reader may use what it has read; 0: until `refresh_registry`.
        cache_mode: "sync": the request that finds the cache too old waits for the new one; "thread": it is read in the
            background.
        enable_online_feature_view_versioning: whether each version of a view has an online table of its own, so that
            ``view@v1:feature`` can be read.
        s3_additional_kwargs: what S3 gets with each object that is written, such as ``ServerSideEncryption``.
        storage_options: what the fsspec file system gets (s3fs, gcsfs or adlfs), such as ``endpoint_url`` or
            ``connection_string``. Left out, each finds its login in its usual place. Its values are not shown.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "registry_store_type": None,
        "read_path": None,
        "sqlalchemy_config_kwargs": {"echo": False},
        "thread_pool_executor_worker_count": 0,
        "schema_mode": "auto",
        "purge_feast_metadata": False,
        "serve_features_while_materializing": False,
        "mcp": None,
    }

    registry_type: Literal["file"] = "file"
    path: str
    cache_ttl_seconds: int = Field(default=600, ge=0)
    cache_mode: Literal["sync", "thread"] = "thread"
    enable_online_feature_view_versioning: bool = False
    s3_additional_kwargs: dict[str, str] | None = None
    storage_options: dict[str, object] = Field(default_factory=dict, repr=False)

    @classmethod
    def _concealed(cls, name: object, value: object) -> object:
        # They are checked by the file system, and an error of a misspelt one would show its value.
        return value if name == "storage_options" else super()._concealed(name, value)

    @field_validator("path", mode="before")
    @classmethod
    def _known_url(cls, value: object) -> str:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        scheme = scheme_of(text)
        if scheme is None or not isinstance(text, str):
            raise ValueError(f"must begin with one of {', '.join(f'{known}://' for known in sorted(SCHEMES))}")
        rest = text.partition("://")[2]
        url = parse_server_url(text)
        if any(mark in rest for mark in "?#") or (url is not None and url.password is not None):
            raise ValueError("must hold no login, query or fragment, and is not shown; logins are storage_options")
        folders = [part for part in rest.split("/") if part]
        if scheme != "file" and len(folders) < 2:
            raise ValueError("must name a bucket and a path in it, such as s3://bucket/registry.db")
        if not folders or ".." in folders:
            raise ValueError("must name a folder, such as file:///srv/registry, without '..'")
        return text.rstrip("/")

    @field_validator("s3_additional_kwargs")
    @classmethod
    def _for_s3(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        return value or None

    @field_serializer("storage_options")
    def _without_secrets(self, value: Mapping[str, object]) -> dict[str, object]:
        return dict.fromkeys(value, HIDDEN)

    @property
    def is_local(self) -> bool:
        """Whether the registry is a folder of the file system."""
        return scheme_of(self.path) == "file"

    def folder(self, root: Path) -> Path:
        """Returns the folder; only where `is_local`."""
        return Path(root) / self.path.partition("://")[2]
