"""Batch feature views: feature views whose features a transformation makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from feast_assets.definitions.aggregation import Aggregation, aggregated_columns, check_aggregations
from feast_assets.definitions.automation import Automation
from feast_assets.definitions.base import refuse_arguments
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import DAILY, FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.freshness import Freshness
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.transformation import Transformation, TransformationMode, transformation_mode
from feast_assets.definitions.view import check_features
from feast_assets.definitions.window_aggregates import WindowAggregates
from feast_assets.errors import DefinitionError, NotSupportedError, shown

MODES = (TransformationMode.SQL, TransformationMode.PANDAS, TransformationMode.PYTHON)


class BatchFeatureView(FeatureView):
    """A feature view whose rows are computed from its sources.

    For a window ``[start, end)`` the function sees each source's rows with event times in ``[start - lookback,
    end)`` and the result's rows with event times in the window count. So any set of windows gives the same rows, in
    any order.

    The function takes one argument per source:

    * mode ``sql``: relation names; returns a DuckDB query over them.
    * mode ``pandas``: DataFrames; returns a DataFrame.
    * mode ``python``: dicts of column name -> list; returns such a dict.

    The result has the join keys, the features, and the timestamp columns named by ``sink_source``, or else by the
    first source.

    Args:
        source: one data source, or a list of them; or a feature view or a list of them, whose rows are then read from
            where they are kept. A view of views needs a ``sink_source``.
        sink_source: where the result is kept, when ``offline`` is true; history is then read from there. With
            aggregations, their tiles are kept there: the path must be a folder.
        lookback: how much event time before a window the result of the window needs.
        udf, udf_string, feature_transformation: the function, or a `Transformation`; not both. None of them: a
            plain feature view.
        aggregations: what is computed of the rows of the source, or of the transformation's result, in windows of time;
            these are the view's features then. The schema may declare the columns that are aggregated, which a
            transformation's result needs, and the features.
        tiling_hop_size: on whose multiples the windows start; see `Aggregation`.

    Attributes:
        aggregated_columns: names and types of the columns that are aggregated; apply completes them.

    See `FeatureView` for the other arguments. ``online`` is false unless said otherwise, as in Feast.
    """

    _spec = {
        **FeatureView._spec,
        "sources": [],
        "sink_source": None,
        "feature_transformation": None,
        "lookback": timedelta(0),
        "aggregations": [],
        "tiling_hop_size": None,
        "aggregated_columns": [],
    }

    sources: list[DataSource]
    sink_source: DataSource | None
    feature_transformation: Transformation | None
    lookback: timedelta
    aggregations: list[Aggregation]
    tiling_hop_size: timedelta | None
    aggregated_columns: list[Field]

    def __init__(
        self,
        *,
        name: str,
        mode: TransformationMode | str = TransformationMode.PYTHON,
        source: DataSource | FeatureView | Sequence[DataSource] | Sequence[FeatureView] | None = None,
        sink_source: DataSource | None = None,
        entities: Sequence[Entity] | None = None,
        ttl: timedelta | None = None,
        tags: Mapping[str, str] | None = None,
        online: bool = False,
        offline: bool = False,
        description: str = "",
        owner: str = "",
        org: str = "",
        schema: Sequence[Field] | None = None,
        udf: Callable[..., object] | None = None,
        udf_string: str = "",
        feature_transformation: Transformation | None = None,
        batch_engine: Mapping[str, object] | None = None,
        aggregations: Sequence[Aggregation] | None = None,
        enable_validation: bool | None = None,
        version: str = "latest",
        enabled: bool = True,
        partitions: Partitions | None = DAILY,
        lookback: timedelta = timedelta(0),
        automation: Automation | None = None,
        freshness: timedelta | Freshness | None = None,
        tiling_hop_size: timedelta | None = None,
    ):
        subject = f"BatchFeatureView {name!r}"
        self._init_meta(name, description, tags, owner)
        refuse_arguments(subject, batch_engine=batch_engine)
        if udf is not None and feature_transformation is not None:
            raise DefinitionError(f"{subject}: give udf or feature_transformation, not both.")
        if feature_transformation is not None and mode not in (TransformationMode.PYTHON, feature_transformation.mode):
            raise DefinitionError(
                f"{subject}: mode is {mode!r}, but its feature_transformation has mode "
                f"{feature_transformation.mode.value!r}; leave out mode."
            )
        if udf is not None:
            feature_transformation = Transformation(mode, udf, udf_string, name)
        self.feature_transformation = feature_transformation
        if (
            feature_transformation is not None
            and transformation_mode(feature_transformation.mode, subject) not in MODES
        ):
            raise NotSupportedError(
                f"{subject}: mode {feature_transformation.mode.value!r} is not supported; use sql, pandas or python."
            )
        if not isinstance(lookback, timedelta) or lookback < timedelta(0):
            raise DefinitionError(f"{subject}: lookback must be a timedelta of zero or more, got {shown(lookback)}.")
        self.lookback = lookback
        self._init_batch_sources(source, sink_source, offline, bool(aggregations), subject)
        self._init_view(schema, entities, ttl, online, offline, org, enable_validation, version, enabled, partitions)
        self._init_aggregations(aggregations, tiling_hop_size, subject)
        self._init_automation(automation, freshness, subject)

    def _init_aggregations(self, aggregations: object, hop: timedelta | None, subject: str) -> None:
        self.aggregations = check_aggregations(aggregations, hop, subject)
        self.tiling_hop_size = hop
        self.aggregated_columns = []
        if not self.aggregations:
            return
        if self.batch_source is None:
            raise DefinitionError(f"{subject}: aggregations need a source, whose rows are aggregated.")
        if self.partitions is None:
            raise DefinitionError(f"{subject}: aggregations need partitions, as windows of time need event times.")
        if self.keeps_result and not isinstance(self.sink_source, FileSource):
            raise NotSupportedError(f"{subject}: tiles can be kept in a FileSource, not in {shown(self.sink_source)}.")
        columns = aggregated_columns(self.aggregations)
        names = [each.resolved_name(each.time_window) for each in self.aggregations]
        declared = {f.name: f for f in self.features}
        if strange := [name for name in declared if name not in {*columns, *names}]:
            raise DefinitionError(
                f"{subject}: field {strange[0]!r} of its schema is neither one of its aggregations, such as "
                f"{names[0]!r}, nor a column that they aggregate, such as {columns[0]!r}; leave it out."
            )
        longest = max(each.time_window for each in self.aggregations if each.time_window is not None)
        if self.ttl and self.ttl < longest:
            raise DefinitionError(
                f"{subject}: its ttl of {self.ttl} is shorter than its longest window, {longest}. Windows forget by "
                "themselves; leave the ttl out, or shorten the window."
            )
        self.aggregated_columns = [declared[name] for name in columns if name in declared and name not in names]
        self.features = [declared[name] for name in names if name in declared]
        check_features(self.features, subject)
        self._check_fields(subject)
        self.projection = self._whole()

    def _check_fields(self, subject: str) -> None:
        for field in (*self.aggregated_columns, *self.features):
            if field.checks is not None:
                raise NotSupportedError(
                    f"{subject}: field {field.name!r} has checks, which views with aggregations do not support; leave "
                    "them out."
                )

    def complete_aggregates(self, columns: Sequence[Field], subject: str) -> None:
        """Sets the features that the aggregations make.

        Args:
            columns: names and types of the columns that are aggregated.

        Raises:
            DefinitionError: a function takes no values of its column's type, or a feature is declared with another
                type.
        """
        made = WindowAggregates.of(self.aggregations, self.tiling_hop_size, columns, subject)
        declared = {f.name: f for f in self.features}
        for each in made.features:
            field = declared.get(each.field.name)
            if field is not None and field.dtype != each.field.dtype:
                raise DefinitionError(
                    f"{subject}: feature {field.name!r} is declared {field.dtype}, but its aggregation makes "
                    f"{each.field.dtype}; declare it so, or leave it out of the schema."
                )
        self.aggregated_columns = list(columns)
        self.features = [declared.get(each.field.name, each.field) for each in made.features]

    @property
    def aggregates(self) -> WindowAggregates | None:
        """What its aggregations compute.

        None for a view without any, or where the types of its columns are neither declared nor inferred by apply yet.
        """
        if len(self.aggregated_columns) < len(aggregated_columns(self.aggregations)) or not self.aggregations:
            return None
        return WindowAggregates.of(
            self.aggregations, self.tiling_hop_size, self.aggregated_columns, f"{type(self).__name__} {self.name!r}"
        )

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A view without them keeps the hash that it had before the attributes existed.
        for name in ("aggregations", "tiling_hop_size", "aggregated_columns"):
            if not spec[name]:
                del spec[name]
        return spec

    def _init_batch_sources(
        self, source: object, sink: DataSource | None, offline: bool, aggregates: bool, subject: str
    ) -> None:
        if isinstance(source, (FeatureView, list, tuple)):
            source = _without_views(source, sink, subject)
        if isinstance(source, (list, tuple)):
            if not source or not all(isinstance(s, DataSource) and s.holds_history for s in source):
                raise DefinitionError(
                    f"{subject}: source must be a data source with history, or a list of them, not {shown(source)}."
                )
            self.sources = list(source)
            self.stream_source = None
            self.batch_source = self.sources[0]
        else:
            self._init_sources(source, subject)
            self.sources = [self.batch_source] if self.batch_source else []
        if self.feature_transformation is None and (len(self.sources) > 1 or (sink is not None and not aggregates)):
            raise DefinitionError(f"{subject}: several sources, or a sink_source, need a transformation.")
        if self.feature_transformation is not None and not self.sources:
            raise DefinitionError(f"{subject}: a transformation needs a source.")
        if sink is not None and not (isinstance(sink, DataSource) and sink.holds_history):
            raise DefinitionError(f"{subject}: sink_source must be a source that holds history, not {shown(sink)}.")
        if self.feature_transformation is not None and offline and sink is None and not aggregates:
            raise DefinitionError(f"{subject}: offline=True keeps the result, which needs a sink_source to say where.")
        self.sink_source = sink
        if sink is not None and offline and not aggregates:
            self.batch_source = sink

    @property
    def mode(self) -> TransformationMode | None:
        """How the function is called; None without one."""
        return None if self.transformation is None else self.transformation.mode

    @property
    def udf(self) -> Callable[..., object] | None:
        """The function; None without one, and after reading from a registry."""
        return None if self.transformation is None else self.transformation.udf

    @property
    def udf_string(self) -> str:
        """The function's source text; empty without one."""
        return "" if self.transformation is None else self.transformation.udf_string

    def get_feature_transformation(self) -> Transformation | None:
        """Returns the function with its mode; None without one."""
        return self.transformation

    @property
    def timestamp_field(self) -> str:
        """The event time column of the view's rows; empty where that is not known yet."""
        source = self.batch_source or (self.sources[0] if self.sources else None)
        return "" if source is None else source.timestamp_field

    @property
    def transformation(self) -> Transformation | None:
        return self.feature_transformation

    @property
    def row_fields(self) -> list[Field]:
        return self.aggregated_columns if self.aggregations else self.features

    @property
    def keeps_result(self) -> bool:
        if self.aggregations:
            return self.offline and self.sink_source is not None
        return super().keeps_result

    @property
    def is_computed_when_read(self) -> bool:
        return self.transformation is not None and not self.keeps_result


