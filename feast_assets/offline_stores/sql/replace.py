"""Replacing windows of a table: rows of the windows are removed and the new ones inserted in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.declared_columns import kept_columns
from feast_assets.types.arrow_values import fixed_values


def stored_rows(
    source: DataSource, history: History, windows: Sequence[Window], rows: pa.RecordBatchReader
) -> pa.RecordBatchReader:
    """Returns those rows that fall in some windows, under the source's own column names.

    Args:
        windows: in order, none overlapping another.
        rows: as `OfflineStore.scan` returns them.
    """
    names = kept_columns(source, history)
    schema = pa.schema([rows.schema.field(name).with_name(own) for name, own in names.items()])
    starts = np.array([to_micros(window.start) for window in windows])
    ends = np.array([to_micros(window.end) for window in windows])

    def kept() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            times = fixed_values(batch.column(EVENT_TIMESTAMP), "<i8")
            of = np.searchsorted(starts, times, side="right") - 1
            inside = (of >= 0) & (times < ends[of])
            chosen = batch if inside.all() else batch.filter(pa.array(inside))
            yield pa.record_batch([chosen.column(name) for name in names], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, kept())
