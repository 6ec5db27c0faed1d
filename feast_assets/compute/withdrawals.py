"""Rows that go away: what an earlier content of a window put into the online store and the present one does not have.

Put keeps the newer, so it cannot take back a row that was deleted from the source or moved to an earlier time. But each
row says by its version which content of which window it is of, and all that the present content still has was put
under the present version. So once a window has been put, the rows of it that still carry an earlier version of a window
are just those that were withdrawn, whoever wrote them and however that run ended.

In the place of each comes what a full recompute of the windows that the ledger holds would leave: the entity's newest
row in them, under the version of its window, or none. It is replaced only where the store still holds the withdrawn
row. Rows that were pushed carry versions of their own kind, and are never withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.compute.ledger_rows import ROWS_AT_ONCE, LedgerRows, concatenated
from feast_assets.compute.ledger_rows import versions as versions_of
from feast_assets.compute.versions import of_windows
from feast_assets.definitions.window import WindowIndex
from feast_assets.online_stores.base import HEAD_WIDTH, EncodedRows, OnlineStore, RowHeads

if TYPE_CHECKING:
    from feast_assets.definitions.window import Window
    from feast_assets.registry.base import Claim, LedgerEntry


@dataclass
class Withdrawals:
    """Takes withdrawn rows of one view out of its online table.

    Args:
        ledger_rows: gives what takes their place.
    """

    table: str
    ledger_rows: LedgerRows
    online_store: OnlineStore

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
        found = self._found(versions)
        if not len(found):
            return 0
        state = self.ledger_rows.state()
        count = sum(
            self._replace(_slice(found, at), set(versions if own is None else own), claim)
            for at in range(0, len(found), ROWS_AT_ONCE)
        )
        if not state <= self.ledger_rows.state():
            self.ledger_rows.unsettle_used(claim)
        return count

    def _found(self, versions: Mapping[Window, int]) -> RowHeads:
        """Returns the withdrawn rows that the store holds."""
        import numpy as np

        windows = sorted(versions)
        index = WindowIndex(windows)
        present = np.array([versions[w] for w in windows], np.int64)
        below = int(present.max()).to_bytes(HEAD_WIDTH, "big")
        rows: dict[bytes, tuple[int, int, bytes]] = {}
        for some in self.online_store.scan(self.table, windows[0].start_micros, windows[-1].end_micros, below):
            place = index.places(some.event_timestamps)
            # A payload that was cut off has no whole version, and counts as of an early one.
            whole = [head if len(head) == HEAD_WIDTH else head.ljust(HEAD_WIDTH, b"\0") for head in some.heads]
            version = np.frombuffer(b"".join(whole), ">u8").astype(np.int64)
            inside = place >= 0
            for i in np.flatnonzero(inside & of_windows(version) & (version < present[place])).tolist():
                rows[some.keys[i]] = (some.event_timestamps[i], some.created_timestamps[i], some.heads[i])
        # What somebody else put under the table's prefix is no row of an entity.
        for key in set(rows).difference(self.ledger_rows.rows.readable_keys(list(rows))):
            del rows[key]
        return RowHeads(
            list(rows),
            np.array([event for event, _, _ in rows.values()], np.int64),
            np.array([created for _, created, _ in rows.values()], np.int64),
            [head for _, _, head in rows.values()],
        )

    def _replace(self, withdrawn: RowHeads, own: set[Window], claim: Claim) -> int:
        ledger = self.ledger_rows.held()
        new = self._newest(withdrawn, ledger, own, claim)
        count = self.online_store.replace_many(self.table, withdrawn, new)
        # What another run put meanwhile may have been older than the withdrawn row, and is lost; and what has just been
        # put may be of a content that this run has replaced. Both can only be where a window was claimed since.
        while versions_of(ledger) != versions_of(now := self.ledger_rows.held()):
            ledger, before = now, new
            new = self._newest(withdrawn, ledger, own, claim)
            self.online_store.replace_many(self.table, _heads(before), new)
            self.online_store.put_many(self.table, [new])
        return count

    def _newest(self, withdrawn: RowHeads, ledger: list[LedgerEntry], own: set[Window], claim: Claim) -> EncodedRows:
        return concatenated(list(self.ledger_rows.newest(withdrawn.keys, ledger, own, claim)))


def _heads(rows: EncodedRows) -> RowHeads:
    heads = [payload[:HEAD_WIDTH] for payload in rows.payloads]
    return RowHeads(rows.keys, rows.event_timestamps, rows.created_timestamps, heads)


def _slice(rows: RowHeads, at: int) -> RowHeads:
    part = slice(at, at + ROWS_AT_ONCE)
    return RowHeads(rows.keys[part], rows.event_timestamps[part], rows.created_timestamps[part], rows.heads[part])
