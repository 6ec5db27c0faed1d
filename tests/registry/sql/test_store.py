"""What is particular to the SQL registry: its database, what is wrong with it, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import create_engine, text

from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.errors import ConfigError, StoredFormatError, StoreUnavailableError
from feast_assets.registry.base import Changes, DrawnMark, LedgerEntry, OnlineTable, WindowContent
from feast_assets.registry.foreign_file import is_feast_registry_file
from feast_assets.registry.marks import NUMBERS_KEPT
from feast_assets.registry.sql import tables
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.schema import KEYS
from feast_assets.registry.sql.sqlite_file import SqliteFile
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.testing.registry import DAY, FIRST, commit, entity, entry, record, view
from feast_assets.testing.registry.processes import commit_entities, in_processes
from tests.registry.format_1 import turn_into_format_1


def sqlite(root: Path, path: str = "registry.db") -> SqlRegistry:
    return SqlRegistry(SqlRegistryConfig(path=path), root, "shop")


def test_reading_creates_no_file(tmp_path: Path) -> None:
    registry = sqlite(tmp_path, "data/registry.db")
    assert registry.snapshot().objects() == []
    registry.teardown()
    registry.forget("trips")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["data/r.db", "sqlite:///data/r.db"])
def test_a_relative_path_starts_at_the_root(tmp_path: Path, path: str) -> None:
    commit(sqlite(tmp_path, path), entity("driver"))
    assert (tmp_path / "data" / "r.db").is_file()


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    commit(sqlite(tmp_path / "root", f"sqlite:///{tmp_path}/there.db"), entity("driver"))
    assert (tmp_path / "there.db").is_file()


def test_a_path_with_url_characters_is_one_file(tmp_path: Path) -> None:
    commit(sqlite(tmp_path, "a b?mode=memory#%41.db"), entity("driver"))
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".db"] == ["a b?mode=memory#%41.db"]


@pytest.mark.parametrize("of", ["sqlite", "postgres", "mariadb"])
def test_two_processes_may_use_a_database_for_the_first_time_at_once(
    tmp_path: Path, of: str, request: pytest.FixtureRequest
) -> None:
    path = "registry.db" if of == "sqlite" else request.getfixturevalue(f"{of}_url")
    factory = partial(SqlRegistry, SqlRegistryConfig(path=path), tmp_path)
    in_processes(commit_entities, [(factory, worker, 1) for worker in range(4)])
    registry = factory("shop")
    assert len(registry.snapshot().entities) == 4
    registry.close()


# --- files that are no registry


def test_a_registry_file_of_feast_is_named_and_left_alone(tmp_path: Path) -> None:
    written = (Path(__file__).parent / "feast_file_registry.pb").read_bytes()
    (tmp_path / "registry.db").write_bytes(written)
    registry = sqlite(tmp_path)
    for use in (registry.revision, registry.snapshot, partial(commit, registry, entity("driver"))):
        with pytest.raises(ConfigError, match="registry file that Feast wrote.*Name another path, such as registry"):
            use()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"registry.db": written}


@pytest.mark.parametrize("length", [0, 1, 7, 40, 500, -1, -100])
def test_a_cut_file_of_feast_is_not_overwritten(tmp_path: Path, length: int) -> None:
    written = (Path(__file__).parent / "feast_file_registry.pb").read_bytes()[: length or None]
    (tmp_path / "registry.db").write_bytes(written)
    with pytest.raises(ConfigError, match=r"registry\.db is (not a registry|a registry file that Feast wrote)"):
        commit(sqlite(tmp_path), entity("driver"))
    assert (tmp_path / "registry.db").read_bytes() == written


@given(st.binary(min_size=1, max_size=200))
def test_no_other_file_breaks_telling_what_it_is(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "registry.db"
        file.write_bytes(data)
        is_feast_registry_file(file)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_registry_is_its_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        registry = sqlite(tmp_path)
        with registry._file.reading():  # type: ignore[union-attr]
            commit(registry, entity("driver"))
        connection = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        connection.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("registry.db", "registry.db-wal", "registry.db-shm"), 0o600)


def test_a_registry_that_was_opened_to_others_stays_so(tmp_path: Path) -> None:
    commit(sqlite(tmp_path), entity("driver"))
    (tmp_path / "registry.db").chmod(0o664)
    commit(sqlite(tmp_path), entity("rider"))
    assert stat.S_IMODE((tmp_path / "registry.db").stat().st_mode) == 0o664


def test_a_file_that_is_no_database_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"\n\x1b\n\x06driver\x12\x11driver entity of a Feast registry" * 9)
    registry = sqlite(tmp_path)
    for use in (registry.revision, registry.snapshot, partial(commit, registry, entity("driver"))):
        with pytest.raises(ConfigError, match=r"registry\.db is not a registry.*another path"):
            use()
    assert (tmp_path / "registry.db").read_bytes().startswith(b"\n\x1b")


@pytest.mark.parametrize(
    ("table", "subject"), [("feast_metadata", "a registry that Feast wrote"), ("t", "another database")]
)
def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path, table: str, subject: str) -> None:
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute(f"CREATE TABLE {table} (a)")
    connection.commit()
    connection.close()
    before = (tmp_path / "registry.db").read_bytes()
    registry = sqlite(tmp_path)
    for use in (registry.revision, partial(commit, registry, entity("driver"))):
        with pytest.raises(ConfigError, match=subject):
            use()
    assert (tmp_path / "registry.db").read_bytes() == before


def test_an_empty_file_is_an_empty_registry(tmp_path: Path) -> None:
    (tmp_path / "registry.db").touch()
    registry = sqlite(tmp_path)
    assert registry.revision() == 0
    assert commit(registry, entity("driver")) == 1


def test_a_registry_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    commit(sqlite(tmp_path), entity("driver"))
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.executescript(
        "UPDATE feast_assets_meta SET value = '99' WHERE key = 'schema_version';"
        "UPDATE feast_assets_meta SET value = '7.8.9' WHERE key = 'written_by';"
    )
    connection.close()
    said = (
        r"registry\.db has format 99; .* reads formats 1 to 2 of registries\. Use feast-assets 7\.8\.9, or a newer one"
    )
    for use in (sqlite(tmp_path).snapshot, partial(commit, sqlite(tmp_path), entity("rider"))):
        with pytest.raises(StoredFormatError, match=said):
            use()


def test_a_registry_that_says_no_format_is_refused(tmp_path: Path) -> None:
    commit(sqlite(tmp_path), entity("driver"))
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        connection.execute("UPDATE feast_assets_meta SET value = 'one' WHERE key = 'schema_version'")
        connection.commit()
    with pytest.raises(StoredFormatError, match="says no format .*'one'"):
        sqlite(tmp_path).snapshot()


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "registry.db").mkdir()
    with pytest.raises(ConfigError, match="is a directory"):
        sqlite(tmp_path).snapshot()
    with pytest.raises(ConfigError, match="is a directory"):
        commit(sqlite(tmp_path), entity("driver"))


def test_a_file_where_the_directory_should_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StoreUnavailableError, match="directory"):
        commit(sqlite(tmp_path, "data/registry.db"), entity("driver"))


def test_a_damaged_file_is_unavailable(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    commit(registry, *(entity(f"e{i}") for i in range(200)))
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray((tmp_path / "registry.db").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "registry.db").write_bytes(content)
    with pytest.raises(StoreUnavailableError, match=r"registry\.db cannot be used"):
        sqlite(tmp_path).snapshot()


def test_a_registry_that_somebody_keeps_locked_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feast_assets.registry.sql.sqlite_file.BUSY_SECONDS", 0.05)
    registry = sqlite(tmp_path)
    commit(registry, entity("driver"))
    holder = sqlite3.connect(tmp_path / "registry.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked"):
        commit(registry, entity("rider"))
    assert registry.snapshot().entity("driver").name == "driver", "readers wait for nobody"
    holder.execute("ROLLBACK")
    holder.close()
    assert commit(registry, entity("rider")) == 2


def test_a_registry_that_was_removed_is_made_again(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    commit(registry, entity("driver"))
    for file in tmp_path.iterdir():
        file.unlink()
    assert registry.revision() == 0
    assert commit(registry, entity("driver")) == 1


# --- servers


def test_a_server_that_is_not_there_is_unavailable_and_its_password_unsaid(tmp_path: Path) -> None:
    config = SqlRegistryConfig(path="postgresql://ann:s3cret-word@127.0.0.1:1/features?connect_timeout=2")
    registry = SqlRegistry(config, tmp_path, "shop")
    for use in (registry.revision, partial(commit, registry, entity("driver"))):
        with pytest.raises(StoreUnavailableError, match=r"postgresql://ann:\*\*\*@127\.0\.0\.1:1/features") as failed:
            use()
        assert "s3cret-word" not in str(failed.value)
    assert "s3cret-word" not in repr(registry) + repr(config) + str(config)


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path, postgres_server: str) -> None:
    registry = SqlRegistry(SqlRegistryConfig(path=f"{postgres_server}/nowhere"), tmp_path, "shop")
    with pytest.raises(StoreUnavailableError, match='database "nowhere" does not exist') as failed:
        registry.snapshot()
    assert "s3cret-word" not in str(failed.value)


def test_tables_of_others_on_a_server_do_not_disturb(tmp_path: Path, postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE feast_metadata (a int)")
    registry = SqlRegistry(SqlRegistryConfig(path=postgres_url), tmp_path, "shop")
    assert registry.revision() == 0
    assert commit(registry, entity("driver")) == 1
    registry.close()


def test_a_server_that_comes_back_is_used_again(tmp_path: Path, postgres_url: str, postgres_server: str) -> None:
    import psycopg

    registry = SqlRegistry(SqlRegistryConfig(path=postgres_url), tmp_path, "shop")
    commit(registry, entity("driver"))
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 't%'")
    assert registry.revision() == 1
    registry.close()


@pytest.mark.parametrize("of", ["sqlite", "postgres", "mariadb"])
def test_a_handle_works_on_both_sides_of_a_fork(tmp_path: Path, of: str, request: pytest.FixtureRequest) -> None:
    path = "registry.db" if of == "sqlite" else request.getfixturevalue(f"{of}_url")
    registry = SqlRegistry(SqlRegistryConfig(path=path), tmp_path, "shop")
    commit(registry, entity("before"))
    child = os.fork()
    if child == 0:
        ok = commit(registry, entity("child")) == 2
        registry.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert commit(registry, entity("parent")) == 3
    assert [e.name for e in registry.snapshot().entities] == ["before", "child", "parent"]
    registry.close()


def test_the_keys_of_the_tables_are_those_that_sqlite_is_written_with() -> None:
    assert {name: tuple(c.name for c in table.primary_key) for name, table in tables.metadata.tables.items()} == KEYS


# --- MySQL


def test_names_that_mysql_would_take_for_the_same_are_different_ones(tmp_path: Path, mariadb_url: str) -> None:
    registry = SqlRegistry(SqlRegistryConfig(path=mariadb_url), tmp_path, "shop")
    names = ["driver", "Driver", "drïver", "d" * 255]
    sources = [FileSource(name=name, path="x", timestamp_field="at") for name in ("rows", "rows ")]
    commit(registry, *(entity(name) for name in names), *sources)
    assert sorted(e.name for e in registry.snapshot().entities) == sorted(names)
    assert [source.name for source in registry.snapshot().data_sources] == ["rows", "rows "]
    long_description = "x" * 100_000
    commit(registry, entity("driver", long_description))
    assert registry.snapshot().entity("driver").description == long_description
    with pytest.raises(StoreUnavailableError, match="too long"):
        commit(registry, entity("d" * 256))
    assert registry.revision() == 2
    registry.close()


def test_a_mysql_registry_without_its_number_is_one_that_is_being_created(tmp_path: Path, mariadb_url: str) -> None:
    registry = SqlRegistry(SqlRegistryConfig(path=mariadb_url), tmp_path, "shop")
    commit(registry, entity("driver"))
    engine = create_engine(mariadb_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM feast_assets_meta"))
    engine.dispose()
    reader = SqlRegistry(SqlRegistryConfig(path=mariadb_url), tmp_path, "shop")
    assert reader.snapshot().objects() == []
    assert commit(reader, entity("rider")) == 2
    registry.close()
    reader.close()


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_every_name_of_mysql_is_read_by_one_driver(scheme: str) -> None:
    config = SqlRegistryConfig(path=f"{scheme}://ann:s3cret@h:3306/d")
    assert config.is_mysql
    assert config.server_url() == "mysql+pymysql://ann:s3cret@h:3306/d"
    assert str(config.path) == f"{scheme}://ann:***@h:3306/d"


def test_a_mysql_server_that_is_not_there_is_unavailable_and_its_password_unsaid(tmp_path: Path) -> None:
    config = SqlRegistryConfig(path="mysql+pymysql://ann:s3cret-word@127.0.0.1:1/features?connect_timeout=2")
    registry = SqlRegistry(config, tmp_path, "shop")
    with pytest.raises(StoreUnavailableError, match=r"mysql\+pymysql://ann:\*\*\*@127\.0\.0\.1:1/features") as failed:
        registry.snapshot()
    assert "s3cret" not in str(failed.value)
    assert "Can't connect" in str(failed.value)


# --- a kill in the middle

_KILLED = """
import os, signal, sys
from pathlib import Path
from feast_assets.registry.base import Changes
from feast_assets.registry.foreign_file import is_feast_registry_file
from feast_assets.registry.sql.sqlite_file import SqliteFile
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.database import SqlTransaction
from feast_assets.registry.sql.sqlite_file import SqliteTransaction
from feast_assets.testing.registry import entity

