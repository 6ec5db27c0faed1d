"""The files of a source as its parts; see `feast_assets.offline_stores.parts`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import NotSupportedError, SourceError, StoreUnavailableError, printable
from feast_assets.offline_stores.files.changing_files import changed_error
from feast_assets.offline_stores.files.source_files import SourceFiles, find_files, local_path, log_files
from feast_assets.offline_stores.parts import Extent, Part, SourceParts


def file_parts(source: DataSource, root: Path, *, extents: bool = False) -> SourceParts | None:
    """Returns the files of a source; of a Delta table those of its log, which is only ever added to.

    A file is known by its size, its modification time, the time of its last change and its inode. A folder, or a glob,
    without any file is gone: more likely it was moved, or not mounted, than emptied.

    Args:
        extents: whether event times are wanted, which the footers of Parquet files tell.

    Returns:
        None where it cannot be told: of a URI, of a folder with files of another format, while files are removed, and
        where a folder cannot be listed.

    Raises:
        SourceError: a footer is damaged; `SourceChangedError` where its file was changed meanwhile.
    """
    try:
        files = find_files(source, root)
    except (NotSupportedError, StoreUnavailableError):
        return None
    except SourceError:
        path = local_path(source.path, root) if isinstance(source, FileSource) else None
        return SourceParts(is_gone=True) if path is not None and not os.path.exists(path) else None
    if files.shape == "uri":
        return None
    is_log = files.format == "delta"
    paths = log_files(files) if is_log else files.paths
    try:
        parts = [part_of(path) for path in paths]
    except OSError:
        return None
    if extents and files.format == "parquet" and source.timestamp_field:
        parts = [replace(part, extent=_extent(files, part, source.timestamp_field)) for part in parts]
    return SourceParts(tuple(parts), is_gone=not parts, hold_rows=not is_log)


def part_of(path: str) -> Part:
    """Returns a file as a part.

    Raises:
        OSError: there is none.
    """
    status = os.stat(path)
    token = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    return Part(path, token, changed=status.st_ctime_ns, size=status.st_size)


def file_change_tokens(paths: Iterable[str]) -> list[str]:
    """Returns a change token for each file, with its path; none at all if one is missing."""
    try:
        return [part_of(path).text for path in paths]
    except OSError:
        return []


def _has_changed(part: Part) -> bool:
    try:
        return part_of(part.name).identity != part.identity
    except OSError:
        return True


def _extent(files: SourceFiles, part: Part, column: str) -> Extent | None:
    import pyarrow as pa

    from feast_assets.offline_stores.files.parquet_footers import footer_of

    try:
        times = footer_of(part.name).times(column)
    except (OSError, pa.ArrowException) as error:
        if _has_changed(part):
            raise changed_error(files.subject) from error
        raise SourceError(f"{files.subject}: cannot read {part.name}: {printable(error)}") from error
    return None if times is None else Extent(*times)
