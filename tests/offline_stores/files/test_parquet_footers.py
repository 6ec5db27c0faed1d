"""What footers say is what the files hold now, whatever the times are that a file was given."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets.offline_stores import parts
from feast_assets.offline_stores.files.parquet_footers import footer_of

TIME = pa.timestamp("us", "UTC")


def write(path: Path, *times: int) -> None:
    with path.open("wb") as file:  # in place
        pq.write_table(pa.table({"at": pa.array(times, TIME)}), file, compression=None, use_dictionary=False)


def test_a_file_that_was_written_anew_with_its_size_and_time_as_before_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, 1, 2)
    before = path.stat()
    assert footer_of(str(path)).times("at") == (1, 2)
    write(path, 5, 7)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.chmod(0o600)
    now = path.stat()
    assert (now.st_ino, now.st_size, now.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert footer_of(str(path)).times("at") == (5, 7)


def test_a_footer_is_kept_once_a_change_of_the_file_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    write(path, 1, 2)
    monkeypatch.setattr(parts, "SETTLED_NANOS", 10**18)
    assert footer_of(str(path)) is not footer_of(str(path))
    monkeypatch.setattr(parts, "SETTLED_NANOS", -(10**18))
    assert footer_of(str(path)) is footer_of(str(path))
