"""On-demand feature views: features made at request time from other features and request data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.base import listed, spec_of
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.feature_view_state import FeatureViewState
from feast_assets.definitions.field import Field
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.transformation import Transformation, TransformationMode, transformation_mode
from feast_assets.definitions.view import BaseFeatureView, check_features, check_fields, refuse_checks
from feast_assets.errors import DefinitionError, NotSupportedError, shown
from feast_assets.types import ValueType
from feast_assets.types.names import repeated_names

if TYPE_CHECKING:
    import pyarrow as pa

MODES = (TransformationMode.PANDAS, TransformationMode.PYTHON)

_WHY_NOT = {
    TransformationMode.SUBSTRAIT: " The library that makes Substrait plans, ibis-substrait, has had no release since "
    "2024, and does not run with present versions of ibis and DuckDB."
}

_LATER: Mapping[str, object] = {
    "join_keys": [],
    "entity_columns": [],
    "input_schema": [],
    "write_to_online_store": False,
    "state": FeatureViewState.STATE_UNSPECIFIED,
    "version": "latest",
    "current_version_number": 0,
}
"""Attributes that the first versions lacked. A view that does not use them keeps the hash that it had."""


class OnDemandFeatureView(BaseFeatureView):
    """Features that are computed when they are read, in the same way for training and serving.

    The function's input holds the features of the source views (by bare name), the request fields, and the join keys.

    * mode ``pandas``: DataFrame -> DataFrame, one row out per row in.
    * mode ``python``: dict of lists -> dict of lists; with ``singleton``, dict of values -> dict of values, row by row.

    With ``write_to_online_store`` the function runs when rows are written or materialized, and online reads get what
    is stored. History is computed as for every on-demand view. See
    `feast_assets.definitions.stored_on_demand_view.StoredOnDemandView`.

    Args:
        entities: whose features they are; needed with ``write_to_online_store``.
        sources: feature views, projections of them, and request sources; a list, or a dict whose values are those.
        input_schema: values that come with each request, as those of a `RequestSource`; sources may then be left out.
        schema: the features that the function returns, and the join keys, if their types are to be declared; left out,
            apply calls the function on sample values and takes what it returns.
        write_to_online_store: whether its rows are kept in the online store.
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
        **{name: copy(default) for name, default in _LATER.items()},
    )

    entities: list[str]
    join_keys: list[str]
    entity_columns: list[Field]
    input_schema: list[Field]
    write_to_online_store: bool
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
        if not isinstance(version, str):
            raise DefinitionError(f"{subject}: version must be text such as 'latest' or 'v2', not {shown(version)}.")
        self.version = version
        if aggregations:
            raise NotSupportedError(
                f"{subject}: aggregations over the rows of one request are not supported; aggregate in the function, "
                "or over history in a BatchFeatureView."
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
                f"{_WHY_NOT.get(self.mode, '')}"
            )
        if singleton and self.mode is not TransformationMode.PYTHON:
            raise DefinitionError(f"{subject}: singleton is for mode 'python' only.")
        self._init_entities(listed(entities, f"{subject}: entities must be a list of Entity objects"), subject)
        fields = check_fields(schema, subject)
        self.entity_columns = [f for f in fields if f.name in self.join_keys]
        self.features = [f for f in fields if f.name not in self.join_keys]
        check_features(self.features, subject)
        refuse_checks(self.features, subject, "what is computed when it is asked for is not checked")
        self.input_schema = check_fields(input_schema, f"{subject}: input_schema")
        self.write_to_online_store = write_to_online_store
        if write_to_online_store and not self.entities:
            raise DefinitionError(
                f"{subject}: write_to_online_store=True needs entities, by whose join keys its rows are stored."
            )
        self.org = org
        self.singleton = singleton
        self.track_metrics = track_metrics
        self.enabled = enabled
        self._init_sources(list(sources.values()) if isinstance(sources, Mapping) else list(sources or []), subject)
        self.projection = self._whole()

    def _init_entities(self, entities: Sequence[Any], subject: str) -> None:
        for entity in entities:
            if not isinstance(entity, Entity):
                raise DefinitionError(f"{subject}: entities must be a list of Entity objects, found {shown(entity)}.")
        self.entities = [e.name for e in entities]
        self.join_keys = [e.join_key for e in entities]
        repeated = repeated_names(self.join_keys)
        if repeated:
            raise DefinitionError(f"{subject}: two of its entities have the join key {repeated[0]!r}.")

    def _init_sources(self, sources: list[object], subject: str) -> None:
        if not sources and not self.input_schema:
            raise DefinitionError(
                f"{subject}: sources must name feature views or request sources, unless input_schema says what comes "
                "with a request."
            )
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
        """All fields: declared join key columns and features."""
        return [*self.entity_columns, *self.features]

    @property
    def udf(self) -> Callable[..., object] | None:
        """The function; None after reading from a registry."""
        return self.feature_transformation.udf

    @property
    def udf_string(self) -> str:
        """The function's source text."""
        return self.feature_transformation.udf_string

    def get_feature_transformation(self) -> Transformation:
        """Returns the function with its mode."""
        return self.feature_transformation

    def get_request_data_schema(self) -> dict[str, ValueType]:
        """Returns the values that come with a request, and their types."""
        return {field.name: field.dtype.to_value_type() for field in self.request_fields}

    def transform_dict(self, feature_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Calls the function with a dict; see `feast_assets.definitions.calls_by_hand`.

        Args:
            feature_dict: the inputs by their bare names or as ``view__feature``: lists, also of a singleton.

        Returns:
            the inputs, and what the function makes of them.
        """
        from feast_assets.definitions.calls_by_hand import transformed_dict

        singleton = self.singleton and self.mode is TransformationMode.PYTHON
        return transformed_dict(self.feature_transformation, self.source_projections, feature_dict, singleton=singleton)

    def transform_arrow(self, pa_table: pa.Table, full_feature_names: bool = False) -> pa.Table:
        """Calls the function with an Arrow table.

        Args:
            pa_table: the inputs by their bare names or as ``view__feature``.
            full_feature_names: whether features of the result are called ``view__feature``.
        """
        from feast_assets.definitions.calls_by_hand import transformed_table

        own = self.projection.name_to_use()
        names = {field.name: f"{own}__{field.name}" for field in self.features}
        if not full_feature_names:
            names = {full: name for name, full in names.items()}
        return transformed_table(self.feature_transformation, self.source_projections, pa_table, names)

    @property
    def mode(self) -> TransformationMode:
        return self.feature_transformation.mode

    @property
    def request_fields(self) -> list[Field]:
        """The values that come with a request: the fields of all request sources, and those of ``input_schema``."""
        return [*(f for source in self.request_sources for f in source.schema), *self.input_schema]

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        for name, default in _LATER.items():
            if spec[name] == default:
                del spec[name]
        if not self.write_to_online_store and not self.entity_columns:
            spec.pop("join_keys", None)
        return spec


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
    """Makes an `OnDemandFeatureView` of a function; its name is the view's unless ``name`` is given.

    ``explode`` says that the function may return more rows than it is given, which every view with
    ``write_to_online_store`` may: its result then has the join keys.
    """

    def decorate(function: Callable[..., object]) -> OnDemandFeatureView:
        if explode and not write_to_online_store:
            raise NotSupportedError(
                f"OnDemandFeatureView {name or function.__name__!r}: explode is not supported without "
                "write_to_online_store=True, since a read gives one row for each row asked for."
            )
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
