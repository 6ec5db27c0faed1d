"""Files of a source that tests add, change, exchange and remove; each edit leaves a trace."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from hypothesis import strategies as st

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [("driver_id", pa.int64()), ("trips", pa.int64()), ("city", pa.string()), ("ts", pa.timestamp("us", "UTC"))]
)
INT64 = pa.int64()


def rows(seed: int, count: int, *, trips: pa.DataType = INT64) -> pa.Table:
    """Returns rows of some days; now and then a key, a value or a time is missing."""
    moments = [START + timedelta(hours=(seed * 7 + i * 5) % 100, microseconds=seed * 1000 + i) for i in range(count)]
    table = pa.table(
        {
            "driver_id": [None if (seed + i) % 11 == 0 else (seed + i) % 4 for i in range(count)],
            "trips": [seed % 50 + i for i in range(count)],
            "city": [None if i % 5 == 0 else f"city {i % 3}" for i in range(count)],
            "ts": [None if (seed + i) % 13 == 0 else at for i, at in enumerate(moments)],
        },
        schema=SCHEMA,
    )
    return table.set_column(1, "trips", table["trips"].cast(trips))


class Files:
    """Files of a source that are edited. Each edit leaves a trace, however coarse the clock of the file system."""

    def __init__(self, folder: Path, suffix: str, write: Callable[[pa.Table, Path], None]):
        self.folder, self.suffix, self._write = folder, suffix, write
        folder.mkdir(exist_ok=True)

    def path(self, number: int) -> Path:
        return self.folder / f"{number}{self.suffix}"

    def names(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{self.suffix}"))

    def write(self, path: Path, table: pa.Table, *, in_place: bool = False, old_time: bool = False) -> None:
        before = os.stat(path) if path.exists() else None
        target = path if in_place else path.with_name(f"_{path.name}")
        self._write(table, target)
        if not in_place:
            os.replace(target, path)
        if before is None:
            return
        if old_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        while os.stat(path).st_ctime_ns == before.st_ctime_ns:
            os.chmod(path, 0o600)


OPERATIONS = ("add", "append", "rewrite", "shrink", "remove", "old time", "rename", "exchange", "empty", "other type")
Edits = st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 5), st.booleans()), min_size=1, max_size=7)


def edit(files: Files, operation: str, number: int, seed: int, *, in_place: bool) -> None:
    """Edits one file, or two."""
    there = files.names()
    if operation == "add" or not there:
        files.write(files.path(number), rows(seed, 12 + number), in_place=in_place)
        return
    path = there[number % len(there)]
    other = there[(number + 1) % len(there)]
    if operation == "remove" and len(there) > 1:
        path.unlink()
    elif operation == "rename":
        path.rename(files.path(number + 10))
    elif operation == "exchange":
        aside = path.with_name("_aside")
        path.rename(aside), other.rename(path) if other != path else None, aside.rename(other)
    elif operation == "other type":
        files.write(path, rows(seed, 9, trips=pa.float64()), in_place=in_place)
    else:
        counts = {"append": 30, "shrink": 3, "empty": 0}
        files.write(path, rows(seed, counts.get(operation, 12)), in_place=in_place, old_time=operation == "old time")


def as_parquet(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=7)


def as_csv(table: pa.Table, path: Path) -> None:
    texts = table.set_column(3, "ts", table["ts"].cast(pa.string()))
    pa_csv.write_csv(texts, path)
