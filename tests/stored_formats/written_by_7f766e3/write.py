"""Writes the files of this folder, run with the version of the package that is to have written them.

Run it in an empty folder with a checkout of that version and an empty Redis server::

    PYTHONPATH=<checkout> python write.py <port of Redis>
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import redis

from feast_assets import FeatureStore
from feast_assets.retrieval.training_set import build_training_set
from feast_assets.user_functions import UserFunctions

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ENTITIES = [{"driver_id": i} for i in range(6)]
FEATURES = ["trips:fare", "trips:count", "trips:city", "trips:paid", "trips:tags", "trips:seen", "daily:total"]
REPOSITORY = Path(__file__).with_name("repository.py").read_text()
CONFIG = "project: shop\nregistry: {{path: registry.db, cache_ttl_seconds: 0}}\nonline_store: {online}\n"


def at(moment: timedelta) -> datetime:
    return FIRST + moment


def write_sources(folder: Path) -> None:
    folder.mkdir(parents=True)
    days = [0, 0, 0, 1, 1, 1, 1, 3, 3]
    drivers = [0, 1, 2, 0, 1, 3, 3, 2, 4]
    trips = {
        "driver_id": pa.array(drivers, pa.int64()),
        "at": pa.array([at(d * DAY + i * timedelta(hours=1)) for i, d in enumerate(days)], pa.timestamp("us", "UTC")),
        "created": pa.array([at((d + 1) * DAY) for d in days], pa.timestamp("us", "UTC")),
        "fare": pa.array([1.5, 2.5, None, 4.25, -0.0, 1e300, 7.0, 8.5, 9.75], pa.float64()),
        "count": pa.array([1, -2, 3, 2**62, None, 6, 7, 8, 9], pa.int64()),
        "city": pa.array(["Bern", "", "Zürich", None, "東京", "Chur", "Basel", "Genf", "Olten"], pa.string()),
        "paid": pa.array([True, False, None, True, True, False, False, True, None], pa.bool_()),
        "tags": pa.array([["a"], [], None, ["b", "c"], ["d"], ["é"], ["x" * 40], ["e", "f"], []], pa.list_(pa.string())),
        "seen": pa.array([at(d * DAY) if d else None for d in days], pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(trips), folder / "trips.parquet")
    pushed = {
        "driver_id": pa.array([0, 1], pa.int64()),
        "at": pa.array([at(timedelta(hours=2)), at(DAY)], pa.timestamp("us", "UTC")),
        "stars": pa.array([3, 4], pa.int64()),
    }
    pq.write_table(pa.table(pushed), folder / "pushed.parquet")


def encoded(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def served(store: FeatureStore) -> dict[str, list[object]]:
    names = [*FEATURES, "rating:stars"]
    values = store.get_online_features(features=names, entity_rows=ENTITIES).to_dict()
    return {name: [encoded(value) for value in column] for name, column in values.items()}


def dump(database: Path, target: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        target.write_text("\n".join(connection.iterdump()) + "\n")
    database.unlink()


def project(root: Path, online: str) -> FeatureStore:
    write_sources(root / "data")
    (root / "repository.py").write_text(REPOSITORY)
    (root / "feature_store.yaml").write_text(CONFIG.format(online=online))
    store = FeatureStore(root)
    store.apply_repository()
    store.materialize(FIRST, at(5 * DAY))
    row = {"driver_id": [5], "at": [at(4 * DAY)], "stars": [5]}
    store.push("live", pa.table({**row, "at": pa.array(row["at"], pa.timestamp("us", "UTC"))}))
    return store


def main(port: str) -> None:
    here = Path.cwd()
    sqlite = here / "sqlite"
    store = project(sqlite, "{type: sqlite, path: online.db}")
    (here / "served.json").write_text(json.dumps(served(store), indent=1, ensure_ascii=False) + "\n")
    functions = UserFunctions(store.repo_path)
    entity_df = pa.table({"driver_id": [0, 1, 3], "event_timestamp": [at(2 * DAY)] * 3})
    made = build_training_set(
        store.snapshot(),
        store.offline_store,
        entity_df,
        FEATURES,
        udf_of=functions.of,
        attach=functions.attach,
    )
    made.write(here / "training_set.parquet")
    store.close()
    dump(sqlite / "registry.db", here / "registry.sql")
    dump(sqlite / "online.db", here / "online.sql")
    for name in ("data", "repository.py"):
        shutil.move(sqlite / name, here / name)

    server = here / "redis"
    store = project(server, f'{{type: redis, connection_string: "127.0.0.1:{port}"}}')
    assert served(store) == json.loads((here / "served.json").read_text())
    store.close()
    dump(server / "registry.db", here / "registry_of_redis.sql")
    client = redis.Redis("127.0.0.1", int(port))
    values = {base64.b64encode(k).decode(): base64.b64encode(client.get(k)).decode() for k in sorted(client.keys())}
    (here / "redis.json").write_text(json.dumps(values, indent=1) + "\n")
    shutil.rmtree(sqlite)
    shutil.rmtree(server)


main(sys.argv[1])
