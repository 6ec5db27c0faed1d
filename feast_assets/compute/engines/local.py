"""The engine of this process: one task after the other, with the stores that are open here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from feast_assets.compute.absent_rows import AbsentRows, put_existing
from feast_assets.compute.engines.base import ComputeEngine, WindowDone, WindowTask
from feast_assets.compute.engines.context import TaskContext
from feast_assets.compute.ledger_rows import LedgerRows
from feast_assets.compute.validation import Validation
from feast_assets.compute.versions import is_push
from feast_assets.compute.view_stores import ledger_hash
from feast_assets.compute.window_rows import fill_windows, keep_tiles
from feast_assets.compute.withdrawals import Withdrawals
from feast_assets.definitions.window import WindowIndex
from feast_assets.errors import ComputeEngineError, FeastAssetsError, printable
from feast_assets.offline_stores.abilities import CanReplaceWindows
from feast_assets.offline_stores.base import EVENT_TIMESTAMP, WindowStatistics
from feast_assets.online_stores.abilities import CanEvict, CanExpire
from feast_assets.online_stores.base import NOTHING_PUT, EncodedRows, OnlineRead, OnlineStore, PutResult
from feast_assets.settings.model import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_assets.compute.view_stores import ViewStores


class LocalEngineConfig(Settings):
    """The settings of the local engine: there are none but its type."""

    type: Literal["local"] = "local"


class LocalEngine(ComputeEngine):
    """Runs tasks in this process, one after the other."""

    config_class = LocalEngineConfig
    tasks_at_once: ClassVar[int | None] = 1
    uses_context: ClassVar[bool] = True

    def __init__(self, config: LocalEngineConfig | None = None, root: Path = Path()):
        pass

    def run(self, tasks: Sequence[WindowTask]) -> Iterator[WindowDone]:
        for task in tasks:
            try:
                if task.context is None:
                    raise ComputeEngineError(
                        f"Task {task.id!r} of feature view {task.view!r} was not opened in this process; run it with "
                        "feast_assets.task_worker."
                    )
                done = run_task(task, task.context)
            except FeastAssetsError as error:
                done = WindowDone(task.id, error=error)
            yield done


def run_elsewhere(task: WindowTask, stores_of: Callable[[WindowTask], ViewStores]) -> WindowDone:
    """Runs a task in another process than the one that claimed its windows; what went wrong is in the answer.

    Args:
        stores_of: opens the view of a task.
    """
    try:
        stores = stores_of(task)
        _check(task, stores)
        refused = Validation(stores, task.validates).refused if task.validates else None
        return run_task(task, TaskContext(stores, LedgerRows(stores, task.definition_hash, {}, refused)))
    except FeastAssetsError as error:
        return WindowDone(task.id, error=error)
    except Exception as error:  # noqa: BLE001 - the process that waits for the answer has to learn of it
        reason = printable(str(error) or "no message")
        return WindowDone(task.id, error=ComputeEngineError(f"{_named(task)} failed: {type(error).__name__}: {reason}"))


def _check(task: WindowTask, stores: ViewStores) -> None:
    """Raises ComputeEngineError where this process has another project or definition than the claim of a task."""
    if stores.project != task.project:
        raise ComputeEngineError(
            f"{_named(task)} is of project {task.project!r}, and the settings here are of {stores.project!r}. The "
            "environment variables that feature_store.yaml names must be the same for workers."
        )
    online = stores.online
    identity = "" if online is None else online.identity(stores.table)
    if ledger_hash(stores.view, stores.table, identity) != task.definition_hash:
        raise ComputeEngineError(
            f"{_named(task)} was planned for another definition, or another online table, than this process sees. "
            "Materialize the view again."
        )


def _named(task: WindowTask) -> str:
    return f"The task of feature view {task.view!r} for windows from {task.windows[0].start.isoformat()} on"


def run_task(task: WindowTask, context: TaskContext) -> WindowDone:
    """Keeps the result of a task's windows, where the view has one, and puts their newest rows into the online store.

    Both are in the stores when it returns.
    """
    stores = context.stores
    kept = _keep_result(task, stores)
    if stores.online is None:
        return WindowDone(task.id, (0,) * len(task.windows), kept=kept)
    if context.added is not None:
        with context.newest_rows(task.span) as batches:
            done = _fill_online(task, context, stores.online, batches)
        if done is not None:
            return done
        context = replace(context, added=None)
    with context.newest_rows(task.span) as batches:
        if stores.made.aggregates is not None:
            return replace(fill_windows(task, context, stores.online, batches), kept=kept)
        done = _fill_online(task, context, stores.online, batches)
    assert done is not None
    return replace(done, kept=kept)


def _keep_result(task: WindowTask, stores: ViewStores) -> tuple[WindowStatistics, ...]:
    """Computes and keeps the result of a task's windows; returns its statistics, none where the view keeps none."""
    sink = stores.sink
    if sink is None:
        return ()
    store = CanReplaceWindows.of(stores.offline_store, f"Keeping the result of feature view {task.view!r}")
    if stores.made.tiles is not None:
        keep_tiles(stores, task.windows)
        return ()
    rows = stores.offline_store.scan(stores.read, task.span)
    store.replace(sink, stores.read, task.windows, rows)
    return tuple(stores.offline_store.statistics(stores.made, task.windows))


