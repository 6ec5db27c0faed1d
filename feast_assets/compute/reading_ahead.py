"""Reading that has begun before somebody waits for it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


@contextmanager
def begun(items: Generator[_T, None, None]) -> Iterator[Iterator[_T]]:
    """Gives what yields the same items, of which the first is being made in a thread from now on.

    A query that sorts has done nearly all its work when it gives its first rows, and holds no lock of Python meanwhile.
    An error is raised where the items are asked for; without that, nowhere.
    """
    with ThreadPoolExecutor(1, "feast_assets_read") as thread:
        first = thread.submit(lambda: list(islice(items, 1)))

        def remaining() -> Iterator[_T]:
            yield from first.result()
            yield from items

        try:
            yield remaining()
        finally:
            first.exception()
            items.close()
