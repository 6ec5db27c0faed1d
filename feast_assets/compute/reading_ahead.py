"""Reading in a thread, before the rows are needed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

_T = TypeVar("_T")


class ReadAhead(Generic[_T]):
    """Yields the items of a generator, whose first item a thread begins to make at once.

    A query that sorts has done nearly all its work when it gives its first rows, and does not hold Python's lock
    meanwhile. An error of the generator is raised when the items are iterated over.
    """

    def __init__(self, items: Generator[_T, None, None]):
        self._items = items
        self._thread = ThreadPoolExecutor(1, "feast_assets_read")
        self._first = self._thread.submit(lambda: list(islice(items, 1)))

    def __iter__(self) -> Iterator[_T]:
        yield from self._first.result()
        yield from self._items

    def close(self) -> None:
        """Closes the generator as soon as its first item is made; does not wait for that."""
        self._thread.shutdown(wait=False)
        self._first.add_done_callback(lambda _: self._items.close())
