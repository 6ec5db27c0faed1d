"""Folders to spill to: who may enter them, and which are removed by whom."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feast_assets.offline_stores.duckdb import spill_folder
from feast_assets.offline_stores.duckdb.engine import Engine
from feast_assets.offline_stores.duckdb.spill_folder import make_spill_folder, remove_orphans

_HOLD = (
    "import sys, time; from pathlib import Path\n"
    "from feast_assets.offline_stores.duckdb.spill_folder import make_spill_folder\n"
    "folder = make_spill_folder(Path(sys.argv[1])); (folder.path / 'block').write_text('x')\n"
    "print(folder.path, flush=True); time.sleep(60)\n"
)


def held_by_another_process(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        return process, Path(process.stdout.readline().strip())


def test_a_folder_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_spill_folder(tmp_path / "new" / "parent")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert list((tmp_path / "new" / "parent").iterdir()) == []


def test_duckdb_spills_into_it_and_leaves_nothing(tmp_path: Path) -> None:
    engine = Engine(tmp_path, "60MB", 1, "spill")
    with engine.cursor() as cursor:
        (folder,) = (tmp_path / "spill").iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        rows = cursor.execute("SELECT i, hash(i) AS h FROM range(4000000) t(i) ORDER BY h").to_arrow_reader(1000)
        rows.read_next_batch()
        assert list(folder.iterdir())
        del rows
    del engine
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_killed_process_leaves_a_folder_that_the_next_one_removes(tmp_path: Path) -> None:
    process, folder = held_by_another_process(tmp_path)
    assert remove_orphans(tmp_path) == 0
    assert (folder / "block").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    ours = make_spill_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [ours.path]
    assert remove_orphans(tmp_path) == 0
    ours.remove()


def test_a_folder_named_for_a_process_that_runs_is_still_an_orphan_without_its_lock(tmp_path: Path) -> None:
    """As when the system has given the number to another process."""
    folder = tmp_path / f"feast_assets_spill_{os.getpid()}_0123456789ab"
    folder.mkdir()
    assert remove_orphans(tmp_path) == 1
    assert not folder.exists()


def test_links_and_what_has_another_name_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "feast_assets_spill_1_0123456789ab").symlink_to(outside)
    orphan = parent / "feast_assets_spill_1_0123456789ac"
    orphan.mkdir()
    (orphan / "link").symlink_to(outside)
    (parent / "feast_assets_spill_1_x").mkdir()
    (parent / "feast_assets_other").mkdir()
    (parent / "feast_assets_spill_1_0123456789ad").write_text("a file")
    assert remove_orphans(parent) == 1
    assert (outside / "kept").is_dir()
    assert sorted(p.name for p in parent.iterdir()) == [
        "feast_assets_other",
        "feast_assets_spill_1_0123456789ab",
        "feast_assets_spill_1_0123456789ad",
        "feast_assets_spill_1_x",
    ]


def test_folders_of_another_user_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "feast_assets_spill_1_0123456789ab"
    folder.mkdir()
    monkeypatch.setattr(spill_folder.os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert remove_orphans(tmp_path) == 0
    assert folder.is_dir()


def test_folders_of_versions_without_locks_go_when_they_are_old_and_their_process_is_gone(tmp_path: Path) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    long_ago = time.time() - 2 * 24 * 3600
    names = {
        f"feast_assets_{done.pid}_0123456789ab": long_ago,
        f"feast_assets_{done.pid}_0123456789ac": time.time(),
        f"feast_assets_{os.getpid()}_0123456789ad": long_ago,
    }
    for name, changed in names.items():
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (changed, changed))
    assert remove_orphans(tmp_path) == 1
    assert not (tmp_path / f"feast_assets_{done.pid}_0123456789ab").exists()


def test_two_processes_that_make_and_remove_at_once_keep_their_own(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from feast_assets.offline_stores.duckdb.spill_folder import make_spill_folder, remove_orphans\n"
        "for i in range(150):\n"
        "    folder = make_spill_folder(Path(sys.argv[1])); remove_orphans(Path(sys.argv[1]))\n"
        "    assert folder.path.is_dir(), i\n"
        "    folder.remove()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []
