"""Label views, on-demand feature views and feature services as assets that no run makes.

On-demand views and services are virtual assets: what is downstream of one waits for the views behind it, in a job and
in a backfill. A run that has materialized one of those views also records a materialization of each virtual asset that
reads it, so that automations downstream follow.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from feast_assets.dagster.repository import FeatureRepository
from feast_assets.dagster.translator import (
    FeastTranslator,
    FeatureServiceTranslatorData,
    FeatureViewTranslatorData,
    OnDemandFeatureViewTranslatorData,
)
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.view import BaseFeatureView

READERS = "feast_assets/readers"
"""Metadata of a view that a run makes: paths of the keys of the on-demand views and services that read it."""


def build_serving_specs(
    repository: FeatureRepository, *, translator: FeastTranslator | None = None
) -> list[dg.AssetSpec]:
    """Describes label views, and, downstream of the views that they read, on-demand feature views and feature services.

    A service's asset has as columns what a model reads, with types, and where each comes from.
    """
    translator = translator or FeastTranslator()
    specs: list[dg.AssetSpec] = []
    views: dict[str, BaseFeatureView] = {}
    upstream: dict[str, dg.AssetKey] = {}
    read = {p.name for view in repository.on_demand_feature_views for p in view.source_projections} | {
        p.name for service in repository.feature_services for p in service.feature_view_projections
    }
    for stored in (*repository.views, *repository.label_views):
        is_label = isinstance(stored, LabelView)
        if stored.name not in read and not is_label:
            continue
        data = FeatureViewTranslatorData(
            view=stored,
            project=repository.project,
            offline_store=repository.offline_store,
            online_store=repository.online_store,
            source_keys=repository.source_keys,
        )
        made = translator.get_asset_spec(data)
        views[stored.name], upstream[stored.name] = stored, made.key
        specs += [made] if is_label else []
    stored_names = {view.name for view in repository.views}
    for view in repository.on_demand_feature_views:
        made = translator.get_asset_spec(
            OnDemandFeatureViewTranslatorData(view=view, project=repository.project, upstream=upstream)
        )
        if view.name not in stored_names:
            specs.append(_virtual(made))
        views[view.name], upstream[view.name] = view, made.key
    for service in repository.feature_services:
        made = translator.get_asset_spec(
            FeatureServiceTranslatorData(service=service, project=repository.project, views=views, upstream=upstream)
        )
        specs.append(_virtual(made))
    return specs


def readers_metadata(serving: Iterable[dg.AssetSpec], key: dg.AssetKey) -> dict[str, object]:
    """Returns the metadata that tells a run which virtual assets read a view, also through one another.

    Args:
        serving: what `build_serving_specs` made.
        key: of the view's asset.
    """
    reading = {key: None}
    for spec in serving:
        if spec.is_virtual and any(dep.asset_key in reading for dep in spec.deps):
            reading[spec.key] = None
    paths = [list(reader.path) for reader in reading if reader != key]
    return {READERS: dg.MetadataValue.json(paths)} if paths else {}


def record_readers(context: dg.AssetExecutionContext, views: Mapping[dg.AssetKey, str]) -> None:
    """Records that there are new rows behind the virtual assets that read some views.

    Args:
        views: the assets of the views that the run has materialized, with the views' names.
    """
    behind: dict[dg.AssetKey, list[str]] = {}
    for key, view in views.items():
        readers = context.assets_def.metadata_by_key[key].get(READERS)
        for path in [] if readers is None else readers.value:
            behind.setdefault(dg.AssetKey(path), []).append(view)
    for reader, names in behind.items():
        views_made: Sequence[str] = sorted(names)
        context.log_event(dg.AssetMaterialization(reader, metadata={"feast_assets/views_made": ", ".join(views_made)}))


def _virtual(spec: dg.AssetSpec) -> dg.AssetSpec:
    with warnings.catch_warnings():
        # Said once for each asset, it would be all that a user sees of a loaded project.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return spec.replace_attributes(is_virtual=True)
