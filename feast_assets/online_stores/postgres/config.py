"""The ``online_store`` section of ``feature_store.yaml`` for Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from feast_assets.settings.postgres import PostgresSettings


class PostgresOnlineStoreConfig(PostgresSettings):
    """Which server, database and schema hold the rows; see `PostgresSettings`.

    Attributes:
        conn_type: ``singleton`` is a pool of one connection.
        max_conn: the most connections that a process has to the server. They are opened when they are needed.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        **PostgresSettings.feast_keys,
        "vector_enabled": False,
        "similarity": "cosine",
        "enable_openai_compatible_store": False,
        "max_batched_result_rows": 2048,
    }

    type: Literal["postgres"] = "postgres"
    conn_type: Literal["singleton", "pool"] = "pool"
    max_conn: int = Field(default=10, gt=0)

    @property
    def most_connections(self) -> int:
        """How many connections a process may have to the server at once."""
        return 1 if self.conn_type == "singleton" else self.max_conn
