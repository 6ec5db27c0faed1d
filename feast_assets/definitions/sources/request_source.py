"""Values that come with a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.errors import DefinitionError, shown


class RequestSource(DataSource):
    """Values that come with each request, for on-demand views."""

    _spec = {**DataSource._spec, "schema": []}
    holds_history = False

    schema: list[Field]

    def __init__(
        self,
        *,
        name: str,
        schema: Sequence[Field],
        timestamp_field: str | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
    ):
        fields = list(schema) if isinstance(schema, Sequence) else []
        if not fields or not all(isinstance(f, Field) for f in fields):
            raise DefinitionError(
                f"RequestSource {name!r}: schema must be a list of Field objects, got {shown(schema)}."
            )
        self._init_source(name, timestamp_field, None, None, None, description, tags, owner)
        self.schema = fields
