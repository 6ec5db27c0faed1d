"""One run of a group of feature views: the library does the work, Dagster records it by partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from feast_assets.compute.results import MaterializationResult, WindowResult
from feast_assets.compute.validation import BrokenRule
from feast_assets.dagster.applied import check_applied, filled
from feast_assets.dagster.check_results import (
    Outcome,
    left_out_verdict,
    looks_at_values,
    outcomes,
    schema_verdict,
    window_verdicts,
)
from feast_assets.dagster.check_specs import FeatureViewCheck
from feast_assets.dagster.event_batches import written_together
from feast_assets.dagster.lineage import lineage_metadata, of_computation
from feast_assets.dagster.metadata import profile_metadata
from feast_assets.dagster.partitions import described, is_partition, windows_of
from feast_assets.dagster.reasons import REASON_TAG
from feast_assets.dagster.serving import record_readers
from feast_assets.dagster.translator import SOURCE_ASSETS
from feast_assets.dagster.verdicts import Verdict, blocking_checks, healed
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.branches import deployed
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import in_order, reads_result
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window
from feast_assets.errors import (
    BrokenChecksError,
    DefinitionError,
    FeastAssetsError,
    NotAppliedError,
    SourceError,
    StoreUnavailableError,
)
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.abilities import CanProfile
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.repository.loading import load_repository

VIEW = "feast_assets/view"
"""Metadata of an asset that a run makes: the feature view behind it."""
PART = "feast_assets/part"
"""Metadata of an asset that a run makes: `LATEST` or `KEPT`."""
REFUSED_TAG = "feast_assets/refused"
"""Tag of a run that failed only because rows broke the checks of their fields."""
LATEST = "latest values"
KEPT = "kept result"


@dataclass(frozen=True)
class ChosenView:
    """A view that a run materializes, and the assets that stand for it.

    Attributes:
        keys: by part, `LATEST` or `KEPT`.
        definition_hash: of what decides its rows.
    """

    view: FeatureView
    keys: Mapping[str, dg.AssetKey]
    definition_hash: str


def materialize_views(
    context: dg.AssetExecutionContext, store: FeatureStore, *, profile: bool = True, blocking: bool | None = None
) -> Iterator[dg.MaterializeResult[None] | Outcome]:
    """Materializes the selected views of a group, each once over all partitions of the run.

    A view that fails does not keep the others from being run; the step fails at the end, and what was done stays done
    and recorded. An unreachable store ends it at once.

    Args:
        profile: whether each partition shows what its values look like, which costs two more passes over the rows. It
            has no effect with an offline store that cannot profile.
        blocking: whether partitions with rows that break what fields declare are refused; None for as each view's
            ``enable_validation`` says.

    Raises:
        NotAppliedError: a selected view is not declared as it was applied; nothing has been run.
        dagster.Failure: no partitions were chosen for views that have some, so nothing has been run; or some views
            failed.
    """
    with written_together(context.instance) as write:
        yield from _materialized(context, store, write, profile=profile, blocking=blocking)


def _materialized(
    context: dg.AssetExecutionContext,
    store: FeatureStore,
    write: Callable[[], None],
    *,
    profile: bool,
    blocking: bool | None,
) -> Iterator[dg.MaterializeResult[Any] | Outcome]:
    windows = run_windows(context)
    chosen = chosen_views(context, store)
    profiles = isinstance(store.offline_store, CanProfile)
    failed: dict[str, FeastAssetsError | None] = {}
    made: dict[dg.AssetKey, str] = {}
    for each in chosen:
        write()
        waits_for = [c.view.name for c in chosen if c.view.name in failed and reads_result(each.view, c.view)]
        if waits_for:
            context.log.error(f"{each.view.name}: not run, because {waits_for[0]}, whose result it reads, has failed.")
            failed[each.view.name] = None
            continue
        latest = each.keys[LATEST]
        applied = store.snapshot().feature_view(each.view.name)
        schema = schema_verdict(context, latest, applied, store)
        try:
            result = store.materialize_windows(
                each.view.name,
                None if windows is None else list(windows),
                run_id=context.run.run_id,
                profile=profiles and (profile or looks_at_values(context, latest, applied)),
                validate=blocking,
                progress=lambda view, done, total: context.log.info(f"{view}: {done} of {total} windows"),
            )
        except StoreUnavailableError:
            raise
        except FeastAssetsError as error:
            context.log.error(f"{each.view.name}: {error}")
            failed[each.view.name] = error
            if isinstance(error, BrokenChecksError):
                _record(context, each, error.result, windows, profile=profile)
                yield from _verdicts(context, latest, applied, schema, error.result, windows, store, error.broken)
            else:
                yield from outcomes(context, latest, {"schema": schema}, {}, windows)
            continue
        yield from _events(context, each, result, windows, _lineage(context, each, store), profile=profile)
        yield from _verdicts(context, latest, applied, schema, result, windows, store)
        if schema is not None and not schema.passed:
            failed[each.view.name] = SourceError(f"Its source is not as declared: {schema.description}")
        tell_healed(context, latest, applied, store)
        made[latest] = each.view.name
    record_readers(context, made)
    if failed and all(isinstance(error, BrokenChecksError) for error in failed.values()):
        # The same rows would be refused again, so a sensor leaves them alone.
        context.instance.add_run_tags(context.run.run_id, {REFUSED_TAG: "true"})
    _raise_if_any(failed)


def _verdicts(
    context: dg.AssetExecutionContext,
    latest: dg.AssetKey,
    view: FeatureView,
    schema: Verdict | None,
    result: MaterializationResult,
    windows: Mapping[Window, str] | None,
    store: FeatureStore,
    refused: Sequence[BrokenRule] = (),
) -> Iterator[Outcome]:
    """Yields what the checks of one view say of what a run has done.

    Args:
        latest: the asset of its latest values.
        schema: what `schema_verdict` returned.
        refused: what kept windows from being written.
    """
    of_view: dict[FeatureViewCheck, Verdict | None] = {
        "schema": schema,
        "keys_and_times": left_out_verdict(context, latest, result, windows),
    }
    of_windows = window_verdicts(context, latest, view, result, windows, store, refused)
    yield from outcomes(context, latest, of_view, of_windows, windows, [each.window for each in result.windows])


def tell_healed(context: dg.AssetExecutionContext, latest: dg.AssetKey, view: FeatureView, store: FeatureStore) -> None:
    """Tells Dagster that checks pass for partitions that were refused and have been written since."""
    partitions_def = context.assets_def.partitions_def
    if isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        blocking = blocking_checks(context.assets_def, latest)
        for evaluation in healed(context.instance, blocking, lambda: store.registry.ledger(view.name), partitions_def):
            context.log_event(evaluation)


def run_windows(context: dg.AssetExecutionContext) -> dict[Window, str] | None:
    """Returns the windows of the run's partitions, with their keys; None for views without partitions."""
    partitions_def = context.assets_def.partitions_def
    if not isinstance(partitions_def, dg.TimeWindowPartitionsDefinition):
        return None
    if not (context.has_partition_key or context.has_partition_key_range):
        raise dg.Failure(
            "These feature views have partitions, and none were chosen for this run. Choose one or a range: in the UI "
            "when materializing, or with --partition or --partition-range of `dagster asset materialize`.",
            allow_retries=False,
        )
    asked = context.partition_key_range
    wrong = next((key for key in (asked.start, asked.end) if not is_partition(partitions_def, key)), None)
    if wrong is not None:
        raise dg.Failure(
            f"There is no partition {wrong!r} of these feature views: {described(partitions_def)}. A window becomes a "
            "partition when it has ended.",
            allow_retries=False,
        )
    return windows_of(partitions_def, context.partition_keys)


