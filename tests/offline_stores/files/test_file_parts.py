"""The files of a source as its parts: what is there, what is empty, what is gone, and what nobody can tell."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import Field
from feast_assets.definitions.sources.file_format import DeltaFormat
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.definitions.sources.request_source import RequestSource
from feast_assets.definitions.spec import to_micros
from feast_assets.errors import SourceChangedError, SourceError
from feast_assets.offline_stores.files import file_parts as module
from feast_assets.offline_stores.files.file_parts import file_parts
from feast_assets.offline_stores.parts import Extent, SourceParts
from feast_assets.types import Int64

START = datetime(2024, 1, 1, tzinfo=UTC)
FOLDER = FileSource(name="rides", path="rides", timestamp_field="at")


def write(path: Path, *hours: float | None, statistics: bool = True) -> None:
    path.parent.mkdir(exist_ok=True)
    times = [None if h is None else START + timedelta(hours=h) for h in hours]
    table = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC"))})
    pq.write_table(table, path, row_group_size=2, write_statistics=statistics)


def micros(hours: float) -> int:
    return to_micros(START + timedelta(hours=hours))


def test_each_file_is_a_part_with_the_times_of_all_its_row_groups(tmp_path):
    write(tmp_path / "rides" / "a.parquet", 5, 1, 3, 9, 2)
    write(tmp_path / "rides" / "b.parquet", None)
    write(tmp_path / "rides" / "c.parquet")
    write(tmp_path / "rides" / "d.parquet", 1, statistics=False)
    found = file_parts(FOLDER, tmp_path, extents=True)
    assert {Path(part.name).name: part.extent for part in found.parts} == {
        "a.parquet": Extent(micros(1), micros(9)),
        "b.parquet": Extent(),
        "c.parquet": Extent(),
        "d.parquet": None,
    }
    assert found.hold_rows
    assert not found.is_gone
    assert [part.extent for part in file_parts(FOLDER, tmp_path).parts] == [None] * 4


def test_a_file_that_is_replaced_or_touched_has_another_token(tmp_path):
    path = tmp_path / "rides" / "a.parquet"
    write(path, 1)
    (first,) = file_parts(FOLDER, tmp_path).parts
    assert file_parts(FOLDER, tmp_path).parts == (first,)
    os.utime(path, ns=(1, 1))
    (touched,) = file_parts(FOLDER, tmp_path).parts
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(1, 1))
    os.replace(copy, path)
    (replaced,) = file_parts(FOLDER, tmp_path).parts
    assert {first.name, touched.name, replaced.name} == {first.name}
    assert len({first.change_token, touched.change_token, replaced.change_token}) == 3


@pytest.mark.parametrize(
    "path", ["rides", "rides/*.parquet", "a.parquet", "missing/a.parquet", "file:///none/a.parquet"]
)
def test_without_any_file_a_source_is_gone(tmp_path, path):
    source = FileSource(name="s", path=path, timestamp_field="at")
    assert file_parts(source, tmp_path) == SourceParts(is_gone=True)
    (tmp_path / "rides").mkdir()
    assert file_parts(source, tmp_path) == SourceParts(is_gone=True)


def test_a_file_without_rows_is_there(tmp_path):
    write(tmp_path / "rides" / "a.parquet")
    assert not file_parts(FOLDER, tmp_path).is_gone


def test_of_other_machines_other_formats_and_other_sources_nobody_can_tell(tmp_path):
    (tmp_path / "rides").mkdir()
    (tmp_path / "rides" / "a.csv").write_text("at\n")
    assert file_parts(FOLDER, tmp_path) is None
    assert file_parts(FileSource(name="s", path="s3://bucket/a.parquet", timestamp_field="at"), tmp_path) is None
    assert file_parts(RequestSource(name="r", schema=[Field(name="n", dtype=Int64)]), tmp_path) is None


def test_while_files_are_removed_nobody_can_tell(tmp_path, monkeypatch):
    write(tmp_path / "rides" / "a.parquet", 1)
    find_files = module.find_files

    def then_removed(source, root):
        found = find_files(source, root)
        (tmp_path / "rides" / "a.parquet").unlink()
        return found

    monkeypatch.setattr(module, "find_files", then_removed)
    assert file_parts(FOLDER, tmp_path) is None


def test_a_delta_table_is_known_by_its_log_which_holds_no_rows(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    source = FileSource(name="d", path="table", timestamp_field="at", file_format=DeltaFormat())
    assert file_parts(source, tmp_path) == SourceParts(is_gone=True, hold_rows=False)
    rows = pa.table({"at": pa.array([START], pa.timestamp("us", "UTC"))})
    deltalake.write_deltalake(str(tmp_path / "table"), rows)
    before = file_parts(source, tmp_path, extents=True)
    assert (len(before.parts), before.hold_rows, before.parts[0].extent) == (1, False, None)
    deltalake.write_deltalake(str(tmp_path / "table"), rows, mode="append")
    after = file_parts(source, tmp_path)
    assert set(before.parts) < set(after.parts)


def test_a_damaged_footer_is_named_unless_its_file_was_changed_meanwhile(tmp_path, monkeypatch):
    path = tmp_path / "rides" / "a.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 but not really PAR1")
    assert len(file_parts(FOLDER, tmp_path).parts) == 1
    with pytest.raises(SourceError, match=r"a\.parquet") as damaged:
        file_parts(FOLDER, tmp_path, extents=True)
    assert not isinstance(damaged.value, SourceChangedError)
    monkeypatch.setattr(module, "_has_changed", lambda part: True)
    with pytest.raises(SourceChangedError):
        file_parts(FOLDER, tmp_path, extents=True)
