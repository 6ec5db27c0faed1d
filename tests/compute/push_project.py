"""A project whose views are fed by one push source, on any kind of source and online store."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from small_project import DRIVER, SCHEMA, START, hours

from feast_assets import (
    DeltaFormat,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int64,
    Partitions,
    PushSource,
    RepoConfig,
    String,
)

ROWS = 2200
"""How many rows a batch has: more than Redis puts at once."""
PATHS = {"folder": "history", "file": "history.parquet", "csv": "history.csv", "delta": "delta"}


class PushProject:
    """Two views, ``stats`` and ``trips_only``, over the push source ``live``."""

    def __init__(self, root: Path, source: str = "folder", redis: str = "", registry: str = "registry.db"):
        self.root = root
        self.source = source
        online: Any = {"type": "redis", "connection_string": redis} if redis else "sqlite"
        self.store = FeatureStore(
            root, RepoConfig(project="pushing", registry=registry, provider="local", online_store=online)
        )

    def apply(self) -> None:
        """Makes a source with one row, and registers the views."""
        first = pa.Table.from_pylist([{"driver_id": 0, "trips": 0, "city": "x", "ts": START}], SCHEMA)
        path = self.root / PATHS[self.source]
        if self.source == "folder":
            path.mkdir()
            pq.write_table(first, path / "first.parquet")
        elif self.source == "file":
            pq.write_table(first, path)
        elif self.source == "csv":
            pa_csv.write_csv(first, path)
        else:
            import deltalake

            deltalake.write_deltalake(path, first)
        self.store.apply([DRIVER, self.view(), self.view(name="trips_only", features=("trips",))])

    def view(self, name: str = "stats", features: tuple[str, ...] = ("trips", "city"), **changes: Any) -> FeatureView:
        types = {"trips": Int64, "city": String}
        history = FileSource(
            name="history",
            path=PATHS[self.source],
            timestamp_field="ts",
            file_format=DeltaFormat() if self.source == "delta" else None,
        )
        return FeatureView(
            **{
                "name": name,
                "entities": [DRIVER],
                "source": PushSource(name="live", batch_source=history),
                "schema": [Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=types[n]) for n in features)],
                "partitions": Partitions("daily", START),
                **changes,
            }
        )

    def batch(self, number: int, rows: int = ROWS) -> pa.Table:
        """Returns the rows of a batch, of drivers of its own."""
        drivers = pa.array(range(number * 10_000 + 1, number * 10_000 + 1 + rows), pa.int64())
        city = pc.binary_join_element_wise("c", pc.cast(drivers, pa.string()), "")
        return pa.table(
            [drivers, pc.multiply(drivers, 2), city, pa.array([hours(5)] * rows, SCHEMA.types[3])], schema=SCHEMA
        )

    def online(self, number: int, rows: int = ROWS) -> dict[str, int]:
        """Returns how many rows of a batch each view serves."""
        drivers = self.batch(number, rows)["driver_id"].to_pylist()
        read = self.store.get_online_features(
            ["stats:trips", "trips_only:trips"], {"driver_id": drivers}, full_feature_names=True
        ).to_dict()
        right = [2 * driver for driver in drivers]
        found = {}
        for view in ("stats", "trips_only"):
            served = read[f"{view}__trips"]
            assert all(value in (None, wanted) for value, wanted in zip(served, right, strict=True))
            found[view] = sum(value is not None for value in served)
        return found

    def history(self) -> dict[int, int]:
        """Returns how many rows of each batch history has, and fails where it has a row twice."""
        path = str(self.root / PATHS[self.source])
        if self.source == "folder":
            table = pa.concat_tables([pq.ParquetFile(p).read() for p in glob.glob(f"{path}/*.parquet")])
        elif self.source == "file":
            table = pq.ParquetFile(path).read()
        elif self.source == "csv":
            table = pa_csv.read_csv(path)
        else:
            import deltalake

            table = deltalake.DeltaTable(path).to_pyarrow_table()
        drivers = [driver for driver in table["driver_id"].to_pylist() if driver]
        assert len(set(drivers)) == len(drivers), "a row is in history twice"
        counts: dict[int, int] = {}
        for driver in drivers:
            counts[driver // 10_000] = counts.get(driver // 10_000, 0) + 1
        return counts

    def close(self) -> None:
        self.store.close()
