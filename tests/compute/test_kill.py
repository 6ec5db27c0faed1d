"""kill -9 in apply, materialize and push: the invariants hold, and the same call again reaches the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_project import SmallProject, hours, row

from feast_assets import PushMode, PushSource

ROWS = [row(1, 1, 10), row(2, 2, 20), row(1, 30, 11), row(3, 50, 30), row(2, 70, 21)]
NEWEST = [None, 11, 21, 30, None, None]
PUSHED = [None, 100, 200, 30, None, None]


def killed(root: Path, point: str, call: str) -> None:
    """Does a call in a process of its own that dies at a point."""
    script = Path(__file__).with_name("killed_call.py")
    done = subprocess.run(
        [sys.executable, str(script), str(root), point, call], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


@pytest.fixture
def pushed(project):
    project.write(ROWS)
    project.apply(source=PushSource(name="live", batch_source=project.view().batch_source))
    return project


@pytest.mark.parametrize(
    "point",
    [
        "before claim",
        "after claim",
        "before advance",
        "after advance",
        "before put",
        "in put",
        "after put",
        "before settle",
        "after settle",
    ],
)
def test_a_killed_materialization_is_finished_by_the_next(pushed, point):
    killed(pushed.root, point, "materialize")
    seen = pushed.trips()
    assert seen in ([None] * 6, NEWEST), "a transaction of the embedded store is whole"
    settled = [e for e in pushed.store.registry.ledger("stats") if e.settled and e.fingerprint]
    assert not settled or seen == NEWEST, "what the ledger says is in the store"
    pushed.store.materialize_incremental(hours(96))
    assert pushed.trips() == NEWEST
    assert pushed.store.materialize_incremental(hours(96))[0].windows == ()


@pytest.mark.parametrize("point", ["before setup", "after setup", "before commit", "after commit"])
def test_a_killed_apply_happened_or_did_not(pushed, point):
    pushed.store.materialize_incremental(hours(96))
    revision = pushed.store.registry.revision()
    killed(pushed.root, point, "apply")
    pushed.store.refresh_registry()
    names = [v.name for v in pushed.store.list_feature_views()]
    happened = pushed.store.registry.revision() > revision
    assert happened == (point == "after commit")
    assert names == (["other", "stats"] if happened else ["stats"])
    assert pushed.trips() == NEWEST, "other views are untouched"
    again = SmallProject(pushed.root)
    again.apply(name="other", description="second")
    assert [v.name for v in again.store.list_feature_views()] == ["other", "stats"]
    assert again.store.get_online_features(["other:trips"], {"driver_id": [1]}).to_dict()["trips"] == [None]
    again.close()


@pytest.mark.parametrize("point", ["before commit", "after commit", "before drop", "after drop"])
def test_a_killed_delete_never_brings_old_rows_back(pushed, point):
    pushed.store.materialize_incremental(hours(96))
    killed(pushed.root, point, "delete")
    pushed.store.refresh_registry()
    if point == "before commit":
        assert pushed.trips() == NEWEST
        return
    assert pushed.store.list_feature_views() == []
    pushed.apply()
    assert pushed.trips() == [None] * 6
    pushed.store.materialize_incremental(hours(96))
    assert pushed.trips() == NEWEST


@pytest.mark.parametrize(
    "point",
    ["before note", "after note", "before write", "after write", "before put", "in put", "after put", "before forget"],
)
def test_a_killed_push_is_whole_after_the_next_use_and_can_be_repeated(pushed, point):
    pushed.store.materialize_incremental(hours(96))
    killed(pushed.root, point, "push")
    pushed.store.materialize_incremental(hours(96))
    happened = point != "before note"
    assert pq.read_table(pushed.path).num_rows - len(ROWS) == (2 if happened else 0)
    assert pushed.trips() == (PUSHED if happened else NEWEST)
    assert pushed.store.list_unfinished_pushes() == []
    rows = {"driver_id": [1, 2], "trips": [100, 200], "city": ["p", "p"], "ts": [hours(95), hours(95)]}
    for _ in range(2):
        pushed.store.push("live", rows, to=PushMode.ONLINE_AND_OFFLINE)
        assert pq.read_table(pushed.path).num_rows == len(ROWS) + 2
        assert pushed.trips() == PUSHED
    pushed.store.materialize_incremental(hours(96))
    assert pushed.trips() == PUSHED


def test_a_killed_change_of_join_keys_leaves_the_old_rows_or_none(pushed):
    """The rows of the old keys are served until the new keys are registered, and never as theirs."""
    pushed.store.materialize_incremental(hours(96))
    for point in ("after setup", "before commit"):
        killed(pushed.root, point, "other keys")
        pushed.store.refresh_registry()
        assert pushed.trips() == NEWEST
        assert pushed.store.materialize_incremental(hours(96))[0].windows == ()
    killed(pushed.root, "after commit", "other keys")
    pushed.store.refresh_registry()
    read = pushed.store.get_online_features(["stats:city"], {"trips": [1, 2, 10, 11]}).to_dict()
    assert read["city"] == [None] * 4
    pushed.store.materialize_incremental(hours(96))
    read = pushed.store.get_online_features(["stats:city"], {"trips": [1, 2, 10, 11]}).to_dict()
    assert read["city"] == [None, None, "x", "x"]
