"""The result of a historical retrieval, which is computed when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from feast_assets.atomic_files import new_file
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.saved_dataset import SavedDatasetStorage
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    SavedDatasetLocationAlreadyExists,
    ValidationFailed,
    shown,
)
from feast_assets.retrieval.feast_data_frame import DataFrameEngine, FeastDataFrame
from feast_assets.retrieval.saved_dataset import dataset_path
from feast_assets.retrieval.tensors import tensors
from feast_assets.retrieval.time_limit import TimeLimit
from feast_assets.types import FeastType, Map, ScalarMap

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class RetrievalMetadata:
    """What is known of a retrieval before it runs.

    Attributes:
        features: references, ``view:feature``, in the order of the columns.
        keys: the columns of the entity dataframe but its time; of a query, those that the features need.
        min_event_timestamp, max_event_timestamp: the range of the rows' times, UTC; None for a query, or without rows.
        registry_revision: of the definitions that it uses.
    """

    features: list[str]
    keys: list[str]
    min_event_timestamp: datetime | None = None
    max_event_timestamp: datetime | None = None
    registry_revision: int = 0


@dataclass(frozen=True, slots=True)
class Batches:
    """A result that can be read once.

    Attributes:
        schema: its columns.
        batches: its rows, in order.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class RetrievalJob:
    """A retrieval that has been checked but not run. Each method that returns rows runs it again.

    Rows are those of the entity dataframe, one for one and in its order. Columns are the entity dataframe's, then
    stored features in the order asked for, then features of on-demand views: the order of online reads. The time
    column is UTC.
    """

    def __init__(
        self,
        run: Callable[[], Batches],
        *,
        metadata: RetrievalMetadata,
        full_feature_names: bool,
        on_demand_feature_views: Sequence[OnDemandFeatureView],
        root: Path,
        feature_types: Mapping[str, FeastType] | None = None,
    ):
        """Creates the job.

        Args:
            run: computes the rows.
            feature_types: the columns that are features, and their types.
            root: the feature repository, where relative paths of `persist` start from.
        """
        self._run = run
        self._metadata = metadata
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._root = Path(root)
        self._feature_types = dict(feature_types or {})

    def __repr__(self) -> str:
        return f"RetrievalJob(features={self._metadata.features})"

    @property
    def metadata(self) -> RetrievalMetadata:
        return self._metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return list(self._on_demand_feature_views)

    def to_arrow(
        self, validation_reference: ValidationReference | None = None, timeout: float | None = None
    ) -> pa.Table:
        """Returns the rows as an Arrow table; features have their types' canonical Arrow types.

        Args:
            validation_reference: what the rows are compared with, by its profile.
            timeout: how many seconds it may take.

        Raises:
            RetrievalTimeoutError: it took longer.
            ValidationFailed: the rows are not as the validation reference says.
            SourceError: a source cannot be read as declared.
            TransformationError: an on-demand function failed.
            EntitySQLEmptyResults: the entity query returned no rows.
        """
        import pyarrow as pa

        _check_reference(validation_reference)
        limit = TimeLimit(timeout)

        def read() -> pa.Table:
            result = self._run()
            return pa.Table.from_batches(list(_until(limit, result.batches)), result.schema)

        table = limit.run(read)
        if validation_reference is not None:
            report = validation_reference.profile.validate(self._frame(table))
            if not report.is_success:
                raise ValidationFailed(report)
        return table

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: float | None = None
    ) -> pd.DataFrame:
        """Returns the rows as a pandas DataFrame. Raises as `to_arrow`.

        Features that are integers or booleans have pandas' nullable types (``Int64``, ``boolean``), whether or not one
        is missing, so no digit is lost; timestamps are UTC; maps are dicts (see `feast_assets.types.pandas_columns`).
        A pandas entity dataframe gets its nullable and categorical columns back.
        """
        return self._frame(self.to_arrow(validation_reference, timeout))

    def _frame(self, table: pa.Table) -> pd.DataFrame:
        import pandas as pd

        from feast_assets.types.pandas_columns import frame_of
        from feast_assets.types.python import to_python_values

        frame = frame_of(table, self._feature_types)
        for name, feast_type in self._feature_types.items():
            if feast_type in (Map, ScalarMap):
                values = to_python_values(table.column(name), feast_type)
                frame[name] = pd.Series(values, index=frame.index, dtype=object)
        return frame

    def to_feast_df(
        self, validation_reference: ValidationReference | None = None, timeout: float | None = None
    ) -> FeastDataFrame:
        """Returns `to_arrow` with the names of the features, and of the on-demand views, that it holds."""
        views = [view.name for view in self._on_demand_feature_views]
        metadata = {"features": list(self._metadata.features), "on_demand_feature_views": views}
        return FeastDataFrame(self.to_arrow(validation_reference, timeout), DataFrameEngine.ARROW, metadata)

    def to_tensor(
        self, kind: str = "torch", default_value: object = math.nan, timeout: float | None = None
    ) -> dict[str, Any]:
        """Returns numeric columns as torch tensors and others as lists; see `feast_assets.retrieval.tensors`.

        Args:
            default_value: what stands for null and NaN.

        Raises as `to_arrow`, and NotSupportedError where torch is not installed.
        """
        table = self.to_arrow(timeout=timeout)
        return tensors({name: _values(table.column(name)) for name in table.column_names}, kind, default_value)

    def to_ray_dataset(self) -> NoReturn:
        """Raises NotSupportedError: nothing here uses Ray."""
        raise NotSupportedError("to_ray_dataset is not supported here; use ray.data.from_arrow(job.to_arrow()).")

    def supports_remote_storage_export(self) -> bool:
        """Returns False: results are written with `persist`, to a local file."""
        return False

    def to_remote_storage(self) -> NoReturn:
        """Raises NotSupportedError; see `supports_remote_storage_export`."""
        raise NotSupportedError("to_remote_storage is not supported here; write the rows with persist.")

    def to_reader(self) -> pa.RecordBatchReader:
        """Returns the rows as a stream, which holds a batch at a time in memory.

        Raises as `to_arrow`, also while it is read.
        """
        import pyarrow as pa

        result = self._run()
        return pa.RecordBatchReader.from_batches(result.schema, result.batches)

    def to_sql(self) -> NoReturn:
        """Raises NotSupportedError: on-demand functions and the checks of the result cannot be written in SQL."""
        raise NotSupportedError("A retrieval is not one SQL query; use to_arrow, to_df or to_reader.")

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: float | None = None
    ) -> None:
        """Writes the rows to a Parquet file, whole or not at all.

        Args:
            storage: where; a relative path starts at the feature repository.
            allow_overwrite: whether a file that is there may be replaced.
            timeout: how many seconds it may take; if it takes longer, nothing is written.

        Raises:
            SavedDatasetLocationAlreadyExists: it is there and may not.
            NotSupportedError: the storage is no local file.
            StoreUnavailableError: the file cannot be written.
            As `to_arrow`.
        """
        limit = TimeLimit(timeout)
        target = dataset_path(storage, self._root)
        if target.is_dir():
            raise InputError(f"{target} is a directory; a saved dataset is a file.")
        if target.exists() and not allow_overwrite:
            raise _exists(target)
        if_exists: Literal["replace", "refuse"] = "replace" if allow_overwrite else "refuse"
        try:
            with new_file(target, if_exists=if_exists, cannot_write="Cannot write saved dataset") as temporary:
                limit.run(lambda: self._write(temporary, limit))
        except FileExistsError:
            raise _exists(target) from None

    def _write(self, path: Path, limit: TimeLimit) -> None:
        import pyarrow.parquet as pq

        result = self._run()
        with open(path, "wb") as file, pq.ParquetWriter(file, result.schema) as writer:
            for batch in _until(limit, result.batches):
                writer.write_batch(batch)


def _exists(target: Path) -> SavedDatasetLocationAlreadyExists:
    return SavedDatasetLocationAlreadyExists(
        f"{target} exists already; choose another path, or pass allow_overwrite=True to replace it."
    )


def _check_reference(reference: object) -> None:
    if reference is not None and not isinstance(reference, ValidationReference):
        raise InputError(
            f"validation_reference must be a ValidationReference, as SavedDataset.as_reference makes it, not "
            f"{shown(reference)}."
        )


def _until(limit: TimeLimit, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    try:
        for batch in batches:
            limit.check()
            yield batch
        limit.check()
    finally:
        # A retrieval that was given up must let go of its files at once.
        if isinstance(batches, Generator):
            batches.close()


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Returns Python values; None for null and NaN."""
    values: list[Any] = column.to_pylist()
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
