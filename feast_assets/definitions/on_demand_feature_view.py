"""On-demand feature views: features made at request time from other features and request data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from feast_assets.definitions.base import refuse_arguments, spec_of
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.transformation import Transformation, TransformationMode, transformation_mode
from feast_assets.definitions.view import BaseFeatureView, check_features, check_fields, refuse_checks
from feast_assets.errors import DefinitionError, NotSupportedError, shown

MODES = (TransformationMode.PANDAS, TransformationMode.PYTHON)


class OnDemandFeatureView(BaseFeatureView):
    """Features that are computed when they are read, in the same way for training and serving.

    The function's input holds the features of the source views (by bare name), the request fields, and the join keys.

    * mode ``pandas``: DataFrame -> DataFrame, one row out per row in.
    * mode ``python``: dict of lists -> dict of lists; with ``singleton``, dict of values -> dict of values, row by row.

    Args:
        sources: feature views, projections of them, and request sources; a list, or a dict whose values are those.
        schema: the features that the function returns; left out, apply calls the function on sample values and takes
            what it returns.
        mode: the function's; a `Transformation` has its own.
        udf, udf_string, feature_transformation: the function, or a `Transformation`; not both.
    """

    object_type = "on-demand feature view"
    _spec = spec_of(
        features=[],
        entities=[],
        source_projections=[],
        request_sources=[],
        feature_transformation=None,
        org="",
        singleton=False,
        track_metrics=False,
        enabled=True,
    )

    entities: list[str]
    source_projections: list[FeatureViewProjection]
    request_sources: list[RequestSource]
    feature_transformation: Transformation

    def __init__(
        self,
        *,
        name: str,
        entities: Sequence[Entity] | None = None,
        schema: Sequence[Field] | None = None,
        sources: Sequence[FeatureView | FeatureViewProjection | RequestSource] | Mapping[str, object] | None = None,
        input_schema: Sequence[Field] | None = None,
        udf: Callable[..., object] | None = None,
        udf_string: str = "",
        feature_transformation: Transformation | None = None,
        mode: TransformationMode | str = "pandas",
        description: str = "",
        tags: Mapping[str, str] | None = None,
        owner: str = "",
        org: str = "",
        write_to_online_store: bool = False,
        singleton: bool = False,
        track_metrics: bool = False,
        aggregations: Sequence[object] | None = None,
        version: str = "latest",
        enabled: bool = True,
    ):
        subject = f"OnDemandFeatureView {name!r}"
        self._init_meta(name, description, tags, owner)
        refuse_arguments(
            subject,
            write_to_online_store=write_to_online_store,
            aggregations=aggregations,
            input_schema=input_schema,
            version=version != "latest",
        )
        if (udf is None) == (feature_transformation is None):
            raise DefinitionError(f"{subject}: give one of udf and feature_transformation.")
        if feature_transformation is not None and mode not in ("pandas", feature_transformation.mode):
            raise DefinitionError(
                f"{subject}: mode is {mode!r}, but its feature_transformation has mode "
                f"{feature_transformation.mode.value!r}; leave out mode."
            )
        self.feature_transformation = feature_transformation or Transformation(mode, udf, udf_string, name)  # type: ignore[arg-type]
        if transformation_mode(self.feature_transformation.mode, subject) not in MODES:
            raise NotSupportedError(
                f"{subject}: mode {self.feature_transformation.mode.value!r} is not supported; use pandas or python."
            )
        if singleton and self.mode is not TransformationMode.PYTHON:
            raise DefinitionError(f"{subject}: singleton is for mode 'python' only.")
        self.features = check_fields(schema, subject)
        check_features(self.features, subject)
        refuse_checks(self.features, subject, "what is computed when it is asked for is not checked")
        self.entities = [e.name for e in entities or []]
        self.org = org
        self.singleton = singleton
        self.track_metrics = track_metrics
        self.enabled = enabled
        self._init_sources(list(sources.values()) if isinstance(sources, Mapping) else list(sources or []), subject)
        self.projection = self._whole()

    def _init_sources(self, sources: list[object], subject: str) -> None:
        if not sources:
            raise DefinitionError(f"{subject}: sources must name feature views or request sources.")
        self.source_projections = []
        self.request_sources = []
        for source in sources:
            if isinstance(source, RequestSource):
                self.request_sources.append(source)
            elif isinstance(source, FeatureViewProjection):
                self.source_projections.append(source)
            elif isinstance(source, FeatureView):
                self.source_projections.append(source.projection)
            else:
                raise DefinitionError(
                    f"{subject}: a source must be a feature view or a request source, not {shown(source)}."
                )

    @property
    def source_feature_view_projections(self) -> dict[str, FeatureViewProjection]:
        """The projections of feature views that it reads, by name."""
        return {p.name_to_use(): p for p in self.source_projections}

    @property
    def source_request_sources(self) -> dict[str, RequestSource]:
        """The request sources that it reads, by name."""
        return {s.name: s for s in self.request_sources}

    @property
    def schema(self) -> list[Field]:
        """The features."""
        return self.features

    @property
    def udf(self) -> Callable[..., object] | None:
        """The function; None after reading from a registry."""
        return self.feature_transformation.udf

    @property
    def mode(self) -> TransformationMode:
        return self.feature_transformation.mode

    @property
    def request_fields(self) -> list[Field]:
        """The fields of all request sources."""
        return [f for source in self.request_sources for f in source.schema]


def on_demand_feature_view(
    *,
    name: str | None = None,
    entities: Sequence[Entity] | None = None,
    schema: Sequence[Field] | None = None,
    sources: Sequence[FeatureView | FeatureViewProjection | RequestSource] | Mapping[str, object] | None = None,
    input_schema: Sequence[Field] | None = None,
    aggregations: Sequence[object] | None = None,
    mode: TransformationMode | str = "pandas",
    description: str = "",
    tags: Mapping[str, str] | None = None,
    owner: str = "",
    org: str = "",
    write_to_online_store: bool = False,
    singleton: bool = False,
    track_metrics: bool = False,
    explode: bool = False,
    version: str = "latest",
) -> Callable[[Callable[..., object]], OnDemandFeatureView]:
    """Makes an `OnDemandFeatureView` of a function; its name is the view's unless ``name`` is given."""

    def decorate(function: Callable[..., object]) -> OnDemandFeatureView:
        if explode:
            raise NotSupportedError(f"OnDemandFeatureView {name or function.__name__!r}: explode is not supported.")
        return OnDemandFeatureView(
            name=name or function.__name__,
            entities=entities,
            schema=schema,
            sources=sources,
            input_schema=input_schema,
            udf=function,
            mode=mode,
            description=description,
            tags=tags,
            owner=owner,
            org=org,
            write_to_online_store=write_to_online_store,
            singleton=singleton,
            track_metrics=track_metrics,
            aggregations=aggregations,
            version=version,
        )

    return decorate
