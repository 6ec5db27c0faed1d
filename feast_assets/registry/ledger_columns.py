"""A view's ledger as columns: what is asked of all of its entries at once, without an object for each.

An entry is made only when somebody asks for it. So reading the ledger of a view with 100,000 windows, and comparing it
with what the source holds, costs a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.definitions.window_columns import joined, position_of, positions_of
from feast_assets.registry.base import DoubtKind, LedgerEntry

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    ByteTexts = npt.NDArray[np.bytes_]

DOUBTS: Mapping[str, DoubtKind] = {"restored": "restored", "unknown": "unknown", "missing": "missing"}
"""Values of `LedgerColumns.claims` for entries that were unsettled because of the online table's mark."""

_CLAIMED = "claimed"


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts of which few differ.

    Attributes:
        codes: for each row the position of its text.
        texts: the different texts; there may be some that no row has.
    """

    codes: npt.NDArray[np.int32]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, values: Sequence[str]) -> TextColumn:
        """Returns a column of some texts."""
        positions = {text: i for i, text in enumerate(dict.fromkeys(values))}
        return cls(np.array([positions[text] for text in values], np.int32), tuple(positions))

    @classmethod
    def concatenated(cls, columns: Sequence[TextColumn]) -> TextColumn:
        """Returns the rows of several columns, one after the other."""
        positions = {text: i for i, text in enumerate(dict.fromkeys(t for c in columns for t in c.texts))}
        codes = [np.array([positions[text] for text in c.texts], np.int32)[c.codes] for c in columns if len(c.codes)]
        return cls(np.concatenate(codes) if codes else np.zeros(0, np.int32), tuple(positions))

    def __getitem__(self, row: int) -> str:
        return self.texts[int(self.codes[row])]

    def taken(self, rows: slice | Bools | npt.NDArray[np.intp]) -> TextColumn:
        """Returns some of the rows."""
        return TextColumn(self.codes[rows], self.texts)

    def is_in(self, texts: Iterable[str]) -> Bools:
        """Returns for each row whether it is one of some texts."""
        chosen = frozenset(texts)
        return np.array([text in chosen for text in self.texts], np.bool_)[self.codes]


class LedgerColumns(Mapping[Window, LedgerEntry]):
    """The entries of one view by window, in order of time. They do not overlap.

    Attributes:
        view: its name.
        starts, ends: of the windows, in UTC microseconds. `ALWAYS` ends one microsecond before its `Window.end_micros`.
        fingerprints: UTF-8; empty where the source had no rows.
        versions, rows, written, marks: as in `LedgerEntry`.
        at: UTC microseconds.
        definitions, runs: the texts `LedgerEntry.definition_hash` and `LedgerEntry.run_id`.
        claims: empty for entries that are settled. For others why they are not: the kind of a doubt, or a text of the
            registry's own.
    """

    def __init__(
        self,
        view: str,
        starts: Int64s,
        ends: Int64s,
        fingerprints: ByteTexts,
        versions: Int64s,
        definitions: TextColumn,
        rows: Int64s,
        written: Int64s,
        at: Int64s,
        runs: TextColumn,
        marks: Int64s,
        claims: TextColumn,
    ):
        self.view = view
        self.starts, self.ends = starts, ends
        self.fingerprints = fingerprints
        self.versions, self.rows, self.written, self.at, self.marks = versions, rows, written, at, marks
        self.definitions, self.runs, self.claims = definitions, runs, claims

    @classmethod
    def of(cls, view: str, entries: Sequence[LedgerEntry], claims: Sequence[str] | None = None) -> LedgerColumns:
        """Returns some entries as columns.

        Args:
            entries: of the view, in order of time.
            claims: see the attribute; left out, entries that are not settled have a text that says no more.
        """
        if claims is None:
            claims = ["" if e.settled else e.doubt or _CLAIMED for e in entries]
        return cls(
            view,
            starts=np.array([to_micros(e.window.start) for e in entries], np.int64),
            ends=np.array([to_micros(e.window.end) for e in entries], np.int64),
            fingerprints=byte_texts([e.fingerprint for e in entries]),
            versions=np.array([e.version for e in entries], np.int64),
            definitions=TextColumn.of([e.definition_hash for e in entries]),
            rows=np.array([e.rows for e in entries], np.int64),
            written=np.array([e.written for e in entries], np.int64),
            at=np.array([to_micros(e.at) for e in entries], np.int64),
            runs=TextColumn.of([e.run_id for e in entries]),
            marks=np.array([e.mark for e in entries], np.int64),
            claims=TextColumn.of(claims),
        )

    @classmethod
    def of_mapping(cls, ledger: Mapping[Window, LedgerEntry]) -> LedgerColumns:
        """Returns the entries of one view as columns; the argument itself where it is that."""
        if isinstance(ledger, LedgerColumns):
            return ledger
        return cls.of(next((e.view for e in ledger.values()), ""), [ledger[window] for window in sorted(ledger)])

    @classmethod
    def concatenated(cls, view: str, parts: Sequence[LedgerColumns]) -> LedgerColumns:
        """Returns the entries of several parts, one after the other; they must be in order of time."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.of(view, [])
        return cls(
            view,
            starts=np.concatenate([p.starts for p in parts]),
            ends=np.concatenate([p.ends for p in parts]),
            fingerprints=np.concatenate([p.fingerprints for p in parts]),
            versions=np.concatenate([p.versions for p in parts]),
            definitions=TextColumn.concatenated([p.definitions for p in parts]),
            rows=np.concatenate([p.rows for p in parts]),
            written=np.concatenate([p.written for p in parts]),
            at=np.concatenate([p.at for p in parts]),
            runs=TextColumn.concatenated([p.runs for p in parts]),
            marks=np.concatenate([p.marks for p in parts]),
            claims=TextColumn.concatenated([p.claims for p in parts]),
        )

    def taken(self, rows: slice | Bools | npt.NDArray[np.intp]) -> LedgerColumns:
        """Returns some of the entries, by their positions or by a mask."""
        return LedgerColumns(
            self.view,
            self.starts[rows],
            self.ends[rows],
            self.fingerprints[rows],
            self.versions[rows],
            self.definitions.taken(rows),
            self.rows[rows],
            self.written[rows],
            self.at[rows],
            self.runs.taken(rows),
            self.marks[rows],
            self.claims.taken(rows),
        )

    # --- as a mapping

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Window]:
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield Window(from_micros(start), from_micros(end))

    def __getitem__(self, window: Window) -> LedgerEntry:
        position = self.position(window)
        if position < 0:
            raise KeyError(window)
        return self.entry(position)

    def __contains__(self, window: object) -> bool:
        return isinstance(window, Window) and self.position(window) >= 0

    def position(self, window: Window) -> int:
        """Returns the position of the entry of exactly this window; -1 where there is none."""
        return position_of(window, self.starts, self.ends)

    def positions(self, starts: Int64s, ends: Int64s) -> npt.NDArray[np.intp]:
        """Returns for each of some windows the position of the entry of exactly this window; -1 where there is none."""
        return positions_of(starts, ends, self.starts, self.ends)

    def entry(self, position: int) -> LedgerEntry:
        """Returns the entry at a position."""
        claim = self.claims[position]
        return LedgerEntry(
            view=self.view,
            window=self.window(position),
            fingerprint=bytes(self.fingerprints[position]).decode(),
            version=int(self.versions[position]),
            definition_hash=self.definitions[position],
            rows=int(self.rows[position]),
            written=int(self.written[position]),
            at=from_micros(int(self.at[position])),
            run_id=self.runs[position],
            settled=not claim,
            mark=int(self.marks[position]),
            doubt=DOUBTS.get(claim, ""),
        )

    def entries(self) -> list[LedgerEntry]:
        """Returns all entries, in order of time."""
        texts = self.definitions.texts, self.runs.texts, self.claims.texts
        definitions, runs, claims = texts
        return [
            LedgerEntry(
                self.view,
                window,
                fingerprint.decode(),
                version,
                definitions[definition],
                rows,
                written,
                from_micros(at),
                runs[run],
                not claims[claim],
                mark,
                DOUBTS.get(claims[claim], ""),
            )
            for window, fingerprint, version, definition, rows, written, at, run, mark, claim in zip(
                self,
                self.fingerprints.tolist(),
                self.versions.tolist(),
                self.definitions.codes.tolist(),
                self.rows.tolist(),
                self.written.tolist(),
                self.at.tolist(),
                self.runs.codes.tolist(),
                self.marks.tolist(),
                self.claims.codes.tolist(),
                strict=True,
            )
        ]

    def window(self, position: int) -> Window:
        """Returns the window of the entry at a position."""
        return Window(from_micros(int(self.starts[position])), from_micros(int(self.ends[position])))

    # --- of all entries

    @cached_property
    def settled(self) -> Bools:
        """Which entries are settled."""
        return self.claims.is_in([""])

    @cached_property
    def doubted(self) -> Bools:
        """Which entries were unsettled because of the mark of the online table."""
        return self.claims.is_in(DOUBTS)

    @cached_property
    def have_fingerprint(self) -> Bools:
        """Of which entries the source had rows."""
        have: Bools = self.fingerprints != b""
        return have

    @cached_property
    def may_have_rows(self) -> Bools:
        """Of which entries the store has, or may have, rows."""
        return self.have_fingerprint | ~self.settled

    def marked(self, marks: Collection[int]) -> Bools:
        """Returns for each entry whether its mark is one of some numbers."""
        return np.isin(self.marks, np.array(sorted(marks), np.int64))

    def distinct_marks(self, chosen: Bools) -> set[int]:
        """Returns the marks of the chosen entries."""
        marks = self.marks[chosen]
        # Neighbours mostly have the same.
        return set(marks[np.append(True, marks[1:] != marks[:-1])].tolist()) if len(marks) else set()

    def held(self) -> LedgerColumns:
        """Returns the entries that have, or may have, rows in the store."""
        return self if bool(self.may_have_rows.all()) else self.taken(self.may_have_rows)

    def overlapping(self, start: int, end: int) -> slice:
        """Returns the positions of the entries that overlap a span of UTC microseconds."""
        return slice(
            int(np.searchsorted(self.ends, start, side="right")), int(np.searchsorted(self.starts, end, side="left"))
        )

    def joined(self) -> list[tuple[datetime, datetime]]:
        """Returns the times of all entries, as the fewest ``[start, end)`` intervals, in order."""
        starts, ends = joined(self.starts, self.ends)
        return [(from_micros(s), from_micros(e)) for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]

    def intervals(self) -> list[tuple[datetime, datetime]]:
        """Returns the times that are settled, as `joined` does."""
        return self.taken(self.settled).joined()


def byte_texts(texts: Sequence[str]) -> ByteTexts:
    """Returns texts as UTF-8."""
    encoded: ByteTexts = np.array([text.encode() for text in texts], np.bytes_) if texts else np.zeros(0, "S1")
    return encoded
