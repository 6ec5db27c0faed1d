"""Which files a caller's query may read: data of the repository, of the sources, and what the setting adds."""

from __future__ import annotations

import os
import sqlite3

import duckdb
import pytest

from feast_assets import FileSource
from feast_assets.errors import InputError
from feast_assets.offline_stores.files.readable_files import ReadableFiles

ROWS = "a,b\n1,2\n"


@pytest.fixture
def repository(tmp_path):
    """A repository beside a folder that does not belong to it."""
    for name in (
        "repo/feature_store.yaml",
        "repo/.env",
        "repo/definitions.py",
        "repo/key.json",
        "repo/data/rows.csv",
        "repo/data/rows.parquet",
        "repo/data/more/rows.csv",
        "repo/data/odd[1].csv",
        "repo/data/odd1.csv",
        "repo/data/.branch/rows.csv",
        "outside/rows.csv",
        "outside/events.json",
        "outside/labels.txt",
        "outside/.hidden.csv",
        "outside/deep/rows.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(ROWS)
    return tmp_path / "repo"


def found(files, path):
    return [os.path.relpath(file, files.root) for file in files.find(path, "The query")]


def assert_refused(files, path, reason=""):
    with pytest.raises(InputError, match=reason or None) as caught:
        files.find(path, "The query")
    assert "may not read" in str(caught.value)
    assert "readable_paths in the offline_store section" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/rows.csv", ["data/rows.csv"]),
        ("./data/../data/rows.csv", ["data/rows.csv"]),
        ("data/*.csv", ["data/odd1.csv", "data/odd[1].csv", "data/rows.csv"]),
        ("data/**/rows.csv", ["data/more/rows.csv", "data/rows.csv"]),
        ("data/odd[1].csv", ["data/odd[1].csv"]),
        ("data/o?d1.csv", ["data/odd1.csv"]),
    ],
)
def test_data_files_of_the_repository_are_found(repository, path, expected):
    files = ReadableFiles(repository)
    assert found(files, path) == expected
    assert found(files, f"{repository}/{path}") == expected


@pytest.mark.parametrize(
    "path",
    [
        "feature_store.yaml",
        ".env",
        "definitions.py",
        "key.json",
        "data/.branch/rows.csv",
        "data/.branch/*.csv",
        "data/../.env",
        "../outside/rows.csv",
        "../outside/*.csv",
        "../*/rows.csv",
        "data/*/../../../outside/*.csv",
        "*",
        "/etc/passwd",
        "/proc/self/environ",
        "~/rows.csv",
        "file:///etc/passwd",
        "FILE:rows.csv",
        "http://127.0.0.1:1/rows.csv",
        "s3://bucket/rows.parquet",
        "data/rows.csv\0.parquet",
        "",
        "../" * 5000,
    ],
)
def test_all_else_is_refused(repository, path):
    assert_refused(ReadableFiles(repository), path)


def test_a_refusal_tells_the_same_whether_the_file_exists_or_not(repository):
    files = ReadableFiles(repository)
    there = assert_refused(files, "../outside/rows.csv")
    absent = assert_refused(files, "../outside/nope.csv")
    assert there.replace("rows", "nope") == absent
    assert assert_refused(files, ".env").replace(".env", ".nope") == assert_refused(files, ".nope")


def test_what_may_be_read_but_is_not_there_is_named(repository):
    os.mkfifo(repository / "data" / "pipe.csv")
    for path, message in (
        ("data/nope.csv", "no regular file"),
        ("data/n*.csv", "no file matches"),
        ("data/pipe.csv", ""),
    ):
        with pytest.raises(InputError, match=message or None):
            ReadableFiles(repository).find(path, "The query")


def test_links_count_as_what_they_lead_to(repository):
    data = repository / "data"
    for link, target in (
        ("out.csv", "../../outside/rows.csv"),
        ("secret.csv", "../.env"),
        ("environment.csv", "/proc/self/environ"),
        ("folder", "../../outside"),
        ("inside.csv", "rows.csv"),
        ("loop.csv", "loop.csv"),
    ):
        (data / link).symlink_to(target)
    files = ReadableFiles(repository)
    assert found(files, "data/inside.csv") == ["data/inside.csv"]
    for path in ("out.csv", "secret.csv", "environment.csv", "folder/rows.csv", "folder/*.csv", "*/rows.csv", "o*.csv"):
        assert_refused(files, f"data/{path}")
    # Where the operating system goes from a link's target, DuckDB would go from the link.
    (data / "rows").symlink_to(repository.parent / "outside" / "deep")
    assert_refused(files, "data/rows/../rows.csv", "outside")
    with pytest.raises(InputError):
        files.find("data/loop.csv", "The query")


