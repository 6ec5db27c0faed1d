"""Materialization: windows of a view's history into the online store.

One window is the latest row per entity in it, put where put keeps the newer. So windows commute: in parallel, out
of order, twice, or killed and run again, they end the same. A run plans what to write (`plan`), claims it (`settle`),
has an engine write it (`engines`), takes back rows that the source no longer has (`withdrawals`), and settles it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.compute.plan import Plan, Planner
from feast_assets.compute.plan_run import PlanRun
from feast_assets.compute.reading_ahead import ReadAhead
from feast_assets.compute.results import MaterializationResult, Progress, WindowResult
from feast_assets.compute.settle import ViewLedger
from feast_assets.compute.validation import Validation
from feast_assets.errors import BrokenChecksError

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.compute.engines.base import ComputeEngine, RepositoryReference
    from feast_assets.compute.staleness import StaleWindow
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.definitions.window import Window
    from feast_assets.offline_stores.profile import WindowProfile


@dataclass
class Materialization:
    """Materializes one view; a new one is made for each call.

    Args:
        reference: where another process finds the view.
        run_id: who runs it, for the ledger.
        validate: whether windows that break their fields' checks are refused; None for as the view says.
        profile: whether the result tells what the windows' values look like.
        reread: whether `run_stale` reads all parts of the sources, also those that seem to be the same.
    """

    stores: ViewStores
    engine: ComputeEngine
    reference: RepositoryReference
    run_id: str = ""
    progress: Progress | None = None
    validate: bool | None = None
    profile: bool = False
    reread: bool = False

    def __post_init__(self) -> None:
        self.ledger = ViewLedger(self.stores, self.run_id)
        self.planner = Planner(self.stores, self.ledger, self.reread)
        self._validation = Validation(self.stores, self.validate)

    def run_windows(self, windows: Sequence[Window]) -> MaterializationResult:
        """Runs these windows, whatever the ledger says."""
        return self._run(self.planner.of_windows(windows))

    def run_stale(self, end: datetime) -> MaterializationResult:
        """Runs the windows up to and including ``end`` that are missing, or whose source or definition has changed."""
        return self._run(self.planner.stale(end))

    def run_between(self, start: datetime, end: datetime) -> MaterializationResult:
        """Runs every window of the grid that has, or had, rows in ``[start, end]``; the first and last are cut to it.

        The newest rows are read while the plan is made. Both take a pass over the source, and the statistics mostly
        one thread.
        """
        with ExitStack() as stack:
            begun = None
            span = self.planner.span(start, end)
            if span is not None and self._reads_only_newest and self.planner.state().parts is not None:
                begun = stack.enter_context(closing(ReadAhead(self.stores.newest_rows(span))))
            plan = self.planner.between(start, end)
            # Rows that came after these were read, and before the statistics, would be missing. The reverse is repaired
            # by the next run.
            if begun is not None and not (plan.chosen and plan.state.is_same(self.planner.state())):
                begun.close()
                begun = None
            return self._run(plan, begun)

    def stale_windows(self, end: datetime) -> list[StaleWindow]:
        """Returns the windows that `run_stale` would run, in order of time; changes nothing of them."""
        return self.planner.stale_windows(end)

    @property
    def _reads_only_newest(self) -> bool:
        """Whether all that this process reads after the statistics is the newest rows of all windows, in one pass."""
        return (
            self.engine.uses_context
            and self.engine.windows_per_task is None
            and self.stores.online is not None
            and self.stores.read.transformation is None
            and not self._validation.refuses
        )

    def _run(self, plan: Plan, begun: ReadAhead[pa.RecordBatch] | None = None) -> MaterializationResult:
        """Runs a plan.

        Args:
            begun: the newest rows of all its windows, where they are being read already.
        """
        started = time.perf_counter()
        profiles: Mapping[Window, WindowProfile] = {}
        if self._validation.refuses or (self.profile and not self.stores.view.keeps_result):
            profiles = self._validation.profiles(self.stores.read, plan.chosen)
        broken = self._validation.broken(profiles)
        chosen = plan.without({each.window for each in broken})
        run = PlanRun(
            self.stores,
            self.ledger,
            self.planner,
            self.engine,
            self.reference,
            chosen,
            self._validation,
            run_id=self.run_id,
            progress=self.progress,
        )
        run.write(begun)
        if self.profile and not profiles:
            profiles = self._validation.profiles(self.stores.made, chosen.chosen)
        result = MaterializationResult(
            self.stores.view.name,
            tuple(self._with_profile(r, profiles.get(r.window)) for r in run.results),
            run.put.written,
            run.put.ignored,
            time.perf_counter() - started,
            run.withdrawn,
            plan.null_keys,
            plan.null_times,
            plan.parts,
        )
        if result.left_out:
            warnings.warn(
                f"Feature view {self.stores.view.name!r}: {result.left_out}; such rows are in no result.", stacklevel=2
            )
        if broken:
            raise BrokenChecksError(self.stores.view.name, broken, result)
        return result

    def _with_profile(self, result: WindowResult, profile: WindowProfile | None) -> WindowResult:
        """Adds to what was done in a window its profile, and how many rows it has where that is known."""
        if self.stores.view.is_computed_when_read:
            return replace(result, profile=profile, made=None if profile is None else profile.rows)
        return replace(result, profile=profile, made=result.rows)
