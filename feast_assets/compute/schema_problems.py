"""Which columns of a source are not as a view declares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_assets.definitions.entity import DUMMY_JOIN_KEY
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.types import FeastType
from feast_assets.types.compatibility import incompatibility

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """A column of a source that is not as a view declares it.

    Attributes:
        declared: the type that the view declares, or which of the view's time columns it is.
        actual: the type of the source's column, ``"missing"`` where there is none.
    """

    column: str
    declared: str
    actual: str


def schema_problems(view: FeatureView, schema: pa.Schema) -> list[SchemaProblem]:
    """Returns what of a source's columns does not fit a view that reads its rows as they are.

    Args:
        schema: the columns of the view's batch source, as the offline store tells them. Of those that are stored as
            text, the values decide; see `ReadsTexts.check_texts`.
    """
    source = view.batch_source
    assert source is not None
    columns = {field.name: field.type for field in schema}
    texts = declared_texts(view, schema)
    problems = []
    for role in ("timestamp_field", "created_timestamp_column"):
        own = getattr(source, role)
        name = source.field_mapping.get(own, own)
        if name and name not in columns:
            problems.append(SchemaProblem(name, role, "missing"))
    for field in (*view.entity_columns, *view.row_fields):
        if field.name == DUMMY_JOIN_KEY:
            continue
        if field.name not in columns:
            problems.append(SchemaProblem(field.name, str(field.dtype), "missing"))
            continue
        if field.name not in texts and incompatibility(columns[field.name], field.dtype):
            problems.append(SchemaProblem(field.name, str(field.dtype), str(columns[field.name])))
    return problems


def declared_texts(view: FeatureView, schema: pa.Schema) -> dict[str, FeastType]:
    """Returns the declared types of a view's columns that are stored as text.

    Args:
        schema: the columns of the view's batch source, as the offline store tells them.
    """
    from feast_assets.types.arrow import is_stored_as_text

    texts = {column.name for column in schema if is_stored_as_text(column)}
    return {field.name: field.dtype for field in (*view.entity_columns, *view.row_fields) if field.name in texts}
