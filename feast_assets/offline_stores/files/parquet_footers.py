"""What the footers of Parquet files say of a column, without reading its values."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets.offline_stores import parts

_PER_MICROSECOND = {"milliseconds": (1000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1000)}
_MICROS_PER_DAY = 86_400_000_000
_FLOATING = ("FLOAT", "DOUBLE", "HALF_FLOAT")
_MAGIC = b"PAR1"
_TAIL_BYTES = 4 * 1024
"""As much of a file's end as most footers take."""


class RowGroup(NamedTuple):
    """A row group by the times in one of its columns.

    Attributes:
        rows: how many it has, those without a time included.
        oldest, newest: UTC microseconds, both included; None where the footer does not say, or where no row has a time.
    """

    rows: int
    oldest: int | None
    newest: int | None


@dataclass(frozen=True, slots=True)
class Footer:
    """A Parquet file by its footer, kept as long as the file is the same."""

    _metadata: Any

    def has_columns_of(self, other: Footer) -> bool:
        """Says whether both files have the same columns, of the same types and in the same order."""
        return bool(self._metadata.schema.equals(other._metadata.schema))

    def has_column(self, column: str) -> bool:
        """Says whether the file has a column of its own, whatever folders it is in."""
        return self._position(column) is not None

    def row_groups(self, column: str) -> list[RowGroup]:
        """Returns the row groups of the file by the times in a column, in their order."""
        position = self._position(column)
        scale = None if position is None else _scale(self._metadata.schema.column(position))
        groups = []
        for i in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(i)
            statistics = None if scale is None else group.column(position).statistics
            if scale is None or statistics is None or not statistics.has_min_max:
                groups.append(RowGroup(group.num_rows, None, None))
            else:
                ends = (int(raw) * scale[0] // scale[1] for raw in (statistics.min_raw, statistics.max_raw))
                groups.append(RowGroup(group.num_rows, *ends))
        return groups

    def times(self, column: str) -> tuple[int | None, int | None] | None:
        """Returns the oldest and the newest time in a column, in UTC microseconds.

        Returns:
            both None where it holds no times; None instead of both where the footer does not say.
        """
        position = self._position(column)
        scale = None if position is None else _scale(self._metadata.schema.column(position))
        if scale is None:
            return None
        ends: list[int] = []
        for i in range(self._metadata.num_row_groups):
            group = self._metadata.row_group(i).column(position)
            statistics = group.statistics
            if statistics is None or not statistics.has_min_max:
                nulls = statistics.null_count if statistics is not None and statistics.has_null_count else 0
                if nulls < group.num_values:
                    return None
                continue
            times, parts = scale
            ends += [int(raw) * times // parts for raw in (statistics.min_raw, statistics.max_raw)]
        return (min(ends), max(ends)) if ends else (None, None)

    def has_no_nulls(self, column: str) -> bool:
        """Says whether a column is known to hold neither nulls nor NaN."""
        position = self._position(column)
        if position is None or self._metadata.schema.column(position).physical_type in _FLOATING:
            return False
        statistics = (
            self._metadata.row_group(i).column(position).statistics for i in range(self._metadata.num_row_groups)
        )
        return all(s is not None and s.has_null_count and s.null_count == 0 for s in statistics)

    @property
    def columns(self) -> str:
        """A text that is the same for files whose columns have the same names and types."""
        schema = self._metadata.schema
        columns = (schema.column(i) for i in range(len(schema)))
        return "|".join(
            f"{c.path!r}:{c.physical_type}:{c.length}:{c.logical_type}:{c.converted_type}:{c.max_repetition_level}"
            for c in columns
        )

    def _position(self, column: str) -> int | None:
        schema = self._metadata.schema
        # Columns inside a struct may have the same name, but not the same path.
        positions = (i for i, name in enumerate(schema.names) if name == column and schema.column(i).path == name)
        return next(positions, None)


def footer_of(path: str) -> Footer:
    """Returns the footer of a file, which is read again only if the file may have been changed since.

    Raises:
        OSError: the file cannot be read; `pyarrow.ArrowException` where it is no Parquet file.
    """
    stat = os.stat(path)
    file = _File((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns), path)
    # What was written just now may be written again without a trace.
    is_settled = time.time_ns() - stat.st_ctime_ns >= parts.SETTLED_NANOS
    return _footer(file) if is_settled else _read(file)


@dataclass(frozen=True, slots=True)
class _File:
    """A file by what it would not have after a change of its content; it may be read under several names."""

    identity: tuple[int, int, int, int, int]
    path: str = field(compare=False)


@lru_cache(maxsize=10_000)
def _footer(file: _File) -> Footer:
    return _read(file)


def _read(file: _File) -> Footer:
    return Footer(pq.read_metadata(pa.BufferReader(_MAGIC + _end_of(file.path))))


def _end_of(path: str) -> bytes:
    """Returns the end of a Parquet file, from its footer on, which Arrow would read 64 KiB for."""
    with open(path, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-min(size, _TAIL_BYTES), os.SEEK_END)
        end = file.read(_TAIL_BYTES)
        # The footer's length and the magic bytes are the last eight.
        needed = int.from_bytes(end[-8:-4], "little") + 8
        if end.endswith(_MAGIC) and len(end) < needed <= size:
            file.seek(-needed, os.SEEK_END)
            end = file.read(needed)
        return end[-needed:] if len(end) >= needed else end


def _scale(column: Any) -> tuple[int, int] | None:
    """Returns by what a stored number is multiplied and divided to give microseconds; None where it is no time."""
    kind = json.loads(column.logical_type.to_json())
    if kind.get("Type") == "Date":
        return _MICROS_PER_DAY, 1
    return _PER_MICROSECOND.get(kind.get("timeUnit", "")) if kind.get("Type") == "Timestamp" else None
