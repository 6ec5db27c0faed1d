"""Folders that DuckDB spills to: for their owner alone, and removed later where a killed process left one.

The process that uses a folder holds a lock on it, which the system takes back when the process ends, however it ends.
So a folder whose lock is free has no user, also where its process's number belongs to another process by now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - without locks there is no telling, and nothing is removed
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"feast_assets_spill_[0-9]+_[0-9a-f]{12}")
# Of versions that held no lock.
_UNLOCKED_NAME = re.compile(r"feast_assets_([0-9]+)_[0-9a-f]{12}")
_UNUSED_SECONDS = 24 * 3600
_swept: set[tuple[int, Path]] = set()


@dataclass(frozen=True)
class SpillFolder:
    """A folder of this process's own, and the lock on it.

    Attributes:
        path: the folder.
    """

    path: Path
    _lock: int | None

    def made_again(self) -> SpillFolder:
        """Returns the same folder, made and locked anew after it was removed.

        Raises:
            OSError: it cannot be made.
        """
        self.path.mkdir(mode=0o700, parents=True)
        lock = None if fcntl is None else _locked(self.path)
        if fcntl is not None and lock is None:
            raise FileExistsError(errno.EEXIST, "another process has taken the folder", str(self.path))
        return SpillFolder(self.path, lock)

    def remove(self) -> None:
        """Removes the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)


def make_spill_folder(parent: Path) -> SpillFolder:
    """Makes a folder with a new name that only its owner may enter (0700).

    The first time that a process makes one below a parent, folders that killed processes left there are removed.

    Args:
        parent: made when it is not there.

    Raises:
        OSError: the folder cannot be made, but for a full disk: then it is left to DuckDB, when it spills.
    """
    parent.mkdir(parents=True, exist_ok=True)
    if (os.getpid(), parent) not in _swept:
        _swept.add((os.getpid(), parent))
        remove_orphans(parent)
    while True:
        path = parent / f"feast_assets_spill_{os.getpid()}_{uuid.uuid4().hex[:12]}"
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return SpillFolder(path, None)  # what needs no spilling can go on
        if fcntl is None:
            return SpillFolder(path, None)
        lock = _locked(path)
        if lock is not None:
            return SpillFolder(path, lock)
        # Another process took it for an orphan between these lines, and removes it.


def remove_orphans(parent: Path) -> int:
    """Removes the spill folders of this user whose process is gone; returns how many.

    Links are not followed, and folders of other users left alone. What cannot be removed is left.
    """
    if fcntl is None:
        return 0
    removed = 0
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in [entry for entry in entries if entry.name.startswith("feast_assets_")]:
            if _may_be_orphan(entry):
                removed += _removed(Path(entry.path))
    return removed


def _may_be_orphan(entry: os.DirEntry[str]) -> bool:
    try:
        about = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        return False
    if _NAME.fullmatch(entry.name):
        return True
    unlocked = _UNLOCKED_NAME.fullmatch(entry.name)
    if unlocked is None or time.time() - about.st_mtime < _UNUSED_SECONDS:
        return False
    return not _is_running(int(unlocked[1]))


def _removed(path: Path) -> bool:
    lock = _locked(path)
    if lock is None:
        return False
    try:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
    return not path.exists()


def _locked(path: Path) -> int | None:
    """Returns a descriptor that holds the lock on a folder; None where another holds it, or the folder is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        there, held = os.stat(path, follow_symlinks=False), os.fstat(descriptor)
        if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino) and held.st_uid == os.geteuid():
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
