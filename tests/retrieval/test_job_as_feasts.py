"""What Feast's retrieval jobs and answers can do besides giving rows: time limits, tensors, validation."""

from __future__ import annotations

import math
import sys
import threading
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from feast_assets import DataFrameEngine, FeastDataFrame, SavedDataset, SavedDatasetFileStorage, ValidationReference
from feast_assets.definitions.validation_reference import Profile, Profiler, ValidationError, ValidationReport
from feast_assets.errors import (
    DefinitionError,
    InputError,
    RetrievalTimeoutError,
    SourceError,
    ValidationFailed,
)
from feast_assets.retrieval.job import Batches, RetrievalJob, RetrievalMetadata
from feast_assets.retrieval.tensors import tensors
from feast_assets.types import Float64, Int64, String

ROWS = pa.table(
    {
        "driver_id": pa.array([1, 2, 3], pa.int64()),
        "fare": pa.array([2.5, None, 0.5], pa.float64()),
        "trips": pa.array([7, None, 9], pa.int64()),
        "city": pa.array(["Rome", None, "Oslo"]),
    }
)
TYPES = {"fare": Float64, "trips": Int64, "city": String}


def job_of(batches: Iterator[pa.RecordBatch], root: Path = Path()) -> RetrievalJob:
    return RetrievalJob(
        lambda: Batches(ROWS.schema, batches),
        metadata=RetrievalMetadata(["stats:fare", "stats:trips", "stats:city"], ["driver_id"]),
        full_feature_names=False,
        on_demand_feature_views=[],
        root=root,
        feature_types=TYPES,
    )


def whole() -> RetrievalJob:
    return job_of(iter(ROWS.to_batches()))


# --- time limits


class Stuck:
    """Rows that come only when the test lets them."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            self.release.wait()
            yield from ROWS.to_batches()
        finally:
            self.ended.set()


@pytest.mark.parametrize("read", ["to_df", "to_arrow", "to_feast_df"])
def test_a_retrieval_that_takes_too_long_is_given_up(read: str) -> None:
    stuck = Stuck()
    with pytest.raises(RetrievalTimeoutError, match="longer than its timeout of 0.01 seconds") as error:
        getattr(job_of(iter(stuck)), read)(timeout=0.01)
    assert isinstance(error.value, TimeoutError)
    stuck.release.set()
    assert stuck.ended.wait(30)


def test_a_dataset_that_takes_too_long_is_not_written(tmp_path: Path) -> None:
    stuck = Stuck()
    with pytest.raises(RetrievalTimeoutError):
        job_of(iter(stuck), tmp_path).persist(SavedDatasetFileStorage("sets/one.parquet"), timeout=0.01)
    stuck.release.set()
    for thread in threading.enumerate():
        if thread.name == "retrieval":
            thread.join(60)
    assert stuck.ended.is_set()
    assert list((tmp_path / "sets").iterdir()) == []


def test_within_its_time_a_retrieval_gives_its_rows_and_errors(tmp_path: Path) -> None:
    for seconds in (60, 1e12, float("inf")):
        assert whole().to_arrow(timeout=seconds).equals(ROWS)
    with pytest.raises(InputError, match="nan"):
        whole().to_arrow(timeout=float("nan"))
    job_of(iter(ROWS.to_batches()), tmp_path).persist(SavedDatasetFileStorage("one.parquet"), timeout=60)
    assert (tmp_path / "one.parquet").exists()

    def broken() -> Iterator[pa.RecordBatch]:
        raise SourceError("The source is gone.")
        yield

    with pytest.raises(SourceError, match="The source is gone"):
        job_of(broken()).to_df(timeout=60)


# --- tensors and containers


class Tensor(list[Any]):
    pass


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which is larger than all else here together."""

    def tensor(values: list[Any], device: str) -> Tensor:
        if not all(isinstance(value, (bool, int, float)) for value in values):
            raise TypeError("not a number")
        return Tensor([*values, device])

    module = types.ModuleType("torch")
    module.cuda = types.SimpleNamespace(is_available=lambda: False)  # type: ignore[attr-defined]
    module.tensor = tensor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)


@pytest.mark.usefixtures("torch")
def test_numbers_become_tensors_and_other_values_stay_lists() -> None:
    made = whole().to_tensor(default_value=-1)
    assert made == {
        "driver_id": [1, 2, 3, "cpu"],
        "fare": [2.5, -1, 0.5, "cpu"],
        "trips": [7, -1, 9, "cpu"],
        "city": ["Rome", -1, "Oslo"],
    }
    assert [type(column) for column in made.values()] == [Tensor, Tensor, Tensor, list]


@pytest.mark.usefixtures("torch")
def test_a_column_of_nulls_becomes_a_tensor_of_the_default_value() -> None:
    made = tensors({"fare": [None, None], "none": []}, "torch", math.nan)
    assert math.isnan(made["fare"][0])
    assert type(made["none"]) is Tensor


@pytest.mark.usefixtures("torch")
def test_nan_in_a_training_set_counts_as_null() -> None:
    rows = pa.RecordBatch.from_pydict({**ROWS.to_pydict(), "fare": [math.nan, None, 0.5]}, ROWS.schema)
    assert job_of(iter([rows])).to_tensor(default_value=0)["fare"] == [0, 0, 0.5, "cpu"]


