"""Where the functions of views come from: this process, or one module of the feature repository."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from feast_assets import FeatureStore
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.errors import RepositoryError, TransformationError
from feast_assets.repository.modules import running_file
from feast_assets.repository.user_functions import UserFunctions

CONFIG = """
project: shop
registry: {registry_type: sql, path: data/registry.db}
online_store: {type: sqlite, path: data/online.db}
"""
VIEWS = """
from feast_assets import Field, Int64, RequestSource, on_demand_feature_view

@on_demand_feature_view(mode="python", schema=[Field(name="y", dtype=Int64)],
    sources=[RequestSource(name="r", schema=[Field(name="x", dtype=Int64)])])
def doubled(inputs):
    return {"y": [2 * x for x in inputs["x"]]}
"""
READS = """
from feast_assets import FeatureStore

print("run")
store = FeatureStore(REPOSITORY)
print(store.get_online_features(["doubled:y"], [{"x": 4}]).to_dict()["y"])
"""
BROKEN = "raise RuntimeError('imported')\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository called shop_repo with a view in views.py, applied."""
    root = tmp_path / "shop_repo"
    (root / "data").mkdir(parents=True)
    (root / "feature_store.yaml").write_text(CONFIG)
    (root / "views.py").write_text(VIEWS)
    FeatureStore(root).apply_repository()
    return root


def served(root: Path) -> list[int]:
    """Returns what a new store serves of the view."""
    found: list[int] = FeatureStore(root).get_online_features(["doubled:y"], [{"x": 4}]).to_dict()["y"]
    return found


