"""The windows of a grid by number: rows are grouped by the windows that they count in, and windows without rows are
never made. Nothing here depends on an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Grain
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.offline_stores.summary import Summary, whole_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FIRST_MOMENT, LAST_MOMENT = to_micros(ALWAYS.start), to_micros(ALWAYS.end)
"""The first and the last moment that a datetime can hold, in UTC microseconds."""

_DAY = timedelta(days=1) // timedelta(microseconds=1)
_WIDTHS: dict[Grain, int] = {"hourly": _DAY // 24, "daily": _DAY, "weekly": 7 * _DAY}
_MANY_WINDOWS = 5_000
"""Where every window has rows, so many of them are looked at one by one."""


@dataclass(frozen=True, slots=True)
class Reaching:
    """Rows that count in all windows of some neighbouring numbers: with a lookback, also in later ones than their own.

    Attributes:
        first, last: the numbers, both included.
    """

    first: int
    last: int
    rows: Summary


class WindowNumbers:
    """The numbers of a grid's windows, counted from the first that a datetime can hold.

    Args:
        span: to which the windows are cut.

    Attributes:
        width: of a window in microseconds; 0 for months.
        origin: the start of window 0, in UTC microseconds.
        end: the last moment of the span, included.
        first, last: the numbers of the span's windows, both included.
    """

    def __init__(self, grain: Grain, span: Window):
        self.width = _WIDTHS.get(grain, 0)
        # Weeks begin on Sunday, and the first day of all was a Monday.
        self.origin = FIRST_MOMENT - _DAY if grain == "weekly" else FIRST_MOMENT
        self._span = span
        # The last microsecond of all belongs to the last window.
        self.end = LAST_MOMENT if span.end >= ALWAYS.end else to_micros(span.end) - 1
        self.first, self.last = self.number(to_micros(span.start)), self.number(self.end)

    def number(self, moment: int) -> int:
        """Returns the number of the window that holds a moment, in UTC microseconds."""
        if self.width:
            return (moment - self.origin) // self.width
        at = from_micros(moment)
        return at.year * 12 + at.month - 1

    def _start(self, number: int) -> datetime:
        if not self.width:
            return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        return from_micros(max(self.origin + number * self.width, FIRST_MOMENT))

    def starts_and_ends(self, windows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Returns the starts and the ends of some windows in UTC microseconds, cut to the span."""
        import numpy as np

        if self.width:
            starts = np.maximum(self.origin + windows * self.width, FIRST_MOMENT)
            ends = self.origin + (windows + 1) * self.width
        else:
            starts = np.array([to_micros(self._start(number)) for number in windows.tolist()], np.int64)
            ends = np.array(
                [to_micros(self._start(min(number + 1, self.last))) for number in windows.tolist()], np.int64
            )
        starts[windows == self.first] = to_micros(self._span.start)
        ends[windows == self.last] = to_micros(self._span.end)
        return starts, ends

    def window(self, first: int, last: int) -> Window:
        """Returns the windows of some neighbouring numbers as one, cut to the span."""
        start = self._span.start if first == self.first else self._start(first)
        return Window(start, self._span.end if last == self.last else self._start(last + 1))


class WindowInput:
    """What is read of one source.

    Args:
        reaching: what counts in some windows, by the first of them.
        always: what counts in every window.
    """

    def __init__(self, reaching: Sequence[Reaching], always: Summary | None = None):
        self.reaching = reaching
        self.always = always
        self._upcoming = 0
        self._active: list[Reaching] = []

    def upon(self, number: int) -> Summary:
        """Returns the summary of what counts in a window; asked for in order of the numbers."""
        if self.always is not None:
            return self.always
        while self._upcoming < len(self.reaching) and self.reaching[self._upcoming].first <= number:
            self._active.append(self.reaching[self._upcoming])
            self._upcoming += 1
        self._active = [each for each in self._active if each.last >= number]
        return whole_of([each.rows for each in self._active])


def occupied(numbers: WindowNumbers, inputs: Sequence[WindowInput]) -> Iterator[tuple[int, int]]:
    """Yields the first and last number of each window with rows, in order.

    Where a source without times counts in every window, all have rows; of very many, those before and after the
    timed rows are taken together.
    """
    reached = list(joined((each.first, each.last) for one in inputs for each in one.reaching))
    if any(one.always is not None and one.always.rows for one in inputs):
        if numbers.last - numbers.first < _MANY_WINDOWS:
            reached = [(numbers.first, numbers.last)]
        elif not reached:
            yield numbers.first, numbers.last
            return
        else:
            begin, end = reached[0][0], reached[-1][1]
            reached = [(begin, end)]
            if numbers.first < begin:
                yield numbers.first, begin - 1
            yield from ((number, number) for number in range(begin, end + 1))
            if end < numbers.last:
                yield end + 1, numbers.last
            return
    for begin, end in reached:
        yield from ((number, number) for number in range(begin, end + 1))


def joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yields the fewest ranges, both ends included, that cover just what some others cover, in order."""
    joined: list[int] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[1] + 1:
            joined[1] = max(joined[1], last)
            continue
        if joined:
            yield joined[0], joined[1]
        joined = [first, last]
    if joined:
        yield joined[0], joined[1]
