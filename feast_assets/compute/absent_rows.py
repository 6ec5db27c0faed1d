"""Rows that the online store has lost: by expiry, by eviction, or since somebody deleted them.

A row that is not there is not older than any other. So where the ledger holds windows later than those that are
written, a run only replaces rows (`EncodedRows.only_replaces`). For the keys that the store lacks, the entity's newest
row is put: of the windows that are written and of the later ones, read from history. So nobody is ever served a row
that is older than what was materialized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feast_assets.compute.ledger_rows import LedgerRows, versions
from feast_assets.definitions.window import WindowIndex, meeting
from feast_assets.online_stores.base import OnlineStore, PutResult

if TYPE_CHECKING:
    from feast_assets.compute.withdrawals import Withdrawals
    from feast_assets.definitions.window import Window
    from feast_assets.registry.base import Claim


@dataclass
class AbsentRows:
    """Puts the newest rows of entities that one view's online table lacks."""

    table: str
    ledger_rows: LedgerRows
    online_store: OnlineStore
    withdrawals: Withdrawals

    def put(self, keys: Sequence[bytes], own: Sequence[Window], claim: Claim) -> PutResult:
        """Puts the newest row of each of some entities in a run's own windows and the later ones of the ledger.

        One query of the history finds them, whatever the number of windows.

        Args:
            keys: of the entities, encoded.
            own: the windows that the run writes, in order of time.
            claim: under which it writes them.

        Returns:
            what was put; `PutResult.by_group` counts the rows of each of the run's own windows, and those of others
            after them.
        """
        import numpy as np

        index = WindowIndex(own)
        state = self.ledger_rows.state()
        result = PutResult(0, 0)
        ledger = self.ledger_rows.held(after=own[0].start)
        while True:
            for rows in self.ledger_rows.newest(keys, ledger, set(own), claim):
                window = index.places(rows.event_timestamps)
                groups = np.where(window < 0, len(own), window)
                result += self.online_store.put_many(self.table, [replace(rows, groups=groups)])
            now = self.ledger_rows.held(after=own[0].start)
            known, standing = versions(ledger), versions(now)
            if known == standing:
                break
            # Another run has claimed windows meanwhile. It may have put a newer row that is gone again, or have looked
            # for rows of their earlier versions before these were put here.
            replaced = [w for w, version in known.items() if standing.get(w) != version]
            if suspects := meeting(replaced, standing):
                self.withdrawals.withdraw({w: standing[w] for w in suspects}, claim, own=own)
            ledger = now
        if not state <= self.ledger_rows.state():
            self.ledger_rows.unsettle_used(claim)
        return result