def _without_views(
    source: FeatureView | Sequence[object], sink: DataSource | None, subject: str
) -> list[object] | DataSource:
    """Returns sources in which the sources of views' rows stand for views."""
    given = [source] if isinstance(source, FeatureView) else list(source)
    views = [each for each in given if isinstance(each, FeatureView)]
    if views and len(views) < len(given):
        raise DefinitionError(f"{subject}: source must be data sources or feature views, not both.")
    if views and sink is None:
        raise DefinitionError(
            f"{subject}: a view whose source is the feature view {views[0].name!r} must specify a sink_source."
        )
    rows: list[object] = [rows_source(each, subject) if isinstance(each, FeatureView) else each for each in given]
    return rows


def rows_source(view: FeatureView, subject: str) -> DataSource:
    """Returns the data source that holds the rows of a view, for a view that is computed from them.

    Raises:
        DefinitionError: there is none.
        NotSupportedError: the rows are computed whenever they are read.
    """
    if isinstance(view, BatchFeatureView) and view.aggregations:
        raise NotSupportedError(
            f"{subject}: its source {view.name!r} is a feature view with aggregations, which has values at every "
            "moment and no rows; use the view's data source."
        )
    if view.is_computed_when_read:
        raise NotSupportedError(
            f"{subject}: its source {view.name!r} is a feature view that is computed whenever it is read. Keep its "
            "result: offline=True and a sink_source."
        )
    if view.batch_source is None:
        raise DefinitionError(f"{subject}: its source {view.name!r} is a feature view without history.")
    return view.batch_source


