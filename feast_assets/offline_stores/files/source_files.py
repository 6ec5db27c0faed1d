"""Which files a file source means."""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.sources.file_format import CsvFormat, DeltaFormat, ParquetFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import NotSupportedError, SourceAbsentError, SourceError, StoreUnavailableError

Format = Literal["parquet", "csv", "delta", "duckdb"]
_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": (".csv", ".csv.gz"),
    "delta": (),
    "duckdb": (),
}


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """What a source's path stands for at the moment.

    Attributes:
        subject: the source, for messages.
        path: absolute, or a URI.
        format: how the files are to be read.
        shape: one file, the matches of a glob, or all files below a folder.
        paths: the files there are, sorted; empty for Delta, whose log says which files count.
        hive_keys: columns that are written as ``key=value`` folders.
    """

    subject: str
    path: str
    format: Format
    shape: Literal["file", "glob", "folder", "uri"]
    paths: tuple[str, ...]
    hive_keys: tuple[str, ...] = ()


def describe(source: DataSource) -> str:
    """Returns how messages name a source."""
    if isinstance(source, DuckDBSource):
        return f"Source {source.name!r} ({source.database}, {f'table {source.table}' if source.table else 'a query'})"
    path = getattr(source, "path", source.name)
    return f"Source {source.name!r}" if path == source.name else f"Source {source.name!r} ({path})"


def find_files(source: DataSource, root: Path, *, only: Sequence[str] | None = None) -> SourceFiles:
    """Returns the files of a source. A folder or glob without files is a source without rows.

    Files and folders whose names begin with ``.`` or ``_`` do not count.

    Args:
        only: some of its files, which a listing has told of: the others are left out, and not listed where all files
            are in one folder. Of no effect on a Delta table and on a URI.

    Raises:
        SourceAbsentError: a single file does not exist.
        SourceError: a folder holds only files of another format.
        StoreUnavailableError: a folder cannot be listed.
        NotSupportedError: the source is not one of files.
    """
    subject = describe(source)
    if isinstance(source, DuckDBSource):
        database = database_path(source, root)
        if not os.path.exists(database):
            raise SourceAbsentError(f"{subject}: there is no file {database}.{_nearest(database)}")
        return SourceFiles(subject, database, "duckdb", "file", (database,))
    if not isinstance(source, FileSource):
        raise NotSupportedError(
            f"The duckdb offline store reads FileSource and DuckDBSource, not {type(source).__name__} (source "
            f"{source.name!r})."
        )
    path = local_path(source.path, root)
    if path is None:
        return SourceFiles(subject, source.path, _format(source, source.path), "uri", (source.path,))
    file_format = _format(source, path)
    if file_format == "delta":
        return SourceFiles(subject, path, "delta", "folder", ())
    if os.path.isdir(path):
        files = _in_folder(subject, path, file_format)
        return files if only is None else replace(files, paths=tuple(only))
    if os.path.exists(path):
        return SourceFiles(subject, path, file_format, "file", (path,) if only is None else tuple(only))
    if glob.has_magic(path):
        if _is_of_one_folder(path):
            # Listed for each question, of which one run has several: no path is made absolute, or looked at twice.
            paths = _in_one_folder(path) if only is None else only
            return SourceFiles(subject, path, file_format, "glob", tuple(paths))
        base = _fixed_part(path)
        matching = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p) and _counts(p, base))
        keys = _hive_keys(matching, base)
        return SourceFiles(subject, path, file_format, "glob", tuple(matching if only is None else only), keys)
    if Path(path).suffix and not source.path.endswith("/"):
        raise SourceAbsentError(f"{subject}: there is no file {path}.{_nearest(path)}")
    return SourceFiles(subject, path, file_format, "folder", ())


def database_path(source: DuckDBSource, root: Path) -> str:
    """Returns the absolute path of a source's DuckDB file; links are followed, so that one file has one path."""
    return os.path.realpath(local_path(source.database, root) or source.database)


def local_path(path: str, root: Path) -> str | None:
    """Returns the absolute path of a local file, which may be given as a ``file:`` URI; None for other URIs.

    In a URI, ``%20`` and the like stand for characters; but where only a file is there whose name has them as they are,
    it is that file. Its host is this machine: ``""`` or ``localhost``.
    """
    scheme, colon, rest = path.partition(":")
    if colon and scheme.lower() == "file" and rest.startswith("/"):
        host, slash, below = rest.removeprefix("//").partition("/") if rest.startswith("//") else ("", "/", rest[1:])
        if host.lower() == "localhost":
            host = ""
        # What follows two slashes was taken for a relative path before; it still is.
        plain = f"{host}{slash}{below}"
        decoded = unquote(plain)
        path = plain if not _is_there(root, decoded) and _is_there(root, plain) else decoded
    elif "://" in path:
        return None
    return os.path.join(root, os.path.expanduser(path))


