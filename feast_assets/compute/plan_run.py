"""Running a plan: windows are claimed, written by an engine, rid of withdrawn rows, and settled."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from feast_assets.compute.engines.base import ComputeEngine, RepositoryReference, WindowDone, WindowTask
from feast_assets.compute.engines.context import TaskContext
from feast_assets.compute.ledger_rows import LedgerRows
from feast_assets.compute.results import Progress, WindowResult
from feast_assets.compute.settle import ClaimedGroup, ViewLedger, WrittenGroup
from feast_assets.compute.window_rows import remove_silent, withdraw_from_windows
from feast_assets.compute.withdrawals import Withdrawals
from feast_assets.definitions.window import Window
from feast_assets.definitions.window_columns import met, positions_of
from feast_assets.errors import ComputeEngineError, FeastAssetsError
from feast_assets.offline_stores.statistics_columns import StatisticsColumns
from feast_assets.online_stores.abilities import CanExpire
from feast_assets.online_stores.base import NOTHING_PUT, PutResult
from feast_assets.registry.ledger_columns import LedgerColumns

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from feast_assets.compute.plan import Plan, Planner
    from feast_assets.compute.validation import Validation
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.offline_stores.base import WindowStatistics
    from feast_assets.offline_stores.parts import Part
    from feast_assets.registry.base import LedgerEntry

_MOST_LOOKED_AT = 1_000
"""Of so many windows it is looked whether parts were only added to them."""
_MOST_ADDED_BYTES = 64 << 20
"""How large parts may be whose rows are held in memory, to see first whether they tie with what is stored."""
_MOST_DIVIDED = 8

_Item = TypeVar("_Item")


@dataclass
class PlanRun:
    """Runs one plan of one view.

    Args:
        plan: its chosen windows are written; those that validation refuses are not among them.
        reference: where another process finds the view.

    Attributes:
        results: what was done in each window.
        put: of all rows that were put.
        withdrawn: rows that were taken out of the online store.
    """

    stores: ViewStores
    ledger: ViewLedger
    planner: Planner
    engine: ComputeEngine
    reference: RepositoryReference
    plan: Plan
    validation: Validation
    run_id: str = ""
    progress: Progress | None = None
    results: list[WindowResult] = field(default_factory=list, init=False)
    put: PutResult = field(default=NOTHING_PUT, init=False)
    withdrawn: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._ledger_rows = self._make_ledger_rows()
        online = self.stores.online
        self._withdrawals = None if online is None else Withdrawals(self._ledger_rows, online)
        self._waiting: list[WrittenGroup] = []
        self._added: dict[Window, tuple[Part, ...]] = {}

    def write(self, begun: Iterable[pa.RecordBatch] | None = None) -> None:
        """Writes the plan's windows and settles them.

        Windows that may have withdrawn rows wait for each other, because finding these takes a pass over the store.

        Args:
            begun: the newest rows of all windows, where they are being read already; the caller closes it.
        """
        context = (
            TaskContext(self.stores, self._ledger_rows, begun, self.plan.statistics)
            if self.engine.uses_context
            else None
        )
        if context is not None and begun is None:
            self._added = self._find_added()
        groups, empty = self._groups(), self.plan.empty()
        self._report()
        if not groups:
            self.ledger.note_empty(empty)
        try:
            for batch in _batches(groups, self.engine.tasks_at_once):
                self._write_batch(self.ledger.claim(batch, empty), context)
                empty = []  # once for all
            self._withdraw()
        except Exception:
            for group in self._waiting:
                self.ledger.unsettle(group.windows, group.claim)
            raise
        self._settle(self._waiting)
        if groups and self.stores.made.aggregates is not None and self.stores.online is not None:
            remove_silent(self.stores, self.stores.online)

    def _groups(self) -> list[Sequence[WindowStatistics]]:
        """Returns the windows of each task."""
        most = self.engine.windows_per_task
        groups = [part for group in self.plan.groups() for part in self._divided(group)]
        return [part for group in groups for part in _batches(group, most)]

    def _divided(self, group: Sequence[WindowStatistics]) -> list[Sequence[WindowStatistics]]:
        """Returns the windows of a pass in parts, so that windows to which parts were only added are by themselves.

        A pass is not divided into many, which would cost more than it saves.
        """
        if not self._added:
            return [group]
        parts = [list(windows) for _, windows in groupby(group, key=lambda s: s.window in self._added)]
        if len(parts) <= _MOST_DIVIDED:
            return list(parts)
        for s in group:
            self._added.pop(s.window, None)
        return [group]

    def _find_added(self) -> dict[Window, tuple[Part, ...]]:
        """Returns the parts of the source that were added to windows, where nothing else has become of these.

        Their other rows have been put before, so only those of the added parts need be, and none was withdrawn. A row
        that was pushed since, with the very times of one of these others, stays, as it does until the window is run.
        """
        plan, ledger = self.plan, LedgerColumns.of_mapping(self.plan.ledger)
        store, view = self.stores.online, self.stores.view
        if not plan.only_stale or plan.statistics is None or store is None:
            return {}
        if view.keeps_result or self.stores.made.aggregates is not None or self.validation.refuses:
            return {}  # what is put depends on other rows than those of the parts
        if isinstance(store, CanExpire) and store.key_ttl is not None:
            return {}  # how long a row stays is counted from the last time that its window was put
        added: dict[Window, tuple[Part, ...]] = {}
        for s in plan.chosen if len(plan.chosen) <= _MOST_LOOKED_AT else ():
            entry = ledger.get(s.window)
            if entry is None or not self._is_put(entry):
                continue
            parts = plan.statistics.added_parts(s.window, entry.rows, entry.fingerprint)
            if parts is not None and all(p.size for p in parts) and sum(p.size for p in parts) <= _MOST_ADDED_BYTES:
                added[s.window] = parts
        return added

    def _is_put(self, entry: LedgerEntry) -> bool:
        """Whether the rows of an entry's content are in the store, as the view is defined now."""
        return entry.settled and bool(entry.fingerprint) and entry.definition_hash == self.ledger.definition_hash

    def _parts_added(self, group: ClaimedGroup) -> tuple[Part, ...] | None:
        """Returns the parts that were added to the windows of a claimed group; None where more must be put.

        The claim tells what the ledger said when it was made, which may be another than what the plan was made from.
        """
        parts: dict[str, Part] = {}
        for s, replaced in zip(group.windows, group.claim.replaced, strict=True):
            known = self.plan.ledger.get(s.window)
            if s.window not in self._added or known is None or len(replaced) != 1:
                return None
            (entry,) = replaced
            is_same = (entry.window, entry.fingerprint, entry.version) == (s.window, known.fingerprint, known.version)
            if not is_same or not self._is_put(entry):
                return None
            parts |= {part.name: part for part in self._added[s.window]}
        return tuple(parts.values())

    def _write_batch(self, groups: Sequence[ClaimedGroup], context: TaskContext | None) -> None:
        """Has the engine write some claimed groups; settles each that is done, unless it may have withdrawn rows.

        Raises:
            FeastAssetsError: what the first task that failed met; the others were written.
        """
        tasks = [self._task(group, number, context) for number, group in enumerate(groups)]
        unanswered = {task.id: group for task, group in zip(tasks, groups, strict=True)}
        errors: list[FeastAssetsError] = []
        try:
            for done in _answers(self.engine, tasks):
                group = unanswered.get(done.task)
                if group is None:
                    raise self._unfit(f"for task {done.task!r}, which it was not given, or has answered for before")
                if done.error is not None:
                    del unanswered[done.task]
                    self.ledger.unsettle(group.windows, group.claim)
                    errors.append(done.error)
                    continue
                count = len(group.windows)
                if len(done.entities) != count or len(done.kept) not in (0, count):
                    raise self._unfit(f"for {len(done.entities)} windows of a task that has {count}")
                del unanswered[done.task]
                self._note(group, done)
            if unanswered and not errors:
                raise ComputeEngineError(
                    f"The compute engine {type(self.engine).__name__} gave no answer for some windows of feature view "
                    f"{self.stores.view.name!r}; they stay unsettled. Materialize the view again."
                )
        except Exception:
            for group in unanswered.values():
                self.ledger.unsettle(group.windows, group.claim)
            raise
        if errors:
            raise errors[0]

    def _unfit(self, answered: str) -> ComputeEngineError:
        return ComputeEngineError(f"The compute engine {type(self.engine).__name__} answered {answered}.")

    def _task(self, group: ClaimedGroup, number: int, context: TaskContext | None) -> WindowTask:
        windows = tuple(s.window for s in group.windows)
        if context is not None and self._added:
            added = self._parts_added(group)
            if added is None:
                for window in windows:
                    self._added.pop(window, None)
            context = replace(context, added=added)
        return WindowTask(
            id=f"{group.claim.id}.{number}",
            project=self.stores.project,
            view=self.stores.view.name,
            windows=windows,
            versions=group.claim.versions,
            definition_hash=self.ledger.definition_hash,
            revision=self.stores.revision,
            claim=group.claim.id,
            run_id=self.run_id,
            reference=self.reference,
            only_replaces=self.plan.held_until > windows[-1].end,
            validates=self.validation.refuses,
            context=context,
        )

    def _note(self, group: ClaimedGroup, done: WindowDone) -> None:
        """Takes in what became of a group that was written."""
        written = WrittenGroup(_as_written(group.windows, done), group.claim, done.entities, done.is_sure)
        self.results += _results(written, done)
        self.put += PutResult(done.written, done.ignored) + PutResult(done.written_of_others, 0)
        if self._suspects(written):
            self._waiting.append(written)
        else:
            self._settle([written])
        self._report()

    def _suspects(self, group: WrittenGroup) -> dict[Window, int]:
        """Returns the windows of which the online store may hold withdrawn rows, with their versions."""
        if self._withdrawals is None:
            return {}
        claimed = zip(group.windows, group.claim.versions, group.claim.replaced, strict=True)
        return {
            s.window: version
            for s, version, replaced in claimed
            if s.window not in self._added and self._withdrawals.may_hold(replaced)
        }

    def _withdraw(self) -> None:
        if self._withdrawals is not None and self._waiting:
            suspects = {w: version for group in self._waiting for w, version in self._suspects(group).items()}
            if self.stores.made.aggregates is not None and self.stores.online is not None:
                self.withdrawn = withdraw_from_windows(self.stores, self.stores.online, suspects)
            else:
                self.withdrawn = self._withdrawals.withdraw(suspects, self._waiting[-1].claim)

    def _settle(self, groups: Sequence[WrittenGroup]) -> None:
        if groups:
            self.ledger.settle(groups, self.plan.state, self.planner.state())

    def _make_ledger_rows(self) -> LedgerRows:
        """Returns what reads the newest rows of the ledger's windows, with what the plan knows of their content."""
        plan, fingerprints = self.plan, self.plan.fingerprints
        if self.stores.online is not None and plan.chosen:
            # Windows that the run only covers a part of: whether they still hold what was written of them.
            ledger, chosen = LedgerColumns.of_mapping(plan.ledger), StatisticsColumns.of(plan.chosen)
            comparable = ledger.settled & ledger.have_fingerprint
            comparable &= ledger.definitions.is_in([self.ledger.definition_hash])
            comparable &= met(ledger.starts, ledger.ends, chosen.starts, chosen.ends)
            for known in (chosen, StatisticsColumns.of(plan.covered)):
                comparable &= positions_of(ledger.starts, ledger.ends, known.starts, known.ends) < 0
            if comparable.any():
                statistics = self.stores.statistics.for_windows().survey(list(ledger.taken(comparable))).windows
                fingerprints = ChainMap({s.window: s.fingerprint for s in statistics}, fingerprints)  # type: ignore[arg-type]
        refused = self.validation.refused if self.validation.refuses else None
        return LedgerRows(self.stores, self.ledger.definition_hash, fingerprints, refused)

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self.stores.view.name, len(self.results), len(self.plan.chosen))


