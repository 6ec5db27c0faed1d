"""History in files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from feast_assets.definitions.base import refuse_arguments
from feast_assets.definitions.connection_ref import ConnectionRef
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_format import FileFormat
from feast_assets.errors import DefinitionError, shown


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
        event_timestamp_column: str | None = "",
        file_format: FileFormat | None = None,
        created_timestamp_column: str | None = "",
        field_mapping: Mapping[str, str] | None = None,
        s3_endpoint_override: str | None = None,
        description: str | None = "",
        tags: Mapping[str, str] | None = None,
        owner: str | None = "",
        timestamp_field: str | None = "",
        connection_ref: ConnectionRef | None = None,
        date_partition_column: str | None = None,
        date_partition_slack: timedelta | None = None,
    ):
        if not isinstance(path, str) or not path:
            raise DefinitionError(f"FileSource {name!r}: path must be a non-empty text, got {shown(path)}.")
        if file_format is not None and not isinstance(file_format, FileFormat):
            raise DefinitionError(
                f"FileSource {name or path!r}: file_format must be ParquetFormat(), CsvFormat() or DeltaFormat(), "
                f"not {shown(file_format)}."
            )
        refuse_arguments(f"FileSource {name or path!r}", connection_ref=connection_ref)
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

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A source without it keeps the hash that it had before the attribute existed.
        if self.date_partition_slack is None:
            del spec["date_partition_slack"]
        return spec
