"""Feature views as Dagster assets."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import dagster as dg

from feast_assets.dagster.automation import automation_condition
from feast_assets.dagster.check_results import Outcome
from feast_assets.dagster.check_specs import CheckChoice, chosen_checks, run_check_specs
from feast_assets.dagster.materialization import KEPT, LATEST, PART, VIEW
from feast_assets.dagster.partitions import partitions_definition
from feast_assets.dagster.pools import pool_of
from feast_assets.dagster.repository import FeatureRepository, ViewGroup, awaits_apply
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.serving import build_serving_specs, readers_metadata
from feast_assets.dagster.translator import DataSourceTranslatorData, FeastTranslator, FeatureViewTranslatorData
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.kept_results import sources_read
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError


def feature_view_assets(
    *,
    repository: FeatureRepository,
    views: Sequence[str] | None = None,
    name: str | None = None,
    translator: FeastTranslator | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    op_tags: Mapping[str, object] | None = None,
    pool: str | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    checks: CheckChoice = "all",
    blocking: bool | None = None,
) -> Callable[[Callable[..., object]], dg.AssetsDefinition]:
    """Makes assets of feature views that share a grid; the decorated function materializes them.

    A transformed view whose result is kept has two assets: the kept result, and downstream of it the latest values.
    They are always made together.

    Args:
        repository: what is declared.
        views: names of views; left out, all that can be materialized.
        name: of the op; left out, it is made from the grid.
        translator: says how views and sources look; see `FeastTranslator`.
        backfill_policy: how a backfill is cut into runs. Left out, any range of partitions is one run, which reads
            each view's history once; ``BackfillPolicy.multi_run(n)`` bounds what one run does.
        op_tags, retry_policy: as for ``dagster.multi_asset``.
        pool: the concurrency pool, ``""`` for none. Left out, it is `online_pool` of the project; where the views read
            a DuckDB file or keep results in one, it is `duckdb_pool` of that file. How many steps of a pool run at a
            time is set on the Dagster instance; without a limit there, it changes nothing.

        checks: which asset checks the views have; see `FeatureViewCheck`.
        blocking: whether partitions with rows that break what fields declare are refused, and what is downstream is not
            run; left out, as each view's ``enable_validation`` says. Give `materialize_views` the same.

    Raises:
        DefinitionError: the views do not share a grid, cannot be materialized, or two assets get the same key.

    Example::

        @feature_view_assets(repository=FeatureRepository.load(feature_store), views=["driver_stats"])
        def driver_assets(context: dg.AssetExecutionContext, feature_store: FeatureStoreResource):
            yield from feature_store.materialize_views(context)
    """
    group = _group(repository, views)
    specs = _specs(repository, group, translator or FeastTranslator())
    return dg.multi_asset(
        specs=specs,
        check_specs=_check_specs(repository, specs, checks, blocking),
        name=name or group.name,
        can_subset=True,
        backfill_policy=backfill_policy or (None if group.partitions is None else dg.BackfillPolicy.single_run()),
        op_tags=op_tags,
        pool=pool_of(repository, group.views) if pool is None else pool or None,
        retry_policy=retry_policy,
    )


def build_feature_view_assets(
    repository: FeatureRepository,
    *,
    without: Collection[str] = (),
    translator: FeastTranslator | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    op_tags: Mapping[str, object] | None = None,
    pool: str | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    profile: bool = True,
    checks: CheckChoice = "all",
    blocking: bool | None = None,
) -> list[dg.AssetsDefinition]:
    """Makes assets of all feature views that can be materialized: one multi-asset for each grid.

    A grid is a grain and a start. Views of one grain that start at different times have different partitions, so
    they cannot share one; declare the same start for views that should. The assets need a `FeatureStoreResource`
    under the key ``feature_store``.

    Args:
        without: names of views that are left out, as you have made assets of them yourself.
        profile: whether each partition shows what its values look like, which costs two more passes over the rows.

    See `feature_view_assets` for the other arguments.
    """

    def assets_of(group: ViewGroup) -> dg.AssetsDefinition:
        @feature_view_assets(
            repository=repository,
            views=[v.name for v in group.views],
            name=group.name,
            translator=translator,
            backfill_policy=backfill_policy if group.partitions else None,
            op_tags=op_tags,
            pool=pool,
            retry_policy=retry_policy,
            checks=checks,
            blocking=blocking,
        )
        def materialize(
            context: dg.AssetExecutionContext, feature_store: FeatureStoreResource
        ) -> Iterator[dg.MaterializeResult[None] | Outcome]:
            yield from feature_store.materialize_views(context, profile=profile, blocking=blocking)

        return materialize

    groups = ((group, tuple(v for v in group.views if v.name not in without)) for group in repository.groups())
    return [assets_of(replace(group, views=views)) for group, views in groups if views]


def build_feature_view_specs(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None
) -> list[dg.AssetSpec]:
    """Describes the views that no run materializes: those that stay offline, and those that await an apply."""
    translator = translator or FeastTranslator()
    return [_spec_of_other(repository, v, translator) for v in repository.others()]


def feature_view_keys(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None
) -> dict[str, dg.AssetKey]:
    """Returns the key of each view's asset: of its latest values, where it has two."""
    translator = translator or FeastTranslator()
    return {v.name: translator.get_asset_spec(_view_data(repository, v)).key for v in repository.views}