def _answers(engine: ComputeEngine, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
    """Yields an engine's answers, and closes their iterator when nobody waits for more."""
    answers = engine.run(tasks)
    with ExitStack() as stack:
        if close := getattr(answers, "close", None):
            stack.callback(close)
        yield from answers


def _as_written(windows: Sequence[WindowStatistics], done: WindowDone) -> Sequence[WindowStatistics]:
    """Returns the statistics of a kept result, with the fingerprints of its inputs; of others, those of the source."""
    if not done.kept:
        return windows
    return [
        replace(kept, fingerprint=s.fingerprint, null_keys=s.null_keys)
        for kept, s in zip(done.kept, windows, strict=True)
    ]


def _results(group: WrittenGroup, done: WindowDone) -> list[WindowResult]:
    return [
        WindowResult(s.window, s.rows, entities, written, s.newest_event, s.fingerprint, version, null_keys=s.null_keys)
        for s, version, entities, written in zip(
            group.windows, group.claim.versions, done.entities, done.written_by_window(), strict=True
        )
    ]


def _batches(items: Sequence[_Item], most: int | None) -> Iterator[Sequence[_Item]]:
    """Yields items in parts of at most so many; all at once with None."""
    step = most or max(len(items), 1)
    for first in range(0, len(items), step):
        yield items[first : first + step]
