"""Withdrawn rows: rows in the online store that were in an earlier content of a window and are not in the present one.

A put keeps the newer row, so it cannot take back a row that was deleted from the source or moved to an earlier time.
But each row has the version of its window's content, and a run puts all rows of the present content under the present
version. So after a window has been put, its rows with an earlier version are the withdrawn ones, whichever run wrote
them and however that run ended.

Each is replaced by what a full recompute of the windows in the ledger would leave: the entity's newest row in them,
under the version of its window. If there is none, it is removed. That happens only if the store still holds the
withdrawn row. So a row of an earlier version that is one of the present content comes to no harm. There are such rows
in a window to which parts were only added: only the rows of these parts have the window's version, and no withdrawn
rows are looked for. Rows that were pushed have odd versions, and are never withdrawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.compute.ledger_rows import ROWS_AT_ONCE, LedgerRows, concatenated, same_versions
from feast_assets.compute.versions import of_windows
from feast_assets.definitions.window import WindowIndex
from feast_assets.online_stores.abilities import CanReplace, RowStamps
from feast_assets.online_stores.base import EncodedRows, OnlineStore

if TYPE_CHECKING:
    from feast_assets.definitions.window import Window
    from feast_assets.registry.base import Claim, LedgerEntry
    from feast_assets.registry.ledger_columns import LedgerColumns


@dataclass
class Withdrawals:
    """Takes withdrawn rows of one view out of its online table.

    Args:
        ledger_rows: gives what takes their place.
    """

    ledger_rows: LedgerRows
    online_store: OnlineStore

    def __post_init__(self) -> None:
        self._table = self.ledger_rows.stores.table

    def may_hold(self, replaced: Iterable[LedgerEntry]) -> bool:
        """Whether the store may hold withdrawn rows of a window, by the entries of the ledger that its claim replaced.

        It cannot where all that was put before is still in the source as it was.
        """
        return any(not self._is_whole(entry) for entry in replaced)

    def _is_whole(self, entry: LedgerEntry) -> bool:
        if not entry.settled:
            return False
        return not entry.fingerprint or self.ledger_rows.is_current(entry)

    def withdraw(self, versions: Mapping[Window, int], claim: Claim, *, own: Collection[Window] | None = None) -> int:
        """Replaces or removes the withdrawn rows of windows that have been put; returns how many.

        One pass over the table finds them, and one query over the history, restricted to their entities, what takes
        their place.

        Args:
            versions: of the windows, under which their present rows were put.
            claim: under which something was put; to say in the ledger what has become unsure.
            own: the windows that the run settles itself; those of the versions when left out.
        """
        store = self.online_store
        if not isinstance(store, CanReplace):
            warn_of_rows_that_stay(store, self._table, len(versions))
            return 0
        withdrawn = self._withdrawn(store, versions)
        if not len(withdrawn):
            return 0
        state = self.ledger_rows.state()
        count = sum(
            self._replace(store, withdrawn.slice(at, at + ROWS_AT_ONCE), set(versions if own is None else own), claim)
            for at in range(0, len(withdrawn), ROWS_AT_ONCE)
        )
        if not state.is_kept_in(self.ledger_rows.state()):
            self.ledger_rows.unsettle_used(claim)
        return count

    def _withdrawn(self, store: CanReplace, versions: Mapping[Window, int]) -> RowStamps:
        """Returns the withdrawn rows that the store holds."""
        import numpy as np

        windows = sorted(versions)
        index = WindowIndex(windows)
        present = np.array([versions[w] for w in windows], np.int64)
        rows: dict[bytes, tuple[int, int, int]] = {}
        start, end = windows[0].start_micros, windows[-1].end_micros
        for some in store.scan(self._table, start, end, version_below=int(present.max())):
            window = index.positions(some.event_timestamps)
            earlier = of_windows(some.versions) & (some.versions < present[window])
            for i in np.flatnonzero((window >= 0) & earlier).tolist():
                rows[some.keys[i]] = (some.event_timestamps[i], some.created_timestamps[i], some.versions[i])
        # Another program may have written values under the table's prefix; they are no rows of entities.
        for key in set(rows).difference(self.ledger_rows.stores.rows.readable_keys(list(rows))):
            del rows[key]
        columns = np.array(list(rows.values()), np.int64).reshape(-1, 3).T
        return RowStamps(list(rows), *columns)

    def _replace(self, store: CanReplace, withdrawn: RowStamps, own: set[Window], claim: Claim) -> int:
        ledger = self.ledger_rows.held()
        new = self._newest(withdrawn, ledger, own, claim)
        count = store.replace_many(self._table, withdrawn, new)
        # What another run put meanwhile may have been older than the withdrawn row, and is lost; and what has just been
        # put may be of a content that this run has replaced. Both can only be where a window was claimed since.
        while not same_versions(ledger, now := self.ledger_rows.held()):
            ledger, before = now, new
            new = self._newest(withdrawn, ledger, own, claim)
            store.replace_many(self._table, RowStamps.of(before), new)
            self.online_store.put_many(self._table, [new])
        return count

    def _newest(self, withdrawn: RowStamps, ledger: LedgerColumns, own: set[Window], claim: Claim) -> EncodedRows:
        return concatenated(list(self.ledger_rows.newest(withdrawn.keys, ledger, own, claim)))


def warn_of_rows_that_stay(online_store: OnlineStore, table: str, windows: int) -> None:
    """Warns that a store cannot take back withdrawn rows of some windows."""
    warnings.warn(
        f"Online table {table!r}: {windows} window{'' if windows == 1 else 's'} may have had rows that the "
        f"source does not have any more. {online_store!r} cannot find such rows, as it lacks the ability "
        "CanReplace; so they stay until newer rows take their place. To remove them, delete the feature view and "
        "apply, which drops the table; then apply the view again and materialize it.",
        stacklevel=2,
    )
