"""The ledger in a SQL database: a row for each stretch of neighbouring windows of a view, called a segment.

A claim and settling read and write only the segments that their windows are in, and the window before. All statements
run in the caller's transaction, in which no other run writes the project's ledger.
"""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.sql.schema import SEGMENTS
from feast_assets.registry.sql.segment_codec import decoded, encoded, stamp
from feast_assets.registry.sql.transaction import Row, Transaction, Value

MOST_WINDOWS = 2048
"""How many windows a segment may have. One that gets more is divided."""
_WINDOWS_OF_NEW = 1024
_DAMAGED = "damaged"
"""What `LedgerColumns.claims` says of the time of a segment that cannot be read. No run has it as its id."""

_OF_VIEW = f'FROM {SEGMENTS} WHERE project = :project AND "view" = :view'
_SPANS = f"SELECT first_start, last_end {_OF_VIEW} ORDER BY first_start"
_ONE = f"SELECT first_start, last_end, stamp, content {_OF_VIEW} AND first_start = :first_start"
_LEAVE = f'DELETE FROM {SEGMENTS} WHERE project = :project AND "view" = :view AND first_start = :first_start'


def columns_of(view: str, rows: Iterable[Sequence[Any]]) -> LedgerColumns:
    """Returns the entries of a view's segments: the columns ``first_start, last_end, stamp, content``, in order."""
    return LedgerColumns.concatenated(view, [_columns(view, *row) for row in rows])


def segments_of(columns: LedgerColumns) -> Iterable[Row]:
    """Yields the rows of segments that hold some entries, of one view and in order of time; without the project."""
    step = len(columns) if len(columns) <= MOST_WINDOWS else _WINDOWS_OF_NEW
    for first in range(0, len(columns), step or 1):
        part = columns.taken(slice(first, first + step))
        content = encoded(part)
        yield {
            "view": part.view,
            "first_start": int(part.starts[0]),
            "last_end": int(part.ends[-1]),
            "stamp": stamp(content),
            "content": content,
        }


@dataclass
class ViewSegments:
    """The segments of one view within a transaction that writes; each is read when it is first needed."""

    transaction: Transaction
    project: str
    view: str

    def __post_init__(self) -> None:
        spans = self._query(_SPANS)
        self._firsts = [int(first) for first, _ in spans]
        self._lasts = [int(last) for _, last in spans]
        self._read: dict[int, LedgerColumns] = {}

    def overlapping(self, windows: Iterable[Window]) -> LedgerColumns:
        """Returns the entries that overlap any of some windows, in order of time."""
        taken: dict[int, list[slice]] = {}
        for window in windows:
            start, end = to_micros(window.start), to_micros(window.end)
            at = bisect_right(self._lasts, start)
            while at < len(self._firsts) and self._firsts[at] < end:
                taken.setdefault(at, []).append(self._segment(at).overlapping(start, end))
                at += 1
        return LedgerColumns.concatenated(self.view, [_some(self._segment(at), taken[at]) for at in sorted(taken)])

    def all(self) -> LedgerColumns:
        """Returns all entries, in order of time."""
        return LedgerColumns.concatenated(self.view, [self._segment(at) for at in range(len(self._firsts))])

    def exchange(self, removed: Sequence[LedgerEntry], added: Sequence[LedgerEntry], claims: Sequence[str]) -> None:
        """Removes and adds entries.

        Args:
            added: in place of those with the same start, if there are any.
            claims: of the added ones, see `LedgerColumns.claims`.
        """
        gone: dict[int, list[int]] = {}
        come: dict[int, list[int]] = {}
        for entry in removed:
            start = to_micros(entry.window.start)
            gone.setdefault(self._segment_of(start), []).append(start)
        for i, entry in enumerate(added):
            come.setdefault(self._segment_of(to_micros(entry.window.start)), []).append(i)
        changed: list[LedgerColumns] = []
        left: list[Row] = []
        for at in sorted({*gone, *come}):
            coming = sorted(come.get(at, ()), key=lambda i: added[i].window)
            new = LedgerColumns.of(self.view, [added[i] for i in coming], [claims[i] for i in coming])
            if at < len(self._firsts):
                left.append({"project": self.project, "view": self.view, "first_start": self._firsts[at]})
                new = _merged(self._segment(at), np.array(gone.get(at, []), np.int64), new)
            changed.append(new)
        self.transaction.each(_LEAVE, left)
        rows = (row for columns in changed for row in segments_of(columns))
        self.transaction.upsert(SEGMENTS, ({"project": self.project, **row} for row in rows))

    def _segment_of(self, start: int) -> int:
        """Returns the segment that a window with this start is in, or is to be put into; 0 also where there is none."""
        return max(bisect_right(self._firsts, start) - 1, 0)

    def _segment(self, at: int) -> LedgerColumns:
        columns = self._read.get(at)
        if columns is None:
            ((first, last, number, content),) = self._query(_ONE, first_start=self._firsts[at])
            columns = self._read[at] = _columns(self.view, first, last, number, content)
        return columns

    def _query(self, statement: str, **values: Value) -> Sequence[tuple[int, ...]]:
        return self.transaction(statement, project=self.project, view=self.view, **values)


def _columns(view: str, first: int, last: int, number: object, content: object) -> LedgerColumns:
    if isinstance(content, bytes) and number == stamp(content):
        return decoded(view, content)
    # Damage costs a run: its time is materialized again.
    window = Window(from_micros(first), from_micros(last))
    entry = LedgerEntry(view, window, "", 0, "", rows=0, written=0, at=datetime.now(UTC), settled=False)
    return LedgerColumns.of(view, [entry], [_DAMAGED])


def _merged(
    segment: LedgerColumns, gone: np.ndarray[tuple[int], np.dtype[np.int64]], new: LedgerColumns
) -> LedgerColumns:
    stay = segment.taken(~np.isin(segment.starts, np.concatenate([gone, new.starts])))
    both = LedgerColumns.concatenated(segment.view, [stay, new])
    return both.taken(np.argsort(both.starts, kind="stable"))


def _some(segment: LedgerColumns, parts: Sequence[slice]) -> LedgerColumns:
    chosen = np.zeros(len(segment), np.bool_)
    for part in parts:
        chosen[part] = True
    return segment.taken(chosen)
