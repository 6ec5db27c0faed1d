"""The base class of all sources of feature data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from feast_assets.definitions.base import Definition, spec_of
from feast_assets.errors import DefinitionError


class DataSource(Definition):
    """Base of all sources.

    Args:
        timestamp_field: the event time column, by its name in the source. Left out, apply infers it when the source has
            exactly one timestamp column.
        created_timestamp_column: the column that says when a row was written; decides between rows with equal event
            times.
        field_mapping: source column name -> name used everywhere else.
        date_partition_column: a column with the day that rows belong to, such as the names of ``dt=2024-01-31``
            folders. It never becomes a feature by itself. No files are skipped by it, unless a `FileSource` also has
            ``date_partition_slack``.
    """

    object_type = "data source"
    _spec = spec_of(timestamp_field="", created_timestamp_column="", field_mapping={}, date_partition_column="")

    timestamp_field: str
    created_timestamp_column: str
    field_mapping: dict[str, str]
    date_partition_column: str

    holds_history: ClassVar[bool] = True
    """Whether an offline store can read past rows from it."""

    def _init_source(
        self,
        name: str,
        timestamp_field: str | None,
        created_timestamp_column: str | None,
        field_mapping: Mapping[str, str] | None,
        date_partition_column: str | None,
        description: str | None,
        tags: Mapping[str, str] | None,
        owner: str | None,
    ) -> None:
        self._init_meta(name, description or "", tags, owner or "")
        self.timestamp_field = timestamp_field or ""
        self.created_timestamp_column = created_timestamp_column or ""
        self.field_mapping = dict(field_mapping or {})
        self.date_partition_column = date_partition_column or ""
        if self.timestamp_field and self.timestamp_field == self.created_timestamp_column:
            raise DefinitionError(
                f"{type(self).__name__} {name!r}: {timestamp_field!r} cannot be both timestamp_field and "
                "created_timestamp_column."
            )
        if len(set(self.field_mapping.values())) != len(self.field_mapping):
            raise DefinitionError(f"{type(self).__name__} {name!r}: field_mapping maps two columns to one name.")
