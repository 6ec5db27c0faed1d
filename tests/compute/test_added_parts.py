"""Where parts were only added to a window, their rows are put and no others, and online still equals a full run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import CREATED_SCHEMA, START, SmallProject, hours, row

from feast_assets import FileSource, Partitions
from feast_assets.compute.online_rows import OnlineRows
from feast_assets.compute.plan_run import PlanRun
from feast_assets.errors import StoreUnavailableError
from feast_assets.online_stores.abilities import CanEvict
from feast_assets.online_stores.sqlite.store import SqliteOnlineStore
from feast_assets.registry.base import WindowContent

END = START + timedelta(days=5)


class EvictingStore(SqliteOnlineStore, CanEvict):
    """A store that may lose rows."""

    def evicts(self) -> str:
        return "any"

    def evicts_marks(self) -> bool:
        return False


class Watched:
    """A project over a folder of files, and what its runs put and read.

    Attributes:
        put: of each put, how many rows were given.
        scans: how often the online table was looked through for withdrawn rows.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch, **view: Any):
        # Files of a test are young. They are kept all the same, and each edit makes another file.
        patch.setattr("feast_assets.offline_stores.parts.SETTLED_NANOS", 0)
        self.project = SmallProject(root, created=True)
        self.folder = root / "rows"
        self.folder.mkdir()
        self.source = FileSource(
            name="s", path="rows/*.parquet", timestamp_field="ts", created_timestamp_column="created"
        )
        self.project.apply(source=self.source, **{"partitions": Partitions("daily", START), **view})
        self.put: list[int] = []
        self.scans = 0
        store = self.project.store.online_store
        scan = store.scan

        def counted(put: Any) -> Any:
            def counted_put(table: str, batches: Any) -> Any:
                given = list(batches)
                self.put.append(sum(map(len, given)))
                return put(table, given)

            return counted_put

        def counted_scan(*arguments: Any, **more: Any) -> Any:
            self.scans += 1
            return scan(*arguments, **more)

        patch.setattr(store, "put_many", counted(store.put_many))
        patch.setattr(store, "put_existing", counted(store.put_existing))
        patch.setattr(store, "scan", counted_scan)

    def write(self, name: str, rows: list[dict[str, Any]]) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, CREATED_SCHEMA), path)

    def run(self) -> None:
        self.put.clear()
        self.scans = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.project.store.materialize_incremental(END)

    def stale(self) -> list[str]:
        return [each.reason for each in self.project.store.stale_windows("stats", END)]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    made = Watched(tmp_path, monkeypatch)
    made.write("a.parquet", [row(driver, driver, driver) for driver in range(5)])
    made.write("b.parquet", [row(driver, 24 + driver, 10 + driver) for driver in range(2)])
    made.run()
    yield made
    made.project.close()


def test_only_the_rows_of_an_added_file_are_put_and_none_is_looked_for(watched: Watched) -> None:
    watched.write("c.parquet", [row(3, 5, 33), row(4, 1, 44), row(5, 2, 55)])
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 33, 4, 55]
    assert watched.put == [3, 1]  # one of them is of an entity that the store lacks
    assert watched.scans == 0
    assert watched.stale() == []


def test_a_tick_that_read_the_file_before_changes_nothing(watched: Watched) -> None:
    watched.write("c.parquet", [row(3, 5, 33)])
    assert watched.stale() == ["changed"]
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 33, 4, None]
    assert watched.put == [1]
    assert watched.scans == 0


def test_a_view_without_partitions_puts_only_what_was_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Watched(tmp_path, monkeypatch, partitions=None)
    made.write("a.parquet", [row(driver, driver, driver) for driver in range(5)])
    made.run()
    assert made.put == [5]
    made.write("b.parquet", [row(0, 50, 100), row(1, 0, 101)])
    made.run()
    assert (made.put, made.scans) == ([2], 0)
    assert made.project.trips() == [100, 1, 2, 3, 4, None]
    made.project.close()


def test_what_was_added_and_something_else_is_a_full_run(watched: Watched) -> None:
    watched.write("c.parquet", [row(3, 5, 33)])
    watched.write("a.parquet", [row(driver, driver, driver) for driver in range(4)])
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 33, None, None]
    assert watched.scans == 1


def test_an_added_file_that_goes_again_takes_its_rows_with_it(watched: Watched) -> None:
    before = watched.project.online()
    watched.write("c.parquet", [row(3, 5, 33), row(5, 5, 55)])
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 33, 4, 55]
    (watched.folder / "c.parquet").unlink()
    watched.run()
    assert watched.project.online() == before


def test_rows_that_tie_with_stored_ones_are_decided_by_their_content(watched: Watched) -> None:
    """As in history, and not by which of them was put later."""
    watched.write("c.parquet", [row(2, 2, 1), row(3, 3, 9), row(5, 2, 55)])
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 9, 4, 55]
    assert watched.stale() == []


