"""Settings of the remote registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from feast_assets.remote.settings import HttpClientSettings


class RemoteRegistryConfig(HttpClientSettings):
    """The ``registry`` section of ``feature_store.yaml`` for a registry that a server has.

    Attributes:
        path: the address of the registry server; as in Feast it may be ``host:port`` alone.
        is_tls: of an address that is ``host:port`` alone: whether the server speaks TLS.
        timeout_seconds: longer than other clients', as some changes are large.
        cache_ttl_seconds, cache_mode, enable_online_feature_view_versioning: as in
            `feast_assets.registry.sql.config.SqlRegistryConfig`.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "registry_store_type": None,
        "authority": None,
        "s3_additional_kwargs": None,
        "purge_feast_metadata": False,
        "serve_features_while_materializing": False,
        "mcp": None,
    }

    registry_type: Literal["remote"] = "remote"
    path: str = "http://localhost:6572"
    is_tls: bool = False
    timeout_seconds: float = Field(default=60.0, gt=0)
    max_answer_bytes: int = Field(default=2**30, gt=0)
    cache_ttl_seconds: int = Field(default=600, ge=0)
    cache_mode: Literal["sync", "thread"] = "thread"
    enable_online_feature_view_versioning: bool = False

    @model_validator(mode="before")
    @classmethod
    def _with_scheme(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "path" in values:
            path = values["path"]
            text = path.get_secret_value() if isinstance(path, SecretStr) else path
            if isinstance(text, str) and "://" not in text and "@" not in text:
                return {**values, "path": f"{'https' if values.get('is_tls') is True else 'http'}://{text}"}
        return values
