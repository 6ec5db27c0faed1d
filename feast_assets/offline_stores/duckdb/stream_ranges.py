"""Stretches of a stream in a folder of Parquet files.

The file of a stretch is named by the stream and the offset where it starts. It is created exclusively, so of several
consumers that append the same stretch one succeeds. Where the stretch ends is in the file's metadata.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from feast_assets.errors import NotSupportedError, SourceError, StoreUnavailableError, printable
from feast_assets.offline_stores.duckdb.write import fitted_to_folder, folder_of
from feast_assets.offline_stores.files.atomic_files import publish_once, remove_abandoned, temporary_path, writing
from feast_assets.offline_stores.files.source_files import writable_files

if TYPE_CHECKING:
    from feast_assets.definitions.sources.data_source import DataSource

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
    earlier = [each for each in starts if each <= start]
    # Stretches do not overlap, so of the earlier ones only the last can reach beyond the start.
    candidates = sorted([*([max(earlier)] if earlier else []), *(each for each in starts if start < each < end)])
    ranges = [(each, _end_of(_path(folder, stream, each, suffix))) for each in candidates]
    return [(each, until) for each, until in ranges if until > start]


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
    return is_new


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
