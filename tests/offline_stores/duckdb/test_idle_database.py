"""An idle DuckDB is used by the next engine with the same settings, and holds nothing meanwhile."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from feast_assets.offline_stores.duckdb.engine import Engine
from feast_assets.offline_stores.duckdb.idle_database import IdleDatabase


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> IdleDatabase:
    made = IdleDatabase()
    monkeypatch.setattr("feast_assets.offline_stores.duckdb.engine.IDLE", made)
    yield made
    made.end()


def used(engine: Engine) -> int:
    """Returns what stands for the engine's database."""
    with engine.cursor() as cursor:
        assert cursor.sql("SELECT 1").fetchall() == [(1,)]
        return id(engine._database)


def test_the_next_engine_with_the_same_settings_takes_the_database(tmp_path: Path) -> None:
    one = Engine(tmp_path, "100MB", 1, "spill")
    first = one._database, used(one), one._database
    database = first[2]
    assert len(list((tmp_path / "spill").iterdir())) == 1
    del one, first
    assert list((tmp_path / "spill").iterdir()) == []
    other = Engine(tmp_path, "100MB", 1, "spill")
    used(other)
    assert other._database is database
    assert [folder.name for folder in (tmp_path / "spill").iterdir()] == [database.spill.path.name]


@pytest.mark.parametrize(
    "settings",
    [
        ("100MB", 1, "elsewhere", None),
        ("90MB", 1, "spill", None),
        ("100MB", 2, "spill", None),
        ("100MB", 1, "spill", ()),
    ],
)
def test_an_engine_with_other_settings_gets_a_database_of_its_own(tmp_path: Path, settings: tuple[object, ...]) -> None:
    one = Engine(tmp_path, "100MB", 1, "spill")
    used(one)
    database = one._database
    del one
    other = Engine(tmp_path, *settings)  # type: ignore[arg-type]
    used(other)
    assert other._database is not database


def test_two_engines_at_a_time_never_share_a_database(tmp_path: Path) -> None:
    one = Engine(tmp_path, None, 1, None)
    used(one)
    del one
    several = [Engine(tmp_path, None, 1, None) for _ in range(3)]
    assert len({used(engine) for engine in several}) == 3


def test_what_a_cursor_registered_is_not_there_for_the_next_engine(tmp_path: Path) -> None:
    one = Engine(tmp_path, None, 1, None)
    with one.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE secret AS SELECT 42 AS answer")
        cursor.execute("CREATE TEMP VIEW more AS SELECT 43 AS answer")
    database = one._database
    del one, cursor
    other = Engine(tmp_path, None, 1, None)
    with other.cursor() as cursor:
        assert other._database is database
        for name in ("secret", "more"):
            with pytest.raises(duckdb.CatalogException):
                cursor.sql(f"SELECT * FROM {name}")


def test_a_database_with_an_open_cursor_is_closed_with_its_engine(tmp_path: Path) -> None:
    engine = Engine(tmp_path, None, 1, None)
    cursor = engine.cursor()
    closed = engine.cursor()
    closed.close()
    closed.close()
    database = engine._database
    assert database is not None
    assert len(database.open_cursors) == 1
    del engine
    with pytest.raises(duckdb.Error):
        database.connection.execute("SELECT 1")
    cursor.close()
    other = Engine(tmp_path, None, 1, None)
    used(other)
    assert other._database is not database


def test_a_cursor_that_was_lost_keeps_the_database_from_being_used_again(tmp_path: Path) -> None:
    engine = Engine(tmp_path, None, 1, None)
    engine.cursor()
    gc.collect()
    database = engine._database
    del engine
    other = Engine(tmp_path, None, 1, None)
    used(other)
    assert other._database is not database


def test_only_one_database_is_kept(tmp_path: Path) -> None:
    engines = [Engine(tmp_path, None, 1, None) for _ in range(2)]
    databases = [(used(engine), engine._database)[1] for engine in engines]
    engines.clear()
    is_closed = []
    for database in databases:
        try:
            database.connection.execute("SELECT 1")
            is_closed.append(False)
        except duckdb.Error:
            is_closed.append(True)
    assert sorted(is_closed) == [False, True]


def test_a_database_with_an_attached_file_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "file.db"
    with duckdb.connect(path) as made:
        made.execute("CREATE TABLE t AS SELECT 1 AS a")
    engine = Engine(tmp_path, None, 1, None)
    cursor = engine.cursor()
    alias = cursor.attach(str(path)).alias
    assert cursor.sql(f'SELECT a FROM "{alias}".t').fetchall() == [(1,)]
    database = engine._database
    del engine
    cursor.close()
    with duckdb.connect(path) as writing:  # nobody holds its lock
        writing.execute("INSERT INTO t VALUES (2)")
    other = Engine(tmp_path, None, 1, None)
    used(other)
    assert other._database is not database


def test_a_spill_folder_that_cannot_be_made_again_makes_a_new_database(tmp_path: Path) -> None:
    one = Engine(tmp_path, None, 1, "spill")
    used(one)
    database = one._database
    assert database is not None
    del one
    database.spill.path.write_text("something else")
    other = Engine(tmp_path, None, 1, "spill")
    used(other)
    assert other._database is not database


def test_a_process_leaves_no_folder_and_a_forked_one_opens_its_own(tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from feast_assets.offline_stores.duckdb.engine import Engine\n"
        "def used(engine):\n"
        "    with engine.cursor() as cursor:\n"
        "        cursor.sql('SELECT count(*) FROM range(3000000) WHERE range % 7 = 1').fetchall()\n"
        "    return engine._database\n"
        "def once(): return used(Engine(Path(sys.argv[1]), None, 2, 'spill'))\n"
        "kept = once()\n"
        "assert once() is kept\n"
        "for uses in (False, True):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        if uses: assert once() is not kept and once() is not kept\n"
        "        sys.exit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    once()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    try:
        assert process.wait(timeout=60) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # That of the child, which ended without a word, is removed by whoever spills there next.
    assert [path for path in (tmp_path / "spill").iterdir() if f"_{process.pid}_" in path.name] == []
