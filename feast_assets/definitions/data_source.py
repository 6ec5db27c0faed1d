"""Where feature data comes from."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from feast_assets.definitions.base import Definition, spec_of
from feast_assets.definitions.field import Field
from feast_assets.definitions.file_format import FileFormat
from feast_assets.errors import DefinitionError, shown


class PushMode(enum.Enum):
    """Where pushed rows go."""

    ONLINE = 1
    OFFLINE = 2
    ONLINE_AND_OFFLINE = 3


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


class FileSource(DataSource):
    """Files: Parquet, CSV, or a Delta table.

    Args:
        path: a file, a glob (``data/*.parquet``), a folder (``key=value`` subfolders become columns), or a URI.
            Relative paths are resolved against the feature repository.
        name: left out, the path.
        event_timestamp_column: Feast's older name of ``timestamp_field``.
        file_format: left out, told by the path: ``.csv`` (also ``.csv.gz``), a folder with ``_delta_log``, else
            Parquet.
        s3_endpoint_override: endpoint for s3:// paths.
        date_partition_slack: how far event times may lie before the start or after the end of their
            ``date_partition_column``'s day, in UTC. Give zero where it is the UTC day of the event time, and a day or
            so for days of other time zones. Files of days too far from the requested times are then not opened. A row
            farther from its day is an error when it is read. None: no file is skipped by its day.
    """

    _spec = {
        **DataSource._spec,
        "path": "",
        "file_format": None,
        "s3_endpoint_override": None,
        "date_partition_slack": None,
    }

    date_partition_slack: timedelta | None

    def __init__(
        self,
        *,
        path: str,
        name: str = "",
        event_timestamp_column: str | None = None,
        file_format: FileFormat | None = None,
        s3_endpoint_override: str | None = None,
        timestamp_field: str | None = None,
        created_timestamp_column: str | None = None,
        field_mapping: Mapping[str, str] | None = None,
        date_partition_column: str | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        date_partition_slack: timedelta | None = None,
    ):
        if not isinstance(path, str) or not path:
            raise DefinitionError(f"FileSource {name!r}: path must be a non-empty text, got {shown(path)}.")
        if file_format is not None and not isinstance(file_format, FileFormat):
            raise DefinitionError(
                f"FileSource {name or path!r}: file_format must be ParquetFormat(), CsvFormat() or DeltaFormat(), "
                f"not {shown(file_format)}."
            )
        self._init_source(
            name or path,
            timestamp_field or event_timestamp_column,
            created_timestamp_column,
            field_mapping,
            date_partition_column,
            description,
            tags,
            owner,
        )
        self.path = path
        self.file_format = file_format
        self.s3_endpoint_override = s3_endpoint_override
        self.date_partition_slack = date_partition_slack
        self._check_slack()

    def _check_slack(self) -> None:
        slack = self.date_partition_slack
        if slack is None:
            return
        if not isinstance(slack, timedelta) or slack < timedelta(0):
            raise DefinitionError(
                f"FileSource {self.name!r}: date_partition_slack must be a timedelta of zero or more, got "
                f"{shown(slack)}."
            )
        if not self.date_partition_column:
            raise DefinitionError(
                f"FileSource {self.name!r}: date_partition_slack says how far event times may lie from the days of "
                "a date_partition_column; set that column too."
            )

    def to_spec(self) -> dict[str, Any]:
        spec = super().to_spec()
        # So that the hashes of sources without it are those of before it existed.
        if self.date_partition_slack is None:
            del spec["date_partition_slack"]
        return spec


class PushSource(DataSource):
    """Rows that are handed in by ``FeatureStore.push``.

    Args:
        batch_source: where their history is; required by feature views that use the source.
    """

    _spec = {**DataSource._spec, "batch_source": None}
    holds_history = False

    batch_source: DataSource | None

    def __init__(
        self,
        *,
        name: str,
        batch_source: DataSource | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
    ):
        if batch_source is not None and not (isinstance(batch_source, DataSource) and batch_source.holds_history):
            raise DefinitionError(
                f"PushSource {name!r}: batch_source must be a source with history, not {shown(batch_source)}."
            )
        batch = batch_source
        self._init_source(
            name,
            batch.timestamp_field if batch else None,
            batch.created_timestamp_column if batch else None,
            None,
            None,
            description,
            tags,
            owner,
        )
        self.batch_source = batch_source


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
