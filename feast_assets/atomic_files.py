"""Writing files so that readers, and a crash at any moment, meet the old file or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from feast_assets.errors import FeastAssetsError, StoreUnavailableError

_ABANDONED_SECONDS = 24 * 3600


_CANNOT_WRITE = "The offline store cannot write"


@contextlib.contextmanager
def new_file(
    path: Path, *, if_exists: Literal["replace", "keep", "refuse"] = "replace", cannot_write: str = _CANNOT_WRITE
) -> Iterator[Path]:
    """Gives the path of a temporary file; when the block ends well, it becomes ``path``, and otherwise goes away.

    Args:
        if_exists: what becomes of a file that is there at the end: the new one takes its place, it stays, or it stays
            and that is an error.
        cannot_write: how the message of an error begins; the path follows.

    Raises:
        FileExistsError: there is such a file, and ``if_exists`` is "refuse".
        StoreUnavailableError: the disk is full, or writing is not permitted.
    """
    temporary = temporary_path(path)
    is_new = True
    try:
        with writing(path, cannot_write):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if if_exists == "replace":
                publish(temporary, path)
            else:
                is_new = publish_once(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    if if_exists == "refuse" and not is_new:
        raise FileExistsError(path)


def temporary_path(path: Path) -> Path:
    """Returns a hidden name beside a path, which sources do not read."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def publish(temporary: Path, path: Path) -> None:
    """Makes a temporary file, with its content safely on disk, the file of that path."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def publish_once(temporary: Path, path: Path) -> bool:
    """As `publish`, but leaves a file of that path as it is; says whether there was none."""
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    try:
        # Unlike a rename, a link fails if somebody else was faster.
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # No links on this file system.
        os.replace(temporary, path)
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Makes new and removed names in a folder last through a power cut."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path, cannot_write: str = _CANNOT_WRITE) -> Iterator[None]:
    """Turns errors of the file system into `StoreUnavailableError` that names the path.

    Args:
        cannot_write: how the message begins.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FeastAssetsError):
            raise
        reason = error.strerror or str(error)
        raise StoreUnavailableError(f"{cannot_write} {path}: {reason}.") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes and threads from changing the same file or folder; waits for them."""
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    with writing(path):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with writing(path):
            _lock(handle)
        yield
    finally:
        # Closing gives the lock back; the file stays, as removing it would let two hold different locks.
        os.close(handle)


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def remove_abandoned(folder: Path) -> None:
    """Removes temporary files that killed writers left long ago."""
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _ABANDONED_SECONDS:
                temporary.unlink()
