"""Feature views that another process materializes, launched by Dagster Pipes: the request, and the record of it.

The other process needs the library alone. Which partitions it has materialized is read from the registry's ledger, so
that Dagster records only those that are really there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from feast_assets.dagster.materialization import LATEST, ChosenView, chosen_views, run_windows, tell_healed
from feast_assets.dagster.serving import record_readers
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.feature_store import FeatureStore
from feast_assets.registry.base import LedgerEntry

_MICROSECOND = timedelta(microseconds=1)


def materialization_request(context: dg.AssetExecutionContext, store: FeatureStore) -> dict[str, object]:
    """Returns what another process has to materialize, as JSON-able arguments of `FeatureStore.materialize`.

    ``start_date`` and ``end_date`` are ISO 8601 in UTC, both inclusive; ``feature_views`` holds names; ``run_id`` is
    Dagster's, by which the ledger tells who ran what.

    Raises:
        NotAppliedError: a selected view is not declared as it was applied.
        dagster.Failure: no partitions were chosen for views that have some.
    """
    windows = list(run_windows(context) or [ALWAYS])
    return {
        "start_date": min(window.start for window in windows).isoformat(),
        "end_date": (max(window.end for window in windows) - _MICROSECOND).isoformat(),
        "feature_views": [chosen.view.name for chosen in chosen_views(context, store)],
        "run_id": context.run.run_id,
    }


def record_materialized(
    context: dg.AssetExecutionContext, store: FeatureStore, reported: Iterable[object] = ()
) -> Iterator[Any]:
    """Tells Dagster of the partitions that another process has materialized for this run, by the ledger.

    Args:
        reported: what the process has reported by Dagster Pipes. Metadata of a view's asset are added to each of its
            partitions; check results are passed on.

    Raises:
        dagster.Failure: the ledger does not say of some partitions of the run that this run has materialized them. The
            others are recorded.
    """
    windows = run_windows(context)
    metadata_by_asset: dict[dg.AssetKey | None, Mapping[str, object]] = {}
    for each in reported:
        if isinstance(each, dg.MaterializeResult):
            metadata_by_asset[each.asset_key] = each.metadata or {}
        else:
            yield each
    missing: list[str] = []
    made: dict[dg.AssetKey, str] = {}
    for chosen in chosen_views(context, store):
        entries = _entries(context, store, chosen, list(windows or [ALWAYS]))
        lacking = [window for window in (windows or [ALWAYS]) if window not in entries]
        yield from _results(context, chosen, entries, windows, metadata_by_asset, complete=not lacking)
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            missing.append(f"{chosen.view.name} in {lacking[0]}{more}")
            continue
        tell_healed(context, chosen.keys[LATEST], chosen.view, store)
        made[chosen.keys[LATEST]] = chosen.view.name
    record_readers(context, made)
    if missing:
        raise dg.Failure(
            f"The other process has not materialized {'; '.join(missing)}: the ledger has no settled windows of run "
            f"{context.run.run_id} there. Let it materialize what materialization_request says, with its run_id."
        )


def _entries(
    context: dg.AssetExecutionContext, store: FeatureStore, chosen: ChosenView, windows: list[Window]
) -> dict[Window, LedgerEntry]:
    """Returns the ledger's entries of the windows that this run has materialized, or that have no rows."""
    settled = {entry.window: entry for entry in store.registry.ledger(chosen.view.name) if entry.settled}
    return {
        window: settled[window]
        for window in windows
        if window in settled and (settled[window].run_id == context.run.run_id or not settled[window].rows)
    }


def _results(
    context: dg.AssetExecutionContext,
    chosen: ChosenView,
    entries: Mapping[Window, LedgerEntry],
    windows: Mapping[Window, str] | None,
    metadata_by_asset: Mapping[dg.AssetKey | None, Mapping[str, Any]],
    *,
    complete: bool,
) -> Iterator[dg.MaterializeResult[None]]:
    """Records a view's assets.

    Args:
        complete: whether all partitions of the run are there; a result of the step stands for them all.
    """
    for part, key in sorted(chosen.keys.items()):
        whole = complete and key in context.selected_asset_keys
        of_run = dict(metadata_by_asset.get(key, {}))
        for window, entry in entries.items():
            figures = _figures(entry, part, online=chosen.view.online, partitioned=windows is not None)
            partition = None if windows is None else windows[window]
            if not whole:
                context.log_event(dg.AssetMaterialization(key, partition=partition, metadata={**of_run, **figures}))
            elif partition is None:
                of_run |= figures
            else:
                context.add_asset_metadata(metadata=figures, asset_key=key, partition_key=partition)
        if whole:
            yield dg.MaterializeResult(asset_key=key, metadata=of_run)


def _figures(entry: LedgerEntry, part: str, *, online: bool, partitioned: bool) -> dict[str, Any]:
    count = "dagster/partition_row_count" if partitioned else "dagster/row_count"
    figures = {count: entry.rows, "feast_assets/fingerprint": entry.fingerprint}
    return figures | ({"feast_assets/rows_written": entry.written} if online and part == LATEST else {})
