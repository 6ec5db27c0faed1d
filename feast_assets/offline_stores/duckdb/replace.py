"""Replacing windows of a folder of Parquet files, one file a window."""

# ruff: noqa: S608 - identifiers and texts in SQL are quoted by duckdb_engine

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_assets.atomic_files import (
    locked,
    publish,
    remove_abandoned,
    sync_folder,
    temporary_path,
    writing,
)
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window
from feast_assets.errors import (
    DefinitionError,
    InputError,
    NotSupportedError,
    SourceError,
    StoreUnavailableError,
    suggest,
)
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, History
from feast_assets.offline_stores.declared_columns import kept_columns
from feast_assets.offline_stores.duckdb.engine import failure_of, quote, stream
from feast_assets.offline_stores.files.kept_results import check_format
from feast_assets.offline_stores.files.source_files import SourceFiles, writable_files
from feast_assets.types.arrow import cast_column
from feast_assets.types.arrow_values import fixed_values
from feast_assets.types.feast_type import UnixTimestamp

if TYPE_CHECKING:
    import duckdb

_NAME = re.compile(r"window_(\d{8}T\d{6}\.\d{6})_(\d{8}T\d{6}\.\d{6})\.parquet")
_STAMP = "%Y%m%dT%H%M%S.%f"


def replace_windows(
    cursor: duckdb.DuckDBPyConnection,
    source: DataSource,
    root: Path,
    history: History,
    windows: Sequence[Window],
    rows: pa.RecordBatchReader,
) -> None:
    """Makes a folder hold, for each window, just the given rows that fall in it.

    Each window's rows are one file, named by the window and put in place whole. Rows of those times in other files, as
    from windows of another length or from `append`, are taken out of those.

    Raises:
        NotSupportedError: the source is not a folder of Parquet files.
        InputError: windows overlap.
        StoreUnavailableError: the disk is full, or writing is not permitted; nothing was changed.
        StoredFormatError: a newer version of this package wrote the folder.
    """
    files = _folder(source, root)
    folder = Path(files.path)
    ordered = sorted(set(windows))
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise InputError(f"{files.subject}: windows {before} and {after} overlap.")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written: dict[Window, Path] = {}
    try:
        with writing(folder):
            _write_windows(
                _sorted(cursor, rows, files.subject), ordered, kept_columns(source, history), folder, written
            )
        with locked(folder):
            check_format(folder)
            _commit(folder, source, ordered, written)
    finally:
        for temporary in written.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    remove_abandoned(folder)


def file_name(window: Window) -> str:
    """Returns the name of the file that holds a window's rows."""
    return f"window_{_stamp(window.start)}_{_stamp(window.end)}.parquet"


def held_windows(source: DataSource, root: Path) -> list[Window]:
    """Returns the windows of which a folder holds rows, in order, by the names of its files; none without a folder."""
    folder = Path(_folder(source, root).path)
    held = (_window_of(path.name) for path in folder.glob("*.parquet"))
    return sorted(window for window in held if window is not None)


def _stamp(moment: datetime) -> str:
    # strftime writes years before 1000 without zeros on some systems.
    return f"{moment.year:04d}{moment:%m%dT%H%M%S.%f}"


@lru_cache(maxsize=16_384)
def _window_of(name: str) -> Window | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    start, end = (datetime.strptime(text, _STAMP).replace(tzinfo=UTC) for text in match.groups())
    return Window(start, end)


def _folder(source: DataSource, root: Path) -> SourceFiles:
    files = writable_files(source, root)
    if files.shape != "folder" or files.format != "parquet" or files.hive_keys:
        raise NotSupportedError(
            f"{files.subject}: keeping a transformation's result needs a FileSource whose path is a folder of Parquet "
            "files without key=value subfolders, such as path='data/my_view'."
        )
    if not source.timestamp_field:
        raise DefinitionError(f"{files.subject}: a sink needs a timestamp_field.")
    return files


class Remembering:
    """Batches of a reader; DuckDB does not pass on the error of a reader that fails, so it is kept here."""

    def __init__(self, rows: pa.RecordBatchReader):
        self.error: BaseException | None = None
        self._rows = rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._rows
        except BaseException as error:
            self.error = error
            raise


