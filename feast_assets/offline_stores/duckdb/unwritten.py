"""Which of some rows a file does not hold yet."""

# ruff: noqa: S608 - the only texts in SQL are names of ours and quoted literals

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.dataset as ds

from feast_assets.offline_stores.duckdb.engine import literal, stream
from feast_assets.types.arrow_values import fixed_values, int64_array

if TYPE_CHECKING:
    import duckdb

ORDINAL = "ordinal"


def rows_not_in(
    cursor: duckdb.DuckDBPyConnection, rows: pa.Table, stored: ds.Dataset, timestamp_field: str
) -> pa.Table:
    """Returns the rows of which a dataset has none that is equal in all columns; nulls equal nulls.

    Of the dataset only the files and row groups are read that hold event times between the rows' first and last.

    Args:
        rows: with the dataset's columns and types.
        timestamp_field: the column of event times, by which reading is bounded where it holds timestamps.
    """
    if not rows.num_rows:
        return rows
    names = rows.column_names
    reader = stored.scanner(columns=names, filter=_between(rows, timestamp_field)).to_reader()
    old, new = f"stored_{uuid.uuid4().hex}", f"rows_{uuid.uuid4().hex}"
    # By place, as DuckDB does not tell letter case apart in names.
    aliases = [f"c{i}" for i in range(len(names))]
    schema = pa.schema([pa.field(alias, column.type) for alias, column in zip(aliases, reader.schema, strict=True)])
    renamed = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
    cursor.register(old, pa.RecordBatchReader.from_batches(schema, renamed))
    numbered = rows.rename_columns(aliases).append_column(ORDINAL, int64_array(np.arange(rows.num_rows)))
    cursor.register(new, numbered)
    try:
        return unmatched(cursor, rows, old, new, aliases)
    finally:
        cursor.unregister(old)
        cursor.unregister(new)


def rows_not_in_csv(cursor: duckdb.DuckDBPyConnection, rows: pa.Table, path: Path) -> pa.Table:
    """Returns the rows of which a CSV file has none whose fields are written alike.

    Args:
        rows: with the file's columns, in its order.
    """
    if not rows.num_rows:
        return rows
    aliases = [f"c{i}" for i in range(rows.num_columns)]
    numbered = rows.rename_columns(aliases).append_column(ORDINAL, int64_array(np.arange(rows.num_rows)))
    with tempfile.NamedTemporaryFile(suffix=".csv") as text:
        csv.write_csv(numbered, text)
        text.flush()
        columns = ", ".join([*aliases, ORDINAL])
        read = "header = true, all_varchar = true"
        new = f"""(SELECT * FROM read_csv({literal(text.name)}, {read}, delim = ',', quote = '"', escape = '"'))"""
        old = f"(SELECT * FROM read_csv({literal(str(path))}, {read})) AS stored({', '.join(aliases)})"
        return unmatched(
            cursor, rows, f"(SELECT * FROM {old})", f"(SELECT * FROM {new} AS written({columns}))", aliases
        )


def unmatched(cursor: duckdb.DuckDBPyConnection, rows: pa.Table, old: str, new: str, columns: list[str]) -> pa.Table:
    """Returns the rows of which there is none that is equal in all columns.

    Args:
        old: what the present rows are selected from, by these columns.
        new: what the rows are selected from, by these columns and `ORDINAL`, their place.
    """
    equal = " AND ".join(f"o.{column} IS NOT DISTINCT FROM n.{column}" for column in columns)
    # The rows, which are few, come second: DuckDB keeps that side in memory and passes the stored ones by.
    is_new = np.ones(rows.num_rows, bool)
    for batch in stream(cursor, f"SELECT DISTINCT CAST(n.{ORDINAL} AS BIGINT) FROM {old} o JOIN {new} n ON {equal}"):
        is_new[fixed_values(batch.column(0), "<i8")] = False
    return rows if is_new.all() else rows.take(int64_array(np.flatnonzero(is_new)))


def _between(rows: pa.Table, timestamp_field: str) -> pc.Expression | None:
    if timestamp_field not in rows.column_names:
        return None
    times = rows.column(timestamp_field)
    if not pa.types.is_timestamp(times.type) or times.null_count:
        return None
    bounds = pc.min_max(times)
    column = ds.field(timestamp_field)
    return (column >= bounds["min"]) & (column <= bounds["max"])
