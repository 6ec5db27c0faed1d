"""What in a view's definition decides the rows that materialization writes."""

from __future__ import annotations

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.spec import content_hash

_WITHOUT_EFFECT_ON_ROWS = ("name", "description", "tags", "owner")


def definition_hash(view: FeatureView) -> str:
    """Returns a hash (hex) that changes when, and only when, materialized rows may differ.

    Descriptions, tags, owners, ttl and the grid are not part of it; of a transformation, comments and layout are not.
    """
    described: dict[str, object] = {
        "source": _source(view.batch_source),
        "join_keys": sorted((f.name, str(f.dtype)) for f in view.entity_columns),
        "features": [(f.name, str(f.dtype)) for f in view.features],
    }
    if isinstance(view, BatchFeatureView) and view.transformation is not None:
        described |= {
            "sources": [_source(s) for s in view.sources],
            "sink": _source(view.sink_source),
            "mode": view.transformation.mode.value,
            "code": view.transformation.code(),
            "lookback": view.lookback.total_seconds(),
        }
    if isinstance(view, BatchFeatureView) and view.aggregates is not None:
        described["tiles"] = view.aggregates.layout
    return content_hash(described)


def _source(source: DataSource | None) -> dict[str, object] | None:
    if source is None:
        return None
    return {k: v for k, v in source.to_spec().items() if k not in _WITHOUT_EFFECT_ON_ROWS}
