"""Saved datasets: training sets that were written to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from feast_assets.definitions.base import Definition, spec_of
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.sources.file_format import FileFormat, ParquetFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.spec import Spec
from feast_assets.definitions.validation_reference import Profile, Profiler, ValidationReference
from feast_assets.errors import DefinitionError, shown

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class HasRows(Protocol):
    """What gives rows, as a retrieval does."""

    def to_arrow(self) -> pa.Table:
        """Returns them."""


class SavedDatasetStorage(Spec):
    """Base of the kinds of storage for saved datasets."""

    @staticmethod
    def from_data_source(data_source: DataSource) -> SavedDatasetStorage:
        """Returns storage where a data source has its rows.

        Raises:
            DefinitionError: saved datasets cannot be kept there.
        """
        if not isinstance(data_source, FileSource):
            raise DefinitionError(f"Saved datasets are kept in files, not in {shown(data_source)}.")
        return SavedDatasetFileStorage(data_source.path, data_source.file_format, data_source.s3_endpoint_override)

    def to_data_source(self) -> DataSource:
        """Returns a data source that reads what is stored."""
        raise NotImplementedError


class SavedDatasetFileStorage(SavedDatasetStorage):
    """A Parquet file.

    Args:
        path: relative to the feature repository.
    """

    _spec = {"path": "", "file_format": None, "s3_endpoint_override": None}

    def __init__(self, path: str, file_format: FileFormat | None = None, s3_endpoint_override: str | None = None):
        if not isinstance(path, str) or not path:
            raise DefinitionError(f"SavedDatasetFileStorage: path must be a non-empty text, got {shown(path)}.")
        if not isinstance(file_format or ParquetFormat(), ParquetFormat):
            raise DefinitionError(f"SavedDatasetFileStorage {path!r}: only ParquetFormat is supported.")
        self.path = path
        self.file_format = file_format or ParquetFormat()
        self.s3_endpoint_override = s3_endpoint_override

    def to_data_source(self) -> FileSource:
        """Returns a data source that reads what is stored."""
        return FileSource(path=self.path, file_format=self.file_format, s3_endpoint_override=self.s3_endpoint_override)


class SavedDataset(Definition):
    """A training set that was written to a file.

    Attributes:
        namespace, collection: groups that `FeatureStore.list_saved_datasets` can list.
        min_event_timestamp, max_event_timestamp: the range of its rows' times, UTC.
        registry_revision: the revision of the definitions that it was made with.
    """

    object_type = "saved dataset"
    _spec = spec_of(
        features=[],
        join_keys=[],
        storage=None,
        full_feature_names=False,
        feature_service_name=None,
        namespace="",
        collection="",
        min_event_timestamp=None,
        max_event_timestamp=None,
        registry_revision=None,
    )

    _reader: Callable[[], pa.Table] | None = None

    def __init__(
        self,
        name: str,
        features: Sequence[str],
        join_keys: Sequence[str],
        storage: SavedDatasetStorage,
        full_feature_names: bool = False,
        tags: Mapping[str, str] | None = None,
        feature_service_name: str | None = None,
        namespace: str = "",
        collection: str = "",
        description: str = "",
        min_event_timestamp: datetime | None = None,
        max_event_timestamp: datetime | None = None,
        registry_revision: int | None = None,
    ):
        self._init_meta(name, description, tags, "")
        self.features = list(features)
        self.join_keys = list(join_keys)
        self.storage = storage
        self.full_feature_names = full_feature_names
        self.feature_service_name = feature_service_name
        self.namespace = namespace
        self.collection = collection
        self.min_event_timestamp = min_event_timestamp
        self.max_event_timestamp = max_event_timestamp
        self.registry_revision = registry_revision

    def attach(self, reader: Callable[[], pa.Table]) -> SavedDataset:
        """Sets the function that reads the dataset's rows."""
        self._reader = reader
        return self

    def to_arrow(self) -> pa.Table:
        """Returns the rows as they were saved."""
        if self._reader is None:
            raise DefinitionError(
                f"SavedDataset {self.name!r} must come from FeatureStore.get_saved_dataset before it can be read."
            )
        return self._reader()

    def to_df(self) -> pd.DataFrame:
        """Returns the rows as they were saved; integers and booleans have the types of `RetrievalJob.to_df`."""
        from feast_assets.types.pandas_columns import frame_of

        full = self.full_feature_names
        parts = (reference.partition(":") for reference in self.features)
        return frame_of(self.to_arrow(), {f"{view}__{name}" if full else name for view, _, name in parts})

    def with_retrieval_job(self, retrieval_job: HasRows) -> SavedDataset:
        """Reads its rows from a retrieval from now on."""
        return self.attach(retrieval_job.to_arrow)

    def to_spec(self) -> dict[str, object]:
        spec = super().to_spec()
        # A dataset without them keeps the form that it had before they existed.
        for name in ("namespace", "collection"):
            if not spec[name]:
                del spec[name]
        return spec

    def as_reference(self, name: str, profiler: Profiler) -> ValidationReference:
        """Returns the dataset as the measure of other rows: of their profile, as the profiler makes it."""
        return ValidationReference.from_saved_dataset(name, self, profiler)

    def get_profile(self, profiler: Profiler) -> Profile:
        """Returns the profile that a profiler makes of the rows."""
        return profiler.analyze_dataset(self.to_df())
