"""How definitions look in Dagster: one class, one method, made to be subclassed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import dagster as dg

from feast_assets.dagster.freshness import freshness_policy
from feast_assets.dagster.lineage import (
    ServedColumn,
    lineage_metadata,
    of_feature_view,
    of_on_demand_view,
    of_service,
    served_columns,
)
from feast_assets.dagster.source_assets import MadeBy, named_by_tag
from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.kept_results import kept_result, sources_read
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.duckdb_source import DuckDBSource
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.view import BaseFeatureView

GROUP_TAG = "dagster/group"
"""The tag of a view or a source that names its asset group; without it, the group is the project."""
SOURCE_ASSETS = "feast_assets/source_assets"
"""Metadata of an asset that a transformation makes: source name -> path of the source's asset key."""
CODE_REFERENCES = "dagster/code_references"
"""The metadata that Dagster reads the place of a definition from."""

_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}", re.ASCII)
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}", re.ASCII)
# Only the addresses that Dagster accepts: it refuses to load an asset with another owner.
_EMAIL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}", re.ASCII)
_TEAM = re.compile(r"team:[A-Za-z0-9_-]+", re.ASCII)
_RESERVED_TAGS = ("dagster/", "feast_assets/")


@dataclass(frozen=True, kw_only=True)
class FeatureViewTranslatorData:
    """What there is to say of a feature view.

    Attributes:
        view: as declared, with what apply has inferred where that is known.
        project: whose it is.
        offline_store, online_store: types of the project's stores, such as "duckdb"; None where it has none.
        source_keys: the keys of the user's own assets that make data sources, by the sources' names.
    """

    view: FeatureView
    project: str
    offline_store: str | None = None
    online_store: str | None = None
    source_keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSourceTranslatorData:
    """What there is to say of a data source, among them the places where transformed views keep their results.

    Attributes:
        source: as declared.
        project: whose it is.
        offline_store: type of the store that reads it.
        made_by: the view whose kept result it is; None for sources that others fill.
        source_keys: the keys of the user's own assets that make data sources, by the sources' names.
    """

    source: DataSource
    project: str
    offline_store: str | None = None
    made_by: BatchFeatureView | None = None
    source_keys: Mapping[str, dg.AssetKey] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OnDemandFeatureViewTranslatorData:
    """What there is to say of an on-demand feature view.

    Attributes:
        view: as declared.
        project: whose it is.
        upstream: the assets of the feature views that it takes features of, by the views' names.
    """

    view: OnDemandFeatureView
    project: str
    upstream: Mapping[str, dg.AssetKey]


@dataclass(frozen=True, kw_only=True)
class FeatureServiceTranslatorData:
    """What there is to say of a feature service.

    Attributes:
        service: as declared.
        project: whose it is.
        views: feature views and on-demand views of the project, by name; at least those that the service reads.
        upstream: the assets of those views, by the views' names.
    """

    service: FeatureService
    project: str
    views: Mapping[str, BaseFeatureView]
    upstream: Mapping[str, dg.AssetKey]


TranslatorData = (
    FeatureViewTranslatorData
    | DataSourceTranslatorData
    | OnDemandFeatureViewTranslatorData
    | FeatureServiceTranslatorData
)


