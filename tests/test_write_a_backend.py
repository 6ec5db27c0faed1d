"""The page 'Write a backend' is true: its files are written as it says, pass the suite, and serve a repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from feast_assets.cli.main import cli

PAGE = Path(__file__).resolve().parents[1] / "docs" / "write-a-backend.md"
PART = re.compile(r"In `([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files() -> dict[str, str]:
    """The files of the page, each of the parts that are shown, one after the other."""
    parts: dict[str, list[str]] = {}
    for name, text in PART.findall(PAGE.read_text(encoding="utf-8")):
        parts.setdefault(name, []).append(text)
    return {name: "\n\n".join(texts) for name, texts in parts.items()}


def run_suite(folder: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_stores.py", *options]
    environment = {**os.environ, "POSTGRES_URL": url, "PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_store_of_the_page_passes_the_suite(files: dict[str, str], tmp_path: Path, postgres_url: str) -> None:
    for name in ("my_stores.py", "test_my_stores.py"):
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    # Without those that take longest: they start processes, or connect for each of hundreds of pairs of names.
    done = run_suite(tmp_path, postgres_url, "-k", "not processes and not never_mix")
    assert done.returncode == 0, done.stdout[-5000:]
    assert re.search(r"[5-9]\d+ passed", done.stdout)


def test_the_suite_fails_where_the_store_does_not_compare_what_the_page_says(
    files: dict[str, str], tmp_path: Path, postgres_url: str
) -> None:
    comparison = re.compile(r"^WHERE \(excluded.*?\n    > .*?\n", re.MULTILINE)
    broken, replaced = comparison.subn("", files["my_stores.py"])
    assert replaced == 1
    (tmp_path / "my_stores.py").write_text(broken, encoding="utf-8")
    (tmp_path / "test_my_stores.py").write_text(files["test_my_stores.py"], encoding="utf-8")
    done = run_suite(tmp_path, postgres_url, "-x", "-k", "newest")
    assert done.returncode == 1
    assert "1 failed" in done.stdout


def test_a_repository_runs_on_the_store_of_the_page(
    files: dict[str, str], tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", postgres_url)
    runner = CliRunner()
    target = tmp_path / "my_project"
    repository = target / "feature_repo"

    def run(*words: str) -> str:
        done = runner.invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    run("init", "my_project", "--repo-path", str(target))
    for name in ("my_stores.py", "feature_store.yaml"):
        (repository / name).write_text(files[name], encoding="utf-8")
    run("-c", str(repository), "apply")
    run("-c", str(repository), "materialize-incremental", "2030-01-01")
    # It fails where a served value is another one than history has.
    assert "driver_stats" in run("-c", str(repository), "audit")
    shown = run("-c", str(repository), "configuration")
    assert "type: my_stores.SmallPostgresStore" in shown
    assert "s3cret" not in shown
