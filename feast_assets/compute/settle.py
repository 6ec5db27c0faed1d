"""The ledger of one view as a run uses it: read, claim windows, settle them.

The order is what makes a killed run harmless. Windows are claimed before anything is written of them, and settled after
their rows are in the stores. In between they are unsettled, so the next run writes them again.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_assets.compute.table_mark import TableMark
from feast_assets.compute.view_stores import ledger_hash
from feast_assets.registry.base import Claim, LedgerEntry, WindowContent

if TYPE_CHECKING:
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.definitions.window import Window
    from feast_assets.offline_stores.base import WindowStatistics
    from feast_assets.offline_stores.source_changes import HistoryState
    from feast_assets.registry.ledger_columns import LedgerColumns


@dataclass(frozen=True, slots=True)
class ClaimedGroup:
    """Windows that a run has claimed, and writes in one pass.

    Attributes:
        windows: as their source was when it was looked at.
        claim: of just these windows, in their order.
    """

    windows: Sequence[WindowStatistics]
    claim: Claim

    @property
    def versions(self) -> dict[Window, int]:
        """The versions under which the windows' rows are put."""
        return {s.window: version for s, version in zip(self.windows, self.claim.versions, strict=True)}


@dataclass(frozen=True, slots=True)
class WrittenGroup:
    """Windows of which all rows are in the stores.

    Attributes:
        windows: as they were written; of a kept result, what the result holds.
        entities: how many entities have their newest row of the group in each window.
        is_sure: whether all rows that were read lie in these windows, as they did when the source was looked at.
    """

    windows: Sequence[WindowStatistics]
    claim: Claim
    entities: Sequence[int]
    is_sure: bool


class ViewLedger:
    """The ledger of one view, with the mark of the online table that its rows go to.

    Making one sets up the table where it is missing. What the ledger says of a table that was lost, exchanged or
    restored does not count.

    Attributes:
        definition_hash: what the ledger keeps of the view's present definition and online table.
    """

    def __init__(self, stores: ViewStores, run_id: str = ""):
        self._stores = stores
        self._registry = stores.registry
        self._view = stores.view.name
        self._run_id = run_id
        online = stores.online
        self._mark = None if online is None else TableMark(stores.view, stores.table, stores.registry, online)
        self.definition_hash = (
            ledger_hash(stores.view, stores.table, "") if self._mark is None else self._mark.definition_hash
        )

    def entries(self) -> LedgerColumns:
        """Returns the view's entries, after those that the online table's mark speaks against were unsettled."""
        return self._registry.ledger_columns(self._view) if self._mark is None else self._mark.ledger()

    def read(self) -> LedgerColumns:
        """Returns what `entries` would, and changes nothing."""
        return self._registry.ledger_columns(self._view) if self._mark is None else self._mark.read_ledger()

    def claim(self, groups: Sequence[Sequence[WindowStatistics]], empty: Sequence[Window] = ()) -> list[ClaimedGroup]:
        """Claims windows in one transaction, and advances the online table's mark; nothing has been put yet.

        Args:
            groups: of windows that are written in one pass each.
            empty: windows that were looked at and have no rows, for the ledger to note.
        """
        contents = [WindowContent(s.window, s.fingerprint, self.definition_hash) for group in groups for s in group]
        claim = self._claimed(contents, empty)
        claimed: list[ClaimedGroup] = []
        first = 0
        for group in groups:
            part = slice(first, first + len(group))
            of_group = replace(claim, versions=claim.versions[part], replaced=claim.replaced[part])
            claimed.append(ClaimedGroup(group, of_group))
            first += len(group)
        return claimed

    def note_empty(self, empty: Sequence[Window]) -> None:
        """Notes, as settled, windows that were looked at and have no rows."""
        if empty:
            noted = [WindowContent(window, "", self.definition_hash) for window in empty]
            self._registry.claim(self._view, [], empty=noted, run_id=self._run_id)

    def _claimed(self, contents: Sequence[WindowContent], empty: Sequence[Window]) -> Claim:
        noted = [WindowContent(window, "", self.definition_hash) for window in empty]
        if self._mark is None:
            return self._registry.claim(self._view, contents, empty=noted, run_id=self._run_id)
        while True:
            claim = self._registry.claim(
                self._view, contents, empty=noted, run_id=self._run_id, table=self._mark.online_table
            )
            if self._mark.begins(claim):
                return claim
            noted = []

    def settle(self, groups: Sequence[WrittenGroup], before: HistoryState, now: HistoryState) -> None:
        """Settles windows, if their source has stayed what it was and the store has kept their rows.

        Args:
            before: what the sources consisted of before they were looked at.
            now: what they consist of after the windows were written.
        """
        if not groups:
            return
        is_same = before.is_kept_in(now)
        # Whatever becomes of the windows, the mark is advanced once for all of them.
        mark = 0 if self._mark is None else self._mark.settles()
        is_kept = self._mark is None or mark > 0
        for group in groups:
            is_sure = group.is_sure and is_same
            self._enter(group.windows, group.claim, group.entities, mark if is_sure and is_kept else None)
            if not is_sure:
                self._warn(group, "source", "changed while it was read")
            elif not is_kept:
                self._warn(group, "online store", "put back to an earlier state while it was written")

    def unsettle(self, windows: Sequence[WindowStatistics], claim: Claim) -> None:
        """Leaves claimed windows unsettled, since an interrupted run may have stored some of their rows."""
        self._enter(windows, claim, [0] * len(windows), None)

    def _enter(
        self, windows: Sequence[WindowStatistics], claim: Claim, entities: Sequence[int], mark: int | None
    ) -> None:
        """Writes entries of claimed windows, settled under a number of the mark, or unsettled with None."""
        now = datetime.now(UTC)
        self._registry.settle(
            claim,
            [
                LedgerEntry(
                    view=self._view,
                    window=s.window,
                    fingerprint=s.fingerprint,
                    version=version,
                    definition_hash=self.definition_hash,
                    rows=s.rows,
                    written=int(count),
                    at=now,
                    run_id=self._run_id,
                    settled=mark is not None,
                    mark=mark or 0,
                )
                for s, version, count in zip(windows, claim.versions, entities, strict=True)
            ],
        )

    def _warn(self, group: WrittenGroup, changed: str, how: str) -> None:
        # What was read may be neither the content of before nor that of after; the next run looks again.
        warnings.warn(
            f"The {changed} of feature view {self._view!r} was {how}; {len(group.windows)} windows from "
            f"{group.windows[0].window.start.isoformat()} on will be run again.",
            stacklevel=2,
        )
