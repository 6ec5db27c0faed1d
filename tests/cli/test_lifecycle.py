"""Commands that change single registered objects."""

from __future__ import annotations

from pathlib import Path

import pytest


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


def test_what_is_used_is_not_deleted(run, served_repo: Path) -> None:
    assert "cannot be deleted" in run("-c", str(served_repo), "delete", "driver", exit_code=1).stderr


def test_a_project_is_deleted_only_when_that_is_confirmed(run, served_repo: Path) -> None:
    command = ["-c", str(served_repo), "projects", "delete", "taxis"]
    run(*command, exit_code=1)
    assert "taxis" in run("-c", str(served_repo), "projects", "list").output
    assert run(*command, "-y").output == "Deleted project taxis\n"
    assert "taxis" not in run("-c", str(served_repo), "projects", "list").output
