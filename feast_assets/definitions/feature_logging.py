"""Where served features are logged, and what a log of a feature service holds."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence

from feast_assets.definitions.base import listed
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_format import ParquetFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown

REQUEST_ID_FIELD = "__request_id"
"""Column of a log: a text that tells requests apart."""
LOG_TIMESTAMP_FIELD = "__log_timestamp"
"""Column of a log: when the features were served, UTC."""
LOG_DATE_FIELD = "__log_date"
"""Column of a log: the day of that, UTC."""


class LoggingDestination(Spec):
    """Base of logging destinations."""

    @abstractmethod
    def to_data_source(self) -> DataSource:
        """Returns a data source that reads what was logged."""


class FileLoggingDestination(LoggingDestination):
    """A folder of Parquet files, to which each write of logs adds some.

    Args:
        path: the folder; relative to the feature repository.
        s3_endpoint_override: only empty: logs are written to local folders.
        partition_by: columns of the logs that become folders, such as ``["__log_date"]``: one level for each, named by
            the value.
    """

    _spec = {"path": "", "s3_endpoint_override": "", "partition_by": None}

    path: str
    s3_endpoint_override: str
    partition_by: list[str] | None

    def __init__(self, *, path: str, s3_endpoint_override: str = "", partition_by: Sequence[str] | None = None):
        if not isinstance(path, str) or not path:
            raise DefinitionError(f"FileLoggingDestination: path must be a non-empty text, not {shown(path)}.")
        columns = listed(partition_by, "FileLoggingDestination: partition_by must be a list of columns of the logs")
        if not all(isinstance(column, str) and column for column in columns) or len(set(columns)) < len(columns):
            raise DefinitionError(
                f"FileLoggingDestination: partition_by must name different columns of the logs, not {shown(columns)}."
            )
        self.path = path
        self.s3_endpoint_override = s3_endpoint_override
        self.partition_by = columns or None

    def to_data_source(self) -> DataSource:
        """Returns a data source that reads what was logged, by the time at which it was."""
        return FileSource(
            path=self.path,
            file_format=ParquetFormat(),
            timestamp_field=LOG_TIMESTAMP_FIELD,
            s3_endpoint_override=self.s3_endpoint_override or None,
        )


class LoggingConfig(Spec):
    """What share of served features is logged, and where.

    Args:
        sample_rate: from 0 to 1.
    """

    _spec = {"destination": None, "sample_rate": 1.0}

    def __init__(self, destination: LoggingDestination, sample_rate: float = 1.0):
        is_share = isinstance(sample_rate, (int, float)) and not isinstance(sample_rate, bool) and 0 <= sample_rate <= 1
        if not isinstance(destination, LoggingDestination) or not is_share:
            raise DefinitionError(
                "LoggingConfig needs a destination such as FileLoggingDestination, and a sample_rate from 0 to 1."
            )
        self.destination = destination
        self.sample_rate = float(sample_rate)

    def draws(self) -> bool:
        """Draws whether a request is logged."""
        return random.random() < self.sample_rate  # noqa: S311 - a sample, no secret
