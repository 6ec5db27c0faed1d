"""Dicts, which Arrow takes for structs, appended to a column of maps."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from feast_assets import FileSource
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore


def test_dicts_are_appended_to_a_map_column_each_with_its_own_keys(tmp_path: Path) -> None:
    column = pa.array([[("type", "sedan")]], pa.map_(pa.string(), pa.string()))
    parquet.write_table(pa.table({"driver": [1], "car": column}), tmp_path / "rows.parquet")
    store = DuckDBOfflineStore(DuckDBOfflineStore.config_class(type="duckdb"), tmp_path)
    rows = pa.table({"driver": [2, 3, 4], "car": [{"type": "minivan", "seats": "7"}, {"seats": "5"}, None]})
    store.write(FileSource(path="rows.parquet", timestamp_field="at"), rows)
    written = parquet.read_table(tmp_path / "rows.parquet")
    assert pa.types.is_map(written.schema.field("car").type)
    assert dict(zip(*written.to_pydict(maps_as_pydicts="strict").values(), strict=True)) == {
        1: {"type": "sedan"},
        2: {"type": "minivan", "seats": "7"},
        3: {"seats": "5"},
        4: None,
    }
