"""The feature repository as a component: from YAML, and as dg scaffolds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from feast_assets.dagster import FeatureRepoComponent, FeatureViewTranslatorData

TYPE = "feast_assets.dagster.FeatureRepoComponent"
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty dg project."""
    root = tmp_path / "shop_project"
    (root / "shop" / "defs").mkdir(parents=True)
    (root / "shop" / "__init__.py").touch()
    (root / "shop" / "defs" / "__init__.py").touch()
    (root / "shop" / "definitions.py").write_text(DEFINITIONS)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "0"\n\n'
        '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "shop"\n'
    )
    return root


def run(project: Path, *command: str, succeeds: bool = True) -> str:
    home = project.parent / "dagster_home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    env = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) is succeeds, said
    return said


def test_dg_scaffolds_a_component_of_a_new_repository_that_its_own_checks_pass(project: Path) -> None:
    run(project, "dg", "scaffold", "defs", TYPE, "orders")
    made = project / "shop" / "defs" / "orders"
    assert yaml.safe_load((made / "defs.yaml").read_text()) == {
        "type": TYPE,
        "attributes": {"repo_path": "feature_repo"},
    }
    assert "project: orders" in (made / "feature_repo" / "feature_store.yaml").read_text()
    assert "All component YAML validated" in run(project, "dg", "check", "yaml")
    assert "All definitions loaded" in run(project, "dg", "check", "defs")
    (made / "defs.yaml").write_text(f"type: {TYPE}\nattributes: {{repo: feature_repo}}\n")
    assert "repo" in run(project, "dg", "check", "yaml", succeeds=False)


def test_dg_scaffolds_a_component_of_a_repository_that_is_there(project: Path, repository_root: Path) -> None:
    shutil.copytree(repository_root, project / "taxi_repo")
    run(project, "dg", "scaffold", "defs", TYPE, "taxi", "--repo-path", "taxi_repo")
    file = project / "shop" / "defs" / "taxi" / "defs.yaml"
    assert yaml.safe_load(file.read_text())["attributes"] == {"repo_path": "../../../taxi_repo"}
    assert "taxi/ride_totals" in run(project, "dg", "list", "defs", "--json")


def loaded(root: Path, component: type[FeatureRepoComponent] = FeatureRepoComponent, **attributes: Any) -> Any:
    """Returns a component as its YAML file would make it, and its definitions."""
    text = yaml.safe_dump({"repo_path": str(root), **attributes})
    made = component.resolve_from_yaml(text)
    return made, dg.component_defs(component=made)


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in defs.resolve_all_asset_specs()}


def test_it_is_what_definitions_for_makes(applied_root: Path, instance: dg.DagsterInstance) -> None:
    _, defs = loaded(applied_root)
    assert {"taxi/ride", "taxi/sources/rides", "taxi/sources/kept_totals"} <= set(specs(defs))
    job = defs.resolve_job_def("materialize_taxi_daily")
    assert job.execute_in_process(instance=instance, partition_key="2024-01-03").success
    assert instance.get_materialized_partitions(dg.AssetKey(["taxi", "ride"])) == {"2024-01-03"}


def test_translation_decides_how_assets_look(repository_root: Path) -> None:
    translation = {
        "key_prefix": "features",
        "group_name": "{{ data.project }}_features",
        "tags": {"tier": "gold"},
        "metadata": {"runbook": "{{ spec.key.path[-1] }}.md"},
        "owners": ["team:platform"],
    }
    _, defs = loaded(repository_root, translation=translation)
    ride = specs(defs)["features/taxi/ride"]
    assert ride.group_name == "taxi_features"
    assert ride.owners == ["team:platform"]
    assert ride.tags["tier"] == "gold"
    assert ride.tags["domain"] == "rides"
    assert ride.metadata["runbook"] == "ride.md"
    assert ride.metadata["feast_assets/ttl"] == "for ever"
    assert [d.asset_key.to_user_string() for d in ride.deps] == ["features/taxi/sources/rides"]


def test_what_the_views_themselves_decide_cannot_be_translated(repository_root: Path) -> None:
    with pytest.raises(Exception, match="automation_condition is the feature view's own"):
        loaded(repository_root, translation={"automation_condition": "{{ dg.AutomationCondition.eager() }}"})


def test_stores_are_given_as_sections_and_secrets_as_names_of_variables(repository_root: Path) -> None:
    made, _ = loaded(
        repository_root,
        project="elsewhere",
        registry={"path": {"env": "REGISTRY_URL"}, "cache_ttl_seconds": 5},
        online_store={"type": "redis", "connection_string": {"env": "REDIS"}, "key_ttl_seconds": 60},
        offline_store={"type": "duckdb"},
    )
    resource = made.resource(Path("/"))
    assert resource.project == "elsewhere"
    assert resource.registry.path == dg.EnvVar("REGISTRY_URL")
    assert resource.registry.options == {"cache_ttl_seconds": 5}
    assert resource.online_store.connection_string == dg.EnvVar("REDIS")
    assert resource.online_store.section()["key_ttl_seconds"] == 60
    assert resource.offline_store.type == "duckdb"


def test_runs_are_cut_and_pooled_as_the_attributes_say(repository_root: Path) -> None:
    _, defs = loaded(repository_root, max_partitions_per_run=7, pool="ours", profile=False, checks="none")
    (daily,) = [a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition) and a.op.name == "taxi_daily"]
    assert daily.backfill_policy == dg.BackfillPolicy.multi_run(7)
    assert daily.op.pool == "ours"
    assert not list(daily.check_specs)


def test_sources_are_made_by_assets_that_the_attributes_name(repository_root: Path) -> None:
    made = {"rides": "raw/rides", "vehicles": ["raw", "vehicles"]}
    component, defs = loaded(repository_root, source_assets=made)
    assert component.source_assets == made
    found = specs(defs)
    assert "taxi/sources/rides" not in found
    assert dg.AssetKey(["raw", "rides"]) in {dep.asset_key for dep in found["taxi/ride"].deps}
    with pytest.raises(Exception, match="'ridse', which is no data source. Did you mean 'rides'"):
        loaded(repository_root, source_assets={"ridse": "raw/rides"})


def test_a_subclass_decides_how_assets_look(repository_root: Path) -> None:
    @dataclass
    class Ours(FeatureRepoComponent):
        def get_asset_spec(self, data: Any, spec: dg.AssetSpec) -> dg.AssetSpec:
            kind = "view" if isinstance(data, FeatureViewTranslatorData) else "other"
            return super().get_asset_spec(data, spec).replace_attributes(group_name=kind)

    _, defs = loaded(repository_root, Ours)
    found = specs(defs)
    assert (found["taxi/ride"].group_name, found["taxi/sources/rides"].group_name) == ("view", "other")


def test_a_relative_repository_starts_at_the_components_folder(repository_root: Path) -> None:
    made = FeatureRepoComponent(repo_path="../taxi_repo")
    assert made.resource(repository_root.parent / "defs").root == repository_root


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"repo_path": "/nowhere/at/all"}])
def test_wrong_attributes_are_refused(write_repository: Callable[..., Path], wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"colour|/nowhere/at/all"):
        loaded(write_repository(), **wrong)
