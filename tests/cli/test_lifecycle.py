"""Commands that change single registered objects."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from feast_assets import FeatureStore


def test_a_view_is_disabled_and_enabled(run, served_repo: Path) -> None:
    def views(*arguments: str, exit_code: int = 0) -> str:
        return run("-c", str(served_repo), "feature-views", *arguments, exit_code=exit_code).output

    read = ["get-online-features", "-e", "driver_id=1001", "-f", "driver_stats:trips_today"]
    assert "already enabled" in views("enable", "driver_stats")
    assert "has been disabled" in views("disable", "driver_stats")
    assert "already disabled" in views("disable", "driver_stats")
    assert "disabled" in run("-c", str(served_repo), *read, exit_code=1).stderr
    assert "has been enabled" in views("enable", "driver_stats")
    run("-c", str(served_repo), *read)
    assert run("-c", str(served_repo), "feature-views", "disable", "nobody", exit_code=1).stderr.count("\n") == 1


def test_a_view_gets_a_state(run, served_repo: Path) -> None:
    command = ["-c", str(served_repo), "feature-views", "set-state", "driver_stats"]
    assert "is in state CREATED" in run(*command, "created").output
    assert "already in state CREATED" in run(*command, "CREATED").output
    assert "GENERATED follows it" in run(*command, "available_online", exit_code=1).stderr
    assert "is not one of" in run(*command, "finished", exit_code=2).stderr


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["trip_pricing_v1"], ["feature service"]),
        (["trip_pricing_v1", "trip_pricing_v2", "fare_estimate"], ["feature service"] * 2 + ["on-demand feature view"]),
    ],
)
def test_objects_are_deleted_by_name(run, served_repo: Path, names, kinds) -> None:
    for name, kind in zip(names, kinds, strict=True):
        assert run("-c", str(served_repo), "delete", name).output == f"Deleted {kind} {name}\n"
        assert "nothing was deleted" in run("-c", str(served_repo), "delete", name).output


def test_of_a_view_and_its_source_of_the_same_name_the_view_is_deleted_first(run, served_repo: Path) -> None:
    with closing(FeatureStore(served_repo)) as store:
        view = store.get_feature_view("driver_stats")
        view.name = view.batch_source.name = "same_name"
        store.apply([view])
    command = ["-c", str(served_repo), "delete", "same_name"]
    assert run(*command).output == "Deleted feature view same_name\n"
    assert run(*command).output == "Deleted data source same_name\n"


def test_what_is_used_is_not_deleted(run, served_repo: Path) -> None:
    assert "cannot be deleted" in run("-c", str(served_repo), "delete", "driver", exit_code=1).stderr


def test_a_project_is_deleted_only_when_that_is_confirmed(run, served_repo: Path) -> None:
    command = ["-c", str(served_repo), "projects", "delete", "taxis"]
    run(*command, exit_code=1)
    assert "taxis" in run("-c", str(served_repo), "projects", "list").output
    assert run(*command, "-y").output == "Deleted project taxis\n"
    assert "taxis" not in run("-c", str(served_repo), "projects", "list").output


def test_versions_are_listed_and_kept_without_promotion(run, served_repo: Path) -> None:
    def versions() -> list[tuple[str, bool]]:
        output = run("-c", str(served_repo), "feature-views", "list-versions", "ratings", "-o", "json").output
        return [(record["version"], record["in_use"]) for record in json.loads(output)]

    def declare(*features: str) -> None:
        schema = ", ".join(f"Field(name={feature!r}, dtype=Float32)" for feature in features)
        (served_repo / "more.py").write_text(
            "from feast_assets import FeatureView, Field, Float32\n"
            "from feature_definitions import driver, driver_stats_source\n"
            f"ratings = FeatureView(name='ratings', source=driver_stats_source, entities=[driver], schema=[{schema}])\n"
        )

    declare("rating")
    run("-c", str(served_repo), "apply")
    assert versions() == [("v0", True)]
    declare("rating", "acceptance_rate")
    assert "No changes to registry" in run("-c", str(served_repo), "apply", "--no-promote").output
    assert versions() == [("v0", True), ("v1", False)]
    one = ["materialize-incremental", "2030-01-01", "--version", "v1"]
    assert "just one view" in run("-c", str(served_repo), *one, exit_code=1).stderr
    shared = ["materialize", "2024-01-01", "2030-01-01", "-v", "ratings", "--version", "v1"]
    assert "enable_online_feature_view_versioning" in run("-c", str(served_repo), *shared, exit_code=1).stderr
    run("-c", str(served_repo), "apply")
    assert versions() == [("v0", False), ("v1", False), ("v2", True)]