class FeastTranslator:
    """Turns definitions into asset specs.

    Subclass it and override `get_asset_spec` to change keys, groups, owners and the rest; what it returns for a
    source also decides what the views that read the source depend on; a dependency of a view with a partition mapping
    keeps it. Keys are ``[project, view]``,
    ``[project, "sources", source]`` and ``[project, "services", service]``; characters that asset keys cannot show
    become underscores.

    Owners that are neither an email address nor ``team:...``, and tags that Dagster does not allow, are in the
    metadata. Partitions are not the translator's: they are the view's grid.
    """

    def get_asset_spec(self, data: TranslatorData) -> dg.AssetSpec:
        """Returns the asset of a feature view, a data source, an on-demand feature view or a feature service.

        Example::

            class InTeams(FeastTranslator):
                def get_asset_spec(self, data):
                    return super().get_asset_spec(data).replace_attributes(group_name="features")
        """
        if isinstance(data, FeatureViewTranslatorData):
            return self._feature_view(data)
        if isinstance(data, OnDemandFeatureViewTranslatorData):
            return self._on_demand_view(data)
        if isinstance(data, FeatureServiceTranslatorData):
            return self._service(data)
        return self._data_source(data)

    def get_source_asset(self, source: DataSource) -> MadeBy | None:
        """Returns the asset of your own that makes a data source: an asset, its spec or its key; None where none does.

        It is asked of sources that ``source_assets=`` does not name. Unless overridden, the source's tag
        ``dagster/asset`` names the asset.

        Example::

            class FromWarehouse(FeastTranslator):
                def get_source_asset(self, source):
                    return ["warehouse", source.name]
        """
        return named_by_tag(source)

    def key_of_source(self, data: DataSourceTranslatorData) -> dg.AssetKey:
        """Returns the key of a source's asset: of the user's asset that makes it, else as this class names it."""
        own = data.source_keys.get(data.source.name)
        return self.get_asset_spec(data).key if own is None else own

    def _feature_view(self, data: FeatureViewTranslatorData) -> dg.AssetSpec:
        view = data.view
        stores = {data.offline_store, data.online_store if view.online else None}
        read = {source.source.name: self.key_of_source(source) for source in _read_by(data)}
        return dg.AssetSpec(
            key=[in_key(data.project), in_key(view.name)],
            deps=list(read.values()),
            description=view.description or None,
            group_name=_group(view, data.project),
            owners=_owners(view),
            tags=_tags(view),
            kinds={_kind(view), *(in_key(s) for s in stores if s)},
            code_version=definition_hash(view),
            freshness_policy=freshness_policy(view),
            metadata={
                **_common_metadata(view, data.project),
                **_columns(view.schema),
                **lineage_metadata(of_feature_view(view, lambda source: read[source.name])),
                "feast_assets/entities": ", ".join(view.entities) if not view.entityless else "none",
                "feast_assets/source": view.source.name if view.source else "none",
                "feast_assets/ttl": _duration(view.ttl),
                "feast_assets/grain": view.partitions.grain if view.partitions else "none",
                **_transformation(view.declared_transformation),
                **(_source_assets(read) if view.transformation is not None and not view.keeps_result else {}),
            },
        )

    def _data_source(self, data: DataSourceTranslatorData) -> dg.AssetSpec:
        source, maker = data.source, data.made_by
        inputs = [] if maker is None else [_source(data, s) for s in maker.sources]
        read = {i.source.name: self.key_of_source(i) for i in inputs if i.source.name != source.name}
        return dg.AssetSpec(
            key=[in_key(data.project), "sources", in_key(source.name)],
            deps=list(read.values()),
            description=source.description or None,
            group_name=_group(source, data.project),
            owners=_owners(source),
            tags=_tags(source),
            kinds={"data_source"} | ({in_key(data.offline_store)} if data.offline_store else set()),
            code_version=None if maker is None else definition_hash(maker),
            metadata={
                **_common_metadata(source, data.project),
                "feast_assets/type": type(source).__name__,
                **_nonempty(
                    {
                        "feast_assets/timestamp_field": source.timestamp_field,
                        "feast_assets/created_timestamp_column": source.created_timestamp_column,
                        "feast_assets/made_by": maker.name if maker else "",
                    }
                ),
                **_nonempty(_stored_table(source)),
                **(_columns(_kept_fields(maker)) | _source_assets(read) if maker else {}),
            },
        )

    def _on_demand_view(self, data: OnDemandFeatureViewTranslatorData) -> dg.AssetSpec:
        view = data.view
        return dg.AssetSpec(
            key=[in_key(data.project), in_key(view.name)],
            deps=[data.upstream[n] for n in sorted({p.name for p in view.source_projections}) if n in data.upstream],
            description=view.description or None,
            group_name=_group(view, data.project),
            owners=_owners(view),
            tags=_tags(view),
            kinds={"on_demand_feature_view"},
            code_version=content_hash(view.feature_transformation.code()),
            metadata={
                **_common_metadata(view, data.project),
                **_columns(view.features),
                **lineage_metadata(of_on_demand_view(view, data.upstream)),
                **_nonempty({"feast_assets/request_data": _typed(view.request_fields)}),
                **_transformation(view.feature_transformation),
            },
        )

    def _service(self, data: FeatureServiceTranslatorData) -> dg.AssetSpec:
        service = data.service
        columns = served_columns(service, data.views)
        read = sorted({p.name for p in service.feature_view_projections})
        return dg.AssetSpec(
            key=[in_key(data.project), "services", in_key(service.name)],
            deps=[data.upstream[name] for name in read if name in data.upstream],
            description=service.description or None,
            group_name=_group(service, data.project),
            owners=_owners(service),
            tags=_tags(service),
            kinds={"feature_service"},
            metadata={
                **_common_metadata(service, data.project),
                **_columns(_as_served(columns)),
                **lineage_metadata(of_service(columns, data.upstream)),
                **_nonempty(
                    {
                        "feast_assets/join_keys": ", ".join(_join_keys(service, data.views)),
                        "feast_assets/request_data": _typed(_request_fields(service, data.views)),
                    }
                ),
            },
        )


