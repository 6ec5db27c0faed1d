"""Settings of the SQLite online store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from feast_assets.settings.model import PlainPath, Settings


class SqliteOnlineStoreConfig(Settings):
    """The ``online_store`` section of ``feature_store.yaml`` for SQLite.

    Attributes:
        path: the database file, relative to the repository.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "text_search_enabled": False,
        "enable_openai_compatible_store": False,
        "vector_enabled": False,
        "similarity": "cosine",
    }

    type: Literal["sqlite"] = "sqlite"
    path: PlainPath = "data/online.db"
