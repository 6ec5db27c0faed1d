"""Noticing files of a feature repository that do more than declare definitions when they are imported.

Every apply imports every file, so a script that lies in the repository runs each time. A warning names
one that takes long, or makes or removes files.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_LONG_SECONDS = 5.0
_MOST_WATCHED = 200
REMEDY = "put what it runs below `if __name__ == '__main__':`, or name the file in .feastignore"


@dataclass
class _Running:
    """A file that is being imported, and what it has done so far."""

    file: Path
    seconds: float = 0.0
    changed: set[Path] = field(default_factory=set)


class ImportEffects:
    """Watches the imports of one repository.

    Files that are made, removed or renamed are seen by the modification times of directories: the repository's, those
    right below it, and those of its Python files. A file that is rewritten in place is not seen.

    Args:
        root: the repository.
        files: those that are imported.
    """

    def __init__(self, root: Path, files: Sequence[Path]):
        self._root = root
        with os.scandir(root) as entries:
            below = sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        self._directories = list(dict.fromkeys([root, *(file.parent for file in files), *below]))[:_MOST_WATCHED]
        self._running: list[_Running] = []
        self._times: dict[Path, int] = {}
        self._clock = 0.0

    @contextmanager
    def watched(self, file: Path) -> Iterator[None]:
        """Warns after the import of a file where the file itself, not one that it imports, took long or made files."""
        self._account()
        running = _Running(file)
        self._running.append(running)
        try:
            yield
            self._account()
        finally:
            self._running.pop()
        self._warn(running)

    def _account(self) -> None:
        """Attributes what happened since the last call to the file that was running."""
        now, times = time.perf_counter(), self._modification_times()
        if self._running:
            innermost = self._running[-1]
            innermost.seconds += now - self._clock
            innermost.changed |= {d for d, at in times.items() if self._times.get(d, at) != at}
        self._clock, self._times = now, times

    def _warn(self, running: _Running) -> None:
        name = running.file.relative_to(self._root)
        if running.seconds > _LONG_SECONDS:
            warnings.warn(
                f"{name} took {running.seconds:.0f} seconds to import, and every apply imports it. If it does more "
                f"than declare features, {REMEDY}.",
                stacklevel=2,
            )
        if running.changed:
            where = ", ".join("/".join((self._root.name, *d.relative_to(self._root).parts)) for d in running.changed)
            warnings.warn(
                f"{name} made, removed or renamed files in {where} while it was imported, and every apply imports it. "
                f"If that is not intended, {REMEDY}.",
                stacklevel=2,
            )

    def _modification_times(self) -> dict[Path, int]:
        times = {}
        for directory in self._directories:
            try:
                times[directory] = directory.stat().st_mtime_ns
            except OSError:
                continue
        return times