def _kind(view: FeatureView) -> str:
    if isinstance(view, StoredOnDemandView):
        return "on_demand_feature_view"
    return "label_view" if isinstance(view, LabelView) else "feature_view"


def _read_by(data: FeatureViewTranslatorData) -> list[DataSourceTranslatorData]:
    """Returns where a view's online rows come from: its kept result if it has one, else its sources."""
    view = data.view
    sink = kept_result(view)
    if sink is not None and isinstance(view, BatchFeatureView):
        return [replace(_source(data, sink), made_by=view)]
    return [_source(data, s) for s in sources_read(view)]


def _source_assets(keys: Mapping[str, dg.AssetKey]) -> dict[str, object]:
    """Returns which asset stands for which source; a run that looks at the sources tells lineage by it."""
    return {SOURCE_ASSETS: dg.MetadataValue.json({name: list(key.path) for name, key in keys.items()})}


def _source(data: FeatureViewTranslatorData | DataSourceTranslatorData, source: DataSource) -> DataSourceTranslatorData:
    return DataSourceTranslatorData(
        source=source, project=data.project, offline_store=data.offline_store, source_keys=data.source_keys
    )


def _kept_fields(maker: BatchFeatureView) -> list[Field]:
    """Returns the columns of the result that a view keeps."""
    aggregates = maker.aggregates
    return maker.schema if aggregates is None else [*maker.entity_columns, *aggregates.kept_fields]


def _stored_table(source: DataSource) -> dict[str, str]:
    """Returns where a source is a table; Dagster shows these two by themselves."""
    if not isinstance(source, DuckDBSource):
        return {}
    return {"feast_assets/database": source.database, "dagster/table_name": source.table}


def _as_served(columns: Iterable[ServedColumn]) -> list[Field]:
    return [
        Field(name=c.name, dtype=c.field.dtype, description=c.field.description, tags=c.field.tags) for c in columns
    ]


def _join_keys(service: FeatureService, views: Mapping[str, BaseFeatureView]) -> list[str]:
    """Returns the columns that entity rows need, each once: those of views, also of views behind on-demand views."""
    keys: dict[str, None] = {}
    for projection in service.feature_view_projections:
        view = views.get(projection.name)
        read = view.source_projections if isinstance(view, OnDemandFeatureView) else [projection]
        for each in read:
            source_view = views.get(each.name)
            if isinstance(source_view, FeatureView) and not source_view.entityless:
                keys |= dict.fromkeys(each.join_key_map.get(k, k) for k in source_view.join_keys)
    return list(keys)