def chosen_views(context: dg.AssetExecutionContext, store: FeatureStore) -> list[ChosenView]:
    """Returns the selected views, those whose kept results others read before these."""
    keys: dict[str, dict[str, dg.AssetKey]] = {}
    selected = set()
    for key, metadata in context.assets_def.metadata_by_key.items():
        if VIEW not in metadata:
            raise DefinitionError(
                f"Asset {key.to_user_string()!r} stands for no feature view; make it with feature_view_assets."
            )
        keys.setdefault(metadata[VIEW], {})[metadata[PART]] = key
        if key in context.selected_asset_keys:
            selected.add(metadata[VIEW])
    config = store.config
    contents = load_repository(store.repo_path)
    deployed_views = deployed(contents.feature_views, config.project, config.deployment)
    declared = {v.name: v for v in deployed_views if isinstance(v, FeatureView)}
    store.refresh_registry()
    snapshot = store.snapshot()
    # Apply works out what is stored of an on-demand view; the run itself checks that its function is the applied one.
    written = {v.name for v in contents.on_demand_feature_views if v.write_to_online_store}
    declared |= {v.name: v for v in snapshot.stored_on_demand_views if v.name in written}
    if gone := sorted(selected - set(declared)):
        raise NotAppliedError(gone[0], "is no longer declared in the feature repository")
    views = {name: _applied(declared[name], keys[name], snapshot) for name in sorted(selected)}
    return [views[view.name] for view in in_order([c.view for c in views.values()])]


