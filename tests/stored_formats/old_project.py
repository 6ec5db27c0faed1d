"""A project as an earlier version of this package left it, made of the files that the version wrote."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from feast_assets import FeatureStore

FOLDER = Path(__file__).parent / "written_by_7f766e3"
ENTITIES = [{"driver_id": i} for i in range(6)]
SERVED: dict[str, list[Any]] = json.loads((FOLDER / "served.json").read_text(encoding="utf-8"))
"""What that version served, by name of the feature."""
FEATURES = [f"trips:{name}" for name in ("fare", "count", "city", "paid", "tags", "seen")] + [
    "daily:total",
    "rating:stars",
]


def unpack(root: Path, online: str, registry: str) -> None:
    """Makes the project's files in an empty folder.

    Args:
        online: the section of the online store, in YAML.
        registry: the dump of the registry.
    """
    shutil.copytree(FOLDER / "data", root / "data")
    shutil.copy(FOLDER / "repository.py", root)
    restore(FOLDER / registry, root / "registry.db")
    settings = f"project: shop\nregistry: {{path: registry.db, cache_ttl_seconds: 0}}\nonline_store: {online}\n"
    (root / "feature_store.yaml").write_text(settings, encoding="utf-8")


def in_sqlite(root: Path) -> FeatureStore:
    """Returns the project whose online store is a SQLite file."""
    unpack(root, "{type: sqlite, path: online.db}", "registry.sql")
    restore(FOLDER / "online.sql", root / "online.db")
    return FeatureStore(root)


def in_redis(root: Path, client: redis.Redis, address: str) -> FeatureStore:
    """Returns the project whose online store is a Redis server, which must be empty."""
    unpack(root, f'{{type: redis, connection_string: "{address}"}}', "registry_of_redis.sql")
    for key, value in json.loads((FOLDER / "redis.json").read_text(encoding="utf-8")).items():
        client.set(base64.b64decode(key), base64.b64decode(value))
    return FeatureStore(root)


def restore(dump: Path, database: Path) -> None:
    """Makes a SQLite database of the statements that it was dumped as."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))


def served(store: FeatureStore) -> dict[str, list[Any]]:
    """Returns what the online store serves, as `SERVED` has it."""
    values = store.get_online_features(features=FEATURES, entity_rows=ENTITIES).to_dict()
    return {n: [v.isoformat() if isinstance(v, datetime) else v for v in column] for n, column in values.items()}
