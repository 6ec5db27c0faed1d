"""Settings of the remote offline store."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from feast_assets.remote.settings import ClientSettings


class RemoteOfflineStoreConfig(ClientSettings):
    """The ``offline_store`` section of ``feature_store.yaml`` for a store that an offline server has.

    Attributes:
        scheme: ``https`` for a server with TLS.
        host, port: where the server is.
        timeout_seconds: by which a call must end, reading its result included.
    """

    tls_remedy: ClassVar[str] = "scheme: https"

    type: Literal["remote"] = "remote"
    scheme: Literal["http", "https"] = "http"
    host: str
    port: int = Field(default=8815, ge=1, le=65535)
    timeout_seconds: float = Field(default=3600.0, gt=0)

    @field_validator("host")
    @classmethod
    def _a_host(cls, value: str) -> str:
        if not value or any(mark in value for mark in "/@? \r\n") or value.count(":") == 1:
            raise ValueError("must be the name or the address of a machine, without scheme, port and login")
        return value

    @property
    def has_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def location(self) -> str:
        """Where the server is, as Flight says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'grpc+tls' if self.has_tls else 'grpc+tcp'}://{host}:{self.port}"
