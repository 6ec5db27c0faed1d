"""What the footers of Parquet files say of a column, without reading its values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_PER_MICROSECOND = {"milliseconds": (1000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1000)}
_MICROS_PER_DAY = 86_400_000_000
_FLOATING = ("FLOAT", "DOUBLE", "HALF_FLOAT")


@dataclass(frozen=True, slots=True)
class Footer:
    """A Parquet file by its footer, kept as long as the file is the same."""

    path: str
    _metadata: Any

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

    def _position(self, column: str) -> int | None:
        schema = self._metadata.schema
        # Columns inside a struct may have the same name, but not the same path.
        positions = (i for i, name in enumerate(schema.names) if name == column and schema.column(i).path == name)
        return next(positions, None)


def footer_of(path: str) -> Footer:
    """Returns the footer of a file, which is read again only if another file has taken its place.

    Raises:
        OSError: the file cannot be read; `pyarrow.ArrowException` where it is no Parquet file.
    """
    stat = Path(path).stat()
    return _footer(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=10_000)
def _footer(path: str, size: int, modified: int, inode: int) -> Footer:
    return Footer(path, pq.read_metadata(path))


def _scale(column: Any) -> tuple[int, int] | None:
    """Returns by what a stored number is multiplied and divided to give microseconds; None where it is no time."""
    kind = json.loads(column.logical_type.to_json())
    if kind.get("Type") == "Date":
        return _MICROS_PER_DAY, 1
    return _PER_MICROSECOND.get(kind.get("timeUnit", "")) if kind.get("Type") == "Timestamp" else None