def _fill_online(
    task: WindowTask, context: TaskContext, online_store: OnlineStore, batches: Iterable[pa.RecordBatch]
) -> WindowDone | None:
    """Puts the newest rows of a task's windows.

    A row that lies in none of them came after the source was looked at. It is not put, as no version says of which
    window's content it is. It may hide an older row of its entity, so the windows stay unsettled.

    Returns:
        None, and nothing is put, where rows of parts that were added tie with rows that the store holds: of the rows of
        a window that tie, their contents decide, and not which was put later.
    """
    import numpy as np

    index = WindowIndex(task.windows)
    version_of = np.array(task.versions, dtype=np.int64)
    entities = np.zeros(len(task.windows), dtype=np.int64)
    is_sure = True

    def encoded() -> Iterator[EncodedRows]:
        from feast_assets.types.arrow_values import fixed_values, int64_array

        nonlocal is_sure
        for batch in batches:
            window = index.positions(fixed_values(batch.column(EVENT_TIMESTAMP), "<i8"))
            inside = window >= 0
            if not inside.all():
                is_sure = False
                batch, window = batch.take(int64_array(np.flatnonzero(inside))), window[inside]
            if batch.num_rows:
                entities[:] += np.bincount(window, minlength=len(entities))
                yield context.stores.rows.encode(batch, version_of[window])

    table = context.stores.table
    rows: Iterable[EncodedRows] = encoded()
    of_others = NOTHING_PUT
    only_replaces = task.only_replaces
    if context.added is not None:
        rows = list(rows)
        if _tie(online_store, table, rows):
            return None
        # What such a store has lost may tie as well, or be newer.
        only_replaces = only_replaces or isinstance(online_store, (CanEvict, CanExpire))
    if not only_replaces:
        put = online_store.put_many(table, rows)
    else:
        put = put_existing(online_store, table, rows)
        if put.absent:
            ledger_rows = context.ledger_rows
            absent = AbsentRows(ledger_rows, online_store, Withdrawals(ledger_rows, online_store))
            late, of_others = absent.put(put.absent, task.windows, task.claimed)
            put = _with_late_puts(put, late)
    return WindowDone(task.id, tuple(entities.tolist()), put.written, put.ignored, of_others.written, is_sure=is_sure)


def _tie(online_store: OnlineStore, table: str, batches: Sequence[EncodedRows]) -> bool:
    """Whether the store holds a row of the same times as one of some rows, and not the same content."""
    for rows in batches:
        (stored,) = online_store.get_many([OnlineRead(table, rows.keys)])
        held = zip(stored.event_timestamps, stored.created_timestamps, stored.versions, stored.payloads, strict=True)
        given = zip(rows.event_timestamps.tolist(), rows.created_timestamps.tolist(), rows.payloads, strict=True)
        for (event, created, version, payload), (of_event, of_created, of_payload) in zip(held, given, strict=True):
            if payload is None or event != of_event or created != of_created:
                continue
            if payload != of_payload or is_push(version):
                return True
    return False


def _with_late_puts(put: PutResult, late: PutResult) -> PutResult:
    """Returns the counts of a put after some of the rows that it ignored were written after all."""
    if put.written is None or put.ignored is None or late.written is None:
        return PutResult(None, None)
    return PutResult(put.written + late.written, put.ignored - late.written)
