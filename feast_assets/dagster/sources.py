"""Data sources as observable assets: a data version for each partition, from the files that hold it."""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from feast_assets.dagster.failures import told_first
from feast_assets.dagster.partitions import has_partition_key, partition_key, partitions_definition, windows_of
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.translator import DataSourceTranslatorData, FeastTranslator
from feast_assets.definitions.kept_results import kept_result
from feast_assets.definitions.partitions import GRAINS, Grain, Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.window import Window
from feast_assets.errors import FeastAssetsError, StoreUnavailableError
from feast_assets.feature_store import FeatureStore
from feast_assets.offline_stores.source_changes import grid_change_tokens, window_change_tokens

SOURCE = "feast_assets/data_source"
"""Metadata of an observable asset: the data source behind it."""

VERSION_TAG = "dagster/data_version"
"""Tag of an observation: the data version."""
_PAGE = 1000


def build_source_assets(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None
) -> list[dg.AssetsDefinition]:
    """Makes observable assets of the data sources that others fill: one multi-asset for each grid.

    A source that an asset of your own makes has none: that asset is what its views depend on.

    A source that is read by views with partitions has partitions itself: of the finest of their grains, from the
    earliest of their starts. Observing it gives each partition whose content has changed a new data version, so that
    Dagster knows what is downstream of a change; partitions that stayed as they were get no event. Versions come from
    the files' sizes and times where Parquet footers say which file holds which times; only other files are read.

    The assets need a `FeatureStoreResource` under the key ``feature_store``.
    """
    translator = translator or FeastTranslator()
    by_grid: dict[Partitions | None, list[dg.AssetSpec]] = {}
    made = {sink.name for v in repository.materializable() if (sink := kept_result(v)) is not None}
    for source in repository.data_sources:
        if source.name in made or source.name in repository.source_assets:
            continue
        grid = source_grid(repository, source)
        data = DataSourceTranslatorData(
            source=source, project=repository.project, offline_store=repository.offline_store
        )
        spec = translator.get_asset_spec(data).merge_attributes(metadata={SOURCE: source.name})
        by_grid.setdefault(grid, []).append(
            spec.replace_attributes(partitions_def=None if grid is None else partitions_definition(grid))
        )
    named = {_group_name(repository, grid, by_grid): specs for grid, specs in by_grid.items()}
    return [_observable(repository, name, specs) for name, specs in sorted(named.items())]


def source_grid(repository: FeatureRepository, source: DataSource) -> Partitions | None:
    """Returns the grid of a source: such that every window of a view that reads it is made of whole ones.

    None where only views without partitions read it, or some grid's start is not known yet.
    """
    grids = repository.grids_by_source.get(source.name)
    if not grids:
        return None
    grains = {g.grain for g in grids}
    # Weeks and months do not fit into each other; days fit into both.
    grain: Grain = (
        "daily" if grains >= {"weekly", "monthly"} and "hourly" not in grains else min(grains, key=GRAINS.index)
    )
    start = min(g.start for g in grids if g.start is not None)
    ends = [g.end for g in grids]
    return Partitions(grain, start, None if None in ends else max(e for e in ends if e is not None))


def _observable(repository: FeatureRepository, name: str, specs: Sequence[dg.AssetSpec]) -> dg.AssetsDefinition:
    sources = {s.name: s for s in repository.data_sources}

    def begin(context: dg.AssetExecutionContext, store: FeatureStore) -> Callable[[dg.AssetKey, str], None]:
        # Applied sources name the time column where the declaration leaves it to be inferred.
        applied = {s.name: s for s in store.list_data_sources()}

        def record(key: dg.AssetKey, source: str) -> None:
            grid = source_grid(repository, sources[source])
            _record(context, store, key, applied.get(source, sources[source]), grid)

        return record

    return observable(name, specs, begin, ends_run=(StoreUnavailableError,))


