"""On-demand functions that a user calls by hand, with what Feast's methods of these names give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.projection import FeatureViewProjection
from feast_assets.definitions.transformation import Transformation, TransformationMode
from feast_assets.errors import InputError, shown

if TYPE_CHECKING:
    import pyarrow as pa


def transformed_dict(
    transformation: Transformation,
    sources: Iterable[FeatureViewProjection],
    feature_dict: Mapping[str, Any],
    *,
    singleton: bool,
) -> dict[str, Any]:
    """Returns what an on-demand function makes of a dict, with what it was given.

    Args:
        sources: the features that the function takes; each is given by its bare and by its full name.
        feature_dict: a list or a value for each input; of a singleton, lists of which the first value counts.

    Raises:
        DefinitionError: the function is not at hand.
    """
    given, added = dict(feature_dict), dict(_other_names(sources, feature_dict))
    given |= {name: feature_dict[source] for name, source in added.items()}
    result = transformation.transform_singleton(given) if singleton else transformation.transform(given)
    return {name: values for name, values in result.items() if name not in added}


def transformed_table(
    transformation: Transformation,
    sources: Iterable[FeatureViewProjection],
    table: pa.Table,
    names: Mapping[str, str],
) -> pa.Table:
    """Returns what an on-demand function makes of an Arrow table.

    Args:
        names: how columns of the result are to be called.

    Raises:
        DefinitionError: the function is not at hand.
        InputError: it is no Arrow table.
    """
    import pyarrow as pa

    if not isinstance(table, pa.Table):
        raise InputError(f"transform_arrow takes an Arrow table, not {shown(table)}.")
    added = dict(_other_names(sources, dict.fromkeys(table.column_names)))
    for name, source in added.items():
        table = table.append_column(name, table.column(source))
    result = transformation.transform_arrow(table)
    kept = [name for name in result.column_names if name not in added]
    return result.select(kept).rename_columns([names.get(name, name) for name in kept])


def called_with_table(transformation: Transformation, table: pa.Table) -> pa.Table:
    """Returns what a function makes of an Arrow table that it is given as its mode says: a DataFrame or a dict."""
    import pyarrow as pa

    if transformation.mode is TransformationMode.PANDAS:
        frame: Any = transformation.transform(table.to_pandas())
        return pa.Table.from_pandas(frame)
    return pa.table(transformation.function()(table.to_pydict()))


def _other_names(sources: Iterable[FeatureViewProjection], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the bare names of features that are given by full name, and the other way about, with that name."""
    for projection in sources:
        for feature in projection.features:
            full = f"{projection.name}__{feature.name}"
            if full in given:
                yield feature.name, full
            elif feature.name in given:
                yield full, feature.name
