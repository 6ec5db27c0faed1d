"""What is read ahead is what would be read in turn; and whatever happens, it is closed."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing

import pytest

from feast_assets.compute.reading_ahead import ReadAhead


class Source:
    """Counts, and notes in which thread it was asked and whether it was closed."""

    def __init__(self, count: int, fails_at: int = -1):
        self.asked = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.threads: list[str] = []
        self.closed = threading.Event()
        self._count, self._fails_at = count, fails_at

    def items(self) -> Generator[int, None, None]:
        try:
            assert self.goes_on.wait(10)
            for number in range(self._count):
                self.threads.append(threading.current_thread().name)
                self.asked.set()
                if number == self._fails_at:
                    raise OSError("gone")
                yield number
        finally:
            self.closed.set()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_items_are_the_same_and_the_first_is_made_ahead(count: int) -> None:
    source = Source(count)
    with closing(ReadAhead(source.items())) as items:
        if count:
            assert source.asked.wait(10)
        assert list(items) == list(range(count))
    assert source.closed.wait(10)
    here = threading.current_thread().name
    assert [name == here for name in source.threads] == [False, True, True, True, True][:count]


def test_an_error_is_raised_where_the_items_are_asked_for() -> None:
    for fails_at in (0, 1):
        source = Source(3, fails_at)
        with closing(ReadAhead(source.items())) as items, pytest.raises(OSError, match="gone"):
            list(items)
        assert source.closed.wait(10)


def test_what_nobody_asks_for_is_closed() -> None:
    for fails_at in (-1, 0):
        source = Source(3, fails_at)
        with pytest.raises(ValueError, match="of somebody else"), closing(ReadAhead(source.items())):
            raise ValueError("of somebody else")
        assert source.closed.wait(10)
        assert len(source.threads) <= 1


def test_nobody_waits_for_what_is_closed_while_it_is_being_made() -> None:
    source = Source(3)
    source.goes_on.clear()
    with closing(ReadAhead(source.items())):
        pass
    assert not source.closed.is_set()
    source.goes_on.set()
    assert source.closed.wait(10)
    assert len(source.threads) == 1