def test_a_repository_behind_a_link_or_below_a_hidden_folder_is_read(tmp_path):
    real = tmp_path / ".cache" / "repo"
    (real / "data").mkdir(parents=True)
    (real / "data" / "rows.csv").write_text(ROWS)
    (tmp_path / "link").symlink_to(real)
    for root in (real, tmp_path / "link"):
        assert found(ReadableFiles(root), "data/rows.csv") == ["data/rows.csv"]
        assert found(ReadableFiles(root), f"{real}/data/*.csv")


def test_databases_are_refused_whatever_they_are_called(repository):
    with sqlite3.connect(repository / "data" / "online.csv") as online:
        online.execute("CREATE TABLE t (a)")
    online.close()
    duckdb.connect(str(repository / "data" / "own.parquet")).close()
    files = ReadableFiles(repository, further=("data/online.csv",))
    assert_refused(files, "data/online.csv", "a database")
    assert_refused(files, "data/own.parquet", "a database")
    assert_refused(files, "data/*.csv", "online.csv', which is a database")


class TestSetting:
    def test_a_folder_adds_its_data_files_json_too(self, repository):
        files = ReadableFiles(repository, further=("../outside",))
        for path in ("rows.csv", "events.json", "deep/rows.csv"):
            assert found(files, f"../outside/{path}") == [f"../outside/{path}"]
        assert len(files.find("../outside/**/*.csv", "The query")) == 2
        for path in ("labels.txt", ".hidden.csv"):
            assert_refused(files, f"../outside/{path}")
        assert "'../outside'" in assert_refused(files, ".env")

    def test_a_file_adds_itself_whatever_its_name(self, repository):
        files = ReadableFiles(repository, further=("../outside/labels.txt", "../outside/.hidden.csv"))
        assert found(files, "../outside/labels.txt")
        assert found(files, "../outside/.hidden.csv")
        assert_refused(files, "../outside/rows.csv")

    def test_a_folder_with_the_same_beginning_is_another_one(self, repository):
        (repository.parent / "outside2").mkdir()
        (repository.parent / "outside2" / "rows.csv").write_text(ROWS)
        assert_refused(ReadableFiles(repository, further=("../outside",)), "../outside2/rows.csv", "outside")


class TestSources:
    def test_files_of_sources_are_read_wherever_they_are(self, repository):
        outside = repository.parent / "outside"
        for path in (f"{outside}/rows.csv", f"{outside}/*.csv", "../outside/rows.csv"):
            source = FileSource(name="s", path=path, timestamp_field="t")
            files = ReadableFiles(repository, sources=(source,))
            assert files.find(f"{outside}/rows.csv", "The query")
            assert_refused(files, f"{outside}/deep/rows.csv")
            assert_refused(files, f"{outside}/events.json")
        kept = FileSource(name="kept", path="data/.branch", timestamp_field="t")
        with pytest.raises(InputError):
            ReadableFiles(repository).find("data/.branch/rows.csv", "The query")
        (repository / "data/.branch/rows.csv").rename(repository / "data/.branch/rows.parquet")
        assert found(ReadableFiles(repository, sources=(kept,)), "data/.branch/rows.parquet")

    def test_sources_that_cannot_be_read_let_nothing_be_read(self, repository):
        sources = tuple(
            FileSource(name=f"s{i}", path=path, timestamp_field="t")
            for i, path in enumerate(["s3://bucket/rows.parquet", "nope.parquet", "../outside"])
        )
        assert_refused(ReadableFiles(repository, sources=sources), "../outside/events.json")


def test_names_are_told_only_of_files_in_the_repository(repository):
    source = FileSource(name="s", path="../outside/rows.csv", timestamp_field="t")
    files = ReadableFiles(repository, sources=(source,))
    assert "labels" not in assert_refused(files, f"{repository.parent}/outside/l*")
    assert "x" * 300 not in assert_refused(files, "x" * 4000)


def test_names_that_may_mean_another_file_later_are_not_handed_on(repository):
    """What is checked is what is read, also where a descriptor or the working directory changes in between."""
    files = ReadableFiles(repository)
    rows = str(repository / "data" / "rows.csv")
    with open(rows) as opened:
        for place in ("/proc/self/fd", f"/proc/{os.getpid()}/fd", "/dev/fd", "/proc/thread-self/fd"):
            assert files.find(f"{place}/{opened.fileno()}", "The query") == [rows]
    for name in (f"/proc/self/root{rows}", f"/proc/self/root{repository}/data/row*.csv"):
        assert files.find(name, "The query") == [rows]


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "/dev/stdin", "/proc/self/fd/*", "/proc/*/environ", "/proc/*/fd/*", "/dev/fd/0"]
)
def test_what_a_process_has_besides_files_is_refused(repository, path):
    assert_refused(ReadableFiles(repository), path)