def _applied(declared: FeatureView, keys: Mapping[str, dg.AssetKey], snapshot: RegistrySnapshot) -> ChosenView:
    """Returns a view that was applied as it is declared, with what apply has filled in."""
    registry_object = snapshot.get(declared.object_type, declared.name)
    registered = registry_object if isinstance(registry_object, FeatureView) else None
    definition_hash = check_applied(declared, registered)
    return ChosenView(filled(declared, registered), keys, definition_hash)


def _events(
    context: dg.AssetExecutionContext,
    chosen: ChosenView,
    result: MaterializationResult,
    windows: Mapping[Window, str] | None,
    lineage: Mapping[str, object],
    *,
    profile: bool,
) -> Iterator[dg.MaterializeResult[None]]:
    """Tells Dagster what was done: one materialization per partition and asset, each with its own figures.

    Args:
        lineage: of what the transformation makes, if there is one; told once, with the newest partition.
    """
    of_run = _figures_of_run(context, result)
    for part in sorted(chosen.keys):
        key = chosen.keys[part]
        asked_for = key in context.selected_asset_keys
        metadata: dict[str, Any] = dict(of_run)
        for position, window in enumerate(result.windows, 1):
            figures = _figures(chosen.view, window, part, partitioned=windows is not None, profile=profile)
            if position == len(result.windows) and part == _computed_part(chosen.view):
                figures |= lineage
            partition = None if windows is None else windows[window.window]
            if not asked_for:
                # A view and its kept result are made together, so the one that was not asked for is recorded as well.
                context.log_event(dg.AssetMaterialization(key, partition=partition, metadata={**of_run, **figures}))
            elif partition is None:
                metadata |= figures
            else:
                context.add_asset_metadata(metadata=figures, asset_key=key, partition_key=partition)
        if asked_for:
            yield dg.MaterializeResult(asset_key=key, metadata=metadata, data_version=_data_version(chosen, result))


def _record(
    context: dg.AssetExecutionContext,
    chosen: ChosenView,
    result: MaterializationResult,
    windows: Mapping[Window, str] | None,
    *,
    profile: bool,
) -> None:
    """Records the partitions that were filled while others of the run were refused.

    A result of the step would count for all partitions of the run.
    """
    of_run = _figures_of_run(context, result)
    for part, key in sorted(chosen.keys.items()):
        for window in result.windows:
            figures = _figures(chosen.view, window, part, partitioned=windows is not None, profile=profile)
            partition = None if windows is None else windows[window.window]
            context.log_event(dg.AssetMaterialization(key, partition=partition, metadata={**of_run, **figures}))


