"""The ledger of a view in a file registry: a list of segments, each a blob, and the numbers of its table's mark."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from feast_assets.definitions.spec import text_hash
from feast_assets.registry.base import DrawnMark, OnlineTable
from feast_assets.registry.file.blobs import Blobs
from feast_assets.registry.file.definitions import pack, unpack
from feast_assets.registry.file.draft import Draft
from feast_assets.registry.file.roots import LedgerState, Root, StoredBlob
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.marks import NUMBERS_KEPT, drawn_numbers
from feast_assets.registry.segments import LedgerSegment, SegmentedLedger, columns_of


class StoredLedger:
    """What a root says of the ledger of one view.

    Attributes:
        segments: first start, last end, stamp and blob of each, in order.
        marks: number, identity of the table, previous number and kind of each, ascending.
    """

    def __init__(self, content: bytes | None = None):
        document = {"segments": [], "marks": []} if content is None else unpack(content)
        self.segments: list[tuple[int, int, int, StoredBlob]] = [
            (first, last, stamp, StoredBlob(*blob)) for first, last, stamp, blob in document["segments"]
        ]
        self.marks: list[tuple[int, str, int, Any]] = [tuple(mark) for mark in document["marks"]]

    @classmethod
    def of(cls, root: Root, view: str, blobs: Blobs) -> StoredLedger:
        """Returns what a root has of a view."""
        state = root.ledgers.get(view)
        return cls(None if state is None else blobs.read(state.blob))

    def columns(self, view: str, blobs: Blobs, *, lost_are_damaged: bool) -> LedgerColumns:
        """Returns the entries.

        Args:
            lost_are_damaged: whether the time of a segment that is not there counts as not materialized; if not,
                BlobLostError is raised.
        """
        named = [blob for *_, blob in self.segments]
        contents = blobs.read_if_there(named) if lost_are_damaged else blobs.read_all(named)
        rows = [(*segment[:3], content) for segment, content in zip(self.segments, contents, strict=True)]
        return columns_of(view, rows)

    def known_marks(self, identity: str) -> list[DrawnMark]:
        """Returns the numbers of a table's mark, ascending."""
        return [DrawnMark(number, previous, kind) for number, of, previous, kind in self.marks if of == identity]

    def encoded(self) -> bytes:
        """Returns it as a blob."""
        return pack({"segments": self.segments, "marks": self.marks})


class LedgerDraft:
    """The ledger of one view in a change; `save` puts it into the draft."""

    def __init__(self, draft: Draft, view: str):
        self._draft = draft
        self._view = view
        self._stored = StoredLedger.of(draft.root, view, draft.blobs)
        self.entries = SegmentedLedger(self, view)
        """Reads and exchanges the entries."""

    # --- what `SegmentedLedger` asks for

    def spans(self) -> Sequence[tuple[int, int]]:
        return [(first, last) for first, last, *_ in self._stored.segments]

    def segment(self, first_start: int) -> Sequence[Any]:
        *segment, blob = next(segment for segment in self._stored.segments if segment[0] == first_start)
        return [*segment, self._draft.blobs.read_if_there([blob])[0]]

    def exchange(self, left: Sequence[int], came: Iterable[LedgerSegment]) -> None:
        gone = {segment[3].name for segment in self._stored.segments if segment[0] in left}
        self._draft.drop(*gone)
        kept = [segment for segment in self._stored.segments if segment[0] not in left]
        kept += [(new.first_start, new.last_end, new.stamp, self._draft.write(new.content)) for new in came]
        self._stored.segments = sorted(kept, key=lambda segment: segment[0])

    # --- marks

    def draw_marks(self, table: OnlineTable, now: int) -> tuple[int, int]:
        """Draws two numbers; see `feast_assets.registry.marks.KeepsMarks.draw_marks`.

        Args:
            now: UTC microseconds.
        """
        begins, settles = self._drawn(now, table.number, 2)
        self.note_marks(table.identity, [DrawnMark(begins, table.number), DrawnMark(settles, begins)])
        return begins, settles

    def note_missing(self, identity: str, now: int) -> None:
        """Remembers that a table was found without a number."""
        (number,) = self._drawn(now, 0, 1)
        self.note_marks(identity, [DrawnMark(number, 0, "missing")])

    def note_marks(self, identity: str, marks: Sequence[DrawnMark]) -> None:
        """Makes numbers of a table's mark known; the oldest of many are forgotten."""
        numbers = {mark.number for mark in marks}
        kept = [mark for mark in self._stored.marks if mark[0] not in numbers]
        kept += [(mark.number, identity, mark.previous, mark.kind) for mark in marks]
        self._stored.marks = sorted(kept, key=lambda mark: mark[0])[-NUMBERS_KEPT:]

    def newest_mark(self, identity: str) -> int:
        """Returns the newest number of a table's mark that is known; 0 for none."""
        return max((mark[0] for mark in self._stored.marks if mark[1] == identity), default=0)

    def _drawn(self, now: int, above: int, count: int) -> tuple[int, ...]:
        newest = max((mark[0] for mark in self._stored.marks), default=0)
        return drawn_numbers(now, [newest, above], [secrets.randbits(31) for _ in range(count)])

    def save(self) -> None:
        """Puts the ledger into the draft."""
        before = self._draft.root.ledgers.get(self._view)
        blob = self._draft.write(self._stored.encoded())
        if before is not None and before.blob.name != blob.name:
            self._draft.drop(before.blob.name)
        stamps = [stamp for _, _, stamp, _ in self._stored.segments]
        self._draft.set_ledger(self._view, LedgerState(blob, text_hash(repr(stamps)) if stamps else ""))


def drop_ledger(draft: Draft, view: str) -> None:
    """Removes the ledger of a view from a draft."""
    state = draft.root.ledgers.get(view)
    if state is None:
        return
    stored = StoredLedger.of(draft.root, view, draft.blobs)
    draft.drop(state.blob.name, *(blob.name for *_, blob in stored.segments))
    draft.set_ledger(view, None)


def ledger_blobs(root: Root, blobs: Blobs) -> set[str]:
    """Returns the names of all segments of a root."""
    contents = blobs.read_all([state.blob for state in root.ledgers.values()])
    return {blob.name for content in contents for *_, blob in StoredLedger(content).segments}