@pytest.mark.parametrize("is_full", [False, True])
def test_a_pushed_row_that_ties_gives_way_to_what_a_full_run_puts(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    import pandas as pd

    pushed = pd.DataFrame([row(3, 3, 7, created=hours(1))])
    watched.write("a.parquet", [row(driver, driver, driver, created=hours(1)) for driver in range(5)])
    watched.run()
    watched.project.store.write_to_online_store("stats", pushed)
    assert watched.project.trips()[3] == 7
    watched.write("c.parquet", [row(3, 3, 2, created=hours(1))])
    if is_full:
        monkeypatch.setattr(PlanRun, "_find_added", lambda run: {})
    watched.run()
    assert watched.project.trips()[3] == 3


def down(*_: object, **__: object) -> None:
    raise StoreUnavailableError("The store is down.")


@pytest.mark.parametrize("call", ["registry.settle", "online_store.put_existing"])
def test_a_run_that_breaks_off_is_followed_by_a_full_one(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    watched.write("c.parquet", [row(3, 5, 33), row(5, 5, 55)])
    owner, _, name = call.partition(".")
    with monkeypatch.context() as breaking:
        breaking.setattr(getattr(watched.project.store, owner), name, down)
        with pytest.raises(StoreUnavailableError):
            watched.run()
    (watched.folder / "c.parquet").unlink()
    watched.run()
    assert watched.project.trips() == [10, 11, 2, 3, 4, None]
    assert watched.stale() == []


def test_a_claim_of_another_run_in_between_makes_a_full_run(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan was made when the window was settled; the claim says that it is not any more."""
    watched.write("c.parquet", [row(3, 5, 33)])
    find = PlanRun._find_added

    def meets(run: PlanRun) -> Any:
        added = find(run)
        assert added
        entry = watched.project.store.registry.ledger("stats")[0]
        content = WindowContent(entry.window, "another", entry.definition_hash)
        watched.project.store.registry.claim("stats", [content], run_id="another")
        return added

    monkeypatch.setattr(PlanRun, "_find_added", meets)
    watched.run()
    assert max(watched.put) >= 5
    assert watched.project.trips() == [10, 11, 2, 33, 4, None]


def lose(project: SmallProject, driver: int) -> None:
    """Removes a driver's row from the online store, as an eviction does."""
    store, view = project.store.online_store, project.store.get_feature_view("stats")
    assert isinstance(store, SqliteOnlineStore)
    keys = store.sample_keys(view.online_table("small"), 10, 1)
    (key,) = [k for k in keys if OnlineRows(view).decode_keys([k]).column(0)[0].as_py() == driver]
    with store._pool.writing() as connection:
        ((table,),) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'rows_%'")
        connection.execute(f'DELETE FROM "{table}" WHERE key = ?', (key,))


def test_a_store_that_may_have_lost_rows_gets_the_newest_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Watched(tmp_path, monkeypatch)
    made.write("a.parquet", [row(driver, driver, driver) for driver in range(5)])
    made.run()
    made.project.store.online_store.__class__ = EvictingStore
    lose(made.project, driver=3)
    assert made.project.trips() == [0, 1, 2, None, 4, None]
    made.write("b.parquet", [row(3, 1, 33), row(5, 1, 55)])
    made.run()
    assert made.project.trips() == [0, 1, 2, 3, 4, 55]
    assert made.scans == 0
    made.project.close()


_ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 9), st.sampled_from([None, 1.0])), max_size=4
)
_EDITS = st.lists(st.tuples(st.sampled_from("aaabcde"), st.booleans(), _ROWS), min_size=2, max_size=6)


@settings(deadline=None, max_examples=8)
@given(_EDITS)
def test_online_equals_one_full_run_however_the_files_came(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, bool, Any]]
) -> None:
    """Few keys, times and values, so that rows tie in everything but their content all the time."""
    with pytest.MonkeyPatch.context() as patch:
        made = Watched(tmp_path_factory.mktemp("grown"), patch)
        made.write("z.parquet", [row(5, 1, 5)])  # a source without any file would be gone
        for step, (name, is_removal, of_rows) in enumerate(edits):
            name = f"{name}{step if name == 'a' else ''}.parquet"
            if is_removal and name != "a" and (made.folder / name).exists():
                (made.folder / name).unlink()
            else:
                made.write(
                    name,
                    [
                        row(driver, 12.0 * hour, trips, created=None if at is None else START + timedelta(hours=at))
                        for driver, hour, trips, at in of_rows
                    ],
                )
            if step % 2:
                made.stale()
            made.run()
        online = made.project.online()
        assert made.stale() == []
        patch.setattr(PlanRun, "_find_added", lambda run: {})
        root = made.project.root / "fresh"
        root.mkdir()
        (root / "rows").symlink_to(made.folder)
        fresh = SmallProject(root, created=True)
        fresh.apply(source=made.source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            fresh.store.materialize_incremental(END)
        assert online == fresh.online()
        fresh.close()
        made.project.close()


def test_windows_that_are_asked_for_by_their_times_are_put_whole(watched: Watched) -> None:
    """As somebody may ask for them because the store has lost rows."""
    watched.write("c.parquet", [row(3, 5, 33)])
    lose(watched.project, driver=2)
    watched.put.clear()
    watched.project.store.materialize(START, START + timedelta(hours=23))
    assert max(watched.put) >= 5
    assert watched.project.trips() == [10, 11, 2, 33, 4, None]
