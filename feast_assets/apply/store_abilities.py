"""Whether the offline store can do what a view asks of it."""

from __future__ import annotations

from feast_assets.compute.validation import validates
from feast_assets.definitions.aggregation import Function
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.errors import NotSupportedError
from feast_assets.offline_stores.abilities import (
    AggregatesWindows,
    CanProfile,
    CanReplaceWindows,
    QueriesGivenRows,
    RunsTransformations,
)
from feast_assets.offline_stores.base import OfflineStore


def check_abilities(view: FeatureView, store: OfflineStore) -> None:
    """Checks that an offline store can compute, keep and validate a view, as far as the view asks for it.

    Raises:
        NotSupportedError: it cannot; the message says which ability is missing.
    """
    subject = f"Feature view {view.name!r}"
    if isinstance(view, BatchFeatureView) and view.transformation is not None:
        mode = view.transformation.mode
        runs = RunsTransformations.of(store, f"{subject}, which has a transformation,")
        if mode not in runs.modes:
            known = ", ".join(sorted(each.value for each in runs.modes))
            raise NotSupportedError(
                f"{subject}: {type(store).__name__} runs transformations of mode {known}, not {mode.value}."
            )
        if isinstance(view, StreamFeatureView) and mode is TransformationMode.SQL:
            QueriesGivenRows.of(store, f"{subject}, whose SQL runs over rows of a stream,")
        if view.keeps_result:
            remedy = "With offline=False the view is computed whenever it is read."
            CanReplaceWindows.of(store, f"{subject}, whose result is kept (offline=True),", remedy)
    if isinstance(view, BatchFeatureView) and view.aggregations:
        remedy = "Aggregate in the source, or use the offline store on DuckDB."
        aggregates = AggregatesWindows.of(store, f"{subject}, which has aggregations,", remedy)
        for each in view.aggregations:
            if Function.named(each.function, subject).kind not in aggregates.functions:
                raise NotSupportedError(
                    f"{subject}: {type(store).__name__} does not compute the aggregation function {each.function!r}; "
                    f"it computes {', '.join(sorted(aggregates.functions))}."
                )
    if validates(view):
        remedy = "With enable_validation=False its rows are not checked."
        CanProfile.of(store, f"{subject}, which validates the checks of its fields,", remedy)
