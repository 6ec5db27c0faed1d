"""Profiles of rows that a SQL engine returned: DuckDB describes them, in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from feast_assets.definitions.window import Bounds, Window
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.duckdb.engine import Engine, read_schema
from feast_assets.offline_stores.duckdb.files import SourceTable, register
from feast_assets.offline_stores.duckdb.profile import profile_windows
from feast_assets.offline_stores.duckdb.rows import rows_of
from feast_assets.offline_stores.profile import WindowProfile


def profiled(rows: pa.RecordBatchReader, history: History, windows: Sequence[Window]) -> list[WindowProfile]:
    """Returns the profile of each window, in order.

    Args:
        rows: those of the windows, as `OfflineStore.scan` returns them. More than fit in memory are kept on disk.
        windows: none overlapping another.
    """
    engine = Engine(Path(tempfile.gettempdir()), None, None, None)
    errors: list[BaseException] = []
    with engine.cursor() as cursor:
        try:
            cursor.execute(f"CREATE TEMP TABLE described AS {register(cursor, _remembering(rows, errors))}")
        except Exception as error:
            # DuckDB passes on the text of a reader's error only.
            raise (errors[0] if errors else error) from error
        query = "SELECT * FROM described"
        table = SourceTable(
            subject=f"Feature view {history.view!r}",
            sql=query,
            schema=read_schema(cursor, query),
            timestamp=EVENT_TIMESTAMP,
            created="",
        )
        computed = replace(history, transformation=None, lookback=timedelta(0), declared=(), others=())
        return profile_windows(cursor, rows_of(cursor, computed, table, Bounds()), windows)


def _remembering(rows: pa.RecordBatchReader, errors: list[BaseException]) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from rows
        except BaseException as error:
            errors.append(error)
            raise

    return pa.RecordBatchReader.from_batches(rows.schema, batches())
