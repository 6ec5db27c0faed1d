"""What a run is going to do: which windows of a view are missing or stale, or lie in a span of time.

A plan is made by reading the source's statistics and the ledger. Nothing is written, and nothing here knows how, or by
which engine, the windows are run.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise

import numpy as np

from feast_assets.compute.covering import covering
from feast_assets.compute.results import PartCounts
from feast_assets.compute.settle import ViewLedger
from feast_assets.compute.source_statistics import Statistics
from feast_assets.compute.staleness import REASONS, StaleWindow, reasons, stale, whole_if_known
from feast_assets.compute.table_mark import reason_of_doubt
from feast_assets.compute.validation import refusal_hash
from feast_assets.compute.view_stores import ViewStores
from feast_assets.definitions.spec import content_hash, to_micros
from feast_assets.definitions.window import ALWAYS, MICROSECOND, Window, contiguous, outside, until
from feast_assets.definitions.window_columns import met
from feast_assets.errors import InputError, SourceError
from feast_assets.offline_stores.base import Survey, WindowStatistics
from feast_assets.offline_stores.source_changes import HistoryState, history_state
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.registry.base import LedgerEntry
from feast_assets.registry.ledger_columns import LedgerColumns


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes:
        chosen: the windows to write, as their source was.
        ledger: the view's entries, by window.
        covered: all of the time that was looked at, as windows without gaps; where there are no rows, one may stand for
            many. Empty where only the chosen windows were looked at.
        state: what the sources consisted of before they were looked at. If they have changed after the windows are
            written, what was written may not be what their fingerprints say.
        null_times: rows of the source without an event time.
        parts: what was found of the parts of the sources, where these can be told apart.
        statistics: what the plan was made from; None where nobody needs it any more.
        bridges: whether windows without rows close the gap between others, which are then written in one pass. Not so
            with a transformation, which may make rows of none.
        only_stale: whether windows were chosen because they are stale, so that of one to which parts were only added
            the other rows need not be put again.
    """

    chosen: Sequence[WindowStatistics]
    ledger: Mapping[Window, LedgerEntry]
    covered: Sequence[WindowStatistics]
    state: HistoryState
    null_times: int = 0
    bridges: bool = True
    parts: PartCounts | None = None
    statistics: Statistics | None = None
    only_stale: bool = False

    @property
    def null_keys(self) -> int:
        """How many rows of the windows that were looked at lack a join key."""
        return int(StatisticsColumns.of(self.covered or self.chosen).null_keys.sum())

    @cached_property
    def fingerprints(self) -> Mapping[Window, str]:
        """The source's content in all windows that were looked at."""
        return ChainMap(  # it is never changed
            StatisticsColumns.of(self.chosen).content,  # type: ignore[arg-type]
            StatisticsColumns.of(self.covered).content,  # type: ignore[arg-type]
        )

    @cached_property
    def held_until(self) -> datetime:
        """The end of the last window that has, or may have, rows in the online store."""
        held = LedgerColumns.of_mapping(self.ledger).held()
        return held.window(len(held) - 1).end if len(held) else ALWAYS.start

    def without(self, refused: Collection[Window]) -> Plan:
        """Returns the plan without some of the chosen windows."""
        return replace(self, chosen=[s for s in self.chosen if s.window not in refused]) if refused else self

    def groups(self) -> list[list[WindowStatistics]]:
        """Returns the chosen windows as groups that are written in one pass each."""
        if not self.chosen:
            return []
        bridges: list[WindowStatistics] = []
        if self.bridges:
            covered = StatisticsColumns.of(self.covered)
            between = (covered.starts >= to_micros(self.chosen[0].window.start)) & ~covered.have_rows
            bridges = covered.some(between & (covered.ends <= to_micros(self.chosen[-1].window.end)))
        return contiguous(self.chosen, [s.window for s in bridges])

    def empty(self) -> list[Window]:
        """Returns what was looked at and has no rows, as few windows, where the ledger does not say so yet."""
        covered, ledger = StatisticsColumns.of(self.covered), LedgerColumns.of_mapping(self.ledger)
        is_unknown = ~covered.have_rows & (ledger.positions(covered.starts, covered.ends) < 0)
        if not is_unknown.any():
            return []
        without_rows = covered.taken(is_unknown)
        known = ledger.taken(met(ledger.starts, ledger.ends, without_rows.starts, without_rows.ends))
        return outside([s.window for s in without_rows], [*known, *(s.window for s in self.chosen)])