def _figures_of_run(context: dg.AssetExecutionContext, result: MaterializationResult) -> dict[str, Any]:
    reason = context.run.tags.get(REASON_TAG)
    figures: dict[str, Any] = {
        REASON_TAG: reason,
        "feast_assets/run_rows_withdrawn": result.withdrawn,
        "feast_assets/run_rows_without_key": result.null_keys,
        "feast_assets/run_rows_without_time": result.null_times,
    }
    metadata = {name: value for name, value in figures.items() if value}
    if result.parts is not None:
        metadata["feast_assets/run_parts"] = str(result.parts)
    return metadata


def _computed_part(view: FeatureView) -> str | None:
    """Returns which of a view's assets its transformation makes; None where there is none."""
    if view.transformation is None:
        return None
    return KEPT if view.keeps_result else LATEST


def _lineage(context: dg.AssetExecutionContext, chosen: ChosenView, store: FeatureStore) -> dict[str, Any]:
    """Returns where the columns come from that a view's transformation makes."""
    part = _computed_part(chosen.view)
    if part is None or not isinstance(chosen.view, BatchFeatureView):
        return {}
    shown = context.assets_def.metadata_by_key[chosen.keys[part]].get(SOURCE_ASSETS)
    if shown is None:
        return {}
    columns = {
        dg.AssetKey(shown.value[source.name]): store.offline_store.schema(source).names
        for source in chosen.view.sources
        if source.name in shown.value
    }
    return lineage_metadata(of_computation(chosen.view, columns))


def _figures(view: FeatureView, result: WindowResult, part: str, *, partitioned: bool, profile: bool) -> dict[str, Any]:
    computed = view.transformation is not None and not view.keeps_result
    count = "dagster/partition_row_count" if partitioned else "dagster/row_count"
    figures: dict[str, object] = {
        "feast_assets/input_rows" if computed else count: result.rows,
        "feast_assets/fingerprint": result.fingerprint,
    }
    if computed and result.profile is not None:
        figures[count] = result.profile.rows
    if result.null_keys:
        figures["feast_assets/rows_without_key"] = result.null_keys
    if result.newest_event is not None:
        figures["feast_assets/newest_event"] = dg.MetadataValue.timestamp(result.newest_event)
    if part == LATEST:
        figures |= _online_figures(result) if view.online else {}
        if profile and result.profile is not None:
            figures |= profile_metadata(result.profile)
    return figures


def _online_figures(result: WindowResult) -> dict[str, object]:
    """Returns how many rows of a window went online; where none had to, says why, as zeros look like a failure."""
    figures = {
        "feast_assets/latest_entities": result.entities,
        "feast_assets/rows_written": result.written,
        "feast_assets/rows_ignored": result.ignored,
    }
    shown: dict[str, object] = {name: count for name, count in figures.items() if count}
    if result.made and not result.entities:
        shown["feast_assets/online"] = "Nothing to write: each entity has a newer row in a later partition of the run."
    elif result.entities and result.written == 0:
        shown["feast_assets/online"] = "Nothing to write: the online store already held these rows, or newer ones."
    return shown


def _data_version(chosen: ChosenView, result: MaterializationResult) -> dg.DataVersion | None:
    """Returns a data version made from content and definition, where one materialization is one window.

    A result for several partitions can carry only one version, which would be true of none of them; the fingerprints in
    the partitions' metadata tell their contents apart.
    """
    if len(result.windows) != 1:
        return None
    return dg.DataVersion(content_hash([chosen.definition_hash, result.windows[0].fingerprint]))


def _raise_if_any(failed: Mapping[str, FeastAssetsError | None]) -> None:
    errors = {name: error for name, error in failed.items() if error is not None}
    if not errors:
        return
    message = "; ".join(f"{name}: {error}" for name, error in errors.items())
    not_run = [name for name, error in failed.items() if error is None]
    if not_run:
        message += f"; not run: {', '.join(not_run)}"
    raise dg.Failure(f"Could not materialize {message}") from next(iter(errors.values()))
