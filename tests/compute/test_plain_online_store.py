"""A project on an online store without any ability: what works anyway, and what is said of the rest."""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_project import START, SmallProject, hours, row

from feast_assets import Aggregation, BatchFeatureView, Entity, PushMode, PushSource
from feast_assets.cli.main import cli
from feast_assets.definitions.window import Window

sys.path.insert(0, str(Path(__file__).parents[1] / "testing"))

from plain_online_store import PlainStore

SECTION = {"type": "plain_online_store.PlainStore"}
END = hours(96)
ROWS = [row(1, 1, 10), row(2, 2, 20), row(1, 30, 11), row(3, 31, 30)]


@pytest.fixture
def project(tmp_path):
    made = SmallProject(tmp_path, online_store=SECTION)
    made.write(ROWS)
    made.apply()
    yield made
    made.close()


def day(number: int) -> Window:
    return Window(START + timedelta(days=number), START + timedelta(days=number + 1))


def test_rows_are_materialized_and_served_and_not_counted(project):
    (result,) = project.store.materialize_incremental(END)
    assert isinstance(project.store.online_store, PlainStore)
    assert (result.written, result.ignored) == (None, None)
    assert [(w.entities, w.written, w.ignored) for w in result.windows] == [(1, None, None), (2, None, None)]
    assert project.trips([1, 2, 3, 4]) == [11, 20, 30, None]
    (again,) = project.store.materialize_incremental(END)
    assert again.windows == ()


def test_older_windows_run_later_keep_the_newer_rows(project):
    project.store.materialize_windows("stats", [day(1)])
    project.store.materialize_windows("stats", [day(0)])
    assert project.trips([1, 2, 3]) == [11, 20, 30]


def test_a_row_that_the_store_lost_comes_back_and_no_older_one(project):
    project.store.materialize_incremental(END)
    online = project.store.online_store
    online._run("DELETE FROM stored")
    project.store.materialize_windows("stats", [day(0)])
    assert project.trips([1, 2, 3]) == [11, 20, None]


def test_a_pushed_row_is_served(project):
    project.store.materialize_incremental(END)
    source = project.view().batch_source
    project.apply(source=PushSource(name="live", batch_source=source))
    rows = {"driver_id": [1, 2], "trips": [100, 200], "city": ["p", "p"], "ts": [hours(95), hours(1)]}
    project.store.push("live", rows, to=PushMode.ONLINE)
    assert project.trips([1, 2]) == [100, 20]


def test_rows_that_the_source_has_lost_stay_with_a_warning_until_newer_ones_come(project):
    project.store.materialize_incremental(END)
    project.write([r for r in ROWS if r["driver_id"] != 3])
    with pytest.warns(UserWarning, match=r"1 window may have had rows.*cannot find such rows.*CanReplace"):
        project.store.materialize_incremental(END)
    assert project.trips([1, 2, 3]) == [11, 20, 30]
    # It is said once: the window is settled.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = project.store.materialize_incremental(END)
    assert result.windows == ()
    project.write([*ROWS[:3], row(3, 50, 31)])
    project.store.materialize_incremental(END)
    assert project.trips([3]) == [31]


def test_the_warning_also_comes_for_windows_of_time(project):
    view = BatchFeatureView(
        name="windows",
        entities=[Entity(name="driver", join_keys=["driver_id"])],
        source=project.view().batch_source,
        aggregations=[Aggregation("trips", "sum", timedelta(days=1))],
        online=True,
    )
    project.store.apply(view)
    project.store.materialize_incremental(END, feature_views=["windows"])
    project.write([r for r in ROWS if r["driver_id"] != 3])
    with pytest.warns(UserWarning, match=r"1 window may have had rows.*cannot find such rows.*CanReplace"):
        project.store.materialize_incremental(END, feature_views=["windows"])


def test_the_remedy_that_the_warning_names_removes_them(project):
    project.store.materialize_incremental(END)
    project.write([r for r in ROWS if r["driver_id"] != 3])
    with pytest.warns(UserWarning, match="delete the feature view and apply"):
        project.store.materialize_incremental(END)
    project.store.apply([], objects_to_delete=[project.store.get_feature_view("stats")], partial=False)
    project.apply()
    project.store.materialize_incremental(END)
    assert project.trips([1, 2, 3]) == [11, 20, None]


def test_an_audit_says_that_it_took_entities_from_history_alone(project):
    project.store.materialize_incremental(END)
    report = project.store.audit()
    assert report.mismatches == ()
    assert [view.online_sampled for view in report.views] == [False]
    (limit,) = report.limits
    assert "cannot sample its keys" in limit and "stats" in limit
    assert limit in str(report) and report.to_dict()["limits"] == [limit]


def test_a_registry_that_was_put_back_is_noticed(project, tmp_path):
    project.store.materialize_incremental(END)
    backup = (tmp_path / "registry.db").read_bytes()
    project.write([*ROWS, row(4, 60, 40)])
    project.store.materialize_incremental(END)
    project.close()
    (tmp_path / "registry.db").write_bytes(backup)
    for end in ("-wal", "-shm"):
        (tmp_path / f"registry.db{end}").unlink(missing_ok=True)
    again = SmallProject(tmp_path, online_store=SECTION)
    with pytest.warns(UserWarning, match="not of this registry"):
        (result,) = again.store.materialize_incremental(END)
    assert len(result.windows) == 3
    assert again.trips([1, 2, 3, 4]) == [11, 20, 30, 40]
    again.close()


def test_the_command_line_shows_that_rows_were_not_counted(project, tmp_path):
    (tmp_path / "feature_store.yaml").write_text(
        "project: small\nregistry: registry.db\nprovider: local\nonline_store: {type: plain_online_store.PlainStore}\n"
    )
    run = CliRunner().invoke(cli, ["-c", str(tmp_path), "materialize-incremental", END.isoformat()])
    assert run.exit_code == 0, run.output
    line = next(line for line in run.output.splitlines() if line.startswith("stats "))
    assert line.split()[:4] == ["stats", "2", "4", "-"]
