"""A feature repository's Dagster definitions, all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import dagster as dg

from feast_assets.dagster.asset_decorator import build_feature_view_assets, build_feature_view_specs
from feast_assets.dagster.check_specs import CheckChoice
from feast_assets.dagster.checks import feature_view_checks, serving_checks_job, serving_checks_schedules
from feast_assets.dagster.jobs import apply_job, feature_view_jobs, observe_jobs
from feast_assets.dagster.materialization import VIEW
from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.resources import FeatureStoreResource
from feast_assets.dagster.schedules import feature_view_schedules, observation_schedules
from feast_assets.dagster.sensors import definition_sensor, late_data_sensor
from feast_assets.dagster.serving import build_serving_specs
from feast_assets.dagster.source_assets import MadeBy
from feast_assets.dagster.sources import build_source_assets
from feast_assets.dagster.streams import build_stream_assets, consume_jobs, stream_sensor
from feast_assets.dagster.translator import FeastTranslator
from feast_assets.errors import ConfigError, DefinitionError

FEATURE_STORE = "feature_store"


def definitions_for(
    resources: Mapping[str, object],
    *,
    source_assets: Mapping[str, MadeBy] | None = None,
    view_assets: Sequence[dg.AssetsDefinition] = (),
    translator: FeastTranslator | None = None,
    backfill_policy: dg.BackfillPolicy | None = None,
    retry_policy: dg.RetryPolicy | None = None,
    pool: str | None = None,
    profile: bool = True,
    checks: CheckChoice = "all",
    blocking: bool | None = None,
) -> dg.Definitions:
    """Returns the assets, jobs, schedules and sensors of a feature repository, with the resources that they use.

    It creates and changes nothing. Combine the result with your own definitions by ``Definitions.merge``.

    Args:
        resources: among them, under ``feature_store``, the `FeatureStoreResource`, which knows where the repository is.
        source_assets: for the names of data sources, the assets of your own that make them: an asset, its spec or its
            key. The views that read such a source depend on that asset, partition by partition, and no observable asset
            is made of the source. Give the asset or its spec rather than its key where its partitions matter: a view's
            lookback, and which windows an update concerns, follow them. For sources that are left out, their tag
            ``dagster/asset`` or the translator may name the asset; see `FeastTranslator.get_source_asset`.
        view_assets: assets of some views that you have made yourself by `feature_view_assets`, for example of views
            that another process computes. Jobs, schedules and sensors run them like the views whose assets are made
            here.
        translator: says how views and sources look in Dagster.
        backfill_policy, retry_policy, pool: of the feature views; see `feature_view_assets`.
        profile: whether each partition shows what its values look like, which costs two more passes over the rows.
        checks: which asset checks feature views have: "all", "none", or some of
            `FeatureViewCheck`.
        blocking: whether partitions with rows that break what fields declare are refused, so that what is served stays
            as it was; left out, as each view's ``enable_validation`` says.

    Raises:
        ConfigError: there is no feature store among the resources.
        DefinitionError: ``view_assets`` holds something else, or two assets of one name.
    """
    feature_store = resources.get(FEATURE_STORE)
    if not isinstance(feature_store, FeatureStoreResource):
        raise ConfigError(
            f"The resources need a FeatureStoreResource under the key {FEATURE_STORE!r}; found "
            f"{type(feature_store).__name__ if feature_store is not None else ', '.join(sorted(resources)) or 'none'}."
        )
    repository = FeatureRepository.load(feature_store, source_assets=source_assets, translator=translator)
    assets = build_feature_view_assets(
        repository,
        without=_views_of(view_assets),
        translator=translator,
        backfill_policy=backfill_policy,
        retry_policy=retry_policy,
        pool=pool,
        profile=profile,
        checks=checks,
        blocking=blocking,
    )
    assets = _with_own(assets, view_assets)
    jobs = feature_view_jobs(assets)
    sources = build_source_assets(repository, translator=translator)
    streams = build_stream_assets(repository, translator=translator)
    observations = observe_jobs([*sources, *streams])
    consuming = consume_jobs(repository, translator=translator)
    serving_checks = feature_view_checks(repository, assets, checks=checks)
    audits = serving_checks_job(serving_checks, repository.project)
    return dg.Definitions(
        assets=[
            *assets,
            *sources,
            *streams,
            *build_feature_view_specs(repository, translator=translator),
            *build_serving_specs(repository, translator=translator),
        ],
        asset_checks=serving_checks,
        jobs=[apply_job(repository.project), *jobs, *observations, *consuming, *audits],
        schedules=[
            *feature_view_schedules(assets, jobs, repository=repository),
            *observation_schedules(observations),
            *serving_checks_schedules(audits),
        ],
        sensors=[
            late_data_sensor(repository, assets, jobs),
            definition_sensor(repository, assets, jobs),
            *(stream_sensor(repository, job) for job in consuming),
        ],
        resources=dict(resources),
    )


def _views_of(own: Sequence[dg.AssetsDefinition]) -> set[str]:
    """Returns the names of the feature views that the user's assets stand for."""
    names: set[str] = set()
    for each in own:
        view_names = {metadata[VIEW] for metadata in each.metadata_by_key.values() if VIEW in metadata}
        if not view_names:
            listed = ", ".join(sorted(key.to_user_string() for key in each.keys))
            raise DefinitionError(f"view_assets holds {listed}, which feature_view_assets has not made.")
        names |= view_names
    return names


def _with_own(made: Sequence[dg.AssetsDefinition], own: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    named = Counter(each.op.name for each in (*made, *own))
    twice = sorted(name for name, times in named.items() if times > 1)
    if twice:
        raise DefinitionError(
            f"Two steps that materialize feature views are called {twice[0]!r}; give feature_view_assets another name=."
        )
    return [*made, *own]
