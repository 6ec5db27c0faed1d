"""What checks say of single partitions, as Dagster records it.

A check of a view with partitions has a verdict for each of them: red as long as the partition stands refused, whatever
other partitions are run meanwhile. A result of the step would count for all partitions of a run, or for none. So each
verdict is an evaluation of its own, and names the materialization that it is about. Dagster does not show a verdict
about a materialization that is not the partition's newest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dagster as dg

# Dagster exports neither: it fills in the materialization where a step returns a result, and only shows histories.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as _Target,
)
from dagster._core.event_api import PartitionKeyFilter

from feast_assets.dagster.partitions import windows_of
from feast_assets.registry.base import LedgerEntry

_Partition = TypeVar("_Partition", str, None)

_MANY_PARTITIONS = 10_000
"""Databases bound how many values a statement may name; of more partitions, all of the asset are looked up."""


@dataclass(frozen=True)
class Verdict:
    """What a check says, of one partition or of a whole view.

    Attributes:
        severity: what a verdict that did not pass counts as. Dagster colours a check by that of its latest verdict,
            passed or not.
        compared: whether there was something to compare with.
    """

    passed: bool
    severity: dg.AssetCheckSeverity
    description: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    compared: bool = True


def evaluations(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    verdicts: Mapping[str, Mapping[str, Verdict]],
    materialized: Collection[str],
) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
    """Yields what a step yields for checks of partitions, after it has recorded its materializations.

    Args:
        key: the asset that is checked.
        verdicts: of each selected check, by partition.
        materialized: the partitions that this run has materialized.
    """
    partitions = {partition for by_partition in verdicts.values() for partition in by_partition}
    if not partitions:
        return
    newest = _newest(context.instance, key, partitions, context.run.run_id, materialized)
    for name, by_partition in verdicts.items():
        yield from _of_check(context, dg.AssetCheckKey(key, name), by_partition, newest)


def evaluations_of_run(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    verdicts: Mapping[str, Verdict],
    partitions: Sequence[str],
    materialized: Collection[str],
) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
    """Yields what a step yields for checks that have one verdict for all partitions of a run.

    That of a single partition is recorded for it, as Dagster has planned for it: otherwise it would show the planned
    one as skipped beside the real one. Of several, it is about the newest materialization of all. (Without any, Dagster
    would compare times, which some databases keep in whole seconds.)
    """
    if len(partitions) == 1:
        yield from evaluations(context, key, {n: {partitions[0]: v} for n, v in verdicts.items()}, materialized)
        return
    records = context.instance.fetch_materializations(key, limit=1).records
    about = next((_Target(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp) for r in records), None)
    for name, verdict in verdicts.items():
        yield from _of_check(context, dg.AssetCheckKey(key, name), {None: verdict}, {None: about})


def healed(
    instance: dg.DagsterInstance,
    checks: Sequence[dg.AssetCheckKey],
    ledger: Callable[[], Sequence[LedgerEntry]],
    partitions_def: dg.TimeWindowPartitionsDefinition,
) -> list[dg.AssetCheckEvaluation]:
    """Returns passing verdicts of blocking checks for partitions that are refused but have been written since.

    The ledger shows that, whoever wrote them: a refused window is not claimed, so its entry does not change.

    Args:
        checks: blocking ones, of one view's latest values.
        ledger: reads that of the view; only called where something stands refused.
    """
    refused = {check: since for check, since in standing(instance, checks).items() if since}
    if not refused:
        return []
    entries = {entry.window: entry for entry in ledger() if entry.settled}
    keys = sorted({k for since in refused.values() for k in since if partitions_def.has_partition_key(k)})
    written = {key: entries[w] for w, key in windows_of(partitions_def, keys).items() if w in entries}
    passing = []
    for check, since in refused.items():
        good = {k: e for k, e in written.items() if k in since and e.at.timestamp() > since[k]}
        newest = _newest(instance, check.asset_key, good) if good else {}
        for key, entry in good.items():
            description = f"Refused before; written since, at {entry.at:%Y-%m-%d %H:%M:%S} UTC."
            verdict = Verdict(True, dg.AssetCheckSeverity.ERROR, description)
            passing.append(_evaluation(check, key, verdict, True, newest.get(key)))
    return passing


def blocking_checks(assets: dg.AssetsDefinition, key: dg.AssetKey) -> list[dg.AssetCheckKey]:
    """Returns the checks that can refuse partitions of an asset, selected or not."""
    specs = assets.node_check_specs_by_output_name.values()
    return [s.key for s in specs if s.asset_key == key and s.blocking and s.partitions_def is not None]


def standing(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, dict[str, float]]:
    """Returns for each check the partitions whose last verdict is that they failed, and its time (Unix seconds)."""
    storage = instance.event_log_storage
    failed_since: dict[dg.AssetCheckKey, dict[str, float]] = {check: {} for check in checks}
    for info in storage.get_asset_check_partition_info(list(checks)):
        partition = info.partition_key
        if partition is None or info.latest_execution_status.value != "FAILED":
            continue
        last = storage.get_asset_check_execution_history(
            info.check_key, limit=1, partition_filter=PartitionKeyFilter(key=partition)
        )
        if last and last[0].event is not None:
            failed_since[info.check_key][partition] = last[0].event.timestamp
    return failed_since


def _newest(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions: Collection[str],
    run_id: str = "",
    made: Collection[str] = (),
) -> dict[str, _Target]:
    """Returns the newest materialization of each partition that has one.

    Args:
        made: partitions whose newest one is of the run of this id; their events are not read.
    """
    asked = set(partitions) if len(partitions) <= _MANY_PARTITIONS else None
    newest = instance.get_latest_storage_id_by_partition(key, dg.DagsterEventType.ASSET_MATERIALIZATION, asked)
    now, own = time.time(), set(made)
    targets = {k: _Target(storage_id=i, run_id=run_id, timestamp=now) for k, i in newest.items() if k in own}
    older = [i for k, i in newest.items() if k in partitions and k not in own]
    if older:
        records = instance.fetch_materializations(dg.AssetRecordsFilter(key, storage_ids=older), limit=len(older))
        for each in records.records:
            if each.partition_key is not None:
                target = _Target(storage_id=each.storage_id, run_id=each.run_id, timestamp=each.timestamp)
                targets[each.partition_key] = target
    return targets


def _of_check(
    context: dg.AssetExecutionContext,
    check: dg.AssetCheckKey,
    verdicts: Mapping[_Partition, Verdict],
    about: Mapping[_Partition, _Target | None],
) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
    """Yields the output of one check and its evaluations: by partition, or that of a whole run by None."""
    blocking = context.assets_def.get_spec_for_check_key(check).blocking
    yield dg.Output(None, output_name=context.assets_def.get_output_name_for_asset_check_key(check))
    for partition, verdict in verdicts.items():
        yield _evaluation(check, partition, verdict, blocking, about.get(partition))


def _evaluation(
    check: dg.AssetCheckKey, partition: str | None, verdict: Verdict, blocking: bool, about: _Target | None
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=verdict.passed,
        metadata=verdict.metadata,
        target_materialization_data=about,
        severity=verdict.severity,
        description=verdict.description,
        blocking=blocking,
        partition=partition,
    )
