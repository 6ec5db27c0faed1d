"""Settings of the Postgres offline store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from feast_assets.settings.postgres import PostgresSettings


class PostgresOfflineStoreConfig(PostgresSettings):
    """The ``offline_store`` section of ``feature_store.yaml`` for Postgres; see `PostgresSettings` for the server.

    Tables without a schema are looked for, and made, in ``db_schema``.

    Attributes:
        max_conn: connections that are kept for the next call.
        entity_query_timeout_seconds: how long a query that a caller gives as ``entity_df`` may run.
        entity_query_role: a role that such a query runs as, which the user must be a member of. Left out, the user.
        readable_tables: tables that such a query may read beside those of the project's data sources, as ``table`` or
            ``schema.table``.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        **PostgresSettings.feast_keys,
        "conn_type": "singleton",
        "entity_select_mode": "temp_table",
    }

    type: Literal["postgres"] = "postgres"
    max_conn: int = Field(default=10, gt=0)
    entity_query_timeout_seconds: float = Field(default=300, gt=0)
    entity_query_role: str | None = None
    readable_tables: list[str] = []

    def uri(self) -> str:
        """Returns what libpq connects with, the password included."""
        parameters = self.connection_parameters().items()
        return "postgresql:///?" + "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters)
