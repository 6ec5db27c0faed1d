"""Settings that all clients of an HTTP server have, and the headers that say who the client is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from feast_assets.remote.address import HttpAddress, parse_http_address
from feast_assets.settings.model import PlainPath, Settings

HeadersSource = Callable[[], Mapping[str, str]]
"""Returns the headers that say who asks, such as ``Authorization``. It is called for each request, as tokens expire."""

HEADERS_IN_CONTEXT = "request_headers"
"""The key of the validation context under which settings are given a `HeadersSource`."""


class HttpClientSettings(Settings):
    """Settings of a client of an HTTP server; a section of ``feature_store.yaml`` derives from it.

    Attributes:
        path: where the server is: ``http://host:port`` or ``https://host:port``, and a path if a proxy serves it under
            one. It holds no login.
        cert: a PEM file with the certificates to trust; those of the system when left out. Only with ``https``.
        connection_pool_size: connections that are open at most; further calls wait for one.
        connection_idle_timeout: seconds after which an idle connection is not used again.
        connection_retries: how often a request is sent again that may safely be repeated, after the connection failed
            or the server said that it is too busy.
        connect_timeout_seconds: by which a connection must be there.
        timeout_seconds: by which a request is answered, retries included.
        max_answer_bytes: the largest answer that is taken.
    """

    path: str
    cert: PlainPath = ""
    connection_pool_size: int = Field(default=50, gt=0)
    connection_idle_timeout: float = Field(default=300, gt=0)
    connection_retries: int = Field(default=3, ge=0)
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    timeout_seconds: float = Field(default=30.0, gt=0)
    max_answer_bytes: int = Field(default=256 * 2**20, gt=0)

    # None: the client does not say who it is.
    _headers: HeadersSource | None = PrivateAttr(default=None)

    @field_validator("path", mode="before")
    @classmethod
    def _an_address(cls, value: object) -> object:
        # What looks like a login comes as a secret, so that no error shows it.
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str):
            parse_http_address(text)
        return text

    @model_validator(mode="after")
    def _usable_certificates(self) -> HttpClientSettings:
        if self.cert:
            if not self.address.is_tls:
                raise ValueError("cert is only for a path that begins with https://")
            if not os.path.isfile(self.cert):
                raise ValueError(f"cert names no file: {self.cert}")
        return self

    def model_post_init(self, context: object, /) -> None:
        if isinstance(context, Mapping) and HEADERS_IN_CONTEXT in context:
            self._headers = context[HEADERS_IN_CONTEXT]

    @cached_property
    def address(self) -> HttpAddress:
        """Where the server is."""
        return parse_http_address(self.path)

    def request_headers(self) -> Mapping[str, str]:
        """Returns the headers that say who asks; every request of a client has them."""
        return {} if self._headers is None else self._headers()