def _request_fields(service: FeatureService, views: Mapping[str, BaseFeatureView]) -> list[Field]:
    read = (views.get(p.name) for p in service.feature_view_projections)
    fields = [f for view in read if isinstance(view, OnDemandFeatureView) for f in view.request_fields]
    return list({f.name: f for f in fields}.values())


def _typed(fields: Iterable[Field]) -> str:
    return ", ".join(f"{f.name} {f.dtype}" for f in fields)


def in_key(name: str) -> str:
    """Returns a name as asset keys can show it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _group(definition: Definition, project: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", definition.tags.get(GROUP_TAG) or project)


def _owners(definition: Definition) -> list[str]:
    owner = definition.owner
    return [owner] if _EMAIL.fullmatch(owner) or _TEAM.fullmatch(owner) else []


def _tags(definition: Definition) -> dict[str, str]:
    return {k: v for k, v in definition.tags.items() if _is_dagster_tag(k, v)}


def _is_dagster_tag(key: str, value: str) -> bool:
    return (
        _TAG_KEY.fullmatch(key) is not None
        and _TAG_VALUE.fullmatch(value) is not None
        and not key.startswith(_RESERVED_TAGS)
    )


def _common_metadata(definition: Definition, project: str) -> dict[str, object]:
    other_tags = {k: v for k, v in definition.tags.items() if not _is_dagster_tag(k, v) and k != GROUP_TAG}
    owner = definition.owner if not _owners(definition) else ""
    return {
        "feast_assets/project": project,
        **_nonempty({"feast_assets/owner": owner, "feast_assets/tags": other_tags}),
        **_code_references(definition),
    }


def _code_references(definition: Definition) -> dict[str, object]:
    """Returns the line that declares it; `dagster.link_code_references_to_git` makes it a link into a repository."""
    if definition.defined_at is None:
        return {}
    file, line = definition.defined_at
    with warnings.catch_warnings():
        # Said once for each asset, it would be all that a user sees of a loaded project.
        warnings.simplefilter("ignore", dg.BetaWarning)
        reference = dg.LocalFileCodeReference(file_path=file, line_number=line, label=definition.name)
        return {CODE_REFERENCES: dg.CodeReferencesMetadataValue(code_references=[reference])}


def _columns(fields: Sequence[Field]) -> dict[str, object]:
    """Returns the column schema; nothing where the schema is left to apply."""
    shown = [f for f in fields if f.name != DUMMY_JOIN_KEY]
    if not shown:
        return {}
    columns = [
        dg.TableColumn(
            f.name,
            str(f.dtype),
            description=f.description or None,
            constraints=None if f.checks is None else _constraints(f.checks),
            tags={k: v for k, v in f.tags.items() if _is_dagster_tag(k, v)},
        )
        for f in shown
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def _constraints(checks: Checks) -> dg.TableColumnConstraints:
    rules = {
        "minimum": checks.minimum,
        "maximum": checks.maximum,
        "null share at most": checks.max_null_share,
        "one of": ", ".join(map(str, checks.allowed)) or None,
    }
    return dg.TableColumnConstraints(
        nullable=checks.nullable,
        unique=checks.unique,
        other=[f"{subject} {value}" for subject, value in rules.items() if value is not None],
    )


def _transformation(transformation: Transformation | None) -> dict[str, object]:
    if transformation is None:
        return {}
    language = "sql" if transformation.mode.value == "sql" else "python"
    text = f"```{language}\n{transformation.udf_string}\n```"
    return {"feast_assets/transformation": dg.MetadataValue.md(text)} if transformation.udf_string else {}


def _duration(ttl: timedelta | None) -> str:
    return str(ttl) if ttl else "for ever"


def _nonempty(values: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in values.items() if v}
