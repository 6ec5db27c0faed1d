"""Feast's older description of a feature."""

from __future__ import annotations

from collections.abc import Mapping

from feast_assets.definitions.base import check_name, check_tags
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown
from feast_assets.types import ValueType


class Feature(Spec):
    """A feature by name and type code. Views take `Field`; ``Field.from_feature`` makes one of this.

    Args:
        labels: what are a field's tags.
    """

    _spec = {"name": "", "dtype": ValueType.UNKNOWN, "description": "", "labels": {}}

    def __init__(
        self, name: str, dtype: ValueType, description: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        check_name(name, "Feature")
        if not isinstance(dtype, ValueType):
            raise DefinitionError(f"Feature {name!r}: dtype must be a ValueType, not {shown(dtype)}; or use Field.")
        self.name = name
        self.dtype = dtype
        self.description = description
        self.labels = check_tags(labels, f"Feature {name!r}")
