"""Label views, on-demand feature views and feature services as assets that no run makes: for lineage."""

from __future__ import annotations

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
        )
        made = translator.get_asset_spec(data)
        views[stored.name], upstream[stored.name] = stored, made.key
        specs += [made] if is_label else []
    for view in repository.on_demand_feature_views:
        made = translator.get_asset_spec(
            OnDemandFeatureViewTranslatorData(view=view, project=repository.project, upstream=upstream)
        )
        specs.append(made)
        views[view.name], upstream[view.name] = view, made.key
    for service in repository.feature_services:
        specs.append(
            translator.get_asset_spec(
                FeatureServiceTranslatorData(
                    service=service, project=repository.project, views=views, upstream=upstream
                )
            )
        )
    return specs