def run(root: Path, script: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    file = (cwd or root) / "train.py"
    file.write_text(textwrap.dedent(script).replace("REPOSITORY", repr(str(root))))
    return subprocess.run([sys.executable, file], cwd=cwd or root, capture_output=True, text=True, check=False)


# --- only the module of the function


def test_a_script_in_the_repository_that_reads_features_runs_once(repository: Path) -> None:
    done = run(repository, READS)
    assert (done.stdout, done.returncode) == ("run\n[8]\n", 0), done.stderr


def test_files_that_have_nothing_to_do_with_a_view_are_not_imported(repository: Path) -> None:
    (repository / "a_broken.py").write_text(BROKEN)
    (repository / "z_broken.py").write_text(BROKEN)
    assert served(repository) == [8]


def test_all_views_of_a_module_are_had_by_importing_it_once(repository: Path) -> None:
    counting = "\nwith open(__file__ + '.log', 'a') as log:\n    log.write('.')\n"
    (repository / "views.py").write_text(VIEWS + VIEWS.replace("doubled", "again").replace('"y"', '"z"') + counting)
    FeatureStore(repository).apply_repository()
    (repository / "views.py.log").unlink()
    store = FeatureStore(repository)
    for _ in range(2):
        read = store.get_online_features(["doubled:y", "again:z"], [{"x": 4}]).to_dict()
    assert (read["y"], read["z"]) == ([8], [8])
    assert (repository / "views.py.log").read_text() == "."


def test_reading_leaves_modules_and_paths_of_the_process_alone(repository: Path) -> None:
    before = dict(sys.modules), list(sys.path), list(sys.meta_path)
    assert served(repository) == [8]
    assert "views" not in sys.modules
    assert (list(sys.path), list(sys.meta_path)) == before[1:]


@pytest.fixture
def importable(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The repository's directories can be imported from, as from a project that lies around it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(repository.parent.parent))
    monkeypatch.syspath_prepend(str(repository.parent))
    monkeypatch.syspath_prepend(str(repository))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("name", ["views", "shop_repo.views", "AROUND.shop_repo.views", "shop_repo.deep.views"])
@pytest.mark.usefixtures("importable")
def test_a_view_that_was_applied_from_python_is_found_by_whatever_name_it_was_imported(
    repository: Path, name: str, package: bool
) -> None:
    import importlib

    if package:
        (repository / "__init__.py").touch()
    if "deep" in name:
        (repository / "deep").mkdir()
        (repository / "views.py").rename(repository / "deep" / "views.py")
    module = importlib.import_module(name.replace("AROUND", repository.parent.name))
    store = FeatureStore(repository)
    store.apply([module.doubled])
    (repository / "a_broken.py").write_text(BROKEN)
    assert served(repository) == [8]


def test_a_file_whose_name_is_no_identifier_is_found(repository: Path) -> None:
    (repository / "views.py").rename(repository / "my-views.v2.py")
    FeatureStore(repository).apply_repository()
    (repository / "a_broken.py").write_text(BROKEN)
    assert served(repository) == [8]


# --- the rest of the repository, where the module does not declare the view


def test_a_view_that_has_moved_is_found(repository: Path) -> None:
    (repository / "views.py").rename(repository / "moved.py")
    assert served(repository) == [8]
    (repository / "views.py").write_text("")
    assert served(repository) == [8]


def test_a_function_of_a_helper_module_is_that_of_the_view_which_uses_it(repository: Path) -> None:
    (repository / "maths.py").write_text("def doubled(inputs):\n    return {'y': [2 * x for x in inputs['x']]}\n")
    (repository / "views.py").write_text(
        "import maths\nfrom feast_assets import Field, Int64, OnDemandFeatureView, RequestSource\n"
        "view = OnDemandFeatureView(name='doubled', mode='python', udf=maths.doubled,\n"
        "    schema=[Field(name='y', dtype=Int64)],\n"
        "    sources=[RequestSource(name='r', schema=[Field(name='x', dtype=Int64)])])\n"
    )
    FeatureStore(repository).apply_repository()
    (repository / "z_broken.py").write_text(BROKEN)
    assert served(repository) == [8]


def test_a_broken_file_that_does_not_declare_the_view_does_not_matter(repository: Path) -> None:
    (repository / "views.py").rename(repository / "moved.py")
    (repository / "a_broken.py").write_text(BROKEN)
    assert served(repository) == [8]
    (repository / "moved.py").unlink()
    with pytest.raises(RepositoryError, match=r"^a_broken\.py:1 does not import"):
        served(repository)


def test_a_view_that_the_repository_no_longer_declares_is_an_error_that_names_it(repository: Path) -> None:
    (repository / "views.py").write_text("")
    store = FeatureStore(repository)
    for _ in range(2):
        with pytest.raises(TransformationError, match=r"'doubled' \(views:doubled\) is not declared in the feature"):
            store.get_online_features(["doubled:y"], [{"x": 4}])


def test_looking_for_a_view_does_not_import_the_script_that_runs(repository: Path) -> None:
    (repository / "views.py").rename(repository / "z_moved.py")
    done = run(repository, READS)
    assert (done.stdout, done.returncode) == ("run\n[8]\n", 0), done.stderr


def test_a_file_that_imports_the_script_that_runs_gets_it_as_it_is(repository: Path) -> None:
    (repository / "views.py").unlink()
    (repository / "z_moved.py").write_text("from train import factor\n" + VIEWS.replace("2 * x", "factor * x"))
    done = run(repository, "factor = 3\n" + READS)
    assert done.stdout == "run\n[12]\n", done.stderr
    assert "not the one that was applied" in done.stderr


def test_another_file_that_reads_features_when_imported_is_refused_in_one_line(repository: Path) -> None:
    (repository / "views.py").rename(repository / "z_moved.py")
    (repository / "train.py").write_text(READS.replace("REPOSITORY", repr(str(repository))))
    with pytest.raises(RepositoryError, match=r"^train\.py:6 applies the feature repository, or reads features") as e:
        served(repository)
    assert "\n" not in str(e.value)
    (repository / ".feastignore").write_text("train.py\n")
    assert served(repository) == [8]


def test_a_file_that_declares_a_view_and_reads_it_when_imported_is_refused_in_one_line(repository: Path) -> None:
    (repository / "views.py").write_text(VIEWS + READS.replace("REPOSITORY", repr(str(repository))))
    with pytest.raises(RepositoryError, match=r"^views\.py:13 applies the feature repository, or reads features"):
        served(repository)


# --- scripts and notebooks


def test_a_view_that_the_running_script_declares_needs_no_import(repository: Path) -> None:
    (repository / "views.py").unlink()
    applied = run(
        repository, VIEWS + f"\nfrom feast_assets import FeatureStore\nFeatureStore('{repository}').apply(doubled)"
    )
    assert (applied.returncode, applied.stderr) == (0, ""), "a file of the repository can be loaded by others"
    done = run(repository, VIEWS + READS)
    assert (done.stdout, done.stderr) == ("run\n[8]\n", "")
    (repository / "train.py").write_text(VIEWS)
    assert served(repository) == [8]


def test_applying_a_view_of_a_script_outside_the_repository_warns(repository: Path, tmp_path: Path) -> None:
    script = VIEWS + "\nfrom feast_assets import FeatureStore\nFeatureStore(REPOSITORY).apply(doubled)\n"
    done = run(repository, script, cwd=tmp_path)
    assert done.returncode == 0
    (warned,) = [line for line in done.stderr.splitlines() if "UserWarning" in line]
    assert warned.startswith(f"{tmp_path / 'train.py'}:")
    assert "function of view 'doubled' was defined in a notebook, at a prompt or in a script outside" in warned
    assert f"Put the view in a module in {repository}" in warned


def test_a_notebook_reads_its_own_views_in_another_session(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    exec(VIEWS, vars(notebook))
    assert running_file() is None
    with pytest.warns(UserWarning, match="other processes cannot load it"):
        FeatureStore(repository).apply(notebook.doubled)
    (repository / "views.py").unlink()
    assert served(repository) == [8]


def test_views_of_modules_are_remembered_without_a_warning(repository: Path) -> None:
    views = [v for v in FeatureStore(repository).plan_repository().declared if isinstance(v, OnDemandFeatureView)]
    functions = UserFunctions(repository)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        functions.remember(views)
    assert functions.of(views[0])({"x": [1]}) == {"y": [2]}
