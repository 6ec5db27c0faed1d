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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from feast_assets.compute.staleness import history_read
from feast_assets.compute.versions import of_windows
from feast_assets.compute.windows import end_micros, held
from feast_assets.definitions.spec import to_micros
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, OfflineStore, history_of
from feast_assets.online_stores.base import HEAD_WIDTH, EncodedRows, OnlineStore, RowHeads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.compute.online_rows import OnlineRows
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.partitions import Window
    from feast_assets.registry.base import Claim, LedgerEntry, Registry

# How many rows are worked out and replaced at once.
_ROWS_AT_ONCE = 200_000


@dataclass
class Withdrawals:
    """Takes withdrawn rows of one view out of its online table.

    Args:
        rows: encodes the view's rows.
        definition_hash: the view's present one, as in the ledger.
        fingerprints: what is known of the present content of the view's source.
    """

    view: FeatureView
    table: str
    rows: OnlineRows
    definition_hash: str
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore
    fingerprints: Mapping[Window, str]
    _used: set[Window] = field(default_factory=set, init=False)

    def may_hold(self, replaced: Iterable[LedgerEntry]) -> bool:
        """Whether the store may hold withdrawn rows of a window, by the entries of the ledger that its claim replaced.

        It cannot where all that was put before is still in the source as it was.
        """
        return any(not self._is_whole(entry) for entry in replaced)

    def _is_whole(self, entry: LedgerEntry) -> bool:
        if not entry.settled:
            return False
        return not entry.fingerprint or self._is_current(entry)

    def _is_current(self, entry: LedgerEntry) -> bool:
        return (
            entry.definition_hash == self.definition_hash and self.fingerprints.get(entry.window) == entry.fingerprint
        )

    def withdraw(self, versions: Mapping[Window, int], claim: Claim) -> int:
        """Replaces or removes the withdrawn rows of windows that have been put; returns how many.

        One pass over the table finds them, and one query over the history, restricted to their entities, what takes
        their place.

        Args:
            versions: of the windows, under which their present rows were put.
            claim: under which something was put; to say in the ledger what has become unsure.
        """
        found = self._found(versions)
        if not len(found):
            return 0
        state = self.offline_store.state(history_read(self.view))
        count = sum(
            self._replace(_slice(found, at), set(versions), claim) for at in range(0, len(found), _ROWS_AT_ONCE)
        )
        if not state <= self.offline_store.state(history_read(self.view)):
            self._unsettle([e for e in self._held() if e.window in self._used], claim)
        return count

    def _found(self, versions: Mapping[Window, int]) -> RowHeads:
        """Returns the withdrawn rows that the store holds."""
        import numpy as np

        windows = sorted(versions)
        starts = np.array([to_micros(w.start) for w in windows], np.int64)
        ends = np.array([end_micros(w) for w in windows], np.int64)
        present = np.array([versions[w] for w in windows], np.int64)
        below = int(present.max()).to_bytes(HEAD_WIDTH, "big")
        rows: dict[bytes, tuple[int, int, bytes]] = {}
        for some in self.online_store.scan(self.table, int(starts[0]), int(ends[-1]), below):
            place = np.searchsorted(starts, some.event_timestamps, side="right") - 1
            version = np.frombuffer(b"".join(some.heads), ">u8").astype(np.int64)
            inside = some.event_timestamps < ends[place]
            for i in np.flatnonzero(inside & of_windows(version) & (version < present[place])).tolist():
                rows[some.keys[i]] = (some.event_timestamps[i], some.created_timestamps[i], some.heads[i])
        return RowHeads(
            list(rows),
            np.array([event for event, _, _ in rows.values()], np.int64),
            np.array([created for _, created, _ in rows.values()], np.int64),
            [head for _, _, head in rows.values()],
        )

    def _replace(self, withdrawn: RowHeads, own: set[Window], claim: Claim) -> int:
        ledger = self._held()
        new = self._newest(withdrawn.keys, ledger, own, claim)
        count = self.online_store.replace_many(self.table, withdrawn, new)
        # What another run put meanwhile may have been older than the withdrawn row, and is lost; and what has just been
        # put may be of a content that this run has replaced. Both can only be where a window was claimed since.
        while _versions(ledger) != _versions(now := self._held()):
            ledger, before = now, new
            new = self._newest(withdrawn.keys, ledger, own, claim)
            self.online_store.replace_many(self.table, _heads(before), new)
            self.online_store.put_many(self.table, [new])
        return count

    def _newest(
        self, keys: Sequence[bytes], ledger: Sequence[LedgerEntry], own: set[Window], claim: Claim
    ) -> EncodedRows:
        """Returns the newest rows of entities in the windows of some entries, as a run of these would put them."""
        import numpy as np

        starts = np.array([to_micros(e.window.start) for e in ledger], np.int64)
        versions = np.array([e.version for e in ledger], np.int64)
        parts: list[EncodedRows] = []
        used: set[int] = set()
        if ledger:
            entities = self.rows.decode_keys(keys)
            for batch in self.offline_store.latest_of(history_of(self.view), [e.window for e in ledger], entities):
                if batch.num_rows:
                    place = np.searchsorted(starts, _events(batch), side="right") - 1
                    used.update(np.unique(place).tolist())
                    parts.append(self.rows.encode(batch, versions[place]))
        self._doubt([e for i, e in enumerate(ledger) if i in used and e.window not in own], claim)
        return _concatenated(parts)

    def _doubt(self, entries: Sequence[LedgerEntry], claim: Claim) -> None:
        """Says in the ledger that windows have to be run again where their rows may not be of the content it tells.

        Rows of such a window that are put now would stay if its source went back to that content.
        """
        self._used.update(e.window for e in entries)
        if self.view.keeps_result:
            # Kept results are what was put.
            return
        entries = [e for e in entries if e.settled and not self._is_current(e)]
        unknown = [e.window for e in entries if e.window not in self.fingerprints]
        if unknown:
            seen = self.offline_store.statistics(history_read(self.view), unknown)
            self.fingerprints = {**self.fingerprints, **{s.window: s.fingerprint for s in seen}}
        self._unsettle([e for e in entries if not self._is_current(e)], claim)

    def _unsettle(self, entries: Sequence[LedgerEntry], claim: Claim) -> None:
        self.registry.settle(claim, [replace(e, settled=False) for e in entries if e.settled])

    def _held(self) -> list[LedgerEntry]:
        """Returns the ledger's entries that have, or may have, rows in the store, by window."""
        ledger = {e.window: e for e in self.registry.ledger(self.view.name)}
        return [ledger[w] for w in sorted(held(ledger))]


