"""The ``online_store`` section of ``feature_store.yaml`` for Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from feast_assets.settings.postgres import PostgresSettings


class PostgresOnlineStoreConfig(PostgresSettings):
    """Which server, database and schema hold the rows; see `PostgresSettings`."""

    feast_keys: ClassVar[Mapping[str, object]] = {
        **PostgresSettings.feast_keys,
        "vector_enabled": False,
        "similarity": "cosine",
        "enable_openai_compatible_store": False,
        "max_batched_result_rows": 2048,
    }

    type: Literal["postgres"] = "postgres"
