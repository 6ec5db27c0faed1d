"""Stretches of a stream in a folder of Parquet files.

The file of a stretch is named by the stream and the offset where it starts. It is created exclusively, so of several
consumers that append the same stretch one succeeds. Where the stretch ends is in the file's metadata.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets.atomic_files import (
    locked,
    new_file,
    publish_once,
    remove_abandoned,
    sync_folder,
    temporary_path,
    writing,
)
from feast_assets.errors import NotSupportedError, SourceError, StoreUnavailableError, printable
from feast_assets.offline_stores.duckdb.write import fitted_to_folder, folder_of
from feast_assets.offline_stores.files.source_files import writable_files

if TYPE_CHECKING:
    from feast_assets.definitions.sources.data_source import DataSource

_FEWEST = 8
"""Files that are put together at least."""
_LARGE = 64 << 20
"""Bytes that a file of several stretches has at most."""

_RANGE_END = b"feast_assets.stream_range_end"
"""Key of a file's metadata: the offset after the last message of its stretch, as a decimal number."""


def takes_ranges(source: DataSource, root: Path) -> bool:
    """Says whether a source is a folder of Parquet files."""
    try:
        files = writable_files(source, root)
        folder_of(files)
    except (NotSupportedError, SourceError):
        return False
    return files.format == "parquet" and files.shape in ("folder", "glob") and not files.hive_keys


def covered_ranges(source: DataSource, root: Path, stream: str, start: int, end: int) -> list[tuple[int, int]]:
    """Returns the stretches of a stream that overlap ``[start, end)``, in order."""
    folder, suffix = folder_of(writable_files(source, root))
    starts = [each for each in _starts(folder, stream, suffix) if each < end]
    # A stretch may lie within an earlier one while files are put together; the earlier one then has its rows.
    earlier = [each for each in starts if each <= start]
    candidates = [*earlier[-1:], *(each for each in starts if each > start)]
    ranges = [(each, _end_of(_path(folder, stream, each, suffix))) for each in candidates]
    return [(each, until) for each, until in ranges if until > start]


def _starts(folder: Path, stream: str, suffix: str) -> list[int]:
    """Returns where the stretches of a stream begin that have files, in order."""
    prefix = f"stream_{stream}_"
    starts = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                number = entry.name[len(prefix) : -len(suffix)]
                if entry.name.startswith(prefix) and entry.name.endswith(suffix) and number.isdecimal():
                    starts.append(int(number))
    except FileNotFoundError:
        return []
    return sorted(starts)


def append_range(source: DataSource, root: Path, stream: str, start: int, end: int, rows: pa.Table) -> bool:
    """Writes the file of a stretch unless there is one with the same start; says whether it was written."""
    files = writable_files(source, root)
    folder, suffix = folder_of(files)
    path = _path(folder, stream, start, suffix)
    if path.exists():
        return False
    fitted = fitted_to_folder(files, source, rows)
    metadata = {**(fitted.schema.metadata or {}), _RANGE_END: b"%d" % end}
    temporary = temporary_path(path)
    try:
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(fitted.replace_schema_metadata(metadata), temporary)
            is_new = publish_once(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    remove_abandoned(folder)
    if is_new and _overlaps_another(folder, stream, start, end, suffix):
        # Others have appended some of it between the look at the folder and now, and perhaps put it together already.
        path.unlink(missing_ok=True)
        return False
    return is_new


def _overlaps_another(folder: Path, stream: str, start: int, end: int, suffix: str) -> bool:
    starts = _starts(folder, stream, suffix)
    if any(start < each < end for each in starts):
        return True
    earlier = [each for each in starts if each < start]
    return bool(earlier) and _end_of(_path(folder, stream, earlier[-1], suffix)) > start


def compact_ranges(source: DataSource, root: Path, stream: str, settled_seconds: float) -> int:
    """Puts small files of neighbouring stretches together; returns how many files that makes less.

    The file of the first stretch is replaced by one of all rows, then the others are removed. Until they are, their
    rows are there twice; a run of this that was killed in between is completed by the next.

    Args:
        settled_seconds: files that were written less than so long ago are left alone, as a consumer may be about to
            append them again.
    """
    folder, suffix = folder_of(writable_files(source, root))
    removed = 0
    if not folder.is_dir():
        return removed
    with locked(folder / f"stream_{stream}"):
        group: list[_RangeFile] = []
        for each in _settled_files(folder, stream, suffix, settled_seconds):
            if group and each.end <= group[-1].end:
                each.path.unlink(missing_ok=True)
                removed += 1
                continue
            joins = group and each.start == group[-1].end and each.schema.equals(group[-1].schema)
            if not joins or sum(file.size for file in group) + each.size > _LARGE:
                removed += _joined(group)
                group = []
            group.append(each)
        removed += _joined(group)
    return removed


@dataclass(frozen=True, slots=True)
class _RangeFile:
    path: Path
    start: int
    end: int
    size: int
    schema: pa.Schema


def _settled_files(folder: Path, stream: str, suffix: str, settled_seconds: float) -> Iterator[_RangeFile]:
    """Yields the files of a stream's stretches, in order, up to the first one that is too new."""
    for start in _starts(folder, stream, suffix):
        path = _path(folder, stream, start, suffix)
        about = path.stat()
        if time.time() - about.st_mtime < settled_seconds:
            return
        yield _RangeFile(path, start, _end_of(path), about.st_size, pq.read_schema(path).remove_metadata())


def _joined(group: Sequence[_RangeFile]) -> int:
    """Puts the files of a group together, if they are enough to be worth it; returns how many were removed."""
    if len(group) < _FEWEST:
        return 0
    first = group[0]
    schema = first.schema.with_metadata({_RANGE_END: b"%d" % group[-1].end})
    with new_file(first.path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        # As one table, which is small: row groups as small as the files would make reading slow.
        tables = [pq.read_table(each.path, partitioning=None).replace_schema_metadata(None) for each in group]
        writer.write_table(pa.concat_tables(tables).cast(first.schema).replace_schema_metadata(schema.metadata))
    for each in group[1:]:
        each.path.unlink(missing_ok=True)
    sync_folder(first.path.parent)
    return len(group) - 1


def _path(folder: Path, stream: str, start: int, suffix: str) -> Path:
    return folder / f"stream_{stream}_{start:020d}{suffix}"


def _end_of(path: Path) -> int:
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return int(metadata[_RANGE_END])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StoreUnavailableError(
            f"The file {path} does not say which messages of a stream it holds, or cannot be read: {printable(error)}"
        ) from error
