"""Rows of history as the ledger has them: the newest row of an entity in the windows that are materialized.

That is what a full recompute of these windows would leave in the online store, under the same versions. It takes the
place of rows that were withdrawn (`feast_assets.compute.withdrawals`) and of rows that the store has lost
(`feast_assets.compute.absent_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.spec import to_micros
from feast_assets.definitions.window import Window, WindowIndex
from feast_assets.offline_stores.base import EVENT_TIMESTAMP
from feast_assets.offline_stores.source_changes import HistoryState, history_state
from feast_assets.online_stores.base import EncodedRows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.registry.base import Claim, LedgerEntry
    from feast_assets.registry.ledger_columns import LedgerColumns

ROWS_AT_ONCE = 200_000
"""How many rows are held in memory and put at once."""


@dataclass
class LedgerRows:
    """Reads the newest rows of one view's materialized windows from history.

    A window whose source has changed since it was materialized gives rows of its present content under the version of
    its earlier one. Such a window is unsettled in the ledger before its rows are handed out, so that it is run again.
    Where its present content breaks the checks of the view's fields, none of its rows are handed out: nothing takes the
    place of a row that a run would refuse, not even an older one.

    Args:
        definition_hash: the view's present one, as in the ledger.
        fingerprints: what is known of the present content of the view's source.
        refused: returns which of some windows hold rows at present that a run would refuse; None where none does.

    Attributes:
        used: the windows of which rows were looked at.
    """

    stores: ViewStores
    definition_hash: str
    fingerprints: Mapping[Window, str]
    refused: Callable[[Sequence[Window]], Collection[Window]] | None = None
    used: set[Window] = field(default_factory=set, init=False)
    _looked_up: dict[Window, str] = field(default_factory=dict, init=False)
    _refused: dict[Window, bool] = field(default_factory=dict, init=False)

    def newest(
        self, keys: Sequence[bytes], ledger: LedgerColumns, own: Collection[Window], claim: Claim
    ) -> Iterator[EncodedRows]:
        """Yields the newest rows of entities in the windows of some entries, as a run of these would put them.

        One query of the history finds them. At most about `ROWS_AT_ONCE` rows come at a time; a key comes once.

        Args:
            ledger: entries by window.
            own: windows that the present run writes; it settles them itself.
            claim: of the present run, to unsettle other windows with.
        """
        import numpy as np

        from feast_assets.types.arrow_values import int64_array

        if not len(ledger) or not keys:
            return
        index = WindowIndex(list(ledger))
        parts: list[EncodedRows] = []
        used: set[int] = set()

        def together() -> EncodedRows:
            entries = [ledger.entry(i) for i in sorted(used)]
            self._doubt([e for e in entries if e.window not in own], claim)
            return concatenated(parts)

        # The newest of all these times: the fewer windows, the cheaper.
        windows = [Window(start, end) for start, end in ledger.joined()]
        rows = self.stores.rows
        for batch in self.stores.offline_store.latest(self.stores.made, windows, rows.decode_keys(keys)):
            if not batch.num_rows:
                continue
            entry = index.positions(_events(batch))
            of_batch = np.unique(entry).tolist()
            used.update(of_batch)
            if refused := self._refused_entries(ledger, of_batch, own):
                fit = ~np.isin(entry, refused)
                batch, entry = batch.take(int64_array(np.flatnonzero(fit))), entry[fit]
            if batch.num_rows:
                parts.append(rows.encode(batch, ledger.versions[entry]))
            if sum(map(len, parts)) >= ROWS_AT_ONCE:
                yield together()
                parts, used = [], set()
        if used and len(rest := together()):
            yield rest

    def _refused_entries(self, ledger: LedgerColumns, indices: Iterable[int], own: Collection[Window]) -> list[int]:
        """Returns which of some entries have windows that hold rows at present that a run would refuse.

        What was put of a window passed the checks, so only windows with another content by now are looked at.
        """
        if self.refused is None or self.stores.view.keeps_result:
            return []
        others = {i: entry for i in indices if (entry := ledger.entry(i)).window not in own}
        self._look_at([entry.window for entry in others.values()])
        changed = {i: entry.window for i, entry in others.items() if not self.is_current(entry)}
        if unknown := [window for window in changed.values() if window not in self._refused]:
            refused = self.refused(unknown)
            self._refused |= {window: window in refused for window in unknown}
        return [i for i, window in changed.items() if self._refused[window]]

    def _look_at(self, windows: Iterable[Window]) -> None:
        """Has the fingerprints of the present content of some windows known."""
        if unknown := [w for w in windows if w not in self._looked_up and w not in self.fingerprints]:
            statistics = self.stores.statistics.for_windows().survey(unknown).windows
            self._looked_up |= {s.window: s.fingerprint for s in statistics}

    def is_current(self, entry: LedgerEntry) -> bool:
        """Whether a window's source and the view's definition are known to be those in the ledger."""
        if entry.definition_hash != self.definition_hash:
            return False
        present = self._looked_up.get(entry.window)
        return (self.fingerprints.get(entry.window) if present is None else present) == entry.fingerprint

    def _doubt(self, entries: Sequence[LedgerEntry], claim: Claim) -> None:
        """Unsettles windows whose rows in the source may not be the content that the ledger has.

        Rows of such a window that are put now would stay if its source went back to that content.
        """
        self.used.update(e.window for e in entries)
        if self.stores.view.keeps_result:
            # Kept results are what was put.
            return
        entries = [e for e in entries if e.settled and not self.is_current(e)]
        self._look_at(e.window for e in entries)
        self.unsettle([e for e in entries if not self.is_current(e)], claim)

    def unsettle_used(self, claim: Claim) -> None:
        """Says in the ledger that the windows of which rows were handed out have to be run again."""
        held = self.held()
        self.unsettle([held[window] for window in self.used if window in held], claim)

    def unsettle(self, entries: Iterable[LedgerEntry], claim: Claim) -> None:
        """Says in the ledger that some windows have to be run again."""
        if unsettled := [replace(e, settled=False) for e in entries if e.settled]:
            self.stores.registry.settle(claim, unsettled)

    def state(self) -> HistoryState:
        """Returns what the view's sources consist of at present."""
        return history_state(self.stores.offline_store, self.stores.read)

    def held(self, after: datetime | None = None) -> LedgerColumns:
        """Returns the ledger's entries that have, or may have, rows in the store.

        Args:
            after: only those that end later than this.
        """
        held = self.stores.registry.ledger_columns(self.stores.view.name).held()
        return held if after is None else held.taken(held.ends > to_micros(after))


def same_versions(one: LedgerColumns, other: LedgerColumns) -> bool:
    """Whether two states of a ledger have the same windows with the same versions."""
    return len(one) == len(other) and all(
        (a == b).all() for a, b in ((one.starts, other.starts), (one.ends, other.ends), (one.versions, other.versions))
    )


def concatenated(parts: Sequence[EncodedRows]) -> EncodedRows:
    """Returns rows of several batches as one."""
    import numpy as np

    nothing = np.zeros(0, np.int64)
    return EncodedRows(
        [key for part in parts for key in part.keys],
        np.concatenate([nothing, *(part.event_timestamps for part in parts)]),
        np.concatenate([nothing, *(part.created_timestamps for part in parts)]),
        np.concatenate([nothing, *(part.versions for part in parts)]),
        [payload for part in parts for payload in part.payloads],
        of_codec=True,
    )


def _events(batch: object) -> npt.NDArray[np.int64]:
    import pyarrow as pa

    from feast_assets.types.arrow_values import fixed_values

    assert isinstance(batch, pa.RecordBatch)
    events: npt.NDArray[np.int64] = fixed_values(batch.column(EVENT_TIMESTAMP), "<i8")
    return events