def batch_feature_view(
    *,
    name: str | None = None,
    mode: TransformationMode | str = TransformationMode.PYTHON,
    entities: Sequence[Entity] | None = None,
    ttl: timedelta | None = None,
    source: DataSource | FeatureView | Sequence[DataSource] | Sequence[FeatureView] | None = None,
    sink_source: DataSource | None = None,
    tags: Mapping[str, str] | None = None,
    online: bool = True,
    offline: bool = False,
    description: str = "",
    owner: str = "",
    org: str = "",
    schema: Sequence[Field] | None = None,
    enable_validation: bool | None = None,
    version: str = "latest",
    partitions: Partitions | None = DAILY,
    lookback: timedelta = timedelta(0),
    automation: Automation | None = None,
    freshness: timedelta | Freshness | None = None,
) -> Callable[[Callable[..., object]], BatchFeatureView]:
    """Makes a `BatchFeatureView` of a function; its name is the view's unless ``name`` is given.

    Feast's decorator defaults to ``offline=True`` without saying where the result goes; here that needs a
    ``sink_source``, so the default is false.
    """

    def decorate(function: Callable[..., object]) -> BatchFeatureView:
        return BatchFeatureView(
            name=name or function.__name__,
            mode=mode,
            source=source,
            sink_source=sink_source,
            entities=entities,
            ttl=ttl,
            tags=tags,
            online=online,
            offline=offline,
            description=description,
            owner=owner,
            org=org,
            schema=schema,
            udf=function,
            enable_validation=enable_validation,
            version=version,
            partitions=partitions,
            lookback=lookback,
            automation=automation,
            freshness=freshness,
        )

    return decorate
