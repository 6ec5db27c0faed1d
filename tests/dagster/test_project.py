"""The project loads in Dagster's own tools; the Dagster layer is a guest that the library does not need."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import feast_assets.dagster
from feast_assets.cli.scaffold import scaffold

ROOT = Path(__file__).resolve().parents[2]
LAYER = sorted((ROOT / "feast_assets" / "dagster").rglob("*.py"))
PRIVATE = {
    # Dagster exports no storages.
    "event_batches.py": {"dagster._core.storage.event_log.SqliteEventLogStorage"},
    # What an evaluation of one partition is about, and the history of one partition: Dagster exports neither.
    "verdicts.py": {
        "dagster._core.definitions.asset_checks.asset_check_evaluation.AssetCheckEvaluationTargetMaterializationData",
        "dagster._core.event_api.PartitionKeyFilter",
    },
}


def imported_names(file: Path) -> set[str]:
    """Returns every module that a file imports from, and of dagster every attribute it uses as ``dg.name``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dg":
            names.add(f"dagster.{node.attr}")
    return names


@pytest.mark.parametrize(
    "file", [*LAYER, ROOT / "definitions.py", *sorted((ROOT / "own_assets").glob("*.py"))], ids=lambda f: f.name
)
def test_only_public_names_of_dagster_are_used_but_where_there_is_none(file: Path) -> None:
    excepted = PRIVATE.get(file.name, set())
    names = imported_names(file)
    assert excepted <= names
    names -= excepted
    private = {n for n in names if n.startswith("dagster") and any(part.startswith("_") for part in n.split("."))}
    assert private == set()
    assert {n for n in names if n.startswith("dagster") and n.count(".") > 1} == set()
    assert not any(n.startswith("dagster_shared") for n in names)


def test_public_names_of_the_layer_exist_and_are_sorted() -> None:
    assert feast_assets.dagster.__all__ == sorted(feast_assets.dagster.__all__)
    assert all(hasattr(feast_assets.dagster, name) for name in feast_assets.dagster.__all__)


WITHOUT_DAGSTER = """
import importlib, pkgutil, sys
from datetime import datetime

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("dagster"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import feast_assets

for module in pkgutil.walk_packages(feast_assets.__path__, "feast_assets."):
    if not module.name.startswith(("feast_assets.dagster", "feast_assets.testing")) and "__main__" not in module.name:
        importlib.import_module(module.name)
store = feast_assets.FeatureStore(sys.argv[1])
store.apply_repository()
store.materialize(datetime(2024, 1, 1), datetime(2024, 1, 5))
print(store.get_online_features(["ride:fare"], [{"driver_id": 1}]).to_dict()["fare"])
try:
    import feast_assets.dagster
except ModuleNotFoundError as error:
    print(error.name)
"""


def test_the_library_works_where_dagster_is_not_installed(repository_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DAGSTER, str(repository_root)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["[107.0]", "dagster"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's root, without data."""
    copy = tmp_path / "project"
    copy.mkdir()
    for name in ("definitions.py", "workspace.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    for name in ("resources", "own_assets", "feature_repo"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("data", "__pycache__"))
    return copy


@pytest.mark.parametrize(
    "command",
    [
        ["dagster", "definitions", "validate"],
        ["dagster", "definitions", "validate", "-w", "workspace.yaml"],
        ["dg", "check", "defs"],
        ["dg", "check", "yaml"],
    ],
    ids=" ".join,
)
def test_dagsters_own_checks_pass_on_the_project(project: Path, tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "scripts" / "dagster.yaml", home)
    program = Path(sys.executable).with_name(command[0])
    environment = {k: v for k, v in os.environ.items() if k not in ("FEAST_ASSETS_DEPLOYMENT", "VIRTUAL_ENV")}
    done = subprocess.run(
        [program, *command[1:]],
        cwd=project,
        env={**environment, "DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "does not match" not in said
    assert not (project / "feature_repo" / "data").exists()


def test_the_template_loads_in_production_without_a_database(tmp_path: Path) -> None:
    project, home = tmp_path / "rides", tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(ROOT / "scripts" / "dagster.yaml", home)
    scaffold("dagster", project, "rides")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "FEAST_ASSETS_DEPLOYMENT": "production",
        "FEAST_ASSETS_REGISTRY_URL": "postgresql://nobody:hunter2@127.0.0.1:1/none",
        "FEAST_ASSETS_REDIS": "127.0.0.1:1",
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("dagster"), "definitions", "validate"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