@dataclass(frozen=True)
class Planner:
    """Plans the runs of one view.

    Args:
        reread: whether a plan for stale windows reads all parts of the sources, also those that seem to be the same.
    """

    stores: ViewStores
    ledger: ViewLedger
    reread: bool = False

    def of_windows(self, windows: Sequence[Window]) -> Plan:
        """Chooses these windows, whatever the ledger says.

        Raises:
            InputError: two of them overlap.
        """
        state, ordered = self.state(), sorted(windows)
        for one, other in pairwise(ordered):
            if one.overlaps(other):
                raise InputError(
                    f"Windows {one} and {other} of feature view {self.stores.view.name!r} overlap; "
                    "each moment can be in one only."
                )
        statistics = self.stores.statistics.for_windows()
        survey = statistics.survey(ordered)
        return self._plan(survey.windows, self.ledger.entries(), Survey([], survey.null_times), state, statistics)

    def between(self, start: datetime, end: datetime) -> Plan:
        """Chooses every window of the grid that has, or had, rows in ``[start, end]``; the first and last are cut."""
        state, ledger = self.state(), self.ledger.entries()
        statistics = self.stores.statistics.for_windows()
        survey = self._survey(statistics, self.span(start, end), ledger)
        covered, held = StatisticsColumns.of(survey.windows), ledger.held()
        chosen = covered.some(covered.have_rows | met(covered.starts, covered.ends, held.starts, held.ends))
        return self._plan(chosen, ledger, survey, state, statistics)

    def stale(self, end: datetime) -> Plan:
        """Chooses the windows up to and including ``end`` that are missing, or whose source or definition has
        changed."""
        state, ledger = self.state(), self.ledger.entries()
        statistics = self.stores.statistics.all_rows(reread=self.reread)
        survey = self._survey_until(statistics, end, ledger)
        chosen = stale(survey.windows, ledger, self.ledger.definition_hash)
        return replace(self._plan(chosen, ledger, survey, state, statistics), only_stale=True)

    def stale_windows(self, end: datetime) -> list[StaleWindow]:
        """Returns the windows that `stale` would choose, in order of time; changes nothing of them."""
        ledger = self.ledger.read()
        surveyed = StatisticsColumns.of(self._survey_until(self.stores.statistics.all_rows(), end, ledger).windows)
        codes = reasons(surveyed, ledger, self.ledger.definition_hash)
        is_stale = codes > 0
        if not is_stale.any():
            return []
        # Without checks, the text is what it was before there were any.
        decided_by = [self.ledger.definition_hash, *filter(None, [refusal_hash(self.stores.view)])]
        newest = ledger.window(len(ledger) - 1) if len(ledger) else None
        positions = ledger.positions(surveyed.starts, surveyed.ends)
        was_run = is_stale | surveyed.have_rows | (positions >= 0)
        last_run = np.maximum.accumulate(np.where(was_run, np.arange(len(surveyed)), -1))
        windows: list[StaleWindow] = []
        for at in np.flatnonzero(is_stale).tolist():
            s, reason = surveyed[at], REASONS[codes[at] - 1]
            last = int(last_run[at - 1]) if at else -1
            entry = ledger.entry(int(positions[at])) if reason == "restored" else None
            windows.append(
                StaleWindow(
                    s.window,
                    reason,
                    behind=newest is not None and s.window < newest,
                    after=surveyed.window(last).end if last >= 0 else s.window.start,
                    content=content_hash([s.fingerprint, *decided_by, *([entry.mark] if entry else [])])[:32],
                    because=reason_of_doubt(entry) if entry else "",
                )
            )
        return windows

    def span(self, start: datetime, end: datetime) -> Window | None:
        """Returns the part of ``[start, end]`` on the view's grid; None for nothing, `ALWAYS` without a grid."""
        grid = self.stores.view.partitions
        if grid is None:
            return ALWAYS
        past = until(end)
        past = past if grid.end is None else min(past, grid.end)
        return Window(start, past) if start < past else None

    def state(self) -> HistoryState:
        """Returns what the sources consist of at present, as far as the offline store can tell."""
        return history_state(self.stores.offline_store, self.stores.read)

    def _plan(
        self,
        chosen: Sequence[WindowStatistics],
        ledger: LedgerColumns,
        survey: Survey,
        state: HistoryState,
        statistics: Statistics,
    ) -> Plan:
        bridges = self.stores.read.transformation is None
        parts = self.stores.statistics.counts
        return Plan(chosen, ledger, survey.windows, state, survey.null_times, bridges, parts, statistics)

    def _survey_until(self, statistics: Statistics, end: datetime, ledger: LedgerColumns) -> Survey:
        """Returns what the source holds at present up to and including ``end``, in windows that cover it."""
        grid = self.stores.view.partitions
        if grid is None:
            survey = self._survey(statistics, ALWAYS, ledger)
        else:
            start = grid.start or statistics.oldest_event()
            span = self.span(start, end) if start and start <= end else None
            if span is None:
                return Survey([])
            # What is already there beyond the end stays; the last window is compared as it was recorded.
            last = grid.floor(span.end - MICROSECOND)
            last_window = whole_if_known(grid, Window(max(last, span.start), span.end), ledger)
            survey = self._survey(statistics, Window(span.start, last_window.end), ledger)
        self._refuse_vanished(survey.windows, ledger)
        return survey

    def _refuse_vanished(self, surveyed: Sequence[WindowStatistics], ledger: LedgerColumns) -> None:
        """Raises SourceError where a source that had rows is not there any more; one that is empty is."""
        if StatisticsColumns.of(surveyed).have_rows.any() or not ledger.rows.any():
            return
        if gone := self.state().gone:
            names = ", ".join(map(repr, gone))
            raise SourceError(
                f"Feature view {self.stores.view.name!r}: its source {names} is gone, though rows of it were "
                "materialized. Bring it back; if it is meant to be empty, materialize the windows by their dates."
            )

    def _survey(self, statistics: Statistics, span: Window | None, ledger: LedgerColumns) -> Survey:
        """Returns what the source holds in a span, in windows that cover it.

        Their number grows with the source's rows and the ledger's entries, but not with the time between them.
        """
        grid = self.stores.view.partitions
        if span is None:
            return Survey([])
        if grid is None:
            return statistics.survey([span])
        survey = statistics.survey_grid(span)
        return Survey(covering(grid, span, survey.windows, ledger), survey.null_times)
