"""The ledger in segments: stretches of neighbouring windows of a view, each stored as one value.

A claim and settling read and write only the segments that their windows are in, and the window before. A backend says
in `SegmentRows` how segments are read and exchanged; all of it runs in the caller's transaction, in which no other run
writes the project's ledger.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger import Exchange
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.segment_codec import decoded, encoded, stamp

MOST_WINDOWS = 2048
"""How many windows a segment may have. One that gets more is divided."""
_WINDOWS_OF_NEW = 1024
_DAMAGED = "damaged"
"""What `LedgerColumns.claims` says of the time of a segment that cannot be read. No run has it as its id."""


class LedgerSegment(NamedTuple):
    """A segment as it is stored.

    Attributes:
        first_start, last_end: of its windows, in UTC microseconds.
        stamp: a number that the content decides; see `feast_assets.registry.segment_codec.stamp`.
        content: the entries; see `feast_assets.registry.segment_codec`.
    """

    first_start: int
    last_end: int
    stamp: int
    content: bytes


class SegmentRows(Protocol):
    """The stored segments of one view within a transaction that writes."""

    def spans(self) -> Sequence[tuple[int, int]]:
        """Returns `LedgerSegment.first_start` and ``last_end`` of all segments, in order."""

    def segment(self, first_start: int) -> Sequence[Any]:
        """Returns a segment as it is stored, which may be damaged: the four attributes of `LedgerSegment`."""

    def exchange(self, left: Sequence[int], came: Iterable[LedgerSegment]) -> None:
        """Removes the segments with some first starts, and adds others."""


def columns_of(view: str, rows: Iterable[Sequence[Any]]) -> LedgerColumns:
    """Returns the entries of a view's segments: the columns ``first_start, last_end, stamp, content``, in order."""
    return LedgerColumns.concatenated(view, [_columns(view, *row) for row in rows])


def segments_of(columns: LedgerColumns) -> Iterable[LedgerSegment]:
    """Yields segments that hold some entries, of one view and in order of time."""
    step = len(columns) if len(columns) <= MOST_WINDOWS else _WINDOWS_OF_NEW
    for first in range(0, len(columns), step or 1):
        part = columns.taken(slice(first, first + step))
        content = encoded(part)
        yield LedgerSegment(int(part.starts[0]), int(part.ends[-1]), stamp(content), content)


class SegmentedLedger:
    """The ledger of one view within a transaction that writes; each segment is read when it is first needed."""

    def __init__(self, rows: SegmentRows, view: str):
        self.view = view
        self._rows = rows
        spans = rows.spans()
        self._firsts = [int(first) for first, _ in spans]
        self._lasts = [int(last) for _, last in spans]
        self._read: dict[int, LedgerColumns] = {}

    def entries(self) -> list[LedgerEntry]:
        """Returns all entries, by window."""
        parts = [self._segment(at) for at in range(len(self._firsts))]
        return LedgerColumns.concatenated(self.view, parts).entries()

    def overlapping(self, windows: Iterable[Window]) -> list[LedgerEntry]:
        """Returns the entries that overlap any of some windows, by window."""
        return self._overlapping(windows).entries()

    def overlapping_and_own(self, windows: Iterable[Window], claim_id: str) -> tuple[list[LedgerEntry], set[Window]]:
        """Returns as `overlapping`, and the windows of these that a claim still stands for."""
        columns = self._overlapping(windows)
        return columns.entries(), set(columns.taken(columns.claims.is_in([claim_id])))

    def exchange(self, exchange: Exchange, claim: str) -> None:
        """Removes and adds entries, each of these in place of one with the same start, if there is one.

        Args:
            claim: what the unsettled ones of the added get in `LedgerColumns.claims`, unless they are doubted.
        """
        claims = ["" if e.settled else e.doubt or claim for e in exchange.added]
        self._exchange(exchange.removed, exchange.added, claims)

    def _overlapping(self, windows: Iterable[Window]) -> LedgerColumns:
        taken: dict[int, list[slice]] = {}
        for window in windows:
            start, end = to_micros(window.start), to_micros(window.end)
            at = bisect_right(self._lasts, start)
            while at < len(self._firsts) and self._firsts[at] < end:
                taken.setdefault(at, []).append(self._segment(at).overlapping(start, end))
                at += 1
        return LedgerColumns.concatenated(self.view, [_some(self._segment(at), taken[at]) for at in sorted(taken)])

    def _exchange(self, removed: Sequence[LedgerEntry], added: Sequence[LedgerEntry], claims: Sequence[str]) -> None:
        gone: dict[int, list[int]] = {}
        come: dict[int, list[int]] = {}
        for entry in removed:
            start = to_micros(entry.window.start)
            gone.setdefault(self._segment_of(start), []).append(start)
        for i, entry in enumerate(added):
            come.setdefault(self._segment_of(to_micros(entry.window.start)), []).append(i)
        changed: list[LedgerColumns] = []
        left: list[int] = []
        for at in sorted({*gone, *come}):
            coming = sorted(come.get(at, ()), key=lambda i: added[i].window)
            new = LedgerColumns.of(self.view, [added[i] for i in coming], [claims[i] for i in coming])
            if at < len(self._firsts):
                left.append(self._firsts[at])
                new = _merged(self._segment(at), np.array(gone.get(at, []), np.int64), new)
            changed.append(new)
        self._rows.exchange(left, (segment for columns in changed for segment in segments_of(columns)))

    def _segment_of(self, start: int) -> int:
        """Returns the segment that a window with this start is in, or is to be put into; 0 also where there is none."""
        return max(bisect_right(self._firsts, start) - 1, 0)

    def _segment(self, at: int) -> LedgerColumns:
        columns = self._read.get(at)
        if columns is None:
            columns = self._read[at] = _columns(self.view, *self._rows.segment(self._firsts[at]))
        return columns


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
