"""Settings of the Redis online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from feast_assets.online_stores.redis.connection import RedisAddress, parse_connection_string
from feast_assets.settings.model import Settings


class RedisOnlineStoreConfig(Settings):
    """The ``online_store`` section of ``feature_store.yaml`` for Redis.

    Attributes:
        connection_string: ``host:port`` and options, comma-separated: ``localhost:6379,ssl=true,password=...``; or a
            URL, ``redis://user:password@host:port/db?option=value`` (``rediss://`` by TLS). The options: ``db``,
            ``username``, ``password``, ``ssl``, ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``,
            ``ssl_cert_reqs``, ``socket_timeout`` and ``socket_connect_timeout`` (seconds), ``max_connections``
            (64; further calls wait for one), ``client_name``.
        key_ttl_seconds: how long Redis keeps a row after it was written; None is for ever.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "client": None,
        "sentinel_master": "mymaster",
        "full_scan_for_deletion": True,
        "skip_dedup": False,
    }

    type: Literal["redis"] = "redis"
    redis_type: Literal["redis"] = "redis"
    connection_string: SecretStr = SecretStr("localhost:6379")
    key_ttl_seconds: int | None = Field(default=None, gt=0)

    _address: RedisAddress = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _one_server(cls, values: object) -> object:
        if isinstance(values, Mapping) and (kind := values.get("redis_type")) in ("redis_cluster", "redis_sentinel"):
            raise ValueError(f"redis_type {kind!r} is not supported yet; use 'redis', a single server.")
        return values

    @field_validator("connection_string")
    @classmethod
    def _readable(cls, value: SecretStr) -> SecretStr:
        parse_connection_string(value.get_secret_value())
        return value

    def model_post_init(self, context: object, /) -> None:
        self._address = parse_connection_string(self.connection_string.get_secret_value())

    @property
    def address(self) -> RedisAddress:
        """Where the server is and how to connect."""
        return self._address
