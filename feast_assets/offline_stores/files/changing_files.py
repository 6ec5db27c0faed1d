"""Reading files that another process may replace meanwhile.

A writer that replaces a file whole (`os.replace`) leaves readers of the old one undisturbed, but DuckDB opens a file
more than once: for its columns, for the rows, and again where a query needs it twice. Where the system allows it, files
are therefore opened once here, and DuckDB reads them through these descriptors: whatever comes in their place, one call
reads one state of them. Elsewhere, and where a file is overwritten in place, the change is noticed, and what was not
handed out yet is read again.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from feast_assets.errors import SourceChangedError

_T = TypeVar("_T")

_DESCRIPTORS = "/proc/self/fd"
_IN_TEXT = re.compile(rf"{_DESCRIPTORS}/(\d+)")
_MOST_OF_A_SOURCE = 64
_MOST_AT_ONCE = 256

_TRIES = 8
_PATIENT_SECONDS = 10.0

_Stamp = tuple[int, int, int]


class ReadFiles:
    """The files of a source as they were when reading began.

    Args:
        paths: of the files.
        pinned: whether to open them now, so that all readings are of the same content. Not all can be: there is a limit
            for how many, and names of ``key=value`` folders are lost when files are read through descriptors.
        watched: files whose change tells that others have changed; left out, the files themselves.
    """

    def __init__(self, paths: Sequence[str], *, pinned: bool, watched: Sequence[str] | None = None):
        self.paths = tuple(paths)
        self._watched = self.paths if watched is None else tuple(watched)
        self._is_own_state = watched is None
        self._descriptors = _opened(self.paths) if pinned else ()
        if self._descriptors:
            weakref.finalize(self, _close, self._descriptors, os.getpid())
        self._stamps = self._current()

    @property
    def readable(self) -> tuple[str, ...]:
        """The names by which to read them, one for each path."""
        return tuple(f"{_DESCRIPTORS}/{d}" for d in self._descriptors) or self.paths

    def have_changed(self) -> bool:
        """Says whether what was read so far, or an error on the way, may be due to a change of the files."""
        return bool(self._watched) and (None in self._stamps or self._current() != self._stamps)

    def may_be_mixed(self) -> bool:
        """Says whether a reading that met no error may have met two states of one file, or of the folder.

        Where a file is gone, its rows may have been in another one as well: small files are put together so.
        """
        return self._is_own_state and (self.have_changed() or not all(map(os.path.exists, self.paths)))

    def are_one_state(self) -> bool:
        """Says whether all that was read is of one state that the source was in, though its files may be replaced now.

        Where a file is gone, the files may have been listed while they were exchanged one by one.
        """
        return bool(self._descriptors) and not self.have_changed() and all(map(os.path.exists, self.paths))

    def in_words(self, text: str) -> str:
        """Returns a message with the paths of files in place of the names by which they were read."""
        by_name = dict(zip(self._descriptors, self.paths, strict=False))
        return _IN_TEXT.sub(lambda name: by_name.get(int(name[1]), name[0]), text) if by_name else text

    def _current(self) -> list[_Stamp | None]:
        return [_stamp(file) for file in self._descriptors or self._watched]


def _stamp(file: str | int) -> _Stamp | None:
    """Returns what another file in its place would not have; None where there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


_LOCK = threading.RLock()  # a finalizer may run in the thread that holds it
_open_now = 0


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


def _opened(paths: Sequence[str]) -> tuple[int, ...]:
    """Returns a descriptor for each file; none at all where not all can be read through one."""
    global _open_now
    if not os.path.isdir(_DESCRIPTORS) or len(paths) > _MOST_OF_A_SOURCE:
        return ()
    with _LOCK:
        if _open_now + len(paths) > _MOST_AT_ONCE:
            return ()
        _open_now += len(paths)
    descriptors: list[int] = []
    try:
        for path in paths:
            # Without waiting: a pipe has no content that could be read twice.
            descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
            if not stat.S_ISREG(os.fstat(descriptors[-1]).st_mode):
                raise OSError("not a regular file")
    except OSError:
        # DuckDB says what is wrong with it.
        _close(descriptors, os.getpid())
        with _LOCK:
            _open_now -= len(paths) - len(descriptors)
        return ()
    return tuple(descriptors)


def _close(descriptors: Sequence[int], pid: int) -> None:
    global _open_now
    with _LOCK:
        _open_now -= len(descriptors)
    if os.getpid() == pid:
        for descriptor in descriptors:
            os.close(descriptor)


def again(read: Callable[[bool], _T]) -> _T:
    """Returns what a function reads; calls it again while it raises `SourceChangedError`.

    It is called twice at least, and more often only as long as that does not take long.

    Args:
        read: is told whether this is the last try.

    Raises:
        SourceChangedError: the files changed at each try.
    """
    begun = time.monotonic()
    for tries in itertools.count(1):
        is_last = tries >= _TRIES or (tries > 1 and time.monotonic() - begun > _PATIENT_SECONDS)
        try:
            return read(is_last)
        except SourceChangedError:
            if is_last:
                raise
    raise AssertionError  # the loop only ends by returning or raising


def changed_error(subject: str) -> SourceChangedError:
    """Returns the error for files that changed while they were read, and that nobody is to blame for."""
    return SourceChangedError(f"{subject} was changed while it was read. Try again.")


def have_changed(files: Iterable[ReadFiles]) -> bool:
    """Says whether any files have changed since they began to be read."""
    return any(each.have_changed() for each in files)
