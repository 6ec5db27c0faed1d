from __future__ import annotations

from pathlib import Path

import pytest


def _edit(repo: Path, old: str, new: str) -> None:
    definitions = repo / "feature_definitions.py"
    text = definitions.read_text()
    assert old in text
    definitions.write_text(text.replace(old, new))


def test_apply_says_what_it_made(run, repo: Path) -> None:
    lines = run("-c", str(repo), "apply").output.splitlines()
    assert "Applied project taxis" in lines
    for line in (
        "Created entity driver",
        "Created feature view driver_stats",
        "Created on-demand feature view fare_estimate",
        "Created label view driver_reviews",
        "Created feature service trip_pricing_v1",
        "Created online table taxis.driver_stats",
    ):
        assert line in lines


def test_a_second_apply_changes_nothing(run, served_repo: Path) -> None:
    output = run("-c", str(served_repo), "apply").output
    assert "No changes to registry" in output
    assert "No changes to infrastructure" in output


def test_plan_shows_what_apply_would_do_and_does_nothing(run, served_repo: Path) -> None:
    _edit(served_repo, "ttl=timedelta(days=2)", "ttl=timedelta(days=3)")
    first, second = (run("-c", str(served_repo), "plan").output for _ in range(2))
    assert first == second
    assert "Update feature view driver_stats" in first
    assert "ttl: 2 days, 0:00:00 -> 3 days, 0:00:00" in first
    assert "No changes to infrastructure" in first


def test_plan_of_a_new_project_shows_online_tables(run, repo: Path) -> None:
    output = run("-c", str(repo), "plan").output
    assert "Create feature view driver_stats" in output
    assert "Create online table taxis.driver_reviews" in output
    assert "Applied" not in output


def test_apply_removes_what_is_no_longer_defined(run, served_repo: Path) -> None:
    definitions = served_repo / "feature_definitions.py"
    definitions.write_text(definitions.read_text().partition("trip_pricing_v2 =")[0])
    assert "Deleted feature service trip_pricing_v2" in run("-c", str(served_repo), "apply").output
    assert "trip_pricing_v2" not in run("-c", str(served_repo), "feature-services", "list").output


def test_sources_are_not_looked_into_where_that_is_not_wanted(run, repo: Path) -> None:
    """A source whose file lacks a declared column is registered anyway."""
    definitions = repo / "feature_definitions.py"
    text = definitions.read_text()
    definitions.write_text(text.replace('Field(name="acceptance_rate"', 'Field(name="accepted"'))
    assert definitions.read_text() != text
    assert "'accepted' is not a column" in run("-c", str(repo), "plan", exit_code=1).stderr
    assert "'accepted' is not a column" in run("-c", str(repo), "apply", exit_code=1).stderr
    run("-c", str(repo), "plan", "--skip-source-validation")
    run("-c", str(repo), "apply", "--skip-source-validation", "--no-progress")


def test_functions_of_on_demand_views_are_tried_unless_that_is_not_wanted(run, repo: Path) -> None:
    (repo / "broken.py").write_text(
        "from feast_assets import Field, Float64, RequestSource, on_demand_feature_view\n"
        "@on_demand_feature_view(sources=[RequestSource(name='r', schema=[Field(name='x', dtype=Float64)])],\n"
        "                        schema=[Field(name='y', dtype=Float64)], mode='python')\n"
        "def broken(inputs):\n"
        "    return {'z': inputs['x']}\n"
    )
    refused = run("-c", str(repo), "apply", exit_code=1).stderr
    assert "did not return feature 'y'" in refused
    assert "--skip-feature-view-validation" in refused
    run("-c", str(repo), "plan", "--skip-feature-view-validation")
    run("-c", str(repo), "apply", "--skip-feature-view-validation")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('join_keys=["driver_id"]', 'join_keys=["driver_id", "x"]', "a list of one column name"),
        ('name="trip_pricing_v2"', 'name="trip_pricing_v1"', "trip_pricing_v1"),
        ('name="driver_reviews",', 'name="Driver_Stats",', "Driver_Stats"),
        ("from datetime import timedelta", "from datetime import timedelta\nimport no_such_module", "no_such_module"),
    ],
)
def test_a_wrong_definition_is_one_line_and_changes_nothing(run, repo: Path, old, new, message) -> None:
    _edit(repo, old, new)
    result = run("-c", str(repo), "apply", exit_code=1)
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert run("-c", str(repo), "entities", "list").output.splitlines()[1:] == []


def test_teardown_removes_the_project_without_asking_and_leaves_the_data(run, served_repo: Path) -> None:
    assert "Removed project taxis" in run("-c", str(served_repo), "teardown").output
    assert run("-c", str(served_repo), "feature-views", "list").output.splitlines()[1:] == []
    assert (served_repo / "data" / "driver_stats.parquet").is_file()


def test_teardown_can_be_run_again(run, served_repo: Path) -> None:
    for _ in range(2):
        assert "Removed project taxis" in run("-c", str(served_repo), "teardown").output
        assert "driver_stats" not in run("-c", str(served_repo), "feature-views", "list").output
    run("-c", str(served_repo), "apply")
    assert "driver_stats" in run("-c", str(served_repo), "feature-views", "list").output


def test_teardown_refuses_a_protected_project(run, served_repo: Path) -> None:
    _edit(served_repo, "project = Project(", 'project = Project(tags={"feast.dev/protected-project": "true"}, ')
    run("-c", str(served_repo), "apply")
    result = run("-c", str(served_repo), "teardown", exit_code=1)
    assert "'taxis' is protected" in result.stderr
    assert "feast.dev/protected-project" in result.stderr
    assert "driver_stats" in run("-c", str(served_repo), "feature-views", "list").output
