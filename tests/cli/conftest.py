"""A project of the local template, and a way to run commands in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from feast_assets.cli.main import cli
from feast_assets.cli.scaffold import scaffold

Run = Callable[..., Result]


def invoke(*arguments: str, exit_code: int | None = 0) -> Result:
    """Runs the command line in this process; the exit code must be the one expected (None: any)."""
    result = CliRunner().invoke(cli, list(arguments), prog_name="feast-assets")
    if exit_code is not None:
        assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result


@pytest.fixture
def run() -> Run:
    return invoke


@pytest.fixture(scope="session")
def _fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fresh") / "taxis"
    scaffold("local", target, "taxis")
    return target


@pytest.fixture(scope="session")
def _served_project(_fresh_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("served") / "taxis"
    shutil.copytree(_fresh_project, target)
    repo = str(target / "feature_repo")
    invoke("-c", repo, "apply")
    invoke("-c", repo, "materialize-incremental", datetime.now(UTC).isoformat())
    return target


@pytest.fixture
def repo(_fresh_project: Path, tmp_path: Path) -> Path:
    """The feature repository of a new project; nothing is applied."""
    return Path(shutil.copytree(_fresh_project, tmp_path / "taxis")) / "feature_repo"


@pytest.fixture
def served_repo(_served_project: Path, tmp_path: Path) -> Path:
    """The same after apply and materialize-incremental."""
    return Path(shutil.copytree(_served_project, tmp_path / "taxis")) / "feature_repo"
