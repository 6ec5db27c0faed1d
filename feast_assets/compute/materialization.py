"""Materialization: windows of a view's history into the online store.

One window is the latest row per entity in it, put where put keeps the newer. So windows commute: in parallel, out
of order, twice, or killed and run again, they end the same. Windows with nothing but empty ones between are run in one
pass. The ledger is written after the rows are in the store, so a window that is settled there is in the store; before,
it says that somebody is about to write them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from feast_assets.compute.absent_rows import AbsentRows
from feast_assets.compute.covering import covering
from feast_assets.compute.definition_hash import ledger_hash
from feast_assets.compute.ledger_rows import LedgerRows
from feast_assets.compute.online_rows import OnlineRows
from feast_assets.compute.reading_ahead import ReadAhead
from feast_assets.compute.results import MaterializationResult, Progress, WindowResult
from feast_assets.compute.staleness import StaleWindow, history_read, stale, whole_if_known, with_reasons
from feast_assets.compute.table_mark import TableMark, told
from feast_assets.compute.validation import BrokenRule, broken_rules, refusal_hash, validates
from feast_assets.compute.withdrawals import Withdrawals
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import kept_result
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import (
    ALWAYS,
    MICROSECOND,
    Window,
    WindowIndex,
    contiguous,
    meeting,
    outside,
    until,
)
from feast_assets.errors import BrokenChecksError, InputError, SourceError
from feast_assets.offline_stores.base import (
    EVENT_TIMESTAMP,
    History,
    OfflineStore,
    Survey,
    WindowStatistics,
    history_of,
)
from feast_assets.offline_stores.profile import WindowProfile
from feast_assets.online_stores.base import EncodedRows, OnlineStore, PutResult
from feast_assets.registry.base import Claim, LedgerEntry, Registry, WindowContent
from feast_assets.registry.ledger import held

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run is going to do; made by reading alone.

    Attributes:
        chosen: windows to write, as their source was.
        ledger: of the view.
        covered: all of the time that was looked at, as windows; where there is nothing, one may stand for many.
        state: of the source, before it was looked at. Where it is another after the windows are written, what was
            written may not be what their fingerprints tell.
        newest: the newest rows of all that is chosen, where they are being read already.
        null_times: rows of the source without an event time.
    """

    chosen: Sequence[WindowStatistics]
    ledger: dict[Window, LedgerEntry]
    covered: Sequence[WindowStatistics]
    state: frozenset[str]
    newest: ReadAhead[pa.RecordBatch] | None = None
    null_times: int = 0

    @property
    def null_keys(self) -> int:
        """How many rows of the windows that were looked at lack a join key."""
        return sum(s.null_keys for s in self.covered or self.chosen)

    def close(self) -> None:
        """Ends what has begun; for who is not going to run it."""
        if self.newest is not None:
            self.newest.close()


@dataclass(frozen=True, slots=True)
class _Written:
    """Windows that were read in one pass, and whose rows are in the stores.

    Attributes:
        entities: whose newest row lies in each window.
        sure: whether all rows that were read lie in these windows, as they did when the source was looked through.
    """

    claim: Claim
    group: Sequence[WindowStatistics]
    entities: npt.NDArray[np.int64]
    put: PutResult
    sure: bool

    def suspects(self, withdrawals: Withdrawals) -> dict[Window, int]:
        """Returns the windows of which the online store may hold withdrawn rows, with their versions."""
        claimed = zip(self.group, self.claim.versions, self.claim.replaced, strict=True)
        return {s.window: version for s, version, replaced in claimed if withdrawals.may_hold(replaced)}

    def _by_window(self) -> list[int | None]:
        """Returns how many rows of each window were written; None where the store was not asked."""
        if not self.put.ignored:
            return [int(count) for count in self.entities]
        if self.put.written and not self.put.by_group:
            return [None] * len(self.group)
        counts = [*self.put.by_group, *[0] * len(self.group)]
        return list(counts[: len(self.group)])

    def results(self) -> list[WindowResult]:
        return [
            WindowResult(
                s.window, s.rows, int(count), written, s.newest_event, s.fingerprint, version, null_keys=s.null_keys
            )
            for s, version, count, written in zip(
                self.group, self.claim.versions, self.entities, self._by_window(), strict=True
            )
        ]


