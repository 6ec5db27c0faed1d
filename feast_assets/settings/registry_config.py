"""Feast's class of the settings of a registry, which `RepoConfig` takes as it takes a mapping."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class RegistryConfig(BaseModel):
    """The section ``registry`` of a configuration, as Feast's code writes it.

    What is given is handed on to the registry's own settings, which check it; what is left out has their defaults.

    Attributes:
        registry_type: such as ``"sql"`` or ``"file"``.
        path: a file or a URL; not shown, as it may hold a password.
    """

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    registry_type: str = "file"
    registry_store_type: str | None = None
    path: str = Field("", repr=False)
    cache_ttl_seconds: int = 600
    cache_mode: str = "sync"
    s3_additional_kwargs: dict[str, str] | None = Field(None, repr=False)
    purge_feast_metadata: bool = False
    enable_online_feature_view_versioning: bool = False
    serve_features_while_materializing: bool = False
    mcp: Any = None

    def given(self) -> dict[str, Any]:
        """Returns what was given, by name."""
        return self.model_dump(exclude_unset=True)
