"""Column lineage: from columns of sources through features to what models read, as far as declarations tell it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.view import BaseFeatureView

COLUMN_LINEAGE = "dagster/column_lineage"
"""The metadata that Dagster reads column lineage from."""
SHOWN_LINEAGE = "feast_assets/column_lineage"
"""The same as a table for people."""

Origins = Mapping[str, Sequence[tuple[dg.AssetKey, str]]]
"""Column -> the columns it comes from, each of an asset."""

_WORD = re.compile(r"\w+")


def lineage_metadata(origins: Origins) -> dict[str, dg.MetadataValue]:
    """Returns where columns come from, as Dagster reads it and as a person does; nothing for columns without origin."""
    known = {column: upstream for column, upstream in origins.items() if upstream}
    if not known:
        return {}
    lines = [f"| `{column}` | {_told(upstream)} |" for column, upstream in known.items()]
    return {
        COLUMN_LINEAGE: dg.MetadataValue.column_lineage(
            dg.TableColumnLineage(
                {
                    c: [dg.TableColumnDep(asset_key=k, column_name=n) for k, n in upstream]
                    for c, upstream in known.items()
                }
            )
        ),
        SHOWN_LINEAGE: dg.MetadataValue.md("\n".join(["| column | from |", "|---|---|", *lines])),
    }


def of_feature_view(view: FeatureView, key_of: Callable[[DataSource], dg.AssetKey]) -> Origins:
    """Returns where a view's columns come from, by its declaration.

    A plain view's columns are its source's, and those of a view whose result is kept are the result's. For a view with
    a transformation, the sources' columns must be known: see `of_computation`.
    """
    computed = view.transformation is not None
    if view.batch_source is None or (computed and not view.keeps_result):
        return {}
    if isinstance(view, BatchFeatureView) and view.aggregations and view.keeps_result:
        return {}  # They are computed of tiles, which come before the view.
    key = key_of(view.batch_source)
    source_names = {name: column for column, name in view.batch_source.field_mapping.items()}
    if isinstance(view, BatchFeatureView) and view.aggregations:
        windows = {each.resolved_name(each.time_window): each.column for each in view.aggregations}
        columns = {**{f.name: f.name for f in view.entity_columns}, **windows}
        return {f.name: [(key, source_names.get(columns[f.name], columns[f.name]))] for f in _shown(view.schema)}
    return {f.name: [(key, source_names.get(f.name, f.name))] for f in _shown(view.schema)}


def of_computation(view: BatchFeatureView, columns: Mapping[dg.AssetKey, Iterable[str]]) -> Origins:
    """Returns where the columns of a transformation's result come from.

    What a function does with its inputs is not analysed: a feature comes from every column of the sources that the
    function's code names, and a join key from the columns of its name, if there are any. So there may be an origin too
    many; one is missing only where a function computes its column names.

    Args:
        columns: of each source, by its asset.
    """
    words = _words(view.declared_transformation)
    named = [(key, name) for key, names in columns.items() for name in names if name in words]
    origins: dict[str, Sequence[tuple[dg.AssetKey, str]]] = {}
    for f in _shown(view.schema):
        same = [(key, name) for key, names in columns.items() for name in names if name == f.name]
        origins[f.name] = same if same and f.name in view.join_keys else named
    return origins


def of_on_demand_view(view: OnDemandFeatureView, keys: Mapping[str, dg.AssetKey]) -> Origins:
    """Returns where an on-demand view's features come from: each from every stored feature that the function's code
    names, or from all that the view takes if it names none.

    Args:
        keys: of the assets of feature views, by the views' names.
    """
    words = _words(view.feature_transformation)
    taken = [(keys[p.name], f.name) for p in view.source_projections if p.name in keys for f in p.features]
    named = [(key, name) for key, name in taken if name in words]
    return {f.name: named or taken for f in view.features}


@dataclass(frozen=True)
class ServedColumn:
    """A column that a model reads.

    Attributes:
        name: as in a result: the feature's own, or ``view__feature`` where two views have features of that name.
        view: the view's name, whatever the service calls it.
        field: the feature.
    """

    name: str
    view: str
    field: Field


def served_columns(service: FeatureService, views: Mapping[str, BaseFeatureView]) -> list[ServedColumn]:
    """Returns what a feature service serves, in its order; features that it names but nobody declares are left out.

    Args:
        views: feature views and on-demand views, by name.
    """
    chosen = [
        (projection, field)
        for projection in service.feature_view_projections
        if projection.name in views
        for field in _projected(projection, views[projection.name])
    ]
    uses = Counter(f.name for _, f in chosen)
    return [ServedColumn(f.name if uses[f.name] == 1 else f"{p.name_to_use()}__{f.name}", p.name, f) for p, f in chosen]


def of_service(columns: Iterable[ServedColumn], keys: Mapping[str, dg.AssetKey]) -> Origins:
    """Returns where the columns that a service serves come from: features of views.

    Args:
        keys: of the assets of views, by the views' names.
    """
    return {c.name: [(keys[c.view], c.field.name)] for c in columns if c.view in keys}


def _words(transformation: Transformation | None) -> set[str]:
    """Returns the words of a function's code, its texts included, without comments, docstrings and decorators."""
    if transformation is None:
        return set()
    try:
        tree = ast.parse(textwrap.dedent(transformation.udf_string))
    except SyntaxError:
        return set(_WORD.findall(transformation.udf_string))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.decorator_list = []
            if ast.get_docstring(node) is not None:
                del node.body[0]
    return set(_WORD.findall(" ".join(ast.unparse(statement) for statement in tree.body)))


def _told(origins: Sequence[tuple[dg.AssetKey, str]]) -> str:
    by_asset: dict[dg.AssetKey, list[str]] = {}
    for key, name in origins:
        by_asset.setdefault(key, []).append(f"`{name}`")
    return "; ".join(f"{', '.join(names)} of `{key.to_user_string()}`" for key, names in by_asset.items())


def _projected(projection: FeatureViewProjection, view: BaseFeatureView) -> list[Field]:
    if projection.features:
        return projection.features
    if projection.desired_features:
        return [f for f in view.features if f.name in projection.desired_features]
    return view.features


def _shown(fields: Iterable[Field]) -> list[Field]:
    return [f for f in fields if f.name != DUMMY_JOIN_KEY]