@dataclass
class Materialization:
    """Materializes one view; made anew for each call.

    Args:
        view: with its transformation's function attached.
        online_store: None where the project has none; then only kept results are made.
        validate: whether windows that break their fields' checks are refused; None for as the view says.
        profile: whether the result tells what the windows' values look like.
    """

    project: str
    view: FeatureView
    registry: Registry
    offline_store: OfflineStore
    online_store: OnlineStore | None
    run_id: str = ""
    progress: Progress | None = None
    validate: bool | None = None
    profile: bool = False
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _absent: AbsentRows | None = field(default=None, init=False)
    _held_until: datetime = field(default=ALWAYS.start, init=False)

    def __post_init__(self) -> None:
        self._table = self.view.online_table(self.project)
        self._mark = self._read_mark()
        self._hash = ledger_hash(self.view, self._table, "") if self._mark is None else self._mark.definition_hash
        self._input: History = history_read(self.view)
        self._rows = OnlineRows(self.view)

    def _read_mark(self) -> TableMark | None:
        """Returns the mark of the table that the rows go to, which is set up where it is missing.

        What the ledger says of a table that was lost, exchanged or restored does not count.
        """
        if self._online is None:
            return None
        return TableMark(self.view, self._table, self.registry, self._online)

    def run_windows(self, windows: Sequence[Window]) -> MaterializationResult:
        """Runs these windows, whatever the ledger says."""
        state, ordered = self._state(), sorted(windows)
        for one, other in pairwise(ordered):
            if one.overlaps(other):
                raise InputError(
                    f"Windows {one} and {other} of feature view {self.view.name!r} overlap; "
                    "each moment can be in one only."
                )
        survey = self.offline_store.survey(self._input, ordered)
        return self.run(Planned(survey.windows, self._ledger(), (), state, null_times=survey.null_times))

    def plan_between(self, start: datetime, end: datetime) -> Planned:
        """Chooses every window of the grid that has rows in ``[start, end]``; the first and last are cut to it."""
        state, ledger = self._state(), self._ledger()
        span = self._span(start, until(end))
        with ExitStack() as stack:
            newest = None
            if span is not None and state and self._reads_only_newest:
                # Both read the whole source, but one mostly with one thread.
                newest = stack.enter_context(closing(ReadAhead(self._newest_rows(span))))
            survey = self._survey(span, ledger)
            seen = survey.windows
            had_rows = meeting(held(ledger), [s.window for s in seen])
            chosen = [s for s in seen if s.rows or s.window in had_rows]
            planned = Planned(chosen, ledger, seen, state, newest, survey.null_times)
            # Rows may lack what the statistics have seen, if it came between; the other way about, a run heals it.
            if newest is not None and not (chosen and self.is_current(planned)):
                return replace(planned, newest=None)
            stack.pop_all()
            return planned

    def plan_stale(self, end: datetime) -> Planned:
        """Chooses the windows up to and including ``end`` that are missing, or whose source or definition has
        changed."""
        state, ledger = self._state(), self._ledger()
        survey = self._survey_until(end, ledger)
        seen = survey.windows
        return Planned(stale(seen, ledger, self._hash), ledger, seen, state, null_times=survey.null_times)

    def stale_windows(self, end: datetime) -> list[StaleWindow]:
        """Returns the windows that `plan_stale` would choose, in order of time; changes nothing of them."""
        ledger = self._read_ledger()
        newest = max(ledger, default=None)
        seen = self._survey_until(end, ledger).windows
        # Without checks, the text is what it was before there were any.
        decided_by = [self._hash, *filter(None, [refusal_hash(self.view)])]
        reasons = {s.window: reason for s, reason in with_reasons(seen, ledger, self._hash)}
        found: list[StaleWindow] = []
        last_end = None
        for s in seen:
            if s.window in reasons:
                lost = [ledger[s.window].mark] if reasons[s.window] == "restored" else []
                found.append(
                    StaleWindow(
                        s.window,
                        reasons[s.window],
                        behind=newest is not None and s.window < newest,
                        after=last_end or s.window.start,
                        content=content_hash([s.fingerprint, *decided_by, *lost])[:32],
                        because=told(ledger[s.window]) if lost else "",
                    )
                )
            if s.window in reasons or s.rows or s.window in ledger:
                last_end = s.window.end
        return found

    def _survey_until(self, end: datetime, ledger: Mapping[Window, LedgerEntry]) -> Survey:
        """Returns what the source holds at present up to and including ``end``, in windows that cover it."""
        grid = self.view.partitions
        if grid is None:
            survey = self._survey(ALWAYS, ledger)
        else:
            start = grid.start or self.offline_store.oldest_event(self._input)
            span = self._span(start, until(end)) if start and start <= end else None
            if span is None:
                return Survey([])
            # What is already there beyond the end stays; the last window is compared as it was recorded.
            last = grid.floor(span.end - MICROSECOND)
            last_window = whole_if_known(grid, Window(max(last, span.start), span.end), ledger)
            survey = self._survey(Window(span.start, last_window.end), ledger)
        self._refuse_vanished(survey.windows, ledger)
        return survey

    def _refuse_vanished(self, seen: Sequence[WindowStatistics], ledger: Mapping[Window, LedgerEntry]) -> None:
        """Raises SourceError where a source that had rows has no files any more: more likely lost than emptied."""
        if any(s.rows for s in seen) or not any(e.rows for e in ledger.values()):
            return
        if not self._state():
            names = ", ".join(repr(s.name) for s in self._input.sources)
            raise SourceError(
                f"Feature view {self.view.name!r}: its source {names} is gone, though rows of it were materialized. "
                "Bring it back; if it is meant to be empty, materialize the windows by their dates."
            )

    def _statistics(self, windows: Sequence[Window]) -> list[WindowStatistics]:
        return self.offline_store.statistics(self._input, windows) if windows else []

    def _span(self, start: datetime, end: datetime) -> Window | None:
        """Returns what of a span of time lies on the view's grid; None for nothing, and `ALWAYS` without a grid."""
        grid = self.view.partitions
        if grid is None:
            return ALWAYS
        end = end if grid.end is None else min(end, grid.end)
        return Window(start, end) if start < end else None

    def _survey(self, span: Window | None, ledger: Mapping[Window, LedgerEntry]) -> Survey:
        """Returns what the source holds in a span, in windows that cover it: their number grows with its rows and with
        the ledger's entries, but not with the time between them."""
        grid = self.view.partitions
        if span is None:
            return Survey([])
        if grid is None:
            return self.offline_store.survey(self._input, [span])
        survey = self.offline_store.survey_grid(self._input, grid, span)
        return Survey(covering(grid, span, survey.windows, ledger), survey.null_times)

    def _state(self) -> frozenset[str]:
        return self.offline_store.state(self._input)

    def is_current(self, planned: Planned) -> bool:
        """Whether the source is surely as it was when a plan was begun; not so where nobody can tell."""
        return bool(planned.state) and planned.state == self._state()

    def _ledger(self) -> dict[Window, LedgerEntry]:
        """Returns the view's entries, after those that the online table's mark speaks against were unsettled."""
        entries = self.registry.ledger(self.view.name) if self._mark is None else self._mark.ledger()
        return {e.window: e for e in entries}

    def _read_ledger(self) -> dict[Window, LedgerEntry]:
        """Returns what `_ledger` would, and changes nothing."""
        entries = self.registry.ledger(self.view.name) if self._mark is None else self._mark.read_ledger()
        return {e.window: e for e in entries}

    def run(self, planned: Planned) -> MaterializationResult:
        """Writes the windows that were chosen; the caller closes the plan."""
        started = time.perf_counter()
        covered, ledger = planned.covered, planned.ledger
        profiles = self._profiles(planned.chosen)
        broken = self._broken(profiles)
        refused = {each.window for each in broken}
        chosen = [s for s in planned.chosen if s.window not in refused]
        self._total, self._done = len(chosen), 0
        self._report()
        withdrawals = self._withdrawals(chosen, covered, ledger)
        if withdrawals is not None:
            self._absent = AbsentRows(self._table, withdrawals.ledger_rows, withdrawals.online_store, withdrawals)
        self._held_until = max((w.end for w in held(ledger)), default=ALWAYS.start)
        written, withdrawn = self._write_all(self._groups(chosen, covered), planned, withdrawals)
        results = [result for group in written for result in group.results()]
        put = sum((group.put for group in written), PutResult(0, 0))
        if self.profile and not profiles:
            profiles = self._profiled(history_of(self.view), chosen)
        result = MaterializationResult(
            self.view.name,
            tuple(self._counted(r, profiles.get(r.window)) for r in results),
            put.written,
            put.ignored,
            time.perf_counter() - started,
            withdrawn,
            planned.null_keys,
            planned.null_times,
        )
        if result.left_out:
            warnings.warn(
                f"Feature view {self.view.name!r}: {result.left_out}; such rows are in no result.", stacklevel=2
            )
        if broken:
            raise BrokenChecksError(self.view.name, broken, result)
        return result

    def _counted(self, result: WindowResult, profile: WindowProfile | None) -> WindowResult:
        """Adds to what was done in a window its profile, and how many rows it has where that is known."""
        if self.view.is_computed_when_read:
            return replace(result, profile=profile, made=None if profile is None else profile.rows)
        return replace(result, profile=profile, made=result.rows)

    def _profiles(self, chosen: Sequence[WindowStatistics]) -> dict[Window, WindowProfile]:
        """Returns profiles of the rows that are about to be written, where they are needed before that."""
        if self._validates or (self.profile and not self.view.keeps_result):
            return self._profiled(self._input, chosen)
        return {}

    def _profiled(self, history: History, chosen: Sequence[WindowStatistics]) -> dict[Window, WindowProfile]:
        return {
            profile.window: profile
            for group in contiguous(chosen)
            for profile in self.offline_store.profile(history, [s.window for s in group])
        }

    @property
    def _validates(self) -> bool:
        return validates(self.view, self.validate)

    def _broken(self, profiles: Mapping[Window, WindowProfile]) -> list[BrokenRule]:
        """Returns what keeps windows from being written."""
        if not self._validates:
            return []
        return [b for b in broken_rules(self.view.features, list(profiles.values())) if b.severity == "error"]

    def _broken_windows(self, windows: Sequence[Window]) -> set[Window]:
        """Returns which of some windows hold rows at present that would keep them from being written."""
        seen = [WindowStatistics(w, 0, None, None, None, "") for w in sorted(windows)]
        return {each.window for each in self._broken(self._profiled(self._input, seen))}

    def _withdrawals(
        self,
        chosen: Sequence[WindowStatistics],
        covered: Sequence[WindowStatistics],
        ledger: Mapping[Window, LedgerEntry],
    ) -> Withdrawals | None:
        """Returns what takes withdrawn rows out of the online store; None where the view is not in one."""
        if self.online_store is None or not self.view.online:
            return None
        fingerprints = {s.window: s.fingerprint for s in (*covered, *chosen)}
        # Windows that have grown since: whether what they were is still there.
        comparable = [w for w, e in ledger.items() if e.settled and e.fingerprint and e.definition_hash == self._hash]
        in_part = meeting([s.window for s in chosen], comparable) - set(fingerprints)
        fingerprints |= {s.window: s.fingerprint for s in self._statistics(sorted(in_part))}
        broken = self._broken_windows if self._validates else None
        ledger_rows = LedgerRows(
            self.view, self._rows, self._hash, self.registry, self.offline_store, fingerprints, broken
        )
        return Withdrawals(self._table, ledger_rows, self.online_store)

    def _groups(
        self, chosen: Iterable[WindowStatistics], covered: Iterable[WindowStatistics]
    ) -> list[list[WindowStatistics]]:
        """Returns windows as groups that are written in one pass; those that surely have no rows divide no group."""
        untouched = self._input.transformation is None
        return contiguous(chosen, [s.window for s in covered if not s.rows] if untouched else ())

    def _write_all(
        self, groups: Sequence[list[WindowStatistics]], planned: Planned, withdrawals: Withdrawals | None
    ) -> tuple[list[_Written], int]:
        """Writes windows and settles them; returns what was written, and how many rows were withdrawn.

        Windows that may have withdrawn rows wait for each other, because finding these takes a pass over the store.
        """
        written: list[_Written] = []
        waiting: list[_Written] = []
        withdrawn = 0
        empty, newest = self._empty(planned), planned.newest
        if empty and not groups:
            self.registry.claim(self.view.name, [], empty=empty, run_id=self.run_id)
        try:
            for group in groups:
                written.append(self._write(group, empty, newest))
                empty, newest = [], None  # once for all
                if withdrawals is not None and written[-1].suspects(withdrawals):
                    waiting.append(written[-1])
                else:
                    self._finish(written[-1:], planned.state)
                self._done += len(group)
                self._report()
            if withdrawals is not None and waiting:
                suspects = {w: v for group in waiting for w, v in group.suspects(withdrawals).items()}
                withdrawn = withdrawals.withdraw(suspects, waiting[-1].claim)
        except Exception:
            for each in waiting:
                self._settle(each.claim, each.group, each.entities, sure=False)
            raise
        self._finish(waiting, planned.state)
        return written, withdrawn

    def _write(
        self,
        group: list[WindowStatistics],
        empty: Sequence[WindowContent],
        newest: ReadAhead[pa.RecordBatch] | None,
    ) -> _Written:
        """Puts windows that are written in one pass into the stores; they stay unsettled.

        Args:
            empty: windows without rows, of which the ledger is told at the same time.
            newest: their newest rows, where these are being read already.
        """
        whole = Window(group[0].window.start, group[-1].window.end)
        sink = kept_result(self.view)
        with ExitStack() as stack:
            if newest is None and sink is None and self._online is not None:
                # They are read while the windows are claimed.
                newest = stack.enter_context(closing(ReadAhead(self._newest_rows(whole))))
            contents = [WindowContent(s.window, s.fingerprint, self._hash) for s in group]
            claim = self._claim(contents, empty)
            try:
                if sink is not None:
                    group = self._keep_result(sink, group, whole)
                rows = stack.enter_context(closing(self._newest_rows(whole))) if newest is None else newest
                written = self._fill_online(group, claim, rows)
            except Exception:
                self._settle(claim, group, [0] * len(group), sure=False)
                raise
        return written

    def _claim(self, contents: Sequence[WindowContent], empty: Sequence[WindowContent]) -> Claim:
        """Claims windows, and advances the online table's mark; nothing has been put yet."""
        if self._mark is None:
            return self.registry.claim(self.view.name, contents, empty=empty, run_id=self.run_id)
        while True:
            table = self._mark.found
            claim = self.registry.claim(self.view.name, contents, empty=empty, run_id=self.run_id, table=table)
            if self._mark.begins(claim):
                return claim
            empty = ()

    @property
    def _reads_only_newest(self) -> bool:
        """Whether all that a run reads of its source after its statistics is the newest rows."""
        return self._online is not None and self._input.transformation is None and not self._validates

    @property
    def _online(self) -> OnlineStore | None:
        """The store that the view's rows go to; None where they do not go online."""
        return self.online_store if self.view.online else None

    def _newest_rows(self, whole: Window) -> Generator[pa.RecordBatch, None, None]:
        yield from self.offline_store.latest(history_of(self.view), whole)

    def _finish(self, written: Sequence[_Written], state: frozenset[str]) -> None:
        """Settles windows, if their source has stayed what it was, and the store has kept their rows."""
        if not written:
            return
        same = state <= self._state()
        # Whatever becomes of the windows, the mark is advanced once for all of them.
        mark = 0 if self._mark is None else self._mark.settles()
        kept = self._mark is None or mark > 0
        for each in written:
            sure = each.sure and same
            self._settle(each.claim, each.group, each.entities, sure=sure and kept, mark=mark)
            if sure and kept:
                continue
            # What was read may be neither the content of before nor that of after; the next run looks again.
            happened = "source" if not sure else "online store"
            how = "changed while it was read" if not sure else "put back to an earlier state while it was written"
            warnings.warn(
                f"The {happened} of feature view {self.view.name!r} was {how}; {len(each.group)} "
                f"windows from {each.group[0].window.start.isoformat()} on will be run again.",
                stacklevel=2,
            )

    def _settle(
        self, claim: Claim, group: Sequence[WindowStatistics], written: Iterable[int], *, sure: bool, mark: int = 0
    ) -> None:
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
                    mark=mark if sure else 0,
                )
                for s, version, count in zip(group, claim.versions, written, strict=True)
            ],
        )

    def _keep_result(self, sink: DataSource, group: list[WindowStatistics], whole: Window) -> list[WindowStatistics]:
        """Computes and keeps the result of some windows; returns their statistics, of the result but with the
        inputs' fingerprints."""
        windows = [s.window for s in group]
        self.offline_store.replace(sink, self._input, windows, self.offline_store.scan(self._input, whole))
        kept = self.offline_store.statistics(history_of(self.view), windows)
        return [replace(k, fingerprint=s.fingerprint, null_keys=s.null_keys) for k, s in zip(kept, group, strict=True)]

    def _fill_online(self, group: list[WindowStatistics], claim: Claim, batches: Iterable[pa.RecordBatch]) -> _Written:
        """Puts the newest rows of windows.

        Where the ledger holds later windows, keys that the store lacks may have had a row of these: see `AbsentRows`.

        A row that lies in none of them came after the source was looked through. It is not put, as no version says of
        which window's content it is; and what it may stand before is not either, so that the run is not sure.
        """
        import numpy as np

        counts = np.zeros(len(group), dtype=np.int64)
        if self._online is None:
            return _Written(claim, group, counts, PutResult(0, 0), sure=True)
        index = WindowIndex([s.window for s in group])
        version_of = np.array(claim.versions, dtype=np.int64)
        only_replaces = self._held_until > group[-1].window.end
        sure = True

        def encoded() -> Iterator[EncodedRows]:
            from feast_assets.types.arrow_values import fixed_values, int64_array

            nonlocal sure
            for batch in batches:
                place = index.places(fixed_values(batch.column(EVENT_TIMESTAMP), "<i8"))
                inside = place >= 0
                if not inside.all():
                    sure = False
                    batch, place = batch.take(int64_array(np.flatnonzero(inside))), place[inside]
                if batch.num_rows:
                    counts[:] += np.bincount(place, minlength=len(group))
                    rows = self._rows.encode(batch, version_of[place])
                    if self.profile or only_replaces:
                        rows = replace(rows, groups=place if self.profile else None, only_replaces=only_replaces)
                    yield rows

        put = self._online.put_many(self._table, encoded())
        if put.absent and self._absent is not None:
            newest = self._absent.put(put.absent, [s.window for s in group], claim)
            # A key's row counts as ignored until it is put after all; rows of other windows are counted on their own.
            own = sum(newest.by_group[: len(group)])
            by_group = (put + newest).by_group if self.profile else ()
            put = PutResult(put.written + newest.written, put.ignored - own, by_group)
        return _Written(claim, group, counts, put, sure=sure)

    def _empty(self, planned: Planned) -> list[WindowContent]:
        """Returns what was looked at and has no rows, as few windows, where the ledger does not say so yet."""
        without_rows = [s.window for s in planned.covered if not s.rows]
        told = outside(without_rows, [*planned.ledger, *(s.window for s in planned.chosen)])
        return [WindowContent(window, "", self._hash) for window in told]

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.view.name, self._done, self._total)