path, root, at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
registry = SqlRegistry(SqlRegistryConfig(path=path), root, "shop")
registry.revision()
count = 0

def deadly(run):
    def run_and_die(*args, **values):
        global count
        done = run(*args, **values)
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return run_and_die

for kind in (SqlTransaction, SqliteTransaction):
    for verb in ("__call__", "each", "upsert", "insert_new"):
        setattr(kind, verb, deadly(getattr(kind, verb)))
registry.commit(Changes([entity("driver", "changed"), entity("new")], [("entity", "gone")]))
"""


@pytest.mark.parametrize("of", ["sqlite", "postgres", "mariadb"])
def test_a_kill_in_the_middle_of_a_commit_leaves_the_revision_before(
    tmp_path: Path, of: str, request: pytest.FixtureRequest
) -> None:
    path = "registry.db" if of == "sqlite" else request.getfixturevalue(f"{of}_url")
    registry = SqlRegistry(SqlRegistryConfig(path=path), tmp_path, "shop")
    commit(registry, entity("driver"), entity("gone"))
    before = registry.snapshot().objects()
    killed = 0
    for at in range(2, 12, 2):
        done = subprocess.run([sys.executable, "-c", _KILLED, path, str(tmp_path), str(at)], check=False)
        if done.returncode != -signal.SIGKILL:
            break
        killed += 1
        assert registry.revision() == 1
        assert registry.snapshot().objects() == before
    assert killed >= 2
    registry.commit(Changes([entity("driver", "after")]))
    assert registry.snapshot().entity("driver").description == "after"
    registry.close()


# --- against a model

_NAMES = st.sampled_from(["a", "b", "c"])
_UPSERT = st.tuples(_NAMES, st.sampled_from(["x", "y", "z"]))
_COMMIT = st.tuples(st.lists(_UPSERT, max_size=3, unique_by=lambda u: u[0]), st.lists(_NAMES, max_size=2))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(_COMMIT, max_size=8))
def test_every_revision_reads_as_a_model_says(
    tmp_path_factory: pytest.TempPathFactory, commits: list[tuple[list[tuple[str, str]], list[str]]]
) -> None:
    registry = sqlite(tmp_path_factory.mktemp("model"))
    states: list[dict[str, str]] = [{}]
    for upserts, deletes in commits:
        changes = Changes([entity(n, d) for n, d in upserts], [("entity", n) for n in deletes])
        after = {n: d for n, d in states[-1].items() if n not in deletes} | dict(upserts)
        before = len(states) - 1
        if after != states[-1]:
            states.append(after)
        assert registry.commit(changes, based_on=before) == len(states) - 1
    assert registry.revision() == len(states) - 1
    for number, state in enumerate(states):
        found = registry.snapshot(number)
        assert {e.name: e.description for e in found.entities} == state
    for earlier, later in zip(registry.revisions(), registry.revisions()[1:], strict=False):
        assert later.number == earlier.number + 1


def test_a_registry_where_no_lock_file_can_be_made_is_read_and_not_written(tmp_path: Path) -> None:
    commit(sqlite(tmp_path), entity("driver"))
    # As on a read-only mount or a full disk: the database is there, and the file for locks cannot be.
    for name in ("registry.db-wal", "registry.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "registry.db-shm").symlink_to(tmp_path / "nowhere" / "locks")
    registry = sqlite(tmp_path)
    assert [e.name for e in registry.snapshot().entities] == ["driver"]
    with pytest.raises(StoreUnavailableError, match="the folder that it is in must exist and not be read-only"):
        commit(registry, entity("vehicle"))
    (tmp_path / "registry.db-shm").unlink()
    commit(registry, entity("vehicle"))
    assert [e.name for e in registry.snapshot().entities] == ["driver", "vehicle"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("attempt to write a readonly database", "is read-only"),
        ("database or disk is full", "the disk is full"),
        ("disk I/O error", "disk I/O error"),
    ],
)
def test_what_the_disk_refuses_is_said_in_words(tmp_path: Path, said: str, told: str) -> None:
    registry = sqlite(tmp_path)
    assert told in str(registry._database._explained(sqlite3.OperationalError(said)))


def test_a_full_disk_is_told_from_a_failing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feast_assets.registry.sql.sqlite_file._LITTLE_SPACE", 1 << 80)
    registry = sqlite(tmp_path)
    assert "the disk is full" in str(registry._database._explained(sqlite3.OperationalError("disk I/O error")))


def test_a_port_that_is_no_number_is_wrong_configuration_and_the_password_unsaid() -> None:
    with pytest.raises(ValidationError, match="with a number as port") as failed:
        SqlRegistryConfig(path="postgresql://me:s3cret@db:54x2/shop")
    assert "s3cret" not in str(failed.value)


# --- settings


@pytest.mark.parametrize("path", ["s3c://bucket/registry.db", "hdfs://x/y", "mssql://h/d"])
def test_places_that_are_not_supported_are_named(path: str) -> None:
    with pytest.raises(ValidationError, match=f"registries at {path.partition(':')[0]}:// are not supported"):
        SqlRegistryConfig(path=path)


@pytest.mark.parametrize("path", ["", " ", "sqlite://", "sqlite:///:memory:", "postgresql://"])
def test_paths_that_name_nothing_lasting_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        SqlRegistryConfig(path=path)


@pytest.mark.filterwarnings("error")
def test_settings_of_feast_that_are_off_are_accepted() -> None:
    SqlRegistryConfig(path="a.db", sqlalchemy_config_kwargs={"echo": False}, purge_feast_metadata=False, mcp=None)


@pytest.mark.parametrize(
    "path",
    [
        "postgresql://ann:p/w@h/d",
        "postgresql://ann:p#w@h/d",
        "postgresql://ann:p?w@h/d",
        "postgresql://ann:p@w@h/d",
        "postgresql:ann:pw@h/d",
        "postgresql:/ann@h/d",
        "ann:pw@h/d",
        "host=h password=pw",
        "mysql:h/d",
    ],
)
def test_what_may_be_read_in_two_ways_is_refused_and_masked_whole(path: str) -> None:
    with pytest.raises(ValidationError, match="cannot be parsed unambiguously") as failed:
        SqlRegistryConfig(path=path)
    assert path not in str(failed.value.errors())
    assert not {"h/d", "pw"} & set(str(failed.value.errors()).split())


@pytest.mark.parametrize(
    "path", ["data/r.db", "/a/b.db", "C:\\data\\r.db", "a:b.db", "sqlite:///data/r.db", "postgres/r.db"]
)
def test_what_is_certain_to_be_a_file_is_one(path: str) -> None:
    assert SqlRegistryConfig(path=path).is_file


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("data/registry.db", "data/registry.db"),
        ("postgresql://ann:pw@h:5432/d", "postgresql://ann:***@h:5432/d"),
        (
            "postgresql://ann:p%40w@h/d?sslpassword=x&sslmode=require",
            "postgresql://ann:***@h/d?sslpassword=***&sslmode=require",
        ),
        ("postgresql://h/d?password=pw", "postgresql://h/d?password=***"),
        ("postgresql://ann@h/d", "postgresql://ann@h/d"),
    ],
)
def test_passwords_are_never_shown(path: str, shown: str) -> None:
    config = SqlRegistryConfig(path=path)
    assert config.display_path == shown
    assert shown in repr(config)


def test_a_registry_of_before_inputs_were_kept_gets_their_table(tmp_path: Path) -> None:
    key = ("entity", "driver")
    commit(sqlite(tmp_path), entity("driver"))
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute("DROP TABLE feast_assets_inputs")
    connection.close()
    registry = sqlite(tmp_path)
    assert registry.inputs() == {}
    assert registry.commit(Changes(inputs={key: "x"})) == 1
    assert registry.inputs() == sqlite(tmp_path).inputs() == {key: "x"}


def test_a_sqlite_registry_is_read_without_sqlalchemy(tmp_path: Path) -> None:
    commit(sqlite(tmp_path), entity("driver"), view("trips"))
    code = (
        "import sys; from pathlib import Path\n"
        "from feast_assets.registry.sql.store import SqlRegistry\n"
        "from feast_assets.registry.sql.config import SqlRegistryConfig\n"
        "registry = SqlRegistry(SqlRegistryConfig(path='registry.db'), Path(sys.argv[1]), 'shop')\n"
        "assert registry.snapshot().feature_view('trips').name == 'trips' and registry.ledger('trips') == []\n"
        "registry.close()\n"
        "assert not {'sqlalchemy', 'pyarrow', 'numpy', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_definition_is_not_read_before_it_is_asked_for(tmp_path: Path) -> None:
    registry = sqlite(tmp_path)
    commit(registry, entity("driver"), view("trips"))
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute(
        """UPDATE feast_assets_objects SET spec = '{"kind":"Unknown"}' WHERE object_type = 'feature view'"""
    )
    connection.commit()
    connection.close()
    snapshot = registry.snapshot()
    assert snapshot.entity("driver") == entity("driver")
    with pytest.raises(ValueError, match="unknown kind 'Unknown'"):
        snapshot.feature_view("trips")


# --- marks of online tables


@pytest.mark.parametrize("of", ["sqlite", "postgres"])
def test_numbers_of_marks_are_forgotten_from_the_oldest_on(
    tmp_path: Path, of: str, request: pytest.FixtureRequest
) -> None:
    path = "registry.db" if of == "sqlite" else request.getfixturevalue("postgres_url")
    registry = sqlite(tmp_path, path)
    registry.draw_marks("rides", OnlineTable("t", 1))
    numbers = [DrawnMark(i + 2, i + 1) for i in range(NUMBERS_KEPT + 10)]
    with registry._writing() as writing:
        writing.note_marks("trips", "t", numbers)
    assert registry.known_marks("trips", "t") == numbers[10:]
    begins, settles = registry.draw_marks("trips", OnlineTable("t", numbers[-1].number))
    assert [m.number for m in registry.known_marks("trips", "t")][-2:] == [begins, settles]
    assert registry.known_marks("trips", "t")[0] == numbers[12]
    assert len(registry.known_marks("rides", "t")) == 2
    registry.close()


def _made_by_an_earlier_version(path: str, root: Path) -> list[LedgerEntry]:
    """Makes a registry with entries, and turns it into what was written before there were marks."""
    registry = sqlite(root, path)
    commit(registry, view("trips"))
    days = [entry("trips", FIRST + i * DAY, FIRST + (i + 1) * DAY) for i in range(3)]
    record(registry, *days)
    return turn_into_format_1(registry, "trips", has_marks=False)


@pytest.mark.parametrize("of", ["sqlite", "postgres", "mariadb"])
def test_a_registry_of_before_marks_is_read_as_it_is_and_upgraded_when_it_is_written(
    tmp_path: Path, of: str, request: pytest.FixtureRequest
) -> None:
    path = "registry.db" if of == "sqlite" else request.getfixturevalue(f"{of}_url")
    entries = _made_by_an_earlier_version(path, tmp_path)
    reader, registry = sqlite(tmp_path, path), sqlite(tmp_path, path)
    for _ in range(2):
        assert reader.ledger("trips") == entries
        assert reader.known_marks("trips", "t") == []
        assert list(reader.ledger_change_tokens(["trips"])) == ["trips"]
        assert reader.snapshot().feature_view("trips").name == "trips"
    claim = registry.claim("trips", [WindowContent(entries[0].window, "g", "d")], table=OnlineTable("t", 0))
    registry.settle(claim, [replace(entries[0], fingerprint="g", version=claim.versions[0], mark=claim.settles)])
    for each in (reader, registry):
        assert [e.mark for e in each.ledger("trips")] == [claim.settles, 0, 0]
        assert each.ledger("trips")[1:] == entries[1:]
        assert [m.number for m in each.known_marks("trips", "t")] == [claim.begins, claim.settles]
        each.close()


def test_a_file_of_before_marks_that_is_put_back_is_read_by_who_knew_the_new_one(tmp_path: Path) -> None:
    entries = _made_by_an_earlier_version("old.db", tmp_path)
    reader, registry = sqlite(tmp_path, "registry.db"), sqlite(tmp_path, "registry.db")
    commit(registry, view("trips"))
    registry.draw_marks("trips", OnlineTable("t", 1))
    assert len(reader.known_marks("trips", "t")) == 2
    for end in ("-wal", "-shm"):
        (tmp_path / f"registry.db{end}").unlink(missing_ok=True)
    os.replace(tmp_path / "old.db", tmp_path / "registry.db")
    assert reader.ledger("trips") == entries and reader.known_marks("trips", "t") == []
    claim = registry.claim("trips", [WindowContent(entries[0].window, "g", "d")], table=OnlineTable("t", 0))
    assert [m.number for m in reader.known_marks("trips", "t")] == [claim.begins, claim.settles]
    reader.close()
    registry.close()


def test_a_server_that_is_put_back_to_before_marks_is_looked_at_again(tmp_path: Path, postgres_url: str) -> None:
    registry, other = sqlite(tmp_path, postgres_url), sqlite(tmp_path, postgres_url)
    registry.draw_marks("trips", OnlineTable("t", 1))
    assert len(registry.known_marks("trips", "t")) == 2
    entries = _made_by_an_earlier_version(postgres_url, tmp_path)
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        registry.ledger("trips")
    assert registry.ledger("trips") == entries
    assert registry.known_marks("trips", "t") == []
    other.claim("trips", [WindowContent(entries[0].window, "g", "d")], table=OnlineTable("t", 0))
    assert len(registry.known_marks("trips", "t")) == 2
    registry.close()
    other.close()


def test_looking_at_a_new_file_leaves_its_locks(tmp_path: Path) -> None:
    """POSIX takes all locks on a file from a process that closes it: another would write over what this one commits."""
    file = SqliteFile(tmp_path / "registry.db")
    with file.writing():
        assert not file.check_tables(frozenset())
        begin = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
        other = subprocess.run(
            [sys.executable, "-c", begin, str(file.path)], capture_output=True, text=True, check=False
        )
    assert "database is locked" in other.stderr
