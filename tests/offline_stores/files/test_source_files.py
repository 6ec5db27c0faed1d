"""Which files a pattern means, also where all are in one folder, which is listed in a way of its own."""

from __future__ import annotations

import errno
import glob
import os
from pathlib import Path

import pytest

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import StoreUnavailableError
from feast_assets.offline_stores.files import source_files
from feast_assets.offline_stores.files.file_parts import file_parts
from feast_assets.offline_stores.files.source_files import find_files

NAMES = (
    "a.parquet",
    "b.PARQUET",
    "a[1].parquet",
    ".hidden.parquet",
    "_under.parquet",
    "_x=1.parquet",
    "a.csv",
    "x=1.parquet",
    "white space.parquet",
    "new\nline.parquet",
    "zz",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "day=1" / "history"
    made.mkdir(parents=True)
    for name in NAMES:
        (made / name).write_text("")
    (made / "folder.parquet").mkdir()
    (made / "folder.parquet" / "inner.parquet").write_text("")
    (made / "link.parquet").symlink_to(made / "zz")
    (made / "folder_link.parquet").symlink_to(made / "folder.parquet")
    (made / "broken.parquet").symlink_to(made / "nothing")
    (made / "round.parquet").symlink_to(made / "round.parquet")
    return made


@pytest.mark.parametrize(
    "pattern",
    [
        "*.parquet",
        "*",
        "?.parquet",
        "[ab]*.parquet",
        "[!a]*",
        "a[[]1].parquet",
        "*.[pP]*",
        ".*",
        "_*",
        "*=*",
        "none*",
        "**",
    ],
)
def test_a_pattern_means_what_glob_finds_and_is_a_visible_file(folder: Path, pattern: str) -> None:
    base = str(folder)
    expected = [
        path
        for path in glob.glob(f"{base}/{pattern}", recursive=True)
        if os.path.isfile(path)
        and all(
            not part.startswith(".") and (not part.startswith("_") or "=" in part)
            for part in os.path.relpath(path, base).split(os.sep)
        )
    ]
    files = find_files(FileSource(name="s", path=f"{base}/{pattern}"), folder)
    assert files.shape == "glob"
    assert list(files.paths) == sorted(expected)
    assert files.hive_keys == ()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO], ids=["denied", "no answer"])
@pytest.mark.parametrize("pattern", ["/*.parquet", ""], ids=["pattern", "folder"])
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, pattern: str
) -> None:
    def fails(path: object) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(source_files.os, "scandir", fails)
    source = FileSource(name="s", path=f"{folder}{pattern}")
    with pytest.raises(StoreUnavailableError, match=r"Folder .*history cannot be listed"):
        find_files(source, folder)
    assert file_parts(source, folder) is None


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nothing", "file"):
        assert find_files(FileSource(name="s", path=f"{tmp_path}/{name}/*.parquet"), tmp_path).paths == ()


def test_known_files_of_one_folder_are_not_listed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource(name="s", path=f"{folder}/*.parquet")
    (known, *_) = find_files(source, folder).paths
    monkeypatch.setattr(source_files.os, "scandir", lambda path: pytest.fail(f"{path} is listed"))
    assert find_files(source, folder, only=[known]).paths == (known,)


@pytest.mark.parametrize("pattern", ["*/*.parquet", "**/*.parquet", ""])
def test_folder_names_count_as_columns_whichever_files_are_asked_for(tmp_path: Path, pattern: str) -> None:
    for day in (1, 2):
        (tmp_path / "history" / f"day={day}").mkdir(parents=True)
        (tmp_path / "history" / f"day={day}" / "a.parquet").write_text("")
    source = FileSource(name="s", path=f"{tmp_path}/history/{pattern}")
    every = find_files(source, tmp_path)
    assert every.hive_keys == ("day",)
    one = find_files(source, tmp_path, only=every.paths[1:])
    assert (one.paths, one.hive_keys, one.shape) == (every.paths[1:], every.hive_keys, every.shape)
