"""Files that only their owner may read: databases hold feature values, and registries the owners' definitions."""

from __future__ import annotations

import os
from pathlib import Path


def create_private_file(path: Path) -> None:
    """Creates an empty file for its owner alone (0600), if nothing is there; SQLite makes a database of it.

    SQLite gives the files beside a database, such as its write-ahead log, the database's own mode. A file that is there
    keeps its mode, so that an administrator may open it to others. What the file system refuses is left for SQLite to
    say when it opens the file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError:
        return
    os.close(descriptor)