@pytest.mark.usefixtures("torch")
def test_tensors_that_cannot_be_made_say_why() -> None:
    with pytest.raises(InputError, match="kind='jax' is not supported"):
        whole().to_tensor(kind="jax")
    with pytest.raises(InputError, match="Column 'trips' cannot be a tensor with default_value='none'"):
        tensors({"trips": [1, None]}, "torch", "none")


def test_a_feast_data_frame_holds_the_rows_and_their_features() -> None:
    frame = whole().to_feast_df()
    assert frame.data.equals(ROWS)
    assert (frame.engine, frame.is_lazy) == (DataFrameEngine.ARROW, False)
    assert frame.metadata == {
        "features": ["stats:fare", "stats:trips", "stats:city"],
        "on_demand_feature_views": [],
    }
    assert FeastDataFrame(pd.DataFrame()).engine is DataFrameEngine.PANDAS
    assert FeastDataFrame([1]).engine is DataFrameEngine.UNKNOWN
    with pytest.raises(InputError, match="engine 'arrow'"):
        FeastDataFrame(ROWS, DataFrameEngine.POLARS)


# --- validation


class Report(ValidationReport):
    def __init__(self, errors: list[ValidationError]):
        self._errors = errors

    @property
    def is_success(self) -> bool:
        return not self._errors

    @property
    def errors(self) -> list[ValidationError]:
        return self._errors


class Largest(Profile):
    def __init__(self, column: str, value: float):
        self.column = column
        self.value = value

    def validate(self, dataset: pd.DataFrame) -> Report:
        above = int((dataset[self.column] > self.value).sum())
        return Report([ValidationError("largest", self.column, self.value, unexpected_count=above)] if above else [])


class LargestOf(Profiler):
    def __init__(self, column: str) -> None:
        self.column = column
        self.analyzed = 0

    def analyze_dataset(self, dataset: pd.DataFrame) -> Largest:
        self.analyzed += 1
        return Largest(self.column, float(dataset[self.column].max()))


def dataset_of(rows: pa.Table) -> SavedDataset:
    return SavedDataset("good", ["stats:trips"], ["driver_id"], SavedDatasetFileStorage("x")).attach(lambda: rows)


def test_rows_are_compared_with_the_profile_of_a_saved_dataset() -> None:
    profiler = LargestOf("trips")
    reference = dataset_of(ROWS).as_reference("trips_as_in_june", profiler)
    assert whole().to_df(validation_reference=reference)["trips"].tolist() == [7, pd.NA, 9]
    more = dataset_of(ROWS.slice(0, 1)).as_reference("only_seven", LargestOf("trips"))
    for read in (whole().to_df, whole().to_arrow, whole().to_feast_df):
        with pytest.raises(
            ValidationFailed, match="ValidationError.check_name='largest', column_name='trips'"
        ) as error:
            read(validation_reference=more)
        (found,) = error.value.validation_report.errors
        assert found.to_dict()["unexpected_count"] == 1
    assert whole().to_df(validation_reference=reference) is not None
    assert profiler.analyzed == 1


def test_a_reference_without_rows_or_a_profiler_says_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"get_saved_dataset\('good'\).as_reference"):
        _ = ValidationReference("r", "good", LargestOf("trips")).profile
    reference = ValidationReference("r", "good")
    reference._dataset = dataset_of(ROWS)
    with pytest.raises(InputError, match="has no profiler"):
        _ = reference.profile
    with pytest.raises(DefinitionError, match="analyze_dataset"):
        ValidationReference("r", "good", 5)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="ValidationReference needs a name"):
        ValidationReference("", "good")


def test_a_dataset_reads_from_a_retrieval_it_is_given() -> None:
    dataset = SavedDataset("good", ["stats:trips"], ["driver_id"], SavedDatasetFileStorage("x"))
    with pytest.raises(DefinitionError, match="must come from FeatureStore.get_saved_dataset"):
        dataset.to_df()
    assert dataset.with_retrieval_job(whole()).to_arrow().equals(ROWS)


def test_storage_and_source_of_a_dataset_name_the_same_file() -> None:
    storage = SavedDatasetFileStorage("sets/one.parquet")
    source = storage.to_data_source()
    assert source.path == "sets/one.parquet"
    assert SavedDatasetFileStorage.from_data_source(source) == storage
    with pytest.raises(DefinitionError, match="kept in files"):
        SavedDatasetFileStorage.from_data_source(5)  # type: ignore[arg-type]


def test_a_dataset_keeps_its_groups_and_one_without_keeps_its_form() -> None:
    made = SavedDataset("d", [], [], SavedDatasetFileStorage("x"), namespace="rides", collection="june")
    assert SavedDataset.from_spec(made.to_spec()) == made
    assert {"namespace", "collection"}.isdisjoint(dataset_of(ROWS).to_spec())
    read = SavedDataset.from_spec(dataset_of(ROWS).to_spec())
    assert (read.namespace, read.collection) == ("", "")


def test_rows_keep_their_time(tmp_path: Path) -> None:
    """The metadata of a retrieval may lack times, as Feast's may."""
    metadata = RetrievalMetadata([], [], datetime(2024, 1, 1, tzinfo=UTC))
    assert (metadata.max_event_timestamp, metadata.registry_revision) == (None, 0)
