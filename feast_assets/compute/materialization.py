"""Materialization: windows of a view's history into the online store.

One window is the latest row per entity in it, put where put keeps the newer. So windows commute: in parallel, out
of order, twice, or killed and run again, they end the same. Neighbouring windows are run in one pass. The ledger is
written after the rows are in the store, so a window that is settled there is in the store; before, it says that
somebody is about to write them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from feast_assets.compute.definition_hash import materialization_hash
from feast_assets.compute.online_rows import OnlineRows
from feast_assets.compute.results import MaterializationResult, Progress, WindowResult
from feast_assets.compute.windows import (
    contiguous,
    grid_windows,
    held,
    intervals,
    stale,
    until,
    whole_if_known,
)
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.partitions import Window
from feast_assets.definitions.spec import content_hash, to_micros
from feast_assets.errors import InputError, SourceError
from feast_assets.offline_stores.base import (
    ALWAYS,
    EVENT_TIMESTAMP,
    History,
    OfflineStore,
    WindowStatistics,
    computation_of,
    history_of,
)
from feast_assets.online_stores.base import EncodedRows, OnlineStore, PutResult
from feast_assets.registry.base import Claim, LedgerEntry, Registry, WindowContent
from feast_assets.registry.ledger import overlap

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MANY_WINDOWS = 5_000


@dataclass
class Materialization:
    """Materializes one view; made anew for each call.

    Args:
        view: with its transformation's function attached.
        online_store: None where the project has none; then only kept results are made.
    """

    project: str
    view: FeatureView
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    run_id: str = ""
    progress: Progress | None = None
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._table = self.view.online_table(self.project)
        self._hash = content_hash([materialization_hash(self.view), self._table, self._table_identity()])
        self._input: History = (
            computation_of(self.view)
            if isinstance(self.view, BatchFeatureView) and self.view.keeps_result
            else history_of(self.view)
        )
        self._rows = OnlineRows(self.view)

    def _table_identity(self) -> str:
        """Returns which table the rows go to; what the ledger says of one that was lost or exchanged does not count."""
        if self.online_store is None or not self.view.online:
            return ""
        self.online_store.setup([self._table])
        return self.online_store.identity(self._table)

    def run_windows(self, windows: Sequence[Window]) -> MaterializationResult:
        """Runs these windows, whatever the ledger says."""
        ordered = sorted(windows)
        for one, other in pairwise(ordered):
            if overlap(one, other):
                raise InputError(
                    f"Windows {one} and {other} of feature view {self.view.name!r} overlap; "
                    "each moment can be in one only."
                )
        return self._run(self._statistics(ordered), self._ledger())

    def run_between(self, start: datetime, end: datetime) -> MaterializationResult:
        """Runs every window of the grid that has rows in ``[start, end]``; the first and last are cut to it."""
        ledger = self._ledger()
        seen = self._statistics(self._windows_between(Window(start, until(end)), ledger))
        return self._run([s for s in seen if s.rows or s.window in held(ledger)], ledger, covered=seen)

    def run_stale(self, end: datetime) -> MaterializationResult:
        """Runs the windows up to and including ``end`` that are missing, or whose source or definition has changed."""
        ledger = self._ledger()
        if self.view.partitions is None:
            seen = self._statistics([ALWAYS])
        else:
            start = self.view.partitions.start or self._statistics([ALWAYS])[0].oldest_event
            windows = self._windows_between(Window(start, until(end)), ledger) if start and start <= end else []
            if not windows:
                return self._run([], ledger)
            # What is already there beyond the end stays; the last window is compared as it was recorded.
            windows[-1] = whole_if_known(self.view.partitions, windows[-1], ledger)
            seen = self._statistics(windows)
        self._refuse_vanished(seen, ledger)
        return self._run(stale(seen, ledger, self._hash), ledger, covered=seen)

    def _refuse_vanished(self, seen: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry]) -> None:
        """Raises SourceError where a source that had rows has no files any more: more likely lost than emptied."""
        if any(s.rows for s in seen) or not any(e.rows for e in ledger.values()):
            return
        if not self.offline_store.state(self._input):
            names = ", ".join(repr(s.name) for s in self._input.sources)
            raise SourceError(
                f"Feature view {self.view.name!r}: its source {names} is gone, though rows of it were materialized. "
                "Bring it back; if it is meant to be empty, materialize the windows by their dates."
            )

    def _statistics(self, windows: Sequence[Window]) -> list[WindowStatistics]:
        return self.offline_store.statistics(self._input, windows) if windows else []

    def _ledger(self) -> dict[Window, LedgerEntry]:
        return {e.window: e for e in self.registry.ledger(self.view.name)}

    def _windows_between(self, whole: Window, ledger: Mapping[Window, LedgerEntry]) -> list[Window]:
        """Returns the grid's windows in ``whole``, cut to it.

        Where that is very many, what lies before the first and after the last row, now or when last materialized,
        counts as one window each; so neither a start long ago nor an end in the far future costs anything.
        """
        if self.view.partitions is None:
            return [ALWAYS]
        if self.view.partitions.end is not None:
            whole = Window(whole.start, min(whole.end, self.view.partitions.end))
        windows = list(islice(grid_windows(self.view.partitions, whole), _MANY_WINDOWS + 1))
        if len(windows) <= _MANY_WINDOWS:
            return windows
        extent = self._statistics([whole])[0]
        known = [w for w in held(ledger) if whole.contains(w)]
        starts = [w.start for w in known] + ([extent.oldest_event] if extent.oldest_event else [])
        ends = [w.end for w in known] + ([until(extent.newest_event)] if extent.newest_event else [])
        if not starts or not ends:
            return [whole]
        begin = max(whole.start, self.view.partitions.floor(min(starts)))
        newest = max(ends)
        # A result may be dated after its inputs.
        last = newest + min(self._input.lookback, ALWAYS.end - newest)
        end = min(whole.end, self.view.partitions.next(self.view.partitions.floor(last)))
        rest = [Window(a, b) for a, b in ((whole.start, begin), (end, whole.end)) if a < b]
        return sorted([*grid_windows(self.view.partitions, Window(begin, end)), *rest])

    def _run(
        self,
        chosen: Sequence[WindowStatistics],
        ledger: dict[Window, LedgerEntry],
        covered: Sequence[WindowStatistics] = (),
    ) -> MaterializationResult:
        started = time.perf_counter()
        self._total, self._done = len(chosen), 0
        self._report()
        results: list[WindowResult] = []
        put = PutResult(0, 0)
        for group in contiguous(chosen):
            window_results, group_put = self._run_group(group)
            results += window_results
            put += group_put
            self._done += len(group)
            self._report()
        self._record_empty(covered, ledger)
        return MaterializationResult(
            self.view.name, tuple(results), put.written, put.ignored, time.perf_counter() - started
        )

    def _run_group(self, group: list[WindowStatistics]) -> tuple[list[WindowResult], PutResult]:
        whole = Window(group[0].window.start, group[-1].window.end)
        state = self.offline_store.state(self._input)
        claim = self.registry.claim(
            self.view.name, [WindowContent(s.window, s.fingerprint, self._hash) for s in group], run_id=self.run_id
        )
        try:
            if isinstance(self.view, BatchFeatureView) and self.view.keeps_result:
                group = self._keep_result(self.view, group, whole)
            entities, put = self._fill_online(group, claim.versions, whole)
        except Exception:
            self._settle(claim, group, [0] * len(group), sure=False)
            raise
        sure = state <= self.offline_store.state(self._input)
        self._settle(claim, group, entities, sure=sure)
        if not sure:
            # What was read may be neither the content of before nor that of after; the next run looks again.
            warnings.warn(
                f"The source of feature view {self.view.name!r} was changed while it was read; "
                f"{len(group)} windows from {whole.start.isoformat()} on will be run again.",
                stacklevel=2,
            )
        return [
            WindowResult(s.window, s.rows, int(count), s.newest_event, s.fingerprint, version)
            for s, version, count in zip(group, claim.versions, entities, strict=True)
        ], put

    def _settle(self, claim: Claim, group: Sequence[WindowStatistics], written: Iterable[int], *, sure: bool) -> None:
        """Says in the ledger that windows are written; or, where it is not sure what was written, that they are not."""
        self.registry.settle(
            claim,
            [
                LedgerEntry(
                    view=self.view.name,
                    window=s.window,
                    fingerprint=s.fingerprint,
                    version=version,
                    definition_hash=self._hash,
                    rows=s.rows,
                    written=int(count),
                    at=datetime.now(UTC),
                    run_id=self.run_id,
                    settled=sure,
                )
                for s, version, count in zip(group, claim.versions, written, strict=True)
            ],
        )

    def _keep_result(
        self, view: BatchFeatureView, group: list[WindowStatistics], whole: Window
    ) -> list[WindowStatistics]:
        """Computes and keeps the result of some windows; returns their statistics, of the result but with the
        inputs' fingerprints."""
        assert view.sink_source is not None
        windows = [s.window for s in group]
        self.offline_store.replace(view.sink_source, self._input, windows, self.offline_store.scan(self._input, whole))
        kept = self.offline_store.statistics(history_of(view), windows)
        return [
            WindowStatistics(k.window, k.rows, k.oldest_event, k.newest_event, k.newest_created, s.fingerprint)
            for k, s in zip(kept, group, strict=True)
        ]

    def _fill_online(
        self, group: list[WindowStatistics], versions: Sequence[int], whole: Window
    ) -> tuple[npt.NDArray[np.int64], PutResult]:
        import numpy as np

        counts = np.zeros(len(group), dtype=np.int64)
        if self.online_store is None or not self.view.online:
            return counts, PutResult(0, 0)
        starts = np.array([to_micros(s.window.start) for s in group], dtype=np.int64)
        version_of = np.array(versions, dtype=np.int64)

        def encoded() -> Iterator[EncodedRows]:
            import pyarrow as pa

            for batch in self.offline_store.latest(history_of(self.view), whole):
                if batch.num_rows:
                    events = batch.column(EVENT_TIMESTAMP).cast(pa.int64()).to_numpy(zero_copy_only=False)
                    place = np.searchsorted(starts, events, side="right") - 1
                    counts[:] += np.bincount(place, minlength=len(group))
                    yield self._rows.encode(batch, version_of[place])

        put = self.online_store.put_many(self._table, encoded())
        return counts, put

    def _record_empty(self, covered: Sequence[WindowStatistics], ledger: dict[Window, LedgerEntry]) -> None:
        """Writes down that windows without rows were looked at, where the ledger does not say so yet."""
        known = intervals(ledger.values())
        empty = [
            s
            for s in covered
            if not s.rows
            and s.window not in ledger
            and not any(a <= s.window.start and s.window.end <= b for a, b in known)
        ]
        self.registry.cover(
            [
                LedgerEntry(
                    view=self.view.name,
                    window=Window(group[0].window.start, group[-1].window.end),
                    fingerprint="",
                    version=0,
                    definition_hash=self._hash,
                    rows=0,
                    written=0,
                    at=datetime.now(UTC),
                    run_id=self.run_id,
                )
                for group in contiguous(empty)
            ]
        )

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.view.name, self._done, self._total)
