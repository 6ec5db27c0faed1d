"""Statistics that are added up from kept parts are those of a full reading, whatever happens to the files."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import deltalake
import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from edited_files import SCHEMA, START, Edits, Files, as_csv, as_parquet, edit, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import (
    CsvFormat,
    DeltaFormat,
    Field,
    FileSource,
    Int64,
    ParquetFormat,
    Partitions,
    String,
)
from feast_assets.compute.results import PartCounts
from feast_assets.compute.source_statistics import (
    PartStatistics,
    SourceStatistics,
    StoreStatistics,
    statistics_digest,
)
from feast_assets.definitions.transformation import Transformation
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import SourceError, StoreUnavailableError
from feast_assets.offline_stores import parts
from feast_assets.offline_stores.base import History, whole_source
from feast_assets.offline_stores.duckdb import files as duckdb_files
from feast_assets.offline_stores.duckdb import read_parts
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry

DAILY = Partitions("daily")


def view_of(source: FileSource) -> History:
    return History(
        view="v",
        sources=(source,),
        join_keys=(Field(name="driver_id", dtype=Int64),),
        features=(Field(name="trips", dtype=Int64), Field(name="city", dtype=String)),
        timestamp_field="ts",
    )


def computed_from(*sources: FileSource) -> History:
    return History(
        view="c",
        sources=sources,
        join_keys=(Field(name="driver_id", dtype=Int64),),
        features=(Field(name="trips", dtype=Int64),),
        timestamp_field="ts",
        transformation=Transformation("sql", lambda rows: f"SELECT * FROM {rows}"),
        lookback=timedelta(hours=30),
    )


class Project:
    """A store and a registry, and what is asked of them."""

    def __init__(self, root: Path):
        self.root = root
        self.store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), root)
        self.registry = SqlRegistry(SqlRegistryConfig(path="registry.db"), root, "p")

    def statistics(self, history: History, grid: Partitions | None = DAILY) -> SourceStatistics:
        return SourceStatistics(self.store, self.registry, history, grid)

    def check(self, history: History, grid: Partitions | None = DAILY, *, briefly: bool = False) -> SourceStatistics:
        """Asserts that what is added up is what a full reading tells, in whole windows and in parts of windows."""
        full = StoreStatistics(self.store, history, grid)
        statistics = self.statistics(history, grid)
        added = statistics.all_rows()
        assert statistics.counts is not None, "the parts were not used"
        if briefly:
            assert added.survey_grid(ALWAYS) == full.survey_grid(ALWAYS)
            return statistics
        assert added.oldest_event() == full.oldest_event()
        cuts = [Window(START + timedelta(hours=a), START + timedelta(hours=b)) for a, b in ((0, 24), (30, 31), (7, 60))]
        for windows in ([], [ALWAYS, *cuts]):
            assert added.survey(windows).windows == full.survey(windows).windows
        assert added.survey([ALWAYS]).null_times == full.survey([ALWAYS]).null_times
        if grid is not None:
            for span in (ALWAYS, Window(START + timedelta(hours=3), START + timedelta(hours=50, minutes=30))):
                assert added.survey_grid(span).windows == full.survey_grid(span).windows
        return statistics


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.registry.close()


class Broken(Exception):
    """A process ends here."""


def crashing(registry: SqlRegistry, *, after: bool) -> Callable[..., None]:
    """Returns what ends a run before, or after, the registry has kept what was read."""
    keep = registry.keep_part_statistics

    def crash(*args: object, **more: object) -> None:
        if after:
            keep(*args, **more)
        raise Broken

    return crash


@pytest.mark.parametrize(
    ("suffix", "write"),
    [pytest.param(".parquet", as_parquet, id="parquet"), pytest.param(".csv", as_csv, id="csv")],
)
@settings(max_examples=8)
@given(edits=Edits, crashes=st.sets(st.integers(0, 6)), after=st.booleans())
def test_fingerprints_stay_those_of_a_full_reading_whatever_happens_to_files(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    write: Callable[[pa.Table, Path], None],
    edits: list[tuple[str, int, bool]],
    crashes: set[int],
    after: bool,
) -> None:
    project = Project(tmp_path_factory.mktemp("edited"))
    files = Files(project.root / "rows", suffix, write)
    files.write(files.path(0), rows(0, 20))
    files.write(files.path(1), rows(1, 20))
    source = FileSource(name="s", path=f"rows/*{suffix}", timestamp_field="ts")
    histories = [view_of(source), computed_from(source)] if suffix == ".parquet" else [view_of(source)]
    for history in histories:
        project.check(history, briefly=True)
    for seed, (operation, number, in_place) in enumerate(edits, 2):
        edit(files, operation, number, seed, in_place=in_place)
        if seed - 2 in crashes:
            with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Broken):
                patch.setattr(project.registry, "keep_part_statistics", crashing(project.registry, after=after))
                project.statistics(histories[seed % len(histories)]).all_rows()
        for history in histories:
            project.check(history, briefly=True)
    statistics = project.check(histories[0])
    assert statistics.counts is not None
    assert (statistics.counts.new, statistics.counts.changed, statistics.counts.gone) == (0, 0, 0)
    project.registry.close()


DeltaEdits = st.lists(
    st.sampled_from(("append", "delete", "overwrite", "compact", "merge", "widen", "restore")), min_size=1, max_size=6
)


@settings(max_examples=6)
@given(edits=DeltaEdits)
def test_fingerprints_of_a_delta_table_stay_those_of_a_full_reading(
    tmp_path_factory: pytest.TempPathFactory, edits: list[str]
) -> None:
    project = Project(tmp_path_factory.mktemp("delta"))
    path = str(project.root / "table")
    for seed in range(3):
        deltalake.write_deltalake(path, rows(seed, 15), mode="append")
    source = FileSource(name="s", path="table", file_format=DeltaFormat(), timestamp_field="ts")
    histories = [view_of(source), computed_from(source)]
    for seed, operation in enumerate(["append", *edits], 10):
        table = deltalake.DeltaTable(path)
        if operation == "append":
            deltalake.write_deltalake(path, rows(seed, 10), mode="append", schema_mode="merge")
        elif operation == "delete":
            table.delete(f"trips % 5 = {seed % 5}")
        elif operation == "overwrite":
            deltalake.write_deltalake(path, rows(seed, 14), mode="overwrite", schema_mode="overwrite")
        elif operation == "compact":
            table.optimize.compact()
        elif operation == "merge":
            table.update(predicate="trips > 10", updates={"city": "'moved'"})
        elif operation == "widen":
            table.alter.add_columns([deltalake.Field(f"more_{seed}", deltalake.schema.PrimitiveType("long"))])
        elif operation == "restore":
            table.restore(max(0, table.version() - 2))
        for history in histories:
            project.check(history, briefly=True)
    project.registry.close()


def test_appending_to_a_delta_table_reads_the_added_file_only(made: Project) -> None:
    path = str(made.root / "table")
    deltalake.write_deltalake(path, rows(1, 15), partition_by=["city"])
    source = FileSource(name="s", path="table", file_format=DeltaFormat(), timestamp_field="ts")
    made.check(view_of(source))
    deltalake.write_deltalake(path, rows(2, 4).filter(pa.array([False, True, False, False])), mode="append")
    counts = made.check(view_of(source)).counts
    assert counts is not None and (counts.new, counts.changed, counts.gone) == (1, 0, 0)
    assert counts.listed > 1


def test_a_delta_table_that_can_not_be_read_any_more_is_not_taken_for_unchanged(made: Project) -> None:
    path = made.root / "table"
    deltalake.write_deltalake(str(path), rows(1, 15))
    source = FileSource(name="s", path="table", file_format=DeltaFormat(), timestamp_field="ts")
    made.check(view_of(source))
    log = path / "_delta_log"
    lines = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    (add,) = [line["add"] for line in lines if "add" in line]
    feature = ["deletionVectors"]
    versions = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": feature, "writerFeatures": feature}
    vector = {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"}
    vector |= {"sizeInBytes": 40, "cardinality": 1}
    remove = {"path": add["path"], "deletionTimestamp": add["modificationTime"] + 1, "dataChange": True}
    actions = [{"protocol": versions}, {"remove": remove}, {"add": {**add, "deletionVector": vector}}]
    (log / f"{1:020}.json").write_text("".join(f"{json.dumps(action)}\n" for action in actions))
    with pytest.raises(SourceError, match="deletionVectors"):
        made.statistics(view_of(source)).all_rows().survey_grid(ALWAYS)


def test_folders_whose_names_are_columns(made: Project) -> None:
    source = FileSource(name="s", path="rows", timestamp_field="ts", date_partition_column="day")
    for day in range(3):
        folder = made.root / "rows" / f"day=2024-01-0{day + 1}" / f"region={day}"
        folder.mkdir(parents=True)
        as_parquet(rows(day, 10), folder / "a.parquet")
        for history in (view_of(source), whole_source(source), computed_from(source)):
            made.check(history)
    # One that is no number makes all of them texts.
    other = made.root / "rows" / "day=2024-01-04" / "region=north"
    other.mkdir(parents=True)
    as_parquet(rows(8, 10), other / "a.parquet")
    for history in (view_of(source), whole_source(source), computed_from(source)):
        made.check(history)
    shutil.rmtree(other.parent)
    for history in (view_of(source), whole_source(source), computed_from(source)):
        made.check(history)


def test_a_file_with_other_types_decides_how_all_are_read(made: Project) -> None:
    source = FileSource(name="s", path="*.parquet", timestamp_field="ts")
    for number in range(2):
        as_parquet(rows(number, 10), made.root / f"{number}.parquet")
    made.check(view_of(source))
    other = made.root / "2.parquet"
    as_parquet(rows(2, 10, trips=pa.float64()), other)
    counts = made.check(view_of(source)).counts
    assert counts is not None
    assert (counts.new, counts.changed) == (1, 2)
    as_parquet(rows(3, 10), made.root / "3.parquet")
    counts = made.check(view_of(source)).counts
    assert counts is not None
    assert (counts.new, counts.changed) == (1, 0)
    other.unlink()
    counts = made.check(view_of(source)).counts
    assert counts is not None
    assert (counts.new, counts.changed, counts.gone) == (0, 3, 1)


def test_folders_that_are_left_out_by_their_day(made: Project) -> None:
    for day in range(5):
        folder = made.root / "rows" / f"day=2024-01-0{day + 1}"
        folder.mkdir(parents=True)
        table = rows(day, 10)
        moments = [START + timedelta(days=day, hours=i) for i in range(10)]
        as_parquet(table.set_column(3, "ts", pa.array(moments, SCHEMA.field("ts").type)), folder / "a.parquet")
    source = FileSource(
        name="s",
        path="rows",
        timestamp_field="ts",
        date_partition_column="day",
        date_partition_slack=timedelta(days=1),
    )
    for _ in range(2):
        for history in (view_of(source), whole_source(source), computed_from(source)):
            made.check(history)


def test_files_on_other_machines(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    local = pa_fs.LocalFileSystem()
    monkeypatch.setattr(
        duckdb_files, "_file_system", lambda files, source: (local, f"{made.root}/{files.path[len('s3://') :]}")
    )
    for name, write in (("p", as_parquet), ("c", as_csv)):
        files = Files(made.root / name, ".csv" if name == "c" else ".parquet", write)
        files.write(files.path(0), rows(0, 20))
        files.write(files.path(1), rows(1, 20))
        form = CsvFormat() if name == "c" else ParquetFormat()
        source = FileSource(name=name, path=f"s3://{name}", file_format=form, timestamp_field="ts")
        for history in (view_of(source), whole_source(source)):
            made.check(history)
        files.write(files.path(2), rows(2, 20))
        files.path(0).unlink()
        counts = made.check(view_of(source)).counts
        assert counts is not None and (counts.listed, counts.new, counts.changed, counts.gone) == (2, 1, 0, 1)
        made.check(whole_source(source))


def test_inputs_without_times_and_views_without_a_grid(made: Project) -> None:
    as_parquet(rows(1, 10), made.root / "timed.parquet")
    as_parquet(rows(2, 5).drop_columns(["ts"]), made.root / "untimed.parquet")
    timed = FileSource(name="timed", path="timed.parquet", timestamp_field="ts")
    untimed = FileSource(name="untimed", path="untimed.parquet")
    for _ in range(2):
        made.check(computed_from(timed, untimed))
        made.check(computed_from(untimed, timed), Partitions("monthly"))
        made.check(view_of(timed), None)
        made.check(computed_from(timed, untimed), None)


@pytest.mark.parametrize("grain", ["hourly", "daily", "weekly", "monthly"])
def test_all_grains(made: Project, grain: Literal["hourly", "daily", "weekly", "monthly"]) -> None:
    for number in range(3):
        as_parquet(rows(number, 25), made.root / f"{number}.parquet")
    source = FileSource(name="s", path="*.parquet", timestamp_field="ts")
    for _ in range(2):
        made.check(view_of(source), Partitions(grain))
        made.check(computed_from(source), Partitions(grain))


def test_views_that_read_the_same_columns_share_what_was_read(made: Project) -> None:
    as_parquet(rows(1, 10), made.root / "a.parquet")
    source = FileSource(name="s", path="a.parquet", timestamp_field="ts")
    made.check(view_of(source))
    renamed = replace(view_of(FileSource(name="other", path="a.parquet", timestamp_field="ts")), view="w")
    counts = made.check(renamed).counts
    assert counts is not None and (counts.listed, counts.new, counts.bytes_read) == (1, 0, 0)
    fewer = view_of(source).with_features(["trips"])
    counts = made.check(fewer).counts
    assert counts is not None and counts.new == 1


def test_a_young_file_is_read_again_the_next_time(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    as_parquet(rows(1, 10), made.root / "a.parquet")
    source = FileSource(name="s", path="a.parquet", timestamp_field="ts")
    monkeypatch.setattr(parts, "SETTLED_NANOS", 10**18)
    assert [made.check(view_of(source)).counts for _ in range(2)] == [
        PartCounts(1, 1, 0, 0, (made.root / "a.parquet").stat().st_size)
    ] * 2
    monkeypatch.setattr(parts, "SETTLED_NANOS", -(10**18))
    made.check(view_of(source))
    assert made.check(view_of(source)).counts == PartCounts(1)


def test_a_file_that_changes_while_it_is_read_is_not_kept(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(made.root, ".parquet", as_parquet)
    files.write(files.path(0), rows(1, 10))
    source = FileSource(name="s", path="0.parquet", timestamp_field="ts")
    summarize = made.store.summarize_parts

    def changed_after(*args: Any) -> Any:
        read = summarize(*args)
        files.write(files.path(0), rows(2, 10))
        return read

    monkeypatch.setattr(made.store, "summarize_parts", changed_after)
    made.statistics(view_of(source)).all_rows()
    monkeypatch.undo()
    monkeypatch.setattr(parts, "SETTLED_NANOS", -(10**18))
    counts = made.check(view_of(source)).counts
    assert counts is not None and counts.new == 1


def test_damaged_segments_are_read_anew(made: Project) -> None:
    as_parquet(rows(1, 10), made.root / "a.parquet")
    source = FileSource(name="s", path="a.parquet", timestamp_field="ts")
    made.check(view_of(source))
    with closing(sqlite3.connect(made.root / "registry.db")) as database:
        for damage in ("substr(content, 1, length(content) - 1)", "x''", "'text'", "x'46415053ffff00000000'"):
            database.execute(f"UPDATE feast_assets_part_statistics SET content = {damage}")
            database.commit()
            counts = made.check(view_of(source)).counts
            assert counts is not None and counts.new == 1
            counts = made.check(view_of(source)).counts
            assert counts is not None and counts.new == 0


@pytest.mark.parametrize(("most", "is_kept"), [(read_parts.MOST_BYTES_IN_MEMORY, True), (1 << 20, False)])
def test_rows_that_are_too_many_for_the_memory_are_not_kept_however_small_their_file(
    made: Project, monkeypatch: pytest.MonkeyPatch, most: int, is_kept: bool
) -> None:
    monkeypatch.setattr(read_parts, "MOST_BYTES_IN_MEMORY", most)
    pq.write_table(pa.concat_tables([rows(1, 10)] * 10_000), made.root / "rows.parquet")
    assert (made.root / "rows.parquet").stat().st_size < 1 << 20
    history = view_of(FileSource(name="s", path="rows.parquet", timestamp_field="ts"))
    statistics = made.statistics(history).all_rows()
    assert isinstance(statistics, PartStatistics)
    assert (statistics.sources[0].rows is not None) == is_kept
    made.check(history)


def test_all_is_read_again_on_demand(made: Project) -> None:
    as_parquet(rows(1, 10), made.root / "a.parquet")
    history = view_of(FileSource(name="s", path="a.parquet", timestamp_field="ts"))
    made.check(history)
    again = made.statistics(history)
    again.all_rows(reread=True)
    assert again.counts is not None and again.counts.changed == 1
    assert made.check(history).counts == PartCounts(1)


def test_a_registry_that_cannot_be_written_keeps_nobody_from_asking(
    made: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_parquet(rows(1, 10), made.root / "a.parquet")

    def refuse(*args: object, **more: object) -> None:
        raise StoreUnavailableError("read-only")

    monkeypatch.setattr(made.registry, "keep_part_statistics", refuse)
    made.check(view_of(FileSource(name="s", path="a.parquet", timestamp_field="ts")))


def test_times_that_no_datetime_can_hold_are_left_to_a_full_reading(made: Project) -> None:
    table = pa.table({"driver_id": [1], "trips": [1], "city": ["a"], "ts": pa.array([2**60], pa.timestamp("us"))})
    as_parquet(table, made.root / "a.parquet")
    source = FileSource(name="s", path="a.parquet", timestamp_field="ts")
    statistics = made.statistics(view_of(source))
    assert isinstance(statistics.all_rows(), StoreStatistics)
    assert statistics.counts is None


def test_texts_with_and_without_zones_are_refused_as_in_a_full_reading(made: Project) -> None:
    source = FileSource(name="s", path="*.csv", timestamp_field="ts")
    (made.root / "a.csv").write_text("driver_id,trips,city,ts\n1,1,x,2024-01-01 00:00:00\n")
    made.check(view_of(source))
    (made.root / "b.csv").write_text("driver_id,trips,city,ts\n1,1,x,2024-01-01 00:00:00Z\n")
    with pytest.raises(SourceError, match="mixes times with a zone"):
        made.statistics(view_of(source)).all_rows().survey([ALWAYS])


def test_what_is_kept_takes_few_bytes(made: Project) -> None:
    hours = 20_000
    moments = [START + timedelta(hours=i, microseconds=i * 7919 % 3_600_000_000) for i in range(hours)]
    table = pa.table(
        {"driver_id": [i % 7 for i in range(hours)], "trips": list(range(hours)), "city": ["x"] * hours, "ts": moments},
        schema=SCHEMA,
    )
    as_parquet(table, made.root / "a.parquet")
    source = FileSource(name="s", path="a.parquet", timestamp_field="ts")
    history, grid = view_of(source), Partitions("hourly")
    made.statistics(history, grid).all_rows()
    digest = statistics_digest(made.store, history, source, grid)
    (segment,) = made.registry.part_statistics(digest)
    assert len(segment.content) <= 64 * hours
    many = made.root / "many"
    many.mkdir()
    for i in range(100):
        pq.write_table(table.slice(i, 1), many / f"{i}.parquet")
    source = FileSource(name="m", path="many", timestamp_field="ts")
    made.statistics(view_of(source), grid).all_rows()
    (segment,) = made.registry.part_statistics(statistics_digest(made.store, view_of(source), source, grid))
    assert len(segment.content) <= 64 * 100
