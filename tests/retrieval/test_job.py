"""Retrieval jobs: metadata, streams, and datasets written down."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drivers import DAY, STATS, snapshot, sums

from feast_assets import SavedDataset, SavedDatasetFileStorage
from feast_assets.errors import (
    InputError,
    NotSupportedError,
    SavedDatasetLocationAlreadyExists,
    SourceError,
    StoreUnavailableError,
    TransformationError,
)
from feast_assets.retrieval.saved_dataset import read_saved_dataset

MONDAY = datetime(2024, 6, 3, tzinfo=UTC)
ROWS = pa.table(
    {
        "driver_id": [1, 2, 1],
        "event_timestamp": pa.array([MONDAY + DAY, MONDAY, MONDAY], pa.timestamp("us", "UTC")),
        "bonus": [1, 2, 3],
        "asked": pa.array([MONDAY] * 3),
    }
)
STORAGE = SavedDatasetFileStorage("sets/one.parquet")


@pytest.fixture
def job(project):
    project.write(STATS, [{"driver_id": 1, "ts": MONDAY, "trips": 5, "rate": 0.5, "city": "Rome"}])
    return project.job(ROWS, ["sums:total", "stats:trips"], snapshot(sums(), revision=7), full_feature_names=True)


def test_a_job_tells_what_it_will_return(job):
    assert job.metadata.features == ["stats:trips", "sums:total"]
    assert job.metadata.keys == ["driver_id", "bonus", "asked"]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (MONDAY, MONDAY + DAY)
    assert job.metadata.registry_revision == 7
    assert job.full_feature_names
    assert [view.name for view in job.on_demand_feature_views] == ["sums"]


def test_a_job_over_no_rows_has_no_range(project):
    found = project.job(ROWS.slice(0, 0), ["stats:trips"]).metadata
    assert (found.min_event_timestamp, found.max_event_timestamp) == (None, None)


def test_every_way_to_read_gives_the_same(job):
    table = job.to_arrow()
    assert job.to_reader().read_all().equals(table)
    assert pa.Table.from_pandas(job.to_df(), table.schema).equals(table)


def test_a_job_may_run_again_and_sees_what_is_new(project, job):
    assert job.to_arrow()["stats__trips"].to_pylist() == [5, None, 5]
    project.write(STATS, [{"driver_id": 2, "ts": MONDAY, "trips": 8}])
    assert job.to_arrow()["stats__trips"].to_pylist() == [None, 8, None]


def test_what_is_not_done_is_refused(job):
    with pytest.raises(NotSupportedError):
        job.to_sql()
    for arguments in ({"validation_reference": 1}, {"timeout": "1"}, {"timeout": -1}, {"timeout": True}):
        with pytest.raises(InputError, match=f"{next(iter(arguments))} must be"):
            job.to_df(**arguments)


# --- saved datasets


def test_a_dataset_is_written_as_it_was_read(project, job):
    job.persist(STORAGE)
    path = project.root / "sets" / "one.parquet"
    assert pq.ParquetFile(path).read().to_pydict() == job.to_arrow().to_pydict()
    assert os.listdir(path.parent) == ["one.parquet"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_dataset_is_replaced_only_if_that_is_allowed(project, job):
    path = project.root / "sets" / "one.parquet"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="one.parquet exists already"):
        job.persist(STORAGE)
    assert path.read_text() == "mine"
    job.persist(STORAGE, allow_overwrite=True)
    assert pq.ParquetFile(path).metadata.num_rows == 3


def test_a_dataset_that_appears_meanwhile_is_not_replaced(project):
    path = project.root / "sets" / "one.parquet"

    def udf(inputs):
        path.write_text("theirs")
        return {"total": inputs["bonus"], "share": inputs["rate"]}

    job = project.job(ROWS, ["sums:total"], snapshot(sums(mode="python", udf=udf)))
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(STORAGE)
    assert path.read_text() == "theirs"
    assert os.listdir(path.parent) == ["one.parquet"]


def test_a_failed_dataset_leaves_nothing(project):
    job = project.job(ROWS, ["sums:total"], snapshot(sums(udf=lambda frame: None)))
    old = project.root / "sets" / "one.parquet"
    old.parent.mkdir()
    old.write_text("old")
    with pytest.raises(TransformationError):
        job.persist(STORAGE, allow_overwrite=True)
    assert os.listdir(old.parent) == ["one.parquet"]
    assert old.read_text() == "old"


def test_places_that_cannot_be_written_say_so(project, job):
    (project.root / "sets").write_text("a file")
    with pytest.raises(StoreUnavailableError, match="Cannot write saved dataset"):
        job.persist(STORAGE)
    with pytest.raises(NotSupportedError, match="s3://"):
        job.persist(SavedDatasetFileStorage("s3://bucket/one.parquet"))
    with pytest.raises(InputError, match="is a directory"):
        job.persist(SavedDatasetFileStorage("."))


def test_a_saved_dataset_reads_back(project, job):
    job.persist(SavedDatasetFileStorage(f"file://{project.root}/day=1/one.parquet"))
    dataset = SavedDataset("one", [], [], SavedDatasetFileStorage("day=1/one.parquet"))
    table = read_saved_dataset(dataset, project.root)
    assert table.to_pydict() == job.to_arrow().to_pydict()


def test_a_lost_or_damaged_dataset_says_which(project):
    dataset = SavedDataset("one", [], [], STORAGE)
    with pytest.raises(SourceError, match="'one'.*does not exist"):
        read_saved_dataset(dataset, project.root)
    (project.root / "sets").mkdir()
    (project.root / "sets" / "one.parquet").write_text("not parquet")
    with pytest.raises(SourceError, match="'one'.*cannot be read"):
        read_saved_dataset(dataset, project.root)