def _group(repository: FeatureRepository, names: Sequence[str] | None) -> ViewGroup:
    views = repository.materializable() if names is None else [repository.view(n) for n in names]
    if not views:
        raise DefinitionError(f"Project {repository.project!r} has no feature view that can be materialized.")
    for view in views:
        if not view.makes_something:
            raise DefinitionError(f"Feature view {view.name!r} cannot be materialized: it is disabled or not online.")
        if awaits_apply(view):
            raise DefinitionError(
                f"Feature view {view.name!r} has no partitions yet: its grid's start is fixed by the first apply. "
                "Apply the repository, or declare the start."
            )
        if view.partitions != views[0].partitions:
            raise DefinitionError(
                f"Feature views {views[0].name!r} ({_told(views[0])}) and {view.name!r} ({_told(view)}) have different "
                "partitions; make assets of each by itself, or use build_feature_view_assets."
            )
    return ViewGroup(repository.group_name(views[0].partitions), views[0].partitions, tuple(views))


def _told(view: FeatureView) -> str:
    grid = view.partitions
    return "none" if grid is None or grid.start is None else f"{grid.grain} from {grid.start.isoformat()}"


def _specs(repository: FeatureRepository, group: ViewGroup, translator: FeastTranslator) -> list[dg.AssetSpec]:
    partitions_def = None if group.partitions is None else partitions_definition(group.partitions)
    serving = build_serving_specs(repository, translator=translator)
    specs: dict[dg.AssetKey, tuple[dg.AssetSpec, str]] = {}
    translated: list[dg.AssetSpec] = []
    for view in group.views:
        parts = {LATEST: translator.get_asset_spec(_view_data(repository, view))}
        if view.keeps_result:
            parts[KEPT] = translator.get_asset_spec(_source_data(repository, _sink(view), view))
        translated += parts.values()
        computed = KEPT if KEPT in parts else LATEST
        parts[computed] = _with_source_assets(
            _with_lookback(parts[computed], repository, view, translator), repository, view
        )
        for part, spec in parts.items():
            subject = f"feature view {view.name!r}" if part == LATEST else f"the kept result of {view.name!r}"
            if spec.key in specs:
                raise DefinitionError(
                    f"Asset key {spec.key.to_user_string()!r} stands both for {specs[spec.key][1]} and for {subject}; "
                    "give them different keys in a translator."
                )
            made = spec.replace_attributes(
                partitions_def=partitions_def,
                automation_condition=spec.automation_condition or automation_condition(view, repository),
            )
            readers = readers_metadata(serving, spec.key) if part == LATEST else {}
            specs[spec.key] = (made.merge_attributes(metadata={VIEW: view.name, PART: part, **readers}), subject)
    return _mapped_alike([spec for spec, _ in specs.values()], _chosen_mappings(translated))


def _chosen_mappings(translated: Iterable[dg.AssetSpec]) -> dict[dg.AssetKey, dg.PartitionMapping]:
    """Returns how partitions of upstream assets are mapped where a translator says so.

    Raises:
        DefinitionError: it says two things of one upstream asset; in one group, Dagster has one mapping for each.
    """
    chosen: dict[dg.AssetKey, tuple[dg.PartitionMapping, dg.AssetKey]] = {}
    for spec in translated:
        for dep in spec.deps:
            if dep.partition_mapping is None:
                continue
            mapping, first = chosen.setdefault(dep.asset_key, (dep.partition_mapping, spec.key))
            if mapping != dep.partition_mapping:
                raise DefinitionError(
                    f"A translator maps partitions of {dep.asset_key.to_user_string()!r} in one way for "
                    f"{first.to_user_string()!r} and in another for {spec.key.to_user_string()!r}. Views of one grid "
                    "are one step, which has one mapping for each upstream asset: give them the same."
                )
    return {key: mapping for key, (mapping, _) in chosen.items()}


