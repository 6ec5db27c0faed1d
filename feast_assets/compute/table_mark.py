"""The mark of a view's online table, by which a store that was restored to an earlier state is noticed.

A run advances the mark before its first row is put and after its last, and the ledger keeps the number under which each
window was settled. A restored store has the number that it had when it was saved. From that,
`feast_assets.registry.marks` works out which entries of the ledger still hold, so only the later windows are run again.

A snapshot that is saved while a run puts its rows has the number that the run began with, and may be loaded before the
run's last rows are put. The store's restart_token shows that: it must be the same before and after the run.

With a registry that keeps no marks (see `feast_assets.registry.marks.KeepsMarks`) the mark says nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from feast_assets.compute.versions import of_windows
from feast_assets.compute.view_stores import ledger_hash
from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import ALWAYS, Window, WindowIndex
from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.abilities import CanEvict, CanReplace, CanTellRestarts
from feast_assets.online_stores.base import NEVER_ADVANCED
from feast_assets.registry.base import Claim, DrawnMark, LedgerEntry, MarkDoubt, OnlineTable
from feast_assets.registry.ledger import doubted
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.marks import KeepsMarks, doubt_of, is_on_path, moment_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.online_stores.base import Mark, OnlineStore
    from feast_assets.registry.base import Registry

_REFILL_AT_MOST_EVERY = timedelta(days=1)
"""If a mark goes missing more often than that, something removes it, and that says nothing about the rows."""
_CLOCKS_DIFFER = timedelta(days=1)
"""A row whose version is later than that was not written by a run."""
_MOST_TRIES = 1000


def reason_of_doubt(entry: LedgerEntry) -> str:
    """Returns in words why an entry was unsettled because of a mark; "" where it was not."""
    if entry.doubt == "restored":
        since = moment_of(entry.mark) if entry.mark else entry.at
        return f"the online store was restored from before {since.isoformat(timespec='seconds')}"
    if entry.doubt == "unknown":
        return "the online store or the registry was put back to an earlier state, or another registry writes the table"
    if entry.doubt == "missing":
        return "the online store has lost the mark of the table, so it may have been restored"
    return ""


class TableMark:
    """The mark of a view's online table as one run, or one look at the ledger, sees it.

    Attributes:
        identity: of the table.
        definition_hash: that the ledger keeps of what is put into it now.
    """

    def __init__(self, view: FeatureView, table: str, registry: Registry, store: OnlineStore, *, sets_up: bool = True):
        """Reads the mark.

        Args:
            sets_up: whether the table is set up where it is missing.
        """
        self._view = view
        self._table = table
        self._registry = registry
        self._marks = registry if isinstance(registry, KeepsMarks) else None
        self._store = store
        if sets_up:
            store.setup([table])
        self._seen: Mark = store.mark(table)
        self.identity = self._seen.identity
        self.definition_hash = ledger_hash(view, table, self.identity)
        self._settles = 0
        self._restart_token: str | None = None

    @property
    def online_table(self) -> OnlineTable:
        """The table, with the number that was last read or set."""
        return OnlineTable(self.identity, self._seen.number)

    # --- what it says of the ledger

    def ledger(self) -> LedgerColumns:
        """Returns the view's entries of the ledger, after those that the mark speaks against were unsettled there."""
        for _ in range(_MOST_TRIES):
            entries, doubt, known = self._looked_at()
            if doubt is None:
                return entries
            self._act_on(doubt, entries, known)
        raise self._too_contended()

    def read_ledger(self) -> LedgerColumns:
        """Returns what `ledger` would, and changes nothing."""
        entries, doubt, known = self._looked_at()
        if doubt is None:
            return entries
        if doubt.kind == "missing":
            self._warn_of_missing()
            if self._is_only_reported(known):
                return entries
        gaps, above = self._gaps(doubt, entries)
        standing = entries.entries()
        made = doubted(standing, self._view.name, doubt, gaps, above, to_micros(datetime.now(UTC)))
        gone = {e.window for e in made.removed}
        left = sorted([*(e for e in standing if e.window not in gone), *made.added], key=lambda e: e.window)
        return LedgerColumns.of(self._view.name, left)

    def _looked_at(self) -> tuple[LedgerColumns, MarkDoubt | None, list[DrawnMark]]:
        """Returns the view's entries, what the mark says against them, and the numbers that the registry knows."""
        for _ in range(_MOST_TRIES):
            entries = self._registry.ledger_columns(self._view.name)
            if self._marks is None:
                return entries, None, []
            known = self._marks.known_marks(self._view.name, self.identity)
            doubt = doubt_of(self._seen.number, entries, self.definition_hash, known, NEVER_ADVANCED)
            if doubt is None:
                return entries, None, known
            # Another run may have settled windows since the mark was read.
            now = self._store.mark(self._table)
            if now.identity != self.identity:
                return entries, None, known  # the table was dropped; its entries do not count for the next one
            if now == self._seen:
                return entries, doubt, known
            self._seen = now
        raise self._too_contended()

    def _act_on(self, doubt: MarkDoubt, entries: LedgerColumns, known: Collection[DrawnMark]) -> None:
        """Unsettles what a doubt concerns, unless it has become outdated meanwhile."""
        assert self._marks is not None
        if doubt.kind == "missing":
            self._warn_of_missing()
        if doubt.kind != "missing" or not self._is_only_reported(known):
            gaps, above = self._gaps(doubt, entries)
            newest = max((m.number for m in known), default=0)
            if not self._marks.distrust(self._view.name, self.identity, doubt, newest=newest, gaps=gaps, above=above):
                return
            self._warn_of(doubt, entries, len(gaps))
        if doubt.kind == "missing":
            number, _ = self._marks.draw_marks(self._view.name, self.online_table)
            self._seen = self._store.advance(self._table, 0, number)

    def _is_only_reported(self, known: Collection[DrawnMark]) -> bool:
        """Whether a missing number is no reason to run everything again: it would be again and again."""
        if isinstance(self._store, CanEvict) and self._store.evicts_marks():
            return True
        last = max((m.number for m in known if m.kind == "missing"), default=0)
        return bool(last) and datetime.now(UTC) - moment_of(last) < _REFILL_AT_MOST_EVERY

    def _gaps(self, doubt: MarkDoubt, entries: LedgerColumns) -> tuple[list[Window], int]:
        """Returns the windows that the store has rows of and the ledger has none, and the highest version of its rows.

        A ledger that was put back does not know what was put since. It takes one pass over the table. A store without
        `CanReplace` cannot tell; such windows are missing in the ledger, and run for that reason if they have rows.
        """
        if doubt.kind == "restored" or not isinstance(self._store, CanReplace):
            return [], 0
        index = WindowIndex(list(entries.held()))
        soon = to_micros(datetime.now(UTC) + _CLOCKS_DIFFER)
        outside: set[int] = set()
        highest = 0
        for rows in self._store.scan(self._table, ALWAYS.start_micros, ALWAYS.end_micros, version_below=soon):
            ours = of_windows(rows.versions)
            if not ours.any():
                continue
            highest = max(highest, int(rows.versions[ours].max()))
            events = rows.event_timestamps[ours]
            outside |= self._grid_starts(events[index.positions(events) < 0])
        return [self._window_from(start) for start in sorted(outside)], highest

    def _grid_starts(self, events: npt.NDArray[np.int64]) -> set[int]:
        """Returns the starts of the grid's windows that some event times lie in."""
        grid = self._view.partitions
        if grid is None:
            return {to_micros(ALWAYS.start)} if len(events) else set()
        starts: set[int] = set()
        first = None if grid.start is None else to_micros(grid.start)
        last = None if grid.end is None else to_micros(grid.end)
        if first is not None:
            events = events[events >= first]
        if last is not None:
            events = events[events < last]
        while len(events):
            start = grid.floor(from_micros(int(events.min())))
            starts.add(to_micros(start))
            events = events[events >= to_micros(grid.next(start))]
        return starts

    def _window_from(self, start: int) -> Window:
        grid = self._view.partitions
        begin = from_micros(start)
        return ALWAYS if grid is None else Window(begin, grid.next(begin))

    # --- a run

    def begins(self, claim: Claim) -> bool:
        """Advances the mark before the first row of some claimed windows is put.

        Returns:
            whether the ledger still says what it said when they were claimed. If not, they are to be claimed again.
        """
        if self._marks is None:
            return True
        number, self._settles = claim.begins, claim.settles
        for _ in range(_MOST_TRIES):
            now = self._store.advance(self._table, self._seen.number, number)
            if now.identity != self.identity:
                break  # the table was dropped; nothing will be settled
            if now.number == number:
                self._seen = now
                break
            self._seen = now
            entries, doubt, known = self._looked_at()
            if doubt is not None:
                self._act_on(doubt, entries, known)
                return False
            number, self._settles = self._marks.draw_marks(self._view.name, self.online_table)
        else:
            raise self._too_contended()
        if self._restart_token is None:
            self._restart_token = self._restart_token_now()
        return True

    def settles(self) -> int:
        """Advances the mark after the rows of some windows are in the store.

        Returns:
            the number under which they may be settled; 0 where the store may have lost some of the rows, as it was put
            back to an earlier state meanwhile.
        """
        if self._marks is None:
            return NEVER_ADVANCED
        number, self._settles = self._settles, 0
        for _ in range(_MOST_TRIES):
            if not number:
                number, _ = self._marks.draw_marks(self._view.name, self.online_table)
            now = self._store.advance(self._table, self._seen.number, number)
            if now.identity != self.identity:
                return 0
            if now.number == number:
                self._seen = now
                break
            known = self._marks.known_marks(self._view.name, self.identity)
            follows = is_on_path(self._seen.number, now.number, known)
            self._seen, number = now, 0
            if not follows:
                self.ledger()
                return 0
        else:
            raise self._too_contended()
        return self._seen.number if self._restart_token_now() == self._restart_token else 0

    def _restart_token_now(self) -> str:
        return self._store.restart_token() if isinstance(self._store, CanTellRestarts) else ""

    # --- what is said

    def _warn_of(self, doubt: MarkDoubt, entries: LedgerColumns, gaps: int) -> None:
        concerned = entries.marked(doubt.lost) if doubt.kind == "restored" else entries.have_fingerprint
        lost = gaps + int((entries.settled & concerned).sum())
        if not lost:
            return
        why = "the mark of its online table is missing; it may have been removed by hand, or the store was restored"
        if doubt.kind == "restored":
            before = moment_of(min(doubt.lost)).isoformat(timespec="seconds")
            why = f"the online store was restored from before {before}"
        elif doubt.kind == "unknown":
            why = (
                "the mark of its online table is not of this registry: the store or the registry was put back to an "
                "earlier state, or another registry writes the same table"
            )
        windows = "1 window is" if lost == 1 else f"{lost} windows are"
        warnings.warn(f"Feature view {self._view.name!r}: {why}. {windows} run again.", stacklevel=2)

    def _warn_of_missing(self) -> None:
        warnings.warn(
            f"Feature view {self._view.name!r}: the mark of its online table {self._table!r} is missing. The store may "
            "have evicted it for lack of memory, or it was removed. While it is missing, it cannot be noticed if "
            "the store is restored to an earlier state. The next materialization sets it again.",
            stacklevel=2,
        )

    def _too_contended(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"The mark of online table {self._table!r} was changed by other runs {_MOST_TRIES} times before this one "
            "could advance it. Materialize the view again."
        )
