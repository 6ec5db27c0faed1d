"""Entity rows with thousands of columns: each is looked at once, and not compared with every other."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from drivers import NOW, STATS

from feast_assets.errors import InputError
from feast_assets.retrieval.entity_df import to_table
from feast_assets.types.names import repeated_names


def wide(columns: int) -> pa.Table:
    return pa.table(
        {
            "driver_id": [1],
            "event_timestamp": pa.array([NOW], pa.timestamp("us", "UTC")),
            **{f"column_{i}": [i] for i in range(columns)},
        }
    )


def test_names_that_occur_twice_are_told_in_order():
    assert repeated_names([]) == repeated_names("abc") == []
    assert repeated_names(["b", "a", "b", "c", "a", "b"]) == ["a", "b"]
    doubled = pa.table([pa.array([1])] * 3, names=["x", "y", "x"])
    with pytest.raises(InputError, match="several columns named 'x'"):
        to_table(doubled)


def test_thousands_of_columns_come_back_as_they_were_without_being_compared_with_each_other(project):
    project.write(STATS, [{"driver_id": 1, "ts": NOW, "trips": 5, "rate": 0.5, "city": "Rome"}])
    rows = wide(6_000)
    project.job(wide(1), ["stats:trips"]).to_arrow()
    began = time.process_time()
    found = project.job(rows, ["stats:trips"]).to_arrow()
    assert time.process_time() - began < 3  # it was a quarter of a minute
    assert found.select(rows.column_names).to_pydict() == rows.to_pydict()
    assert found["trips"].to_pylist() == [5]
