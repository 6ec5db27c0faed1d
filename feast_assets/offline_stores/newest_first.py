"""Where a long history is cut, so that the newest rows of entities are looked for in its newest part first.

Rows that are older than what has been read cannot be newer than what was found. So if the moments to look for are at
the end of a history, all that lies before the part in which each entity has a row need not be read. A cut is a moment,
and every row is on one side of it, whatever file it is in: what files say of their times decides how much is read, and
never what is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

_STRADDLING = 0.25
"""How many of the rows before a cut may be in row groups that reach beyond it: these are read again."""


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Row groups of a source, by their event times; int64[n] each.

    Attributes:
        files: the number of the file that each is in.
        rows: how many there are in each.
        oldest, newest: UTC microseconds, both included; the least and the greatest integer where they are not known.
    """

    files: Integers
    rows: Integers
    oldest: Integers
    newest: Integers

    def overlapping(self, start: int, end: int) -> RowGroups:
        """Returns those that may have rows from ``start`` on and before ``end``."""
        inside = (self.newest >= start) & (self.oldest < end)
        return RowGroups(self.files[inside], self.rows[inside], self.oldest[inside], self.newest[inside])

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.rows.sum())


def cuts(groups: RowGroups, first: int, least_rows: int) -> list[int]:
    """Returns the moments to cut a history at, latest first; a row at a cut belongs to what is newer.

    Each section has about as many rows as all newer ones together, and later ones have more. So what is read is at most
    a few times what would do, and the sections of a history are few.

    Args:
        groups: those that may have rows that count.
        first: the earliest moment that is looked for, in UTC microseconds. The newest section holds all rows from then
            on, since rows at moments between are looked for as well.
        least_rows: of a section.
    """
    order = np.argsort(-groups.newest, kind="stable")
    newest, rows = groups.newest[order], groups.rows[order]
    before = np.cumsum(rows)
    # What lies before a cut after each row group is newer than the newest row of the next one.
    positions = np.flatnonzero(newest[:-1] > newest[1:])
    at = newest[positions + 1] + 1
    straddling = before[positions] - _rows_from(groups, at)
    usable = (at <= first) & (groups.count - before[positions] >= least_rows)
    moments: list[int] = []
    done = 0
    for moment, newer, across in zip(
        at[usable].tolist(), before[positions][usable].tolist(), straddling[usable].tolist(), strict=True
    ):
        section = newer - done
        if section >= max(done * len(moments), least_rows) and across <= _STRADDLING * section:
            moments.append(moment)
            done = newer
    return moments


def _rows_from(groups: RowGroups, moments: Integers) -> Integers:
    """Returns how many rows are in row groups that begin at each moment or later."""
    order = np.argsort(groups.oldest, kind="stable")
    total: Integers = np.append(0, np.cumsum(groups.rows[order]))
    from_each: Integers = total[-1] - total[np.searchsorted(groups.oldest[order], moments, side="left")]
    return from_each
