"""The rows of on-demand views that are kept in the online store.

To materialization, pushes and the audit such a view is a feature view whose transformation makes its rows from those
of the views that it reads. Apply registers that feature view together with the on-demand view, under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.push_source import PushSource
from feast_assets.definitions.spec import canonical_text, content_hash
from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.errors import NotSupportedError

EVENT_TIME = "event_timestamp"
"""The time column of rows that are handed in for a view whose sources do not say how it is called."""


class StoredTransformation(Transformation):
    """Makes the rows of a stored on-demand view; ``udf_string`` describes everything that decides them."""

    takes_tables = True

    def code(self) -> str:
        return self.udf_string


class StoredOnDemandView(BatchFeatureView):
    """What of an on-demand view goes into the online store.

    A row is what the function makes of a row of the view that it reads. Of several views it is what the function makes
    of a row of one that has all of the join keys, with what the others held at that time. It is made when

    * rows are handed in (`FeatureStore.write_to_online_store`), or
    * it is materialized: in the windows of its source view if it has one, and as a whole if it has several, since a
      later row of one of them goes with earlier rows of the others.

    Values that come with a request are not in history: a view that takes such values gets rows only when they are
    handed in.

    A row is valid as long as the shortest ttl of the source views says.

    Attributes:
        on_demand: the on-demand view.
        source_views: the views that it reads, each once, in the order in which it names them.
    """

    object_type = "stored on-demand feature view"
    _spec = {**BatchFeatureView._spec, "on_demand": None, "source_views": []}

    on_demand: OnDemandFeatureView
    source_views: list[FeatureView]

    @classmethod
    def of(
        cls, on_demand: OnDemandFeatureView, source_views: Sequence[FeatureView], key_types: Sequence[Field]
    ) -> StoredOnDemandView:
        """Returns what is stored of an on-demand view.

        Args:
            source_views: the views that it reads, each once, in the order in which it names them.
            key_types: the join keys, as far as their types are known.

        Raises:
            NotSupportedError: a source view is computed by an SQL query whenever it is read.
        """
        view = cls.__new__(cls)
        view.name, view.description, view.owner = on_demand.name, on_demand.description, on_demand.owner
        view.tags, view.org, view.enabled = dict(on_demand.tags), on_demand.org, on_demand.enabled
        view.state = on_demand.state
        view.on_demand, view.source_views = on_demand, list(source_views)
        view.entities, view.join_keys = list(on_demand.entities), list(on_demand.join_keys)
        known = {f.name: f for f in key_types}
        view.entity_columns = [known[key] for key in view.join_keys if key in known]
        view.features = list(on_demand.features)
        ttls = [v.ttl for v in source_views if v.ttl]
        view.ttl = min(ttls) if ttls else timedelta(0)
        view.online, view.offline, view.online_generation = True, False, ""
        view.enable_validation, view.automation, view.freshness = False, None, None
        only = source_views[0] if len(on_demand.source_projections) == 1 else None
        view.partitions = only.partitions if only is not None else None
        view.aggregations, view.tiling_hop_size, view.aggregated_columns = [], None, []
        view.lookback = only.lookback if isinstance(only, BatchFeatureView) else timedelta(0)
        view.sources = [source for each in source_views for source in _read(each, on_demand.name)]
        if not view.sources:
            handed_in = PushSource(name=f"{on_demand.name} (rows handed in)")
            handed_in.timestamp_field = EVENT_TIME
            view.sources = [handed_in]
        view.batch_source, view.stream_source, view.sink_source = view.sources[0], None, None
        view.feature_transformation = _transformation(on_demand, source_views)
        view._after_decode()
        return view

    @property
    def materializable(self) -> bool:
        return self.enabled and self.why_not_materialized == ""

    @property
    def why_not_materialized(self) -> str:
        """Why history does not say what its rows are; "" where it does."""
        if self.on_demand.request_fields:
            names = ", ".join(repr(f.name) for f in self.on_demand.request_fields)
            return f"its function takes values that come with a request ({names})"
        if any(view.batch_source is None for view in self.source_views):
            return "one of the views that it reads has no source with history"
        disabled = [view.name for view in self.source_views if not view.enabled]
        if disabled:
            return f"feature view {disabled[0]!r}, which it reads, is disabled"
        return ""

    @property
    def declared_transformation(self) -> Transformation:
        return self.on_demand.feature_transformation

    @property
    def event_time(self) -> str:
        """The column of handed-in rows that holds their event time."""
        source = self.sources[0]
        return source.field_mapping.get(source.timestamp_field, source.timestamp_field)

    def inputs_of(self, view: FeatureView) -> slice:
        """Returns which of ``sources`` the rows of a source view are read from."""
        start = 0
        for each in self.source_views:
            end = start + len(_read(each, self.name))
            if each.name == view.name:
                return slice(start, end)
            start = end
        raise KeyError(view.name)


def stored_views(
    on_demand: Sequence[OnDemandFeatureView], views: Mapping[str, FeatureView], key_types: Mapping[str, Sequence[Field]]
) -> list[StoredOnDemandView]:
    """Returns what is stored of those on-demand views that are written to the online store.

    Args:
        views: the feature views by name, as they are declared or registered. An on-demand view that reads another one
            is left out.
        key_types: for the names of on-demand views, their join keys as far as their types are known; left out, those
            of the view's own schema and of the views that it reads.
    """
    stored = []
    for view in on_demand:
        names = list(dict.fromkeys(p.name for p in view.source_projections))
        if view.write_to_online_store and all(name in views for name in names):
            sources = [views[name] for name in names]
            stored.append(StoredOnDemandView.of(view, sources, key_types.get(view.name, known_keys(view, sources))))
    return stored


def known_keys(on_demand: OnDemandFeatureView, source_views: Sequence[FeatureView]) -> list[Field]:
    """Returns the join keys of an on-demand view that its schema or the views that it reads declare."""
    types: dict[str, Field] = {}
    for view in reversed(source_views):
        maps = [p.join_key_map for p in on_demand.source_projections if p.name == view.name]
        for field in view.entity_columns:
            for join_key_map in maps:
                name = join_key_map.get(field.name, field.name)
                types[name] = Field(name=name, dtype=field.dtype)
    types |= {f.name: f for f in on_demand.entity_columns}
    return [types[key] for key in on_demand.join_keys if key in types]


def _read(view: FeatureView, reader: str) -> list[DataSource]:
    """Returns the sources from which the rows of a source view are read, or computed."""
    if isinstance(view, BatchFeatureView) and view.aggregations:
        raise NotSupportedError(
            f"OnDemandFeatureView {reader!r}: write_to_online_store=True needs the rows of feature view {view.name!r}, "
            "which has aggregations: it has values at every moment, and no rows. Leave write_to_online_store out."
        )
    if isinstance(view, BatchFeatureView) and view.is_computed_when_read and view.transformation is not None:
        if view.transformation.mode is TransformationMode.SQL:
            raise NotSupportedError(
                f"OnDemandFeatureView {reader!r}: write_to_online_store=True needs the rows of feature view "
                f"{view.name!r}, which an SQL query computes whenever they are read. Keep its result: offline=True and "
                "a sink_source."
            )
        return list(view.sources)
    return [] if view.batch_source is None else [view.batch_source]


def _transformation(on_demand: OnDemandFeatureView, source_views: Sequence[FeatureView]) -> StoredTransformation:
    function = on_demand.feature_transformation
    described = {
        "code": content_hash(function.code()),
        "mode": function.mode.value,
        "singleton": on_demand.singleton,
        "sources": [[definition_hash(v), 0 if not v.ttl else v.ttl.total_seconds()] for v in source_views],
        "read": [
            [p.name, p.name_to_use(), [f.name for f in p.features], sorted(p.join_key_map.items())]
            for p in on_demand.source_projections
        ],
    }
    made = StoredTransformation.__new__(StoredTransformation)
    made.mode, made.udf, made.udf_string = TransformationMode.PYTHON, None, canonical_text(described)
    made.import_path, made.name = function.import_path, on_demand.name
    made.tags, made.description, made.owner = {}, "", ""
    return made
