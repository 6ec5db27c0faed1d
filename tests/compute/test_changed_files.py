"""Whatever happens to the files of a source, and wherever a run ends: the next run makes online equal history."""

from __future__ import annotations

import contextlib
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from edited_files import START, Edits, Files, as_parquet, edit, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from small_project import SmallProject

from feast_assets import FileSource, Partitions
from feast_assets.errors import SourceError

END = START + timedelta(days=30)


class Broken(Exception):
    """A process ends here."""


def newest_trips(files: Files) -> dict[int, int]:
    """Returns each driver's trips in the row with the latest time, found by looking at every row of every file."""
    newest: dict[int, dict[str, Any]] = {}
    for path in files.names():
        for row in pq.read_table(path).to_pylist():
            driver = row["driver_id"]
            if driver is None or row["ts"] is None:
                continue
            if driver not in newest or row["ts"] > newest[driver]["ts"]:
                newest[driver] = row
            assert row is newest[driver] or row["ts"] != newest[driver]["ts"], "rows that tie"
    return {driver: int(row["trips"]) for driver, row in newest.items()}


def ends(call: str, *, after: bool, project: SmallProject, patch: pytest.MonkeyPatch) -> None:
    """Has a call of a store end the run, before or after what it does."""
    owner, _, name = call.partition(".")
    store = getattr(project.store, owner)
    verb = getattr(store, name)

    def broken(*arguments: object, **more: object) -> object:
        if after:
            verb(*arguments, **more)
        raise Broken

    patch.setattr(store, name, broken)


CALLS = ["registry.keep_part_statistics", "registry.settle", "offline_store.summarize_parts", "online_store.put_many"]
Crashes = st.dictionaries(st.integers(0, 6), st.tuples(st.sampled_from(CALLS), st.booleans()), max_size=3)


@settings(max_examples=10)
@given(edits=Edits, crashes=Crashes)
def test_online_equals_history_after_any_edits_of_files_and_runs_that_broke_off(
    tmp_path_factory: pytest.TempPathFactory,
    edits: list[tuple[str, int, bool]],
    crashes: dict[int, tuple[str, bool]],
) -> None:
    project = SmallProject(tmp_path_factory.mktemp("edited"))
    files = Files(project.root / "rows", ".parquet", as_parquet)
    files.write(files.path(0), rows(0, 20))
    files.write(files.path(1), rows(1, 20))
    project.apply(
        source=FileSource(name="s", path="rows/*.parquet", timestamp_field="ts"), partitions=Partitions("daily")
    )
    for step, (operation, number, in_place) in enumerate(edits):
        edit(files, operation, number, step + 2, in_place=in_place)
        if step in crashes:
            with pytest.MonkeyPatch.context() as breaking, contextlib.suppress(Broken):
                call, after = crashes[step]
                ends(call, after=after, project=project, patch=breaking)
                silently(project)
        silently(project)
        expected = newest_trips(files)
        assert project.trips(range(4)) == [expected.get(driver) for driver in range(4)]
        assert project.store.stale_windows("stats", END) == []
    project.close()


def silently(project: SmallProject) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        project.store.materialize_incremental(END)


def test_a_source_that_lost_its_columns_is_named(tmp_path: Path) -> None:
    project = SmallProject(tmp_path)
    files = Files(tmp_path / "rows", ".parquet", as_parquet)
    files.write(files.path(0), rows(0, 20))
    project.apply(source=FileSource(name="s", path="rows/*.parquet", timestamp_field="ts"))
    silently(project)
    files.write(files.path(0), pa.table({"driver_id": [1], "ts": [START]}))
    with pytest.raises(SourceError, match="trips"):
        silently(project)
    project.close()
