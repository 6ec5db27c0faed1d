"""Waiting for a DuckDB file that another process has open: while one writes to it, no other can open it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from feast_assets.errors import SourceHeldError
from feast_assets.offline_stores.patience import longest_wait

_T = TypeVar("_T")
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5
_SHORT_WAIT = 1.0
"""Seconds after which a user may wonder why nothing happens."""

_log = logging.getLogger(__name__)


class DatabaseHeldError(SourceHeldError):
    """A DuckDB file cannot be opened now, because it is open elsewhere.

    Attributes:
        path: the file.
        holder: who, in words; "" if that is not known.
        subject: the source, for messages; "" where it is not known yet.
    """

    def __init__(self, path: str, holder: str = "", subject: str = ""):
        by = f" by {holder}" if holder else ""
        super().__init__(f"{f'{subject}: ' if subject else ''}the DuckDB file {path} is held open{by}.")
        self.path = path
        self.holder = holder
        self.subject = subject


def when_free(call: Callable[[], _T], seconds: float) -> _T:
    """Returns what a function returns; calls it again while it raises `DatabaseHeldError`.

    Args:
        seconds: how long to wait at most; less within `waiting_at_most`.

    Raises:
        SourceHeldError: the file was held all the time.
    """
    seconds = min(seconds, longest_wait())
    begun: float | None = None
    is_told = False
    pause = _FIRST_PAUSE
    while True:
        try:
            return call()
        except DatabaseHeldError as held:
            now = time.monotonic()
            begun = now if begun is None else begun
            if now - begun >= _SHORT_WAIT and not is_told:
                is_told = True
                _log.warning("%s It is waited for, %g seconds at most.", held, seconds)
            if now - begun >= seconds:
                raise SourceHeldError(
                    f"{str(held).removesuffix('.')}, and still is after {seconds:g} seconds "
                    "(database_wait_seconds in the offline_store section of feature_store.yaml). DuckDB lets one "
                    "process write to a file, and nobody else read it meanwhile. Close that connection, or let assets "
                    "of one file run in one concurrency pool."
                ) from held
        time.sleep(min(pause, max(begun + seconds - now, 0)))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
