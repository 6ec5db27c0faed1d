"""How long calls wait for a data source that another process has open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_longest: ContextVar[float] = ContextVar("longest_wait", default=math.inf)


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Lets calls in this context wait no longer than this, whatever the settings of a store say.

    For callers that have to answer soon, and can come back. Where a source is held longer, `SourceHeldError` is raised.
    """
    token = _longest.set(min(seconds, _longest.get()))
    try:
        yield
    finally:
        _longest.reset(token)


def longest_wait() -> float:
    """Returns how many seconds calls may wait at most; infinite without `waiting_at_most`."""
    return _longest.get()
