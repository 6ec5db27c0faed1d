"""Calling an on-demand function with sample values, as apply does before it registers the view.

So a wrong type, a missing feature or a misspelt input is noticed before features are served. The samples are those
that Feast's inference uses: 1, 1.0, True, "hello world" and the like, one row of them.
"""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.errors import SourceError, SpecifiedFeaturesNotPresentError, TransformationError
from feast_assets.retrieval.columns import ArrowColumn, Values
from feast_assets.retrieval.on_demand import OnDemandFunction
from feast_assets.retrieval.references import function_inputs
from feast_assets.retrieval.request import OnDemandRun
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    ScalarMap,
    Set,
    String,
    Struct,
    TimeUuid,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)

_MOMENT = datetime(2024, 1, 1, 12, tzinfo=UTC)
_SAMPLES: dict[FeastType, object] = {
    Bool: True,
    Bytes: b"hello world",
    Decimal: decimal.Decimal("1.0"),
    Float32: 1.0,
    Float64: 1.0,
    ImageBytes: b"\xff\xd8\xff\xe0",
    Int32: 1,
    Int64: 1,
    Json: {"key": "value"},
    Map: {"key": "value"},
    PdfBytes: b"%PDF-1.3",
    ScalarMap: {"key": "value"},
    String: "hello world",
    TimeUuid: uuid.UUID("13814000-1dd2-11b2-8000-000000000000"),
    UnixTimestamp: _MOMENT,
    Uuid: uuid.UUID("9f2c4c1e-2d6a-4b57-8f53-0d1b5a7c9e10"),
    ZonedTimestamp: _MOMENT,
}
_ADVICE = (
    "Apply tried it on one row of sample values ({sample}). Make it accept such values, or skip this trial: "
    "apply(..., skip_feature_view_validation=True), or feast-assets apply --skip-feature-view-validation."
)


def tried(
    view: OnDemandFeatureView, sources: Mapping[str, FeatureView], function: Callable[..., object]
) -> list[Field]:
    """Calls an on-demand view's function on sample values and returns the view's features.

    Args:
        view: its features may be left out; they are then what the function returns.
        sources: the feature views that it reads, by name, completed.
        function: the view's.

    Returns:
        the declared features, or those that the function returned, in its order.

    Raises:
        SpecifiedFeaturesNotPresentError: the function does not return a declared feature, or one of another type.
        TransformationError: it fails on the sample values, or returns something else than its mode demands.
    """
    inputs, _ = function_inputs(view, sources)
    trial = OnDemandFunction(OnDemandRun(view, inputs, tuple(view.features)), function)
    sample = {name: sample_value(each.dtype) for each in inputs for name in each.names[:1]}
    columns: list[Values] = [_column(each.dtype) for each in inputs]
    try:
        if not view.features:
            return trial.returned(columns, 1)
        for result in trial.any_rows(columns, 1) if view.write_to_online_store else trial(columns, 1):
            result.to_arrow()
    except TransformationError as error:
        shown = ", ".join(f"{name}={value!r}" for name, value in list(sample.items())[:8])
        more = ", ..." if len(sample) > 8 else ""
        advice = _ADVICE.format(sample=shown + more)
        kind = TransformationError if error.__cause__ is not None else SpecifiedFeaturesNotPresentError
        if isinstance(error.__cause__, SourceError):
            kind = SpecifiedFeaturesNotPresentError
        raise kind(f"{error} {advice}") from error.__cause__
    return view.features


def sample_value(dtype: FeastType) -> object:
    """Returns a value of a type, as Python holds it."""
    if isinstance(dtype, Array):
        return [sample_value(dtype.base_type)]
    if isinstance(dtype, Set):
        inner = sample_value(dtype.base_type)
        return [inner] if isinstance(inner, list) else {inner}
    if isinstance(dtype, Struct):
        return {name: sample_value(inner) for name, inner in dtype.items}
    return _SAMPLES[dtype]


def _column(dtype: FeastType) -> ArrowColumn:
    from feast_assets.types.python import to_arrow_column

    return ArrowColumn(to_arrow_column([sample_value(dtype)], dtype, "Sample"), dtype)