def _sorted(cursor: duckdb.DuckDBPyConnection, rows: pa.RecordBatchReader, subject: str) -> Iterator[pa.RecordBatch]:
    """Yields rows by event time; where they do not fit in memory, they are sorted on disk."""
    import duckdb

    source = Remembering(rows)
    name = f"rows_{uuid.uuid4().hex}"
    cursor.register(name, pa.RecordBatchReader.from_batches(rows.schema, iter(source)))
    try:
        for batch in stream(cursor, f"SELECT * FROM {name} ORDER BY {quote(EVENT_TIMESTAMP)}"):
            yield batch.cast(rows.schema)
    except (duckdb.Error, pa.ArrowException) as error:
        if source.error is not None:
            raise source.error from None
        raise failure_of(error, f"{subject}: sorting the rows", StoreUnavailableError) from error


def _write_windows(
    batches: Iterator[pa.RecordBatch],
    windows: Sequence[Window],
    names: Mapping[str, str],
    folder: Path,
    written: dict[Window, Path],
) -> None:
    """Writes rows, which come by event time, to one temporary file for each window that has any."""
    index = 0
    writer: pq.ParquetWriter | None = None
    try:
        for batch in batches:
            times = fixed_values(batch.column(EVENT_TIMESTAMP), "<i8")
            kept = pa.table(batch.select(list(names)).columns, names=list(names.values()))
            while index < len(windows):
                window = windows[index]
                start, end = times.searchsorted([to_micros(window.start), to_micros(window.end)])
                if end > start:
                    if writer is None:
                        written[window] = temporary_path(folder / file_name(window))
                        writer = pq.ParquetWriter(written[window], kept.schema)
                    writer.write_table(kept.slice(start, end - start))
                if end == len(times):
                    break  # the next batch may still hold rows of this window
                if writer is not None:
                    writer.close()
                    writer = None
                index += 1
    finally:
        if writer is not None:
            writer.close()


def _commit(folder: Path, source: DataSource, windows: Sequence[Window], written: Mapping[Window, Path]) -> None:
    """Puts the files of the windows in place, and takes the windows' rows out of all other files."""
    own = {file_name(window) for window in windows}
    trimmed = {
        path: _without(path, source.timestamp_field, windows)
        for path in _others(folder, windows)
        if path.name not in own
    }
    try:
        with writing(folder):
            for window in windows:
                if window in written:
                    publish(written[window], folder / file_name(window))
                else:
                    (folder / file_name(window)).unlink(missing_ok=True)
            for path, rest in trimmed.items():
                if rest is None:
                    path.unlink(missing_ok=True)
                elif rest != path:
                    publish(rest, path)
            sync_folder(folder)
    finally:
        for path, rest in trimmed.items():
            if rest is not None and rest != path:
                with contextlib.suppress(OSError):
                    rest.unlink(missing_ok=True)


def _others(folder: Path, windows: Sequence[Window]) -> list[Path]:
    """Returns the files that may hold rows of the windows; names of windows tell without opening them."""
    files = []
    for path in sorted(folder.rglob("*.parquet")):
        if any(part.startswith((".", "_")) for part in path.relative_to(folder).parts):
            continue
        held = _window_of(path.name)
        if held is None or any(w.start < held.end and held.start < w.end for w in windows):
            files.append(path)
    return files


def _without(path: Path, timestamp_field: str, windows: Sequence[Window]) -> Path | None:
    """Returns a temporary file with the rows outside the windows; the path itself where all are, None where none is."""
    held = _window_of(path.name)
    if held is not None and any(w.contains(held) for w in windows):
        return None
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise failure_of(error, f"File {path}", SourceError, (str(path),)) from error
    if timestamp_field not in table.column_names:
        raise SourceError(
            f"File {path} has no column {timestamp_field!r}. {suggest(timestamp_field, table.column_names)}"
        )
    times = cast_column(
        table.column(timestamp_field), UnixTimestamp, subject=f"File {path}, column {timestamp_field!r}"
    )
    inside = pc.is_in(times, pa.array([], times.type))
    for window in windows:
        first, end = (pa.scalar(moment, times.type) for moment in (window.start, window.end))
        inside = pc.or_(inside, pc.fill_null(pc.and_(pc.greater_equal(times, first), pc.less(times, end)), False))
    rest = table.filter(pc.invert(inside))
    if rest.num_rows == table.num_rows:
        return path
    if not rest.num_rows:
        return None
    temporary = temporary_path(path)
    with writing(path):
        pq.write_table(rest, temporary)
    return temporary
