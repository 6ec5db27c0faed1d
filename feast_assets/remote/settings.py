"""Settings that all clients of our servers have."""

from __future__ import annotations

import os
from functools import cached_property
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator, model_validator

from feast_assets.remote.address import HttpAddress, parse_http_address
from feast_assets.settings.model import PlainPath, Settings


class ClientSettings(Settings):
    """Settings of a client of any server.

    Attributes:
        cert: a PEM file with the certificates to trust; those of the system when left out. Only with TLS.
        client_cert, client_key: PEM files, both or none, by which the client says who it is. Only with TLS.
        connection_retries: how often a request is sent again that may safely be repeated, after the connection failed
            or the server said that it is too busy.
        timeout_seconds: by which a request is answered, retries included.
    """

    cert: PlainPath = ""
    client_cert: PlainPath = ""
    client_key: PlainPath = ""
    connection_retries: int = Field(default=3, ge=0)
    timeout_seconds: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _usable_certificates(self) -> ClientSettings:
        if bool(self.client_cert) != bool(self.client_key):
            raise ValueError("client_cert and client_key belong together; give both or none")
        for name in ("cert", "client_cert", "client_key"):
            if file := getattr(self, name):
                if not self.has_tls:
                    raise ValueError(f"{name} is only for a server with TLS: {self.tls_remedy}")
                if not os.path.isfile(file):
                    raise ValueError(f"{name} names no file: {file}")
        return self

    tls_remedy: ClassVar[str] = "a path that begins with https://"

    @property
    def has_tls(self) -> bool:
        """Whether the server speaks TLS."""
        raise NotImplementedError


class HttpClientSettings(ClientSettings):
    """Settings of a client of an HTTP server; a section of ``feature_store.yaml`` derives from it.

    Attributes:
        path: where the server is: ``http://host:port`` or ``https://host:port``, and a path if a proxy serves it under
            one. It holds no login.
        connection_pool_size: connections that are open at most; further calls wait for one.
        connection_idle_timeout: seconds after which an idle connection is not used again.
        connect_timeout_seconds: by which a connection must be there.
        max_answer_bytes: the largest answer that is taken.
    """

    path: str
    connection_pool_size: int = Field(default=50, gt=0)
    connection_idle_timeout: float = Field(default=300, gt=0)
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    max_answer_bytes: int = Field(default=256 * 2**20, gt=0)

    @field_validator("path", mode="before")
    @classmethod
    def _an_address(cls, value: object) -> object:
        # What looks like a login comes as a secret, so that no error shows it.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            parse_http_address(text)
        return text

    @cached_property
    def address(self) -> HttpAddress:
        """Where the server is."""
        return parse_http_address(self.path)

    @property
    def has_tls(self) -> bool:
        return self.address.is_tls
