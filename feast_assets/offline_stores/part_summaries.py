"""What single parts of a source contribute to the windows of a grid, as columns of numbers.

All of it is additive over rows. So the statistics of a window are the sums of what the parts contribute, and a part
that has not changed need not be read again. A *contribution* is what the rows of one part say that count in the same
windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.offline_stores.summary import Summary

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

NOTHING = -(2**63)
"""Stands for null in the column of created times."""

MOST_ROWS = 2**31
"""Sums of half a hash over so many rows would not fit in 63 bits."""

COLUMNS = ("part", "first", "last", "rows", "null_keys", "oldest", "newest", "created", "low", "high", "mix")
"""The columns of `Contributions`, in order."""

_SMALLEST = 2**63 - 1


@dataclass(frozen=True)
class Contributions:
    """What parts contribute to windows; int64 columns of equal lengths.

    Attributes:
        part: the number of the part.
        first, last: the numbers of the windows in which the rows count, both included.
        rows: rows with a join key.
        null_keys: rows without. They are contributions of their own, of which only the times are said besides.
        oldest, newest: UTC microseconds.
        created: the newest created time; `NOTHING` where there is none.
        low, high: the sums of the lower and of the upper 32 bits of the rows' hashes.
        mix: the exclusive or of the hashes.
    """

    part: Numbers
    first: Numbers
    last: Numbers
    rows: Numbers
    null_keys: Numbers
    oldest: Numbers
    newest: Numbers
    created: Numbers
    low: Numbers
    high: Numbers
    mix: Numbers

    def __len__(self) -> int:
        return len(self.part)

    @property
    def columns(self) -> list[Numbers]:
        """All columns, in the order of `COLUMNS`."""
        return [getattr(self, name) for name in COLUMNS]

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Contributions:
        """Returns the chosen ones."""
        return Contributions(*(column[chosen] for column in self.columns))

    def of_parts(self, numbers: Mapping[int, int]) -> Contributions:
        """Returns those of some parts, which get other numbers.

        Args:
            numbers: the new number by the old one.
        """
        import numpy as np

        renumbered = np.full(max([*numbers, int(self.part.max(initial=0))]) + 1, -1, np.int64)
        renumbered[list(numbers)] = list(numbers.values())
        part = renumbered[self.part]
        kept = self if (part >= 0).all() else self.take(part >= 0)
        return Contributions(part[part >= 0], *kept.columns[1:])

    def with_parts_from(self, number: int) -> Contributions:
        """Returns the same with parts that are numbered from a number on."""
        return Contributions(self.part + number, *self.columns[1:]) if number else self

    @cached_property
    def by_window(self) -> Contributions:
        """The same, in order of the first window."""
        import numpy as np

        return self if (self.first[1:] >= self.first[:-1]).all() else self.take(np.argsort(self.first, kind="stable"))

    def summed(self) -> Iterator[tuple[int, int, Summary]]:
        """Yields the first and last window of each group of rows that count in the same windows, and their summary."""
        import numpy as np

        if not len(self):
            return
        order = np.lexsort((self.last, self.first))
        ordered = self.take(order)
        begins = np.ones(len(order), bool)
        begins[1:] = (ordered.first[1:] != ordered.first[:-1]) | (ordered.last[1:] != ordered.last[:-1])
        at = np.flatnonzero(begins)
        # Of rows without a join key nothing is said but how many.
        timed = ordered.rows > 0
        oldest = np.minimum.reduceat(np.where(timed, ordered.oldest, _SMALLEST), at)
        newest = np.maximum.reduceat(np.where(timed, ordered.newest, NOTHING), at)
        columns = [
            ordered.first[at],
            ordered.last[at],
            np.add.reduceat(ordered.rows, at),
            oldest,
            newest,
            np.maximum.reduceat(ordered.created, at),
            np.add.reduceat(ordered.low, at),
            np.add.reduceat(ordered.high, at),
            np.bitwise_xor.reduceat(ordered.mix, at),
            np.add.reduceat(ordered.null_keys, at),
        ]
        for first, last, rows, old, new, created, low, high, mix, null_keys in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            yield (
                first,
                last,
                Summary(
                    rows,
                    old if rows else None,
                    new if rows else None,
                    created if created != NOTHING else None,
                    (high << 32) + low,
                    mix % 2**64,
                    null_keys,
                ),
            )


def no_contributions() -> Contributions:
    """Returns none."""
    import numpy as np

    return Contributions(*(np.zeros(0, np.int64) for _ in COLUMNS))


def concatenated(several: Sequence[Contributions]) -> Contributions:
    """Returns all of some contributions."""
    import numpy as np

    if len(several) == 1:
        return several[0]
    if not several:
        return no_contributions()
    columns = zip(*(each.columns for each in several), strict=True)
    return Contributions(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True, slots=True)
class PartSummaries:
    """What was read of some parts.

    Attributes:
        contributions: their part numbers are the places of the parts in what was asked for.
        null_times: for each part, its rows without an event time.
        rows: as long as somebody has it, the store may keep rows of the parts in memory, so that they need not be read
            twice.
    """

    contributions: Contributions
    null_times: Sequence[int]
    rows: object = None
