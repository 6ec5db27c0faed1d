"""Which files a caller's query may read.

These are data files below the feature repository, the files of the project's data sources wherever they are, and what
the setting ``readable_paths`` adds. A link counts as the file that it leads to.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import InputError, NotSupportedError, SourceError, StoreUnavailableError
from feast_assets.offline_stores.files.source_files import find_files

PARQUET = (".parquet", ".parq", ".pq")
CSV = (".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst")
JSON = (".json", ".json.gz", ".json.zst", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst")

_LONGEST_PATH = 4096
_LONGEST_SHOWN = 200
# How SQLite's and DuckDB's databases begin: registries and online stores, whatever their files are called.
_DATABASES = ((0, b"SQLite format 3\0"), (8, b"DUCK"))


@dataclass(frozen=True)
class ReadableFiles:
    """What a query may read.

    Attributes:
        root: the feature repository, where relative paths start.
        further: the setting ``readable_paths``: files, and folders with data files; relative to the root.
        sources: data sources whose files may be read, also where they lie elsewhere.
    """

    root: Path
    further: tuple[str, ...] = ()
    sources: tuple[DataSource, ...] = ()

    def find(self, path: str, subject: str) -> list[str]:
        """Returns the files that a path or glob of a query stands for: absolute, existing and readable; sorted.

        Args:
            subject: names the query, for messages.

        Raises:
            InputError: one of them may not be read, or there is none. Of a file that may not be read, the message
                does not even say whether it exists.
        """
        try:
            return self._checked_files(path, subject)
        except OSError as error:  # of links in /proc that belong to somebody else
            reason = f"cannot be examined ({error.strerror})"
        raise self._refused(path, subject, reason)

    def _checked_files(self, path: str, subject: str) -> list[str]:
        if not 0 < len(path) <= _LONGEST_PATH or "\0" in path or "://" in path or path.lower().startswith("file:"):
            raise self._refused(path, subject, "is not a path of a local file")
        given = os.path.join(self.root, os.path.expanduser(path))
        if not glob.has_magic(path) or self._is_file(given):
            files = [self._lasting(given)]
        else:
            files = [self._lasting(file) for file in self._matches(path, subject)]
        for file in files:
            reason = self._reason(os.path.realpath(file))
            if reason:
                raise self._refused(path, subject, reason, file)
            if not os.path.isfile(file):
                raise InputError(f"{subject} reads {_shown(path)}, but there is no regular file {_shown(file)}.")
            try:
                is_database = _is_database(file)
            except OSError as error:
                raise InputError(f"{subject} reads {_shown(file)}, which cannot be read: {error.strerror}.") from error
            if is_database:
                raise self._refused(path, subject, "is a database", file)
        return files

    @property
    def described(self) -> str:
        """What may be read, as a sentence that names the setting."""
        also = f" and, below {', '.join(map(_shown, self.further))}, data files" if self.further else ""
        return (
            f"A query may read Parquet and CSV files below the feature repository {self.root}, but no hidden ones, "
            f"files of the project's data sources{also}. To permit more, add a file or folder to readable_paths in the "
            "offline_store section of feature_store.yaml."
        )

    def _lasting(self, path: str) -> str:
        """Returns a file's path by which it is still the same one when it is read.

        What other places mean may change at any time, as with ``/proc/self/fd/3`` or ``/proc/self/cwd/file.csv``. And
        DuckDB takes the ``..`` out of a path without asking where links lead.
        """
        is_below = any(_parts_below(path, base) is not None for base in (str(self.root), self._root))
        return path if is_below and os.pardir not in Path(path).parts else os.path.realpath(path)

    def _matches(self, pattern: str, subject: str) -> list[str]:
        parts = Path(os.path.expanduser(pattern)).parts
        first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        base = os.path.realpath(os.path.join(self.root, *parts[:first]))
        if os.pardir in parts[first:] or not self._may_look_in(base):
            raise self._refused(pattern, subject, "is in a folder that may not be read")
        names = glob.glob(os.path.join(*parts), root_dir=self.root, recursive=True)
        files = sorted(path for name in names if not os.path.isdir(path := os.path.join(self.root, name)))
        if not files:
            raise InputError(f"{subject} reads {_shown(pattern)}, but no file matches it.")
        return files

    def _reason(self, file: str) -> str:
        """Returns why a file, which is no link, may not be read; "" where it may."""
        below = _parts_below(file, self._root)
        if below is None:
            reason = "is outside of the feature repository"
        elif any(part.startswith(".") for part in below):
            reason = "is hidden"
        elif not file.lower().endswith(PARQUET + CSV):
            reason = "does not have the name of a Parquet or CSV file"
        else:
            return ""
        return "" if self._is_listed(file) or file in self._of_sources else reason

    def _is_listed(self, file: str) -> bool:
        for base in self._further:
            below = _parts_below(file, base)
            if below is None:
                continue
            # A file that is listed itself may have any name.
            is_data = file.lower().endswith(PARQUET + CSV + JSON) and not any(p.startswith(".") for p in below)
            if is_data or not below:
                return True
        return False

    def _is_file(self, path: str) -> bool:
        """Tells whether a path with the characters of a glob is a file's own name; only of files that may be read."""
        return not self._reason(os.path.realpath(path)) and os.path.isfile(path)

    def _may_look_in(self, folder: str) -> bool:
        bases = [self._root, *self._further, *map(os.path.dirname, self._of_sources)]
        return any(_parts_below(folder, base) is not None for base in bases)

    @cached_property
    def _root(self) -> str:
        return os.path.realpath(self.root)

    @cached_property
    def _further(self) -> list[str]:
        return [os.path.realpath(os.path.join(self.root, os.path.expanduser(path))) for path in self.further]

    @cached_property
    def _of_sources(self) -> frozenset[str]:
        paths: set[str] = set()
        for source in self.sources:
            # Found when it is needed: in most queries, no file lies elsewhere.
            if isinstance(source, FileSource) and "://" not in source.path.removeprefix("file://"):
                try:
                    paths.update(map(os.path.realpath, find_files(source, self.root).paths))
                except (SourceError, StoreUnavailableError, NotSupportedError, OSError, ValueError):
                    continue  # A source that cannot be read lets nothing be read.
        return frozenset(paths)

    def _refused(self, path: str, subject: str, reason: str, file: str = "") -> InputError:
        named = "it"
        if glob.has_magic(path):
            # Names are told only of files in the repository.
            is_inside = _parts_below(file, str(self.root)) is not None
            named = f"it matches {_shown(file) if is_inside else 'a file'}, which" if file else "it"
        return InputError(f"{subject} may not read {_shown(path)}: {named} {reason}. {self.described}")


def _parts_below(path: str, base: str) -> tuple[str, ...] | None:
    """Returns the parts of a path below a base, none for the base itself; None where it lies elsewhere."""
    if path == base:
        return ()
    prefix = base if base.endswith(os.sep) else base + os.sep
    return tuple(path[len(prefix) :].split(os.sep)) if path.startswith(prefix) else None


def _is_database(file: str) -> bool:
    with open(file, "rb") as opened:
        head = opened.read(16)
    return any(head[at:].startswith(magic) for at, magic in _DATABASES)


def _shown(path: str) -> str:
    return repr(path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}...")