def _is_there(root: Path, path: str) -> bool:
    full = os.path.join(root, os.path.expanduser(path))
    return os.path.exists(full) or (glob.has_magic(full) and bool(glob.glob(full, recursive=True)))


def _format(source: FileSource, path: str) -> Format:
    if isinstance(source.file_format, DeltaFormat):
        return "delta"
    if isinstance(source.file_format, CsvFormat):
        return "csv"
    if isinstance(source.file_format, ParquetFormat):
        return "parquet"
    if path.lower().endswith(_SUFFIXES["csv"]):
        return "csv"
    return "delta" if os.path.isdir(os.path.join(path, "_delta_log")) else "parquet"


def _in_folder(subject: str, path: str, file_format: Format) -> SourceFiles:
    matching: list[str] = []
    others: list[str] = []
    for folder, folders, names in os.walk(path, onerror=_refuse_unlisted):
        folders[:] = sorted(f for f in folders if _is_visible(f))
        for name in names:
            if _is_visible(name):
                right = name.lower().endswith(_SUFFIXES[file_format])
                (matching if right else others).append(os.path.join(folder, name))
    if others and not matching:
        raise SourceError(
            f"{subject}: folder {path} holds no {file_format} files ({', '.join(_SUFFIXES[file_format])}), but for "
            f"instance {sorted(others)[0]}. Rename the files, or set file_format."
        )
    matching.sort()
    return SourceFiles(subject, path, file_format, "folder", tuple(matching), _hive_keys(matching, path))


def _is_of_one_folder(pattern: str) -> bool:
    """Whether all that a pattern matches is in the same folder."""
    folder, names = os.path.split(pattern)
    return names != "**" and not glob.has_magic(folder)


def _in_one_folder(pattern: str) -> list[str]:
    """Returns the files that a pattern of names in one folder matches, in order."""
    folder, names = os.path.split(pattern)
    try:
        with os.scandir(folder) as entries:
            there = {entry.name: entry for entry in entries if _is_visible(entry.name)}
        return sorted(os.path.join(folder, name) for name in fnmatch.filter(there, names) if _is_file(there[name]))
    except OSError as error:
        _refuse_unlisted(error)
        return []


def _refuse_unlisted(error: OSError) -> None:
    """Raises unless an error of listing a folder says that it is not there.

    That no files are seen does not mean that there are none: their rows would be taken for withdrawn.
    """
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreUnavailableError(f"Folder {error.filename} cannot be listed: {error.strerror}") from error


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and (not name.startswith("_") or "=" in name)


def _counts(path: str, base: str) -> bool:
    return all(_is_visible(part) for part in os.path.relpath(path, base).split(os.sep))


def _fixed_part(pattern: str) -> str:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:fixed])) if fixed else "."


def _hive_keys(paths: list[str], base: str) -> tuple[str, ...]:
    if not paths:
        return ()
    folders = os.path.relpath(paths[0], base).split(os.sep)[:-1]
    return tuple(part.partition("=")[0] for part in folders if "=" in part)


def _nearest(path: str) -> str:
    import difflib

    folder = Path(path).parent
    if not folder.is_dir():
        return f" Folder {folder} does not exist either."
    near = difflib.get_close_matches(Path(path).name, os.listdir(folder), n=1, cutoff=0.6)
    return f" Did you mean {folder / near[0]}?" if near else ""


def writable_files(source: DataSource, root: Path) -> SourceFiles:
    """Returns what rows are written to: as `find_files`, but a single file need not exist yet.

    Raises:
        NotSupportedError: the path is on another machine, or the source is not a file source.
    """
    try:
        files = find_files(source, root)
    except SourceError:
        path = local_path(source.path, root) if isinstance(source, FileSource) else None
        if not isinstance(source, FileSource) or path is None or os.path.isdir(path):
            raise
        return SourceFiles(describe(source), path, _format(source, path), "file", ())
    if files.shape == "uri":
        raise NotSupportedError(f"{files.subject}: writing is supported to local files only.")
    return files


def log_files(files: SourceFiles) -> tuple[str, ...]:
    """Returns the log of a Delta table, a file for each change."""
    return tuple(glob.glob(os.path.join(glob.escape(files.path), "_delta_log", "*.json")))
