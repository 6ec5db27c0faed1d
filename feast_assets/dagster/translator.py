"""How feature views and data sources look in Dagster: one class, one method, made to be subclassed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from feast_assets.compute.definition_hash import materialization_hash
from feast_assets.definitions.base import Definition
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.data_source import DataSource
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field

GROUP_TAG = "dagster/group"
"""The tag of a view or a source that names its asset group; without it, the group is the project."""

_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}", re.ASCII)
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", re.ASCII)
_TEAM = re.compile(r"team:[A-Za-z0-9_-]+", re.ASCII)
_RESERVED_TAGS = ("dagster/", "feast_assets/")


@dataclass(frozen=True, kw_only=True)
class FeatureViewTranslatorData:
    """What there is to say of a feature view.

    Attributes:
        view: as declared, with what apply has inferred where that is known.
        project: whose it is.
        offline_store, online_store: types of the project's stores, such as "duckdb"; None where it has none.
    """

    view: FeatureView
    project: str
    offline_store: str | None = None
    online_store: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataSourceTranslatorData:
    """What there is to say of a data source, among them the places where transformed views keep their results.

    Attributes:
        source: as declared.
        project: whose it is.
        offline_store: type of the store that reads it.
        made_by: the view whose kept result it is; None for sources that others fill.
    """

    source: DataSource
    project: str
    offline_store: str | None = None
    made_by: BatchFeatureView | None = None


TranslatorData = FeatureViewTranslatorData | DataSourceTranslatorData


class FeastTranslator:
    """Turns definitions into asset specs.

    Subclass it and override `get_asset_spec` to change keys, groups, owners and the rest; what it returns for a
    source also decides what the views that read the source depend on. Keys are ``[project, view]`` and
    ``[project, "sources", source]``; characters that asset keys cannot show become underscores.

    Owners that are neither an email address nor ``team:...``, and tags that Dagster does not allow, are in the
    metadata. Partitions are not the translator's: they are the view's grid.
    """

    def get_asset_spec(self, data: TranslatorData) -> dg.AssetSpec:
        """Returns the asset of a feature view or of a data source.

        Example::

            class InTeams(FeastTranslator):
                def get_asset_spec(self, data):
                    return super().get_asset_spec(data).replace_attributes(group_name="features")
        """
        if isinstance(data, FeatureViewTranslatorData):
            return self._feature_view(data)
        return self._data_source(data)

    def _feature_view(self, data: FeatureViewTranslatorData) -> dg.AssetSpec:
        view = data.view
        stores = {data.offline_store, data.online_store if view.online else None}
        return dg.AssetSpec(
            key=[_in_key(data.project), _in_key(view.name)],
            deps=[self.get_asset_spec(source).key for source in _read_by(data)],
            description=view.description or None,
            group_name=_group(view, data.project),
            owners=_owners(view),
            tags=_tags(view),
            kinds={"feature_view", *(_in_key(s) for s in stores if s)},
            code_version=materialization_hash(view),
            metadata={
                **_common_metadata(view, data.project),
                **_columns(view.schema),
                "feast_assets/entities": ", ".join(view.entities) if not view.entityless else "none",
                "feast_assets/source": view.source.name if view.source else "none",
                "feast_assets/ttl": _duration(view.ttl),
                "feast_assets/grain": view.partitions.grain if view.partitions else "none",
                **_transformation(view),
            },
        )

    def _data_source(self, data: DataSourceTranslatorData) -> dg.AssetSpec:
        source, maker = data.source, data.made_by
        inputs = [] if maker is None else [_source(data.project, s, data.offline_store) for s in maker.sources]
        return dg.AssetSpec(
            key=[_in_key(data.project), "sources", _in_key(source.name)],
            deps=[self.get_asset_spec(i).key for i in inputs if i.source.name != source.name],
            description=source.description or None,
            group_name=_group(source, data.project),
            owners=_owners(source),
            tags=_tags(source),
            kinds={"data_source"} | ({_in_key(data.offline_store)} if data.offline_store else set()),
            code_version=None if maker is None else materialization_hash(maker),
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
            },
        )


def _read_by(data: FeatureViewTranslatorData) -> list[DataSourceTranslatorData]:
    """Returns what a view's online rows come from: its kept result if it has one, else its sources."""
    view = data.view
    if isinstance(view, BatchFeatureView) and view.keeps_result and view.sink_source is not None:
        return [
            DataSourceTranslatorData(
                source=view.sink_source, project=data.project, offline_store=data.offline_store, made_by=view
            )
        ]
    return [_source(data.project, s, data.offline_store) for s in sources_of(view)]


def _source(project: str, source: DataSource, offline_store: str | None) -> DataSourceTranslatorData:
    return DataSourceTranslatorData(source=source, project=project, offline_store=offline_store)


def sources_of(view: FeatureView) -> list[DataSource]:
    """Returns what a view's history is read or computed from; of a push source, its batch source."""
    if isinstance(view, BatchFeatureView):
        return list(view.sources)
    return [] if view.batch_source is None else [view.batch_source]


def _in_key(name: str) -> str:
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


def _common_metadata(definition: Definition, project: str) -> dict[str, Any]:
    other_tags = {k: v for k, v in definition.tags.items() if not _is_dagster_tag(k, v) and k != GROUP_TAG}
    owner = definition.owner if not _owners(definition) else ""
    return {"feast_assets/project": project} | _nonempty({"feast_assets/owner": owner, "feast_assets/tags": other_tags})


def _columns(fields: Sequence[Field]) -> dict[str, Any]:
    """Returns the column schema; nothing where the schema is left to apply."""
    shown = [f for f in fields if f.name != DUMMY_JOIN_KEY]
    if not shown:
        return {}
    columns = [
        dg.TableColumn(
            f.name,
            str(f.dtype),
            description=f.description or None,
            tags={k: v for k, v in f.tags.items() if _is_dagster_tag(k, v)},
        )
        for f in shown
    ]
    return {"dagster/column_schema": dg.TableSchema(columns)}


def _transformation(view: FeatureView) -> dict[str, Any]:
    transformation = view.transformation
    if transformation is None:
        return {}
    language = "sql" if transformation.mode.value == "sql" else "python"
    text = f"```{language}\n{transformation.udf_string}\n```"
    return {"feast_assets/transformation": dg.MetadataValue.md(text)} if transformation.udf_string else {}


def _duration(ttl: timedelta | None) -> str:
    return str(ttl) if ttl else "for ever"


def _nonempty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v}
