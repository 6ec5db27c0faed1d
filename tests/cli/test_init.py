from __future__ import annotations

import re
import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feast_assets.cli import scaffold as scaffolding
from feast_assets.cli.example_data import DRIVERS, driver_stats, write_driver_data
from feast_assets.cli.names import random_project_name
from feast_assets.errors import InputError


@pytest.mark.parametrize("template", ["local", "minimal", "dagster"])
def test_each_template_makes_a_repository_named_like_its_folder(run, tmp_path: Path, template) -> None:
    run("init", str(tmp_path / "rides"), "-t", template)
    repo = tmp_path / "rides" / "feature_repo"
    assert "project: rides\n" in (repo / "feature_store.yaml").read_text()
    assert (repo / "feature_definitions.py").is_file()
    assert (tmp_path / "rides" / "README.md").is_file()
    written = [p for p in (tmp_path / "rides").rglob("*") if p.suffix in (".py", ".yaml", ".md", ".toml")]
    assert not [p for p in written if "@PROJECT@" in p.read_text()]
    assert not list(tmp_path.rglob("*.tmpl"))


def test_the_local_template_has_data_and_a_workflow(run, tmp_path: Path) -> None:
    run("init", str(tmp_path / "rides"))
    names = {p.name for p in (tmp_path / "rides" / "feature_repo").rglob("*")}
    assert {"test_workflow.py", "driver_stats.parquet", "driver_reviews.parquet"} <= names


def test_minimal_is_a_template_and_a_flag(run, tmp_path: Path) -> None:
    run("init", str(tmp_path / "a"), "--minimal")
    run("init", str(tmp_path / "b"), "-t", "minimal")
    made = [sorted(p.name for p in (tmp_path / d / "feature_repo").iterdir()) for d in ("a", "b")]
    assert made[0] == made[1] == ["feature_definitions.py", "feature_store.yaml"]


def test_without_a_name_one_is_made_up(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("init", "--minimal")
    (made,) = tmp_path.iterdir()
    assert re.fullmatch(r"[a-z]+_[a-z]+", made.name)


def test_made_up_names_vary() -> None:
    assert len({random_project_name() for _ in range(50)}) > 10


def test_repo_path_says_where(run, tmp_path: Path) -> None:
    run("init", "rides", "--minimal", "--repo-path", str(tmp_path / "deep" / "place"))
    assert "project: rides" in (tmp_path / "deep" / "place" / "feature_repo" / "feature_store.yaml").read_text()


def test_a_folder_that_holds_something_is_left_alone(run, tmp_path: Path) -> None:
    (tmp_path / "rides").mkdir()
    (tmp_path / "rides" / "mine.txt").write_text("mine")
    assert "not an empty folder" in run("init", str(tmp_path / "rides"), exit_code=1).stderr
    assert [p.name for p in (tmp_path / "rides").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(run, tmp_path: Path) -> None:
    (tmp_path / "rides").mkdir()
    run("init", str(tmp_path / "rides"), "--minimal")
    assert (tmp_path / "rides" / "feature_repo").is_dir()


@pytest.mark.parametrize("name", ["has space", "_hidden", "ça", "a.b"])
def test_a_name_that_no_project_can_have_is_wrong_usage(run, tmp_path: Path, name) -> None:
    assert "is not valid" in run("init", str(tmp_path / name), exit_code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_a_project_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, now: datetime) -> None:
        folder.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(scaffolding._DATA, "local", full)
    with pytest.raises(InputError, match="No space left on device"):
        scaffolding.scaffold("local", tmp_path / "rides", "rides")
    assert list(tmp_path.iterdir()) == []


def test_example_rows_are_hourly_up_to_the_last_full_hour() -> None:
    end = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = driver_stats(end).to_pylist()
    assert len(rows) == len(DRIVERS) * (14 * 24 + 1)
    assert {r["event_timestamp"] for r in rows} == {end - timedelta(hours=h) for h in range(14 * 24 + 1)}
    assert all(r["created"] > r["event_timestamp"] for r in rows)
    assert all(r["trips_today"] == 0 for r in rows if r["event_timestamp"].hour == 0)
    assert len({r["rating"] for r in rows}) > 50


def test_example_rows_are_the_same_when_made_again(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 12, 34)
    for name in ("a", "b"):
        write_driver_data(tmp_path / name, now)
    one, other = ((tmp_path / n / "driver_stats.parquet").read_bytes() for n in ("a", "b"))
    assert one == other


@pytest.mark.parametrize("template", ["local", "minimal", "dagster"])
def test_the_written_definitions_import(run, tmp_path: Path, template) -> None:
    run("init", str(tmp_path / "rides"), "-t", template)
    found = runpy.run_path(str(tmp_path / "rides" / "feature_repo" / "feature_definitions.py"))
    assert found["project"].name == "rides"