def _events(batch: object) -> npt.NDArray[np.int64]:
    import pyarrow as pa

    from feast_assets.types.arrow_values import fixed_values

    assert isinstance(batch, pa.RecordBatch)
    events: npt.NDArray[np.int64] = fixed_values(batch.column(EVENT_TIMESTAMP), "<i8")
    return events


def _versions(entries: Iterable[LedgerEntry]) -> dict[Window, int]:
    return {e.window: e.version for e in entries}


def _heads(rows: EncodedRows) -> RowHeads:
    heads = [payload[:HEAD_WIDTH] for payload in rows.payloads]
    return RowHeads(rows.keys, rows.event_timestamps, rows.created_timestamps, heads)


def _slice(rows: RowHeads, at: int) -> RowHeads:
    part = slice(at, at + _ROWS_AT_ONCE)
    return RowHeads(rows.keys[part], rows.event_timestamps[part], rows.created_timestamps[part], rows.heads[part])


def _concatenated(parts: Sequence[EncodedRows]) -> EncodedRows:
    import numpy as np

    nothing = np.zeros(0, np.int64)
    return EncodedRows(
        [key for part in parts for key in part.keys],
        np.concatenate([nothing, *(part.event_timestamps for part in parts)]),
        np.concatenate([nothing, *(part.created_timestamps for part in parts)]),
        [payload for part in parts for payload in part.payloads],
        of_codec=True,
    )
