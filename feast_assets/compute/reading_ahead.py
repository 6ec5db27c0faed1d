"""Reading that has begun before somebody waits for it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

_T = TypeVar("_T")


class ReadAhead(Generic[_T]):
    """What yields the same items as a generator, of which the first is being made in a thread from now on.

    A query that sorts has done nearly all its work when it gives its first rows, and holds no lock of Python meanwhile.
    An error is raised where the items are asked for; without that, nowhere.
    """

    def __init__(self, items: Generator[_T, None, None]):
        self._items = items
        self._thread = ThreadPoolExecutor(1, "feast_assets_read")
        self._first = self._thread.submit(lambda: list(islice(items, 1)))

    def __iter__(self) -> Iterator[_T]:
        yield from self._first.result()
        yield from self._items

    def close(self) -> None:
        """Closes the generator once it has made its first item, for which nobody waits."""
        self._thread.shutdown(wait=False)
        self._first.add_done_callback(lambda _: self._items.close())
