"""Reads the lines of files as messages."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from feast_assets.definitions.sources.file_stream_source import FileStreamSource
from feast_assets.errors import InputError, StoreUnavailableError
from feast_assets.streams.base import Assigned, Messages, ReaderWithoutGroup, Revoked

_SUFFIXES = (".jsonl", ".ndjson", ".json")
_BLOCK = 1 << 20
_LOOK_EVERY_SECONDS = 0.05
_LOOK_WHILE_BUSY_SECONDS = 1.0
"""Between looks for new files while there are lines to read."""
_DIGEST_BYTES = 8


class FileReader(ReaderWithoutGroup):
    """Reads files line by line. Partitions are files; a file whose first line is another one is another partition.

    Args:
        source: names the file or the folder.
        root: the folder that a relative path starts from.
    """

    def __init__(self, source: FileStreamSource, root: Path):
        self._source = source
        self._path = root / os.path.expanduser(source.path)
        self._assigned: Assigned | None = None
        self._revoked: Revoked | None = None
        self._files: dict[str, Path] = {}
        self._positions: dict[str, int] = {}
        self._next_look = 0.0

    def identity(self) -> str:
        if not self._path.exists():
            raise InputError(f"FileStreamSource {self._source.name!r}: there is no {self._path}.")
        return "files"

    def open(self, assigned: Assigned, revoked: Revoked) -> None:
        self._assigned, self._revoked = assigned, revoked
        self._find()

    def poll(self, seconds: float, most: int) -> list[Messages]:
        deadline = time.monotonic() + seconds
        if time.monotonic() >= self._next_look:
            self._find()
        while True:
            received = self._read(most)
            left = deadline - time.monotonic()
            if received or left <= 0:
                return received
            time.sleep(min(left, _LOOK_EVERY_SECONDS))
            self._find()

    def partitions(self) -> list[str]:
        self._find()
        return sorted(self._files)

    def ends(self, partitions: Sequence[str]) -> Mapping[str, int]:
        ends = {}
        for name in partitions:
            try:
                ends[name] = _end_of_lines(self._files[name])
            except OSError as error:
                raise self._unreadable(self._files[name], error) from error
        return ends

    def at(self, partitions: Sequence[str], moment: datetime) -> Mapping[str, int]:
        raise InputError(
            f"FileStreamSource {self._source.name!r}: lines of files do not say when they were written, so consuming "
            "cannot start at a time; start at the beginning."
        )

    def close(self) -> None:
        if self._revoked is not None and self._files:
            self._revoked(list(self._files), False)
        self._files = {}

    def _find(self) -> None:
        """Takes files that are new."""
        self._next_look = time.monotonic() + _LOOK_WHILE_BUSY_SECONDS
        new: dict[str, Path] = {}
        for path in self._paths():
            name = self._partition(path)
            if name is not None and name not in self._files:
                new[name] = path
        self._files.update(new)
        if self._assigned is not None and (new or not self._files):
            positions = self._assigned(list(new))
            self._positions.update({name: positions[name] or 0 for name in new})

    def _paths(self) -> list[Path]:
        if self._path.is_dir():
            return sorted(
                path
                for path in self._path.iterdir()
                if path.name.endswith(_SUFFIXES) and not path.name.startswith((".", "_")) and path.is_file()
            )
        return [self._path]

    def _partition(self, path: Path) -> str | None:
        """Returns the name of a file's partition; None where it has no whole line yet."""
        try:
            with path.open("rb") as file:
                first = file.readline()
        except OSError:
            return None
        if not first.endswith(b"\n"):
            return None
        return f"{path.name}-{hashlib.blake2b(first, digest_size=_DIGEST_BYTES).hexdigest()}"

    def _read(self, most: int) -> list[Messages]:
        received = []
        for name, path in self._files.items():
            part = self._lines(name, path, most)
            if part is not None:
                received.append(part)
                most -= len(part)
            if most <= 0:
                break
        return received

    def _lines(self, name: str, path: Path, most: int) -> Messages | None:
        """Returns up to so many lines of a file; None where there are no more."""
        position = self._positions[name]
        part = Messages(name, next=position)
        try:
            with path.open("rb") as file:
                file.seek(position)
                while len(part) < most:
                    line = file.readline()
                    if not line.endswith(b"\n"):
                        break
                    text = line.strip()
                    if text:
                        part.offsets.append(part.next)
                        part.times.append(None)
                        part.keys.append(None)
                        part.values.append(text)
                    part.next += len(line)
        except OSError as error:
            raise self._unreadable(path, error) from error
        if part.next == position:
            return None
        self._positions[name] = part.next
        return part

    def _unreadable(self, path: Path, error: OSError) -> StoreUnavailableError:
        return StoreUnavailableError(f"FileStreamSource {self._source.name!r}: {path}: {error.strerror}.")


def _end_of_lines(path: Path) -> int:
    """Returns where the last whole line of a file ends."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            feed = file.read(end - start).rfind(b"\n")
            if feed >= 0:
                return start + feed + 1
            end = start
    return 0
