"""Files of a repository that do more than declare are told by their names."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path

import pytest

from feast_assets.errors import RepositoryError
from feast_assets.repository import import_effects
from feast_assets.repository.loading import load_repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "data").mkdir(parents=True)
    (root / "features.py").write_text("import helper\n")
    (root / "helper.py").write_text("")
    return root


def warned(repo: Path) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_repository(repo)
    return [str(each.message) for each in caught]


def test_files_that_only_declare_are_not_told(repo: Path) -> None:
    assert warned(repo) == []


@pytest.mark.parametrize("where", ["data/made.parquet", "made.txt"])
def test_the_file_that_makes_files_is_told_not_the_one_that_imports_it(repo: Path, where: str) -> None:
    (repo / "helper.py").write_text(f"open({str(repo / where)!r}, 'w').close()\n")
    (told,) = warned(repo)
    assert told.startswith("helper.py made, removed or renamed files in repo")
    assert ".feastignore" in told
    assert "__main__" in told


def test_files_that_are_made_after_an_import_are_put_down_to_the_importing_file(repo: Path) -> None:
    (repo / "features.py").write_text(f"import helper\nopen({str(repo / 'data' / 'made')!r}, 'w').close()\n")
    (told,) = warned(repo)
    assert told.startswith("features.py made, removed or renamed files in repo/data")


def test_the_file_that_takes_long_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_effects, "_LONG_SECONDS", 0.05)
    (repo / "helper.py").write_text("import time\ntime.sleep(0.2)\n")
    (told,) = warned(repo)
    assert told.startswith("helper.py took 0 seconds to import, and every apply imports it.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\nsys.exit(3)", "SystemExit: 3. If helper.py is a script, put what it runs below"),
        ("open('/no/such/file')", "No such file or directory: '/no/such/file'. If helper.py is a script"),
    ],
)
def test_the_message_of_a_script_that_fails_names_the_ways_out(repo: Path, text: str, told: str) -> None:
    (repo / "features.py").unlink()
    (repo / "helper.py").write_text(text)
    with pytest.raises(RepositoryError) as caught:
        load_repository(repo)
    assert told in str(caught.value)
    assert str(caught.value).endswith("`if __name__ == '__main__':`, or name the file in .feastignore.")


def test_a_wrong_definition_is_not_taken_for_a_script(repo: Path) -> None:
    (repo / "helper.py").write_text(
        textwrap.dedent("""
            from feast_assets import Entity
            Entity(name="")
        """)
    )
    with pytest.raises(RepositoryError) as caught:
        load_repository(repo)
    assert ".feastignore" not in str(caught.value)
