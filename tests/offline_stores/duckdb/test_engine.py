"""What DuckDB is asked is what is meant, also where a file's statistics say less than its values."""

from __future__ import annotations

import math

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.offline_stores.duckdb.engine import is_nan

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
@pytest.mark.parametrize(
    "values",
    [
        [0.0, NAN],
        [1.0, 2.0, NAN],
        [NAN],
        [NAN, None],
        [INF, NAN],
        [-INF, NAN],
        [INF, -INF, NAN, 0.5],
        [0.0, 1.0],
        [None],
    ],
)
def test_nan_is_found_whatever_the_statistics_of_the_file_say(tmp_path, kind, values):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": pa.array(values, kind)}), path)
    found = duckdb.sql(f"SELECT count(CASE WHEN {is_nan('x')} THEN 1 END) FROM '{path}'").fetchall()
    kept = duckdb.sql(f"SELECT x FROM '{path}' WHERE {is_nan('x')}").fetchall()
    expected = sum(value is not None and math.isnan(value) for value in values)
    assert (found, len(kept)) == ([(expected,)], expected)