def observable(
    name: str,
    specs: Sequence[dg.AssetSpec],
    begin: Callable[[dg.AssetExecutionContext, FeatureStore], Callable[[dg.AssetKey, str], None]],
    *,
    ends_run: tuple[type[FeastAssetsError], ...] = (),
) -> dg.AssetsDefinition:
    """Makes a multi-asset that observes sources one by one; one that fails does not keep the others from it.

    Args:
        specs: of the sources' assets, whose metadata `SOURCE` is the source's name.
        begin: called at the beginning of a run; returns what observes a source, given its asset and its name.
        ends_run: errors after which the other sources are not looked at either.
    """

    def observe(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource) -> Iterator[object]:
        with told_first():
            observe_selected(context, feature_store)
        yield from ()

    def observe_selected(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource) -> None:
        observe_one = begin(context, feature_store.get_store())
        failed = []
        for key, metadata in context.assets_def.metadata_by_key.items():
            if key in context.selected_asset_keys:
                try:
                    observe_one(key, metadata[SOURCE])
                except ends_run:
                    raise
                except FeastAssetsError as error:
                    context.log.error(str(error))
                    failed.append(str(error))
        if failed:
            raise dg.Failure(f"Could not observe {'; '.join(failed)}")

    with warnings.catch_warnings():
        # Said once for each project that is loaded, it would drown what matters.
        warnings.simplefilter("ignore", dg.BetaWarning)
        made: dg.AssetsDefinition = dg.multi_observable_source_asset(specs=specs, name=name, can_subset=True)(observe)
        return made


def _record(
    context: dg.AssetExecutionContext,
    store: FeatureStore,
    key: dg.AssetKey,
    source: DataSource,
    partitions: Partitions | None,
) -> None:
    """Gives the partitions of a source that have changed since they were last observed their new versions.

    Args:
        partitions: the source's grid; None without one.
    """
    versions = _versions(context, store, key, source, partitions)
    known = _recorded(context.instance, key)
    if not _chosen(context):
        # Partitions without rows are not checked one by one: only those that had rows before have changed.
        versions = {**{partition: "" for partition, version in known.items() if version}, **versions}
    changed = {k: v for k, v in versions.items() if v != known.get(k, "")}
    for partition, version in changed.items():
        context.log_event(dg.AssetObservation(key, partition=partition, tags={VERSION_TAG: version or "no rows"}))
    context.log.info(f"{source.name}: {len(changed)} partitions have changed.")


def _versions(
    context: dg.AssetExecutionContext,
    store: FeatureStore,
    key: dg.AssetKey,
    source: DataSource,
    partitions: Partitions | None,
) -> dict[str | None, str]:
    """Returns the present versions of the run's partitions; where none were chosen, of those that have ended and have
    rows."""
    grid = context.assets_def.specs_by_key[key].partitions_def
    if not isinstance(grid, dg.TimeWindowPartitionsDefinition) or partitions is None or partitions.start is None:
        from feast_assets.definitions.window import ALWAYS

        return dict.fromkeys([None], window_change_tokens(store.offline_store, source, [ALWAYS])[0])
    if _chosen(context):
        windows = windows_of(grid, context.partition_keys)
        versions = window_change_tokens(store.offline_store, source, list(windows))
        return dict(zip(windows.values(), versions, strict=True))
    end = partitions.floor(datetime.now(UTC))
    end = end if partitions.end is None else min(end, partitions.end)
    if end <= partitions.start:
        return {}
    seen = grid_change_tokens(store.offline_store, source, partitions, Window(partitions.start, end))
    return {partition_key(grid, window): version for window, version in seen.items() if has_partition_key(window)}


def _chosen(context: dg.AssetExecutionContext) -> bool:
    return bool(context.has_partition_key or context.has_partition_key_range)


def _recorded(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str | None, str]:
    """Returns the versions that were last observed, by partition; "" where there were no rows."""
    versions: dict[str | None, str] = {}
    cursor = None
    while True:
        page = instance.fetch_observations(key, limit=_PAGE, cursor=cursor)
        for record in page.records:
            observation = record.asset_observation
            if observation is not None and observation.partition not in versions:
                version = (observation.tags or {}).get(VERSION_TAG, "")
                versions[observation.partition] = "" if version == "no rows" else version
        if not page.has_more:
            return versions
        cursor = page.cursor


def _group_name(repository: FeatureRepository, grid: Partitions | None, grids: Collection[Partitions | None]) -> str:
    """Returns the common name of a grid's sources; it has dates only if two grids have the same grain."""
    project = re.sub(r"\W", "_", repository.project, flags=re.ASCII)
    if grid is None or grid.start is None:
        return f"{project}_sources_without_partitions"
    name = f"{project}_sources_{grid.grain}"
    if sum(other is not None and other.grain == grid.grain for other in grids) == 1:
        return name
    until = f"_until_{grid.end:%Y_%m_%d_%H}" if grid.end else ""
    return f"{name}_from_{grid.start:%Y_%m_%d_%H}{until}"
