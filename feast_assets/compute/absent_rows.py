"""Rows that the online store has lost: they have expired, were evicted, or were deleted by hand.

A put takes the place of a missing row, however new that was. So where the ledger holds windows later than those that
are written, a run only writes keys that exist (`put_existing`). For the keys that the store lacks, the entity's newest
row is put: of the windows that are written and of the later ones, read from history. So no row is served
that is older than what was materialized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.compute.ledger_rows import LedgerRows, same_versions
from feast_assets.definitions.window import WindowIndex
from feast_assets.definitions.window_columns import met
from feast_assets.online_stores.abilities import CanReplace
from feast_assets.online_stores.base import (
    NOTHING_PUT,
    EncodedRows,
    OnlineRead,
    OnlineStore,
    PutResult,
    closing_source,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.compute.withdrawals import Withdrawals
    from feast_assets.definitions.window import Window
    from feast_assets.registry.base import Claim


@dataclass
class AbsentRows:
    """Puts the newest rows of entities that one view's online table lacks."""

    ledger_rows: LedgerRows
    online_store: OnlineStore
    withdrawals: Withdrawals

    def put(self, keys: Sequence[bytes], own: Sequence[Window], claim: Claim) -> tuple[PutResult, PutResult]:
        """Puts the newest row of each of some entities in a run's own windows and the later ones of the ledger.

        One query of the history finds them, whatever the number of windows.

        Args:
            keys: of the entities, encoded.
            own: the windows that the run writes, in order of time.
            claim: under which it writes them.

        Returns:
            what was put of rows of the run's own windows, and of rows of other windows.
        """
        import numpy as np

        index = WindowIndex(own)
        state = self.ledger_rows.state()
        of_own = of_others = NOTHING_PUT
        ledger = self.ledger_rows.held(after=own[0].start)
        while True:
            for rows in self.ledger_rows.newest(keys, ledger, set(own), claim):
                is_own = index.positions(rows.event_timestamps) >= 0
                of_own += self._put(rows, np.flatnonzero(is_own))
                of_others += self._put(rows, np.flatnonzero(~is_own))
            now = self.ledger_rows.held(after=own[0].start)
            if same_versions(ledger, now):
                break
            # Another run has claimed windows meanwhile. It may have put a newer row that is gone again, or have looked
            # for rows of their earlier versions before these were put here.
            same = now.positions(ledger.starts, ledger.ends)
            stays = same >= 0
            stays[stays] = now.versions[same[stays]] == ledger.versions[stays]
            replaced = ledger.taken(~stays)
            suspects = now.taken(met(now.starts, now.ends, replaced.starts, replaced.ends))
            if len(suspects):
                self.withdrawals.withdraw({e.window: e.version for e in suspects.entries()}, claim, own=own)
            ledger = now
        if not state.is_kept_in(self.ledger_rows.state()):
            self.ledger_rows.unsettle_used(claim)
        return of_own, of_others

    def _put(self, rows: EncodedRows, indices: npt.NDArray[np.intp]) -> PutResult:
        if not len(indices):
            return NOTHING_PUT
        some = rows if len(indices) == len(rows) else rows.take(indices.tolist())
        return self.online_store.put_many(self.ledger_rows.stores.table, [some])


def put_existing(store: OnlineStore, table: str, batches: Iterable[EncodedRows]) -> PutResult:
    """Puts rows, but only under keys where the store holds a row; see `CanReplace.put_existing`.

    In a store without `CanReplace` the keys are read first. A row that disappears between that and the put may then be
    replaced by an older one.
    """
    if isinstance(store, CanReplace):
        return store.put_existing(table, batches)
    result = NOTHING_PUT
    with closing_source(batches) as source:
        for rows in source:
            (stored,) = store.get_many([OnlineRead(table, rows.keys)])
            present = [index for index, payload in enumerate(stored.payloads) if payload is not None]
            absent = [key for key, payload in zip(rows.keys, stored.payloads, strict=True) if payload is None]
            put = store.put_many(table, [rows.take(present)]) if present else NOTHING_PUT
            result += put + PutResult(0, len(absent), tuple(absent))
    return result
