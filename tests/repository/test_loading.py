"""Loading feature repositories."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from feast_assets.errors import RepositoryError
from feast_assets.repository.loading import RepoContents, load_repository, repository_files

ENTITY = "from feast_assets import Entity\ndriver = Entity(name={name!r}, join_keys=['driver_id'])\n"
VIEW = """
from feast_assets import FeatureView, Field, FileSource, Float64
{imports}
view = FeatureView(
    name="rides",
    entities=[driver],
    source=FileSource(path="x.parquet", timestamp_field="at"),
    schema=[Field(name="fare", dtype=Float64), Field(name="tip", dtype=Float64)],
)
"""


def write(root: Path, **files: str) -> Path:
    """Writes files; in names ``__`` stands for a slash."""
    for name, text in files.items():
        file = (
            root / f"{name.replace('__', '/')}.py" if not name.startswith("init_") else root / name[5:] / "__init__.py"
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return root


def names(contents: RepoContents) -> list[str]:
    return [o.name for o in contents.objects()]


def test_objects_at_the_top_level_of_all_files_are_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        entities=ENTITY.format(name="driver"),
        deep__er__views=VIEW.format(imports="from entities import driver"),
        more="""
            from feast_assets import *
            project = Project(name="shop")
            source = FileSource(name="src", path="y.parquet", timestamp_field="at")
            labels = LabelView(name="labels", schema=[Field(name="good", dtype=Bool)])
            service = FeatureService(name="model", features=["rides"])
            not_counted = [Entity(name="inside")]

            @on_demand_feature_view(sources=[RequestSource(name="r", schema=[Field(name="x", dtype=Int64)])],
                                    schema=[Field(name="y", dtype=Int64)])
            def doubled(df):
                return df * 2

            @batch_feature_view(mode="sql", source=source, schema=[Field(name="n", dtype=Int64)])
            def totals(t):
                return f"select * from {t}"
        """,
    )
    found = load_repository(tmp_path)
    assert [p.name for p in found.projects] == ["shop"]
    assert [e.name for e in found.entities] == ["driver"]
    assert [s.name for s in found.data_sources] == ["src"]
    assert [v.name for v in found.feature_views] == ["rides", "totals"]
    assert [v.name for v in found.on_demand_feature_views] == ["doubled"]
    assert [v.name for v in found.label_views] == ["labels"]
    assert [s.name for s in found.feature_services] == ["model"]
    assert len(found.objects()) == 8
    assert "return df * 2" in found.on_demand_feature_views[0].feature_transformation.udf_string
    assert found.on_demand_feature_views[0].feature_transformation.import_path == "more:doubled"


def test_an_object_that_is_imported_counts_once_and_an_equal_one_twice(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=ENTITY.format(name="driver"),
        b="from a import driver\nalso = driver",
        c=ENTITY.format(name="driver"),
    )
    assert names(load_repository(tmp_path)) == ["driver", "driver"]


def test_projections_at_the_top_level_are_no_definitions(tmp_path: Path) -> None:
    write(
        tmp_path,
        views=VIEW.format(imports=ENTITY.format(name="driver"))
        + "small = view[['tip']]\nnamed = view.with_name('other')\n",
    )
    found = load_repository(tmp_path)
    assert [len(v.features) for v in found.feature_views] == [2]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    write(
        tmp_path, features=ENTITY.format(name="driver") + "import sys; sys.path.append('/elsewhere')", pack__mod="x = 1"
    )
    before = list(sys.path), set(sys.modules), list(sys.meta_path), os.getcwd()
    load_repository(tmp_path)
    assert (list(sys.path), set(sys.modules) & before[1], list(sys.meta_path), os.getcwd()) == before
    assert not {"features", "pack", "pack.mod"} & set(sys.modules)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["features.py", "mod.py", "pack"]


def test_two_repositories_with_equal_module_names_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(
            tmp_path / name,
            common=f"NAME = {name!r}",
            features="""
            from common import NAME
            from feast_assets import Entity
            e = Entity(name=NAME)
        """,
        )
    assert names(load_repository(tmp_path / "one")) == ["one"]
    assert names(load_repository(tmp_path / "two")) == ["two"]
    assert names(load_repository(tmp_path / "one")) == ["one"]


def test_an_ignored_module_that_is_imported_does_not_mix_either(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(
            tmp_path / name,
            common=f"NAME = {name!r}",
            features="from common import NAME\nfrom feast_assets import Entity\ne = Entity(name=NAME)",
        )
        (tmp_path / name / ".feastignore").write_text("common.py")
    assert names(load_repository(tmp_path / "one")) + names(load_repository(tmp_path / "two")) == ["one", "two"]
    assert "common" not in sys.modules


def test_a_module_of_the_same_name_elsewhere_is_neither_used_nor_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = type(sys)("features")
    monkeypatch.setitem(sys.modules, "features", theirs)
    write(tmp_path, features=ENTITY.format(name="driver"))
    assert names(load_repository(tmp_path)) == ["driver"]
    assert sys.modules["features"] is theirs


def test_loading_again_sees_changes(tmp_path: Path) -> None:
    file = write(tmp_path, features=ENTITY.format(name="one")) / "features.py"
    at = file.stat()
    assert names(load_repository(tmp_path)) == ["one"]
    file.write_text(ENTITY.format(name="two"))
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert names(load_repository(tmp_path)) == ["two"]


def test_functions_still_work_after_loading(tmp_path: Path) -> None:
    write(
        tmp_path,
        maths="def twice(x): return x * 2",
        views="""
            from feast_assets import Field, Int64, RequestSource, on_demand_feature_view
            from maths import twice

            @on_demand_feature_view(mode="python", schema=[Field(name="y", dtype=Int64)],
                sources=[RequestSource(name="r", schema=[Field(name="x", dtype=Int64)])])
            def doubled(inputs):
                return {"y": [twice(x) for x in inputs["x"]]}
        """,
    )
    view = load_repository(tmp_path).on_demand_feature_views[0]
    assert view.feature_transformation.udf is not None
    assert view.feature_transformation.udf({"x": [1, 2]}) == {"y": [2, 4]}
    assert "twice" in inspect.getsource(view.feature_transformation.udf)


# --- packages


@pytest.mark.parametrize(
    "imports",
    [
        "from .entities import driver",
        "from feature_repo.entities import driver",
        "from entities import driver",
        "import feature_repo.entities as m\ndriver = m.driver",
        "from feature_repo import driver",
    ],
)
def test_a_repository_that_is_a_package_is_one_module_per_file(tmp_path: Path, imports: str) -> None:
    root = write(
        tmp_path / "feature_repo",
        entities=ENTITY.format(name="driver"),
        views=VIEW.format(imports=imports),
    )
    (root / "__init__.py").write_text("from feature_repo.entities import driver\n")
    assert names(load_repository(root)) == ["driver", "rides"]


@pytest.mark.parametrize("imports", ["from feature_repo.entities import driver", "from entities import driver"])
def test_a_repository_that_is_no_package_may_import_by_its_own_name(tmp_path: Path, imports: str) -> None:
    root = write(tmp_path / "feature_repo", entities=ENTITY.format(name="driver"), views=VIEW.format(imports=imports))
    assert names(load_repository(root)) == ["driver", "rides"]


def test_packages_inside_may_import_relatively(tmp_path: Path) -> None:
    write(
        tmp_path,
        init_pack="from .entities import driver",
        pack__entities=ENTITY.format(name="driver"),
        pack__sub__views=VIEW.format(imports="from ..entities import driver"),
        space__entities=ENTITY.format(name="rider"),
        space__views="from .entities import driver",
    )
    assert names(load_repository(tmp_path)) == ["driver", "rider", "rides"]


def test_files_named_like_other_packages_are_loaded_without_hiding_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        statistics=ENTITY.format(name="a"),
        yaml__defs=ENTITY.format(name="b"),
        feast_assets__defs=ENTITY.format(name="c"),
        z="import statistics, yaml\nassert statistics.mean([1]) == 1 and yaml.safe_load('1') == 1",
    )
    assert sorted(names(load_repository(tmp_path))) == ["a", "b", "c"]


def test_files_whose_names_are_no_identifiers_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "my-features.v2.py").write_text(ENTITY.format(name="a"))
    (tmp_path / "my-features.py").write_text(ENTITY.format(name="b"))
    (tmp_path / "v1.0" / "features.py").write_text(ENTITY.format(name="c"))
    assert sorted(names(load_repository(tmp_path))) == ["a", "b", "c"]


# --- which files


def test_ignored_files_are_not_imported(tmp_path: Path) -> None:
    broken = "raise RuntimeError('imported')"
    write(tmp_path, features=ENTITY.format(name="driver"), skipped=broken, drafts__a__b=broken, deep__old_x=broken)
    for name in (".venv", ".git", "__pycache__", "x/__pycache__", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "m.py").write_text(broken)
    (tmp_path / ".feastignore").write_text("# not these\nskipped.py  # no\n\ndrafts/\n**/old_*\n")
    assert [f.name for f in repository_files(tmp_path)] == ["features.py"]
    assert names(load_repository(tmp_path)) == ["driver"]


def test_a_script_is_imported_but_not_run(tmp_path: Path) -> None:
    write(tmp_path, test_workflow="def main(): raise RuntimeError\nif __name__ == '__main__':\n    main()\n")
    assert names(load_repository(tmp_path)) == []


def test_an_empty_repository_declares_nothing(tmp_path: Path) -> None:
    assert load_repository(tmp_path).objects() == []


# --- what does not import


@pytest.mark.parametrize(
    ("text", "said", "cause"),
    [
        ("\n\nx = 1 / 0", r"broken\.py:3 does not import: ZeroDivisionError", ZeroDivisionError),
        ("def f(:", r"broken\.py:1 does not import: SyntaxError", SyntaxError),
        ("import no_such_thing", r"broken\.py:1 .*ModuleNotFoundError.*no_such_thing", ModuleNotFoundError),
        ("import sys\nsys.exit(3)", r"broken\.py:2 does not import: SystemExit: 3", SystemExit),
        ("from feast_assets import Entity\nEntity(name='')", r"broken\.py:2 .*DefinitionError", ValueError),
    ],
)
def test_a_file_that_does_not_import_is_named_with_line_and_error(
    tmp_path: Path, text: str, said: str, cause: type[BaseException]
) -> None:
    write(tmp_path, a=ENTITY.format(name="driver"), broken=text)
    before = set(sys.modules), list(sys.meta_path)
    with pytest.raises(RepositoryError, match=said) as failed:
        load_repository(tmp_path)
    assert isinstance(failed.value.__cause__, cause)
    assert "a" not in set(sys.modules) - before[0]
    assert sys.meta_path == before[1]


def test_an_error_in_an_imported_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, a="import sub.helper", sub__helper="def f():\n    return {}['x']\n\nf()")
    with pytest.raises(RepositoryError, match=r"sub.helper\.py:2 does not import: KeyError: 'x'"):
        load_repository(tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="nowhere"):
        load_repository(tmp_path / "nowhere")


# --- files that load the repository themselves


@pytest.mark.parametrize("nested", ["", "import helper"])
def test_a_file_that_loads_the_repository_while_it_is_imported_is_refused_by_name(tmp_path: Path, nested: str) -> None:
    again = (
        "from pathlib import Path\nfrom feast_assets.repository.loading import load_repository\n"
        f"load_repository(Path({str(tmp_path)!r}))\n"
    )
    write(tmp_path, **({"a": nested, "helper": again} if nested else {"helper": again}))
    with pytest.raises(
        RepositoryError, match=r"^helper\.py:3 applies the feature repository, or reads .*importing this"
    ) as e:
        load_repository(tmp_path)
    assert "\n" not in str(e.value)
    (tmp_path / "helper.py").write_text(ENTITY.format(name="driver"))
    assert names(load_repository(tmp_path)) == ["driver"]


def test_a_script_in_the_repository_that_applies_it_without_a_guard_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        "project: shop\nregistry: {registry_type: sql, path: registry.db}\nonline_store: null\n"
    )
    script = "from feast_assets import FeatureStore\nprint('run')\nFeatureStore('.').apply_repository()\n"
    write(tmp_path, entities=ENTITY.format(name="driver"), train=script)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "run\n" * 2
    assert done.stderr.splitlines()[-1].startswith("feast_assets.repository.modules.ReentryError: train.py:3 applies")
