"""Where served features are logged."""

from __future__ import annotations

from collections.abc import Sequence

from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError


class LoggingDestination(Spec):
    """Base of logging destinations."""


class FileLoggingDestination(LoggingDestination):
    """A folder of Parquet files.

    Args:
        path: the folder; relative to the feature repository.
        partition_by: columns that become subfolders.
    """

    _spec = {"path": "", "s3_endpoint_override": "", "partition_by": None}

    def __init__(self, *, path: str, s3_endpoint_override: str = "", partition_by: Sequence[str] | None = None):
        self.path = path
        self.s3_endpoint_override = s3_endpoint_override
        self.partition_by = list(partition_by) if partition_by else None


class LoggingConfig(Spec):
    """What share of served features is logged, and where.

    Args:
        sample_rate: from 0 to 1.
    """

    _spec = {"destination": None, "sample_rate": 1.0}

    def __init__(self, destination: LoggingDestination, sample_rate: float = 1.0):
        if not isinstance(destination, LoggingDestination) or not 0 <= sample_rate <= 1:
            raise DefinitionError(
                "LoggingConfig needs a destination such as FileLoggingDestination, and a sample_rate from 0 to 1."
            )
        self.destination = destination
        self.sample_rate = float(sample_rate)
