"""Trips of drivers, and what an apply prepares of definitions about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from feast_assets.apply.inference import prepare
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import (
    SourceError,
    SourceWithoutFilesError,
)
from feast_assets.registry.snapshot import RegistrySnapshot

EMPTY = RegistrySnapshot("shop", 0, ())
TIME = pa.timestamp("us")
TRIPS = {"driver_id": pa.int64(), "at": TIME, "fare": pa.float64(), "kind": pa.string()}
EARLIEST = datetime(2024, 3, 5, 17, 30, tzinfo=UTC)


class Sources:
    """What the sources of a test hold, by source name; notes what was read."""

    def __init__(self, **columns: Mapping[str, pa.DataType]):
        self.columns = {"trips": TRIPS, **columns}
        self.read: list[str] = []

    def schema(self, source: DataSource) -> pa.Schema:
        self.read.append(source.name)
        if source.name.startswith("kept"):
            raise SourceWithoutFilesError(f"{source.name} has no files yet")
        if source.name not in self.columns:
            raise SourceError(f"{source.name} cannot be read")
        renamed = {source.field_mapping.get(n, n): t for n, t in self.columns[source.name].items()}
        return pa.schema(list(renamed.items()))


def run(
    *objects: Definition,
    snapshot: RegistrySnapshot = EMPTY,
    sources: Sources | None = None,
    earliest: Callable[[FeatureView], datetime | None] = lambda view: EARLIEST,
    **options: Any,
) -> dict[str, Any]:
    """Returns what is prepared, by name; entities and views must not share one."""
    prepared = prepare(objects, snapshot, (sources or Sources()).schema, earliest, **options).made
    found = {o.name: o for o in prepared}
    assert len(found) == len(prepared)
    return found


def driver(**options: Any) -> Entity:
    return Entity(name="driver", **{"join_keys": ["driver_id"], **options})


def trips_source(**options: Any) -> FileSource:
    return FileSource(name="trips", path="trips.parquet", **options)


def trips(name: str = "rides", schema: Sequence[Field] | None = None, **options: Any) -> FeatureView:
    return FeatureView(
        name=name, schema=schema, **{"entities": [driver()], "source": trips_source(timestamp_field="at"), **options}
    )


def fields(view: Any) -> dict[str, Any]:
    return {f.name: f.dtype for f in view.features}
