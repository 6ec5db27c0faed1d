"""Compares what is declared with what was applied: fills in what apply inferred, and refuses where the two differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

from feast_assets.definitions.aggregation import aggregated_columns
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import NotAppliedError
from feast_assets.types import ValueType, from_value_type


def with_declared_keys(view: FeatureView, entities: Iterable[Entity]) -> FeatureView:
    """Returns the view with the join key columns that its schema leaves out, as far as its entities say their types."""
    types = {(e.name, e.join_key): e.value_type for e in entities if e.value_type is not ValueType.UNKNOWN}
    declared = {f.name: f for f in view.entity_columns}
    keys = list(zip(view.entities, view.join_keys, strict=True))
    if all(key in declared or (name, key) not in types for name, key in keys):
        return view
    for name, key in keys:
        if key not in declared and (name, key) in types:
            declared[key] = Field(name=key, dtype=from_value_type(types[name, key]))
    filled_in = copy(view)
    filled_in.entity_columns = [declared[key] for key in view.join_keys if key in declared]
    return filled_in


def leaves_to_apply(view: FeatureView) -> bool:
    """Whether a declaration leaves something to the first apply: the grid's start, fields, or a time column."""
    columns = {f.name for f in view.entity_columns}
    return (
        (view.partitions is not None and view.partitions.start is None)
        or not view.features
        or (isinstance(view, BatchFeatureView) and bool(view.aggregations) and view.aggregates is None)
        or not columns.issuperset(view.join_keys)
        or any(not s.timestamp_field for s in _all_sources(view))
    )


def filled(declared: FeatureView, registered: FeatureView | None) -> FeatureView:
    """Returns the declared view with what it leaves out taken from the registered one, if there is one."""
    if registered is None:
        return declared
    view = copy(declared)
    view.partitions = _filled_partitions(declared.partitions, registered.partitions)
    view.features = declared.features or registered.features
    if isinstance(view, BatchFeatureView) and isinstance(registered, BatchFeatureView) and view.aggregations:
        known_types = {f.name: f for f in (*registered.aggregated_columns, *view.aggregated_columns)}
        names = aggregated_columns(view.aggregations)
        view.aggregated_columns = [known_types[name] for name in names if name in known_types]
        if view.aggregates is not None:
            view.features = list(view.features)
            view.complete_aggregates(view.aggregated_columns, f"Feature view {view.name!r}")
    known = {f.name for f in declared.entity_columns}
    inferred = [f for f in registered.entity_columns if f.name not in known and f.name in declared.join_keys]
    view.entity_columns = [*declared.entity_columns, *inferred]
    sources = {s.name: s for s in _all_sources(registered)}
    view.batch_source = _filled_source(declared.batch_source, sources)
    if isinstance(view, BatchFeatureView):
        view.sources = [s for s in (_filled_source(s, sources) for s in view.sources) if s is not None]
        view.sink_source = _filled_source(view.sink_source, sources)
    return view


def check_applied(declared: FeatureView, registered: FeatureView | None) -> str:
    """Refuses a view that is not declared as it was applied, as far as that decides its rows or its windows.

    Returns:
        its `definition_hash`.

    Raises:
        NotAppliedError: it was never applied, or has been changed since.
    """
    if registered is None:
        raise NotAppliedError(declared.name, "has not been applied")
    view = filled(declared, registered)
    applied_hash = definition_hash(registered)
    if definition_hash(view) != applied_hash:
        raise NotAppliedError(declared.name, "has been changed since it was applied")
    if view.partitions != registered.partitions:
        raise NotAppliedError(declared.name, "has other partitions than when it was applied")
    return applied_hash


def _filled_partitions(declared: Partitions | None, registered: Partitions | None) -> Partitions | None:
    if declared is None or registered is None or declared.start is not None or declared.grain != registered.grain:
        return declared
    return registered


def _filled_source(declared: DataSource | None, registered: dict[str, DataSource]) -> DataSource | None:
    if declared is None or declared.timestamp_field or declared.name not in registered:
        return declared
    source = copy(declared)
    source.timestamp_field = registered[declared.name].timestamp_field
    return source


def _all_sources(view: FeatureView) -> Sequence[DataSource]:
    sources = [view.batch_source]
    if isinstance(view, BatchFeatureView):
        sources += [*view.sources, view.sink_source]
    return [s for s in sources if s is not None]
