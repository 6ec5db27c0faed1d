"""Readers of a file, and a crash of its writer, meet the old content or the new, whole."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from feast_assets.atomic_files import (
    locked,
    new_file,
    publish_once,
    remove_abandoned,
    temporary_path,
    writing,
)
from feast_assets.errors import StoreUnavailableError

KILLED = """
import os, signal, sys
from pathlib import Path
from feast_assets.atomic_files import new_file

with new_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    path.write_text("old")
    return path


def others(path: Path) -> list[str]:
    return [name for name in os.listdir(path.parent) if name != path.name]


def test_a_new_file_takes_the_place_of_the_old_one(path: Path) -> None:
    with new_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert others(path) == []


def test_a_block_that_fails_leaves_the_old_file_alone(path: Path) -> None:
    def fail() -> None:
        with new_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert others(path) == []


def test_a_writer_that_is_killed_leaves_the_old_file_and_a_hidden_one(path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False).returncode == -9
    assert path.read_text() == "old"
    (left,) = others(path)
    assert left.startswith(".")
    remove_abandoned(path.parent)
    assert others(path) == [left], "another process may still be writing it"
    os.utime(path.parent / left, (0, 0))
    remove_abandoned(path.parent)
    assert others(path) == []
    assert path.read_text() == "old"


def test_a_file_that_is_there_may_be_kept_or_be_an_error(path: Path) -> None:
    with new_file(path, if_exists="keep") as temporary:
        temporary.write_text("new")
    with pytest.raises(FileExistsError), new_file(path, if_exists="refuse") as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert others(path) == []


def test_folders_that_are_not_there_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "rows.parquet"
    with new_file(path, if_exists="refuse") as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_of_many_writers_at_once_one_publishes_and_its_file_is_whole(tmp_path: Path) -> None:
    path, begin, won = tmp_path / "once", threading.Barrier(8), []

    def write(number: int) -> None:
        temporary = temporary_path(path)
        temporary.write_text(str(number) * 1000)
        begin.wait()
        if publish_once(temporary, path):
            won.append(number)

    writers = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert path.read_text() == str(won[0]) * 1000


def test_publishing_once_works_where_a_file_system_has_no_links(tmp_path: Path, monkeypatch) -> None:
    def no_links(*arguments: object) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    temporary = temporary_path(tmp_path / "once")
    temporary.write_text("new")
    assert publish_once(temporary, tmp_path / "once")
    assert (tmp_path / "once").read_text() == "new"


def test_an_error_of_the_disk_names_the_path_and_what_could_not_be_done(path: Path) -> None:
    message = r"^Cannot save .*rows\.parquet: No space left on device\.$"
    with pytest.raises(StoreUnavailableError, match=message), writing(path, "Cannot save"):
        raise OSError(28, "No space left on device")


def test_an_error_that_says_so_already_is_not_told_twice(path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="^Redis is down$"), writing(path):
        raise StoreUnavailableError("Redis is down")


@pytest.mark.parametrize("is_folder", [True, False])
def test_who_holds_a_lock_keeps_others_out_until_the_block_ends(tmp_path: Path, is_folder: bool) -> None:
    path, order = tmp_path / "rows", []
    if is_folder:
        path.mkdir()
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        with locked(path):
            order.append("second")

    thread = threading.Thread(target=wait)
    with locked(path):
        thread.start()
        waiting.wait()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
