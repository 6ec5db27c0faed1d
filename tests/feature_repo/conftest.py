"""The example's data and definitions, for its tests."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import duckdb
import pytest
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def staging() -> ModuleType:
    """The module scripts/stage_flights.py."""
    return _module(ROOT / "scripts" / "stage_flights.py")


@pytest.fixture(scope="session")
def staged(staging: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the staged data, and the table that the asset raw/planes loads; tests only read it."""
    into: Path = tmp_path_factory.mktemp("staged")
    staging.stage(into, console=Console(quiet=True))
    with duckdb.connect(into / "fleet.duckdb") as connection:
        _module(ROOT / "own_assets" / "fleet.py").load_planes(connection, into / "planes.parquet")
    return into


@pytest.fixture
def example(staged: Path, tmp_path: Path) -> Path:
    """A copy of feature_repo/ with staged data and nothing applied."""
    copy = tmp_path / "feature_repo"
    shutil.copytree(ROOT / "feature_repo", copy, ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copytree(staged, copy / "data")
    return copy
