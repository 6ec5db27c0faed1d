"""Run by tests in a process of its own: joins a spine to a folder of files, and says how many bytes that read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import duckdb  # noqa: F401 - so that loading it does not count
import pandas as pd  # noqa: F401
import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import joined
from feast_assets.types import Float64, Int64


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def main() -> None:
    root, folder, spine = sys.argv[1:]
    source = FileSource(path=folder, timestamp_field="at")
    features = (Field(name="a", dtype=Float64), Field(name="b", dtype=Float64))
    history = History("v", (source,), (Field(name="driver", dtype=Int64),), features, "at")
    rows = pq.read_table(Path(root) / spine)
    # What the first query of a process loads does not count either.
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), Path(root))
    joined(store, rows.slice(0, 1), [PointInTimeJoin(_loading(root), {}, {})])
    before = _bytes_read()
    result: pa.Table = joined(store, rows, [PointInTimeJoin(history, {}, {})])
    print(json.dumps({"bytes": _bytes_read() - before, "a": result.column("a").to_pylist()}))


def _loading(root: str) -> History:
    table = pa.table({"driver": [0], "a": [0.0], "at": pa.array([0], pa.timestamp("us", tz="UTC"))})
    pq.write_table(table, Path(root) / "loading.parquet")
    source = FileSource(path="loading.parquet", timestamp_field="at")
    return History("l", (source,), (Field(name="driver", dtype=Int64),), (Field(name="a", dtype=Float64),), "at")


if __name__ == "__main__":
    main()
