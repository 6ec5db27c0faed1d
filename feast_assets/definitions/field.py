"""A field: a feature, a join key column or a request value, by name and type."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.definitions.base import check_name, check_tags
from feast_assets.definitions.feature import Feature
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown
from feast_assets.types import FeastType, Invalid, from_value_type


class Field(Spec):
    """A named, typed column.

    Args:
        name: the column name, after a source's ``field_mapping``.
        dtype: a type of `feast_assets.types`.
        vector_index, vector_length, vector_search_metric: kept for vector search.
        checks: what its values must be; see `Checks`.
    """

    _spec = {
        "name": "",
        "dtype": Invalid,
        "description": "",
        "tags": {},
        "vector_index": False,
        "vector_length": 0,
        "vector_search_metric": None,
        "checks": None,
    }

    def __init__(
        self,
        *,
        name: str,
        dtype: FeastType,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        vector_index: bool = False,
        vector_length: int = 0,
        vector_search_metric: str | None = None,
        checks: Checks | None = None,
    ):
        check_name(name, "Field")
        if not isinstance(dtype, FeastType):
            raise DefinitionError(
                f"Field {name!r}: dtype must be a type of feast_assets.types, "
                f"such as Int64 or Array(String), not {shown(dtype)}."
            )
        self.name = name
        self.dtype = dtype
        self.description = description
        self.tags = check_tags(tags, f"Field {name!r}")
        self.vector_index = vector_index
        self.vector_length = vector_length
        self.vector_search_metric = vector_search_metric
        if checks is not None:
            if not isinstance(checks, Checks):
                raise DefinitionError(f"Field {name!r}: checks must be Checks(...), not {shown(checks)}.")
            checks.check_type(dtype, f"Field {name!r}")
        self.checks = checks

    @classmethod
    def from_feature(cls, feature: Feature) -> Field:
        """Returns the field that Feast's older `Feature` describes."""
        return cls(
            name=feature.name,
            dtype=from_value_type(feature.dtype),
            description=feature.description,
            tags=feature.labels,
        )

    def __lt__(self, other: Field) -> bool:
        return self.name < other.name