def _mapped_alike(
    specs: Sequence[dg.AssetSpec], chosen: Mapping[dg.AssetKey, dg.PartitionMapping]
) -> list[dg.AssetSpec]:
    """Lets all assets of a group depend on as many partitions of an upstream asset as the one that looks back furthest.

    In one group, Dagster has one mapping of partitions for each upstream asset.

    Args:
        chosen: mappings that a translator has given, which count before others.
    """
    mappings: dict[dg.AssetKey, dg.PartitionMapping] = dict(chosen)
    for dep in (dep for spec in specs for dep in spec.deps):
        mapping, known = dep.partition_mapping, mappings.get(dep.asset_key)
        if not isinstance(mapping, dg.TimeWindowPartitionMapping) or dep.asset_key in chosen:
            continue
        if not isinstance(known, dg.TimeWindowPartitionMapping) or mapping.start_offset < known.start_offset:
            mappings[dep.asset_key] = mapping
    return [
        spec.replace_attributes(
            deps=[
                dg.AssetDep(dep.asset_key, partition_mapping=mappings[dep.asset_key])
                if dep.asset_key in mappings
                else dep
                for dep in spec.deps
            ]
        )
        for spec in specs
    ]


def _check_specs(
    repository: FeatureRepository, specs: Sequence[dg.AssetSpec], checks: CheckChoice, blocking: bool | None
) -> list[dg.AssetCheckSpec]:
    chosen = chosen_checks(checks)
    return [
        check
        for spec in specs
        if spec.metadata[PART] == LATEST
        for check in run_check_specs(
            repository.view(spec.metadata[VIEW]), spec.key, chosen, blocking, spec.partitions_def
        )
    ]


def _with_lookback(
    spec: dg.AssetSpec, repository: FeatureRepository, view: FeatureView, translator: FeastTranslator
) -> dg.AssetSpec:
    """Lets each partition of a computed view depend on those of its sources that lie within its lookback, too."""
    before = _windows_before(view)
    if not before or not isinstance(view, BatchFeatureView):
        return spec
    mapping = dg.TimeWindowPartitionMapping(start_offset=-before)
    read = {
        translator.key_of_source(_source_data(repository, s))
        for s in view.sources
        if s.name not in repository.source_assets
    }
    return spec.replace_attributes(
        deps=[dg.AssetDep(d.asset_key, partition_mapping=mapping) if d.asset_key in read else d for d in spec.deps]
    )


def _with_source_assets(spec: dg.AssetSpec, repository: FeatureRepository, view: FeatureView) -> dg.AssetSpec:
    """Lets a view's partitions depend on those of the user's assets that make what it reads."""
    own = {
        asset.key: asset.dependency(view, _windows_before(view))
        for name, asset in repository.source_assets.items()
        if name in {s.name for s in sources_read(view)}
    }
    return spec.replace_attributes(deps=[own.get(d.asset_key, d) for d in spec.deps]) if own else spec


def _windows_before(view: FeatureView) -> int:
    """Returns how many windows before its own a view looks back at most."""
    if not isinstance(view, BatchFeatureView) or not view.lookback or view.partitions is None:
        return 0
    shortest = {"hourly": 1 / 24, "daily": 1, "weekly": 7, "monthly": 28}[view.partitions.grain]
    return math.ceil(view.lookback / timedelta(days=shortest))


def _spec_of_other(repository: FeatureRepository, view: FeatureView, translator: FeastTranslator) -> dg.AssetSpec:
    spec = translator.get_asset_spec(_view_data(repository, view))
    if view.makes_something:
        reason = "awaits its first apply, which fixes where its partitions start; reload the code location afterwards"
    else:
        reason = "disabled" if not view.enabled else "not online: it is read from the offline store only"
    return spec.merge_attributes(metadata={"feast_assets/not_materialized": reason})


def _sink(view: FeatureView) -> DataSource:
    assert isinstance(view, BatchFeatureView)
    assert view.sink_source is not None
    return view.sink_source


def _view_data(repository: FeatureRepository, view: FeatureView) -> FeatureViewTranslatorData:
    return FeatureViewTranslatorData(
        view=view,
        project=repository.project,
        offline_store=repository.offline_store,
        online_store=repository.online_store,
        source_keys=repository.source_keys,
    )


def _source_data(
    repository: FeatureRepository, source: DataSource, made_by: FeatureView | None = None
) -> DataSourceTranslatorData:
    return DataSourceTranslatorData(
        source=source,
        project=repository.project,
        offline_store=repository.offline_store,
        made_by=made_by if isinstance(made_by, BatchFeatureView) else None,
        source_keys=repository.source_keys,
    )
