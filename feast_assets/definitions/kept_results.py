"""Views that read the kept result of another view, and the order in which such views are materialized."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.errors import DefinitionError

if TYPE_CHECKING:
    from feast_assets.definitions.feature_view import FeatureView
    from feast_assets.definitions.sources.data_source import DataSource


def kept_result(view: FeatureView) -> DataSource | None:
    """Returns where a transformed view keeps its result; None where it keeps none."""
    return view.sink_source if isinstance(view, BatchFeatureView) and view.keeps_result else None


def sources_read(view: FeatureView) -> list[DataSource]:
    """Returns what a view's history is read or computed from; of a push source, its batch source."""
    if isinstance(view, BatchFeatureView):
        return list(view.sources)
    return [] if view.batch_source is None else [view.batch_source]


def reads_result(view: FeatureView, maker: FeatureView) -> bool:
    """Whether a view reads the kept result of another."""
    sink = kept_result(maker)
    return sink is not None and any(source.name == sink.name for source in sources_read(view))


def in_order(views: Sequence[FeatureView]) -> list[FeatureView]:
    """Returns views with those that keep a result before those that read it; else in the order given.

    Raises:
        DefinitionError: views read each other's results in a circle.
    """
    makers = {sink.name: view.name for view in views if (sink := kept_result(view)) is not None}
    given = {view.name: view for view in views}
    order = TopologicalSorter(
        {name: {makers[s.name] for s in sources_read(v) if s.name in makers} - {name} for name, v in given.items()}
    )
    try:
        order.prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise DefinitionError(
            f"Feature views read each other's kept results in a circle: {circle}. None could be computed first."
        ) from None
    positions = {name: position for position, name in enumerate(given)}
    ordered: list[FeatureView] = []
    while order.is_active():
        ready = sorted(order.get_ready(), key=positions.__getitem__)
        ordered += [given[name] for name in ready]
        order.done(*ready)
    return ordered


def with_readers(names: Iterable[str], views: Iterable[FeatureView]) -> set[str]:
    """Returns the names of some views and of those that read, directly or not, a result that they keep."""
    reached = set(names)
    known = list(views)
    while True:
        kept = {sink.name for v in known if v.name in reached and (sink := kept_result(v)) is not None}
        more = {v.name for v in known if any(s.name in kept for s in sources_read(v))} - reached
        if not more:
            return reached
        reached |= more
