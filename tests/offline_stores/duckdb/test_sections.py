"""A join that reads the newest part of a history first finds what the oracle says, and reads no more than it must."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.definitions.field import Field
from feast_assets.definitions.sources.file_source import FileSource
from feast_assets.offline_stores.base import History
from feast_assets.offline_stores.duckdb import as_of as duckdb_as_of
from feast_assets.offline_stores.duckdb import sections as duckdb_sections
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import DAY, TIME, joined
from feast_assets.types import Float64, Int64, String

DRIVER = Field(name="driver", dtype=Int64)
ZONE = Field(name="zone", dtype=String)
FARE = Field(name="fare", dtype=Float64)
CITY = Field(name="city", dtype=String)
FEATURES = (FARE, CITY)
HOUR = timedelta(hours=1)
_DRIVERS = 1_000
_SCRIPT = Path(__file__).with_name("bytes_of_a_join.py")

TYPES = {
    "driver": pa.int64(),
    "zone": pa.string(),
    "at": TIME,
    "created": TIME,
    "fare": pa.float64(),
    "city": pa.string(),
}

Row = dict[str, Any]

# Forty hours, over two days, at which much ties.
HOURS = 40
moments = st.integers(0, HOURS).map(lambda n: DAY + n * HOUR)
drivers = st.sampled_from([None, 1, 1, 2, 3])
zones = st.sampled_from([None, "a", "a", "b"])


@dataclass(frozen=True)
class File:
    """Rows of a file, how many of them a row group has, and whether the footer says which times they have."""

    rows: list[Row]
    group_rows: int
    has_statistics: bool


def _row(random: Random) -> Row:
    def moment() -> datetime:
        return DAY + random.randint(0, HOURS) * HOUR

    return {
        "driver": random.choice([None, 1, 1, 1, 2, 2, 3]),
        "zone": random.choice([None, "a", "a", "b"]),
        "at": random.choice([None, *[moment()] * 9]),
        "created": random.choice([None, moment(), moment()]),
        "fare": random.choice([None, 1.0, 2.0, 3.0]),
        "city": random.choice([None, "", "x"]),
    }


@st.composite
def files_of_rows(draw: st.DrawFn) -> list[File]:
    """Files as a writer adds them, in order of time, with some late rows; or in no order at all."""
    random = draw(st.randoms(use_true_random=False))
    rows = [_row(random) for _ in range(random.choice([0, 40, 60, 60]))]
    if random.random() < 0.8:
        rows.sort(key=lambda r: (r["at"] is None, r["at"] or DAY))
    ends = sorted(random.choices(range(len(rows) + 1), k=random.randint(0, 12)))
    pieces = [rows[a:b] for a, b in zip([0, *ends], [*ends, len(rows)], strict=True)]
    for _ in range(random.choice([0, 0, 1, 3])):
        random.choice(pieces).append(_row(random))
    silent = random.choice([0, 0, 0, 0.3])
    return [File(piece, random.choice([1, 3, 100]), random.random() >= silent) for piece in pieces]


def _table(rows: list[Row], types: dict[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([r[name] for r in rows], kind) for name, kind in types.items()})


class View:
    """A view over files, with its oracle."""

    def __init__(
        self,
        folder: str,
        name: str,
        files: list[File],
        keys: tuple[Field, ...],
        *,
        created: bool,
        ttl: timedelta | None,
        dated: bool,
    ):
        base = Path(folder) / name
        self.rows = []
        for number, file in enumerate(files):
            by_day: dict[str, list[Row]] = {}
            for each in file.rows:
                # Rows without a time may lie in any folder; late rows lie in that of their day.
                by_day.setdefault(f"{each['at'] or DAY:%Y-%m-%d}" if dated else "", []).append(each)
            for day, of_day in by_day.items():
                path = base / (f"day={day}" if dated else ".") / f"[{number}] part's.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(
                    _table(of_day, TYPES), path, row_group_size=file.group_rows, write_statistics=file.has_statistics
                )
                self.rows += of_day
        base.mkdir(exist_ok=True)
        self.keys, self.ttl, self.created = keys, ttl, created
        source = FileSource(
            path=str(base),
            timestamp_field="at",
            created_timestamp_column="created" if created else None,
            date_partition_column="day" if dated else None,
            date_partition_slack=timedelta(0) if dated else None,
        )
        self.history = History(name, (source,), keys, FEATURES, "at", "created" if created else "")

    def join(self) -> PointInTimeJoin:
        columns = {f.name: f"{self.history.view}__{f.name}" for f in FEATURES}
        return PointInTimeJoin(self.history, columns, {"driver": "who"}, self.ttl)

    def newest(self, key: tuple[Any, ...], moment: datetime, *, known_only: bool) -> Row | None:
        counting = [
            r
            for r in self.rows
            if r["at"] is not None
            and tuple(r[f.name] for f in self.keys) == key
            and r["at"] <= moment
            and (not self.ttl or r["at"] >= moment - self.ttl)
            and (not (known_only and self.created) or (r["created"] is not None and r["created"] <= moment))
        ]
        return max(counting, key=self._order, default=None)

    def _order(self, r: Row) -> tuple[Any, ...]:
        content = tuple((r[n] is None, "" if r[n] is None else r[n]) for n in ("city", "fare"))
        created = r["created"] if self.created else None
        return (r["at"], created is not None, created or DAY, content)


@pytest.fixture(scope="module")
def store() -> DuckDBOfflineStore:
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), Path.cwd())


@pytest.fixture
def short_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sections of few rows, which the histories of these tests have enough of."""
    monkeypatch.setattr(duckdb_sections, "LEAST_ROWS", 2)


@settings(max_examples=80, deadline=None)
@given(
    files=st.tuples(files_of_rows(), files_of_rows()),
    spine=st.lists(
        st.fixed_dictionaries({"who": drivers, "zone": zones, "at": st.one_of(st.none(), moments)}), max_size=8
    ),
    span=st.sampled_from([0, 25, 33, 37]),
    ttls=st.tuples(*[st.sampled_from([None, HOUR, 7 * HOUR, timedelta(days=400)])] * 2),
    created=st.booleans(),
    known_only=st.booleans(),
    dated=st.booleans(),
    few_ties=st.booleans(),
)
def test_a_join_newest_first_is_what_the_oracle_says(
    store: DuckDBOfflineStore,
    files: tuple[list[File], list[File]],
    spine: list[Row],
    span: int,
    ttls: tuple[timedelta | None, timedelta | None],
    created: bool,
    known_only: bool,
    dated: bool,
    few_ties: bool,
) -> None:
    # Mostly moments at the end of the history, as those have sections to be found in.
    spine = [{**r, "at": r["at"] and max(r["at"], DAY + span * HOUR)} for r in spine]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb_sections, "LEAST_ROWS", 2)
        if not few_ties:
            patch.setattr(duckdb_as_of, "_FEW_TIES", 0)
        options = {"created": created, "dated": dated}
        views = [
            View(folder, "by_driver", files[0], (DRIVER,), ttl=ttls[0], **options),
            View(folder, "by_both", files[1], (DRIVER, ZONE), ttl=ttls[1], **options),
            View(folder, "keyless", files[0], (), ttl=ttls[1], **options),
        ]
        table = _table(spine, {"who": pa.int64(), "zone": pa.string(), "at": TIME})
        read = joined(store, table, [v.join() for v in views], time_column="at", filter_by_created_timestamp=known_only)
    for asked in read.to_pylist():
        values = {"driver": asked["who"], "zone": asked["zone"]}
        for view in views:
            key = tuple(values[f.name] for f in view.keys)
            chosen = None
            if asked["at"] is not None and None not in key:
                chosen = view.newest(key, asked["at"], known_only=known_only)
            for feature in FEATURES:
                expected = None if chosen is None else chosen[feature.name]
                assert asked[f"{view.history.view}__{feature.name}"] == expected


def _read(
    store: DuckDBOfflineStore, folder: Path, spine: list[Row], ttl: timedelta | None, **options: Any
) -> list[float | None]:
    source = FileSource(path=str(folder), timestamp_field="at", **options)
    history = History("v", (source,), (DRIVER,), (FARE,), "at")
    table = _table(spine, {"driver": pa.int64(), "at": TIME})
    join = PointInTimeJoin(history, {}, {}, ttl)
    values: list[float | None] = joined(store, table, [join], time_column="at")["fare"].to_pylist()
    return values


def _write_days(folder: Path, days: int, name: str = "{day}.parquet", **options: Any) -> None:
    """Writes a file for each day; on each, driver ``day`` has a row at noon, and driver 0 one at every hour."""
    for day in range(1, days + 1):
        start = DAY + timedelta(days=day)
        drivers = [0] * 24 + [day]
        at = [start + hour * HOUR for hour in range(24)] + [start + 12 * HOUR]
        rows = {"driver": drivers, "at": pa.array(at, TIME), "fare": [float(day * 100 + n) for n in range(25)]}
        path = folder / name.format(day=day, date=start.date())
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows), path, **options)


def test_a_row_just_as_old_as_the_ttl_is_found_in_an_older_section(
    store: DuckDBOfflineStore, short_sections: None, tmp_path: Path
) -> None:
    _write_days(tmp_path, 9)
    last = DAY + timedelta(days=9, hours=23)
    for day in range(1, 10):
        age = timedelta(days=9 - day, hours=11)
        spine = [{"driver": 0, "at": last}, {"driver": day, "at": last}]
        assert _read(store, tmp_path, spine, age) == [923.0, day * 100 + 24.0]
        assert _read(store, tmp_path, spine, age - timedelta(microseconds=1)) == [923.0, None]


def test_no_more_is_read_than_until_each_moment_has_its_row(
    store: DuckDBOfflineStore, short_sections: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_days(tmp_path, 9)
    queries: list[str] = []

    def counted(cursor: Any, sql: str) -> Any:
        queries.append(sql)
        return stream(cursor, sql)

    stream = duckdb_as_of.stream
    monkeypatch.setattr(duckdb_as_of, "stream", counted)
    last = DAY + timedelta(days=9, hours=23)
    # The files of the sections: the newest, one, then four, then what is left.
    for driver, sections in ((0, 1), (9, 1), (8, 2), (7, 3), (4, 3), (3, 4), (77, 4)):
        queries.clear()
        _read(store, tmp_path, [{"driver": 0, "at": last}, {"driver": driver, "at": last}], None)
        assert len(queries) == sections


def test_folders_tell_days_where_files_say_nothing(
    store: DuckDBOfflineStore, short_sections: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_days(tmp_path, 9, "day={date}/part.parquet", write_statistics=False)
    asked: list[str] = []

    def counted(cursor: Any, sql: str) -> Any:
        asked.append(sql)
        return stream(cursor, sql)

    stream = duckdb_as_of.stream
    monkeypatch.setattr(duckdb_as_of, "stream", counted)
    last = DAY + timedelta(days=9, hours=23)
    spine = [{"driver": 0, "at": last}, {"driver": 8, "at": last}]
    options = {"date_partition_column": "day"}
    assert _read(store, tmp_path, spine, None, **options) == [923.0, 824.0]
    assert len(asked) == 1
    asked.clear()
    options["date_partition_slack"] = timedelta(0)  # type: ignore[assignment]
    assert _read(store, tmp_path, spine, None, **options) == [923.0, 824.0]
    assert len(asked) == 2


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten files of 65,536 rows, each of one day and 1,000 drivers."""
    folder = tmp_path_factory.mktemp("long")
    random = np.random.default_rng(7)
    count = duckdb_sections.LEAST_ROWS
    day = 86_400_000_000
    for number in range(10):
        drivers = random.integers(0, _DRIVERS, count)
        # Driver 500 has rows in the fourth file only, and driver 501 nowhere.
        drivers[drivers == 501] = 502
        drivers[drivers == 500] = 499
        drivers[:3] = 500 if number == 3 else 502
        times = pa.array(np.sort(random.integers(0, day, count)) + (20_000 + number) * day, TIME)
        rows = pa.table({"driver": drivers, "at": times, "a": random.random(count), "b": random.random(count)})
        (folder / "v").mkdir(exist_ok=True)
        pq.write_table(rows, folder / "v" / f"{number}.parquet")
    return folder


def _bytes(history: Path, drivers: list[int]) -> tuple[int, list[float | None]]:
    at = pa.array([(20_010 * 86_400_000_000) - 1] * len(drivers), TIME)
    pq.write_table(pa.table({"driver": drivers, "event_timestamp": at}), history / "spine.parquet")
    command = [sys.executable, str(_SCRIPT), str(history), "v", "spine.parquet"]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said["bytes"], said["a"]


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
def test_bytes_read_follow_what_is_found(long_history: Path) -> None:
    files = sorted((long_history / "v").glob("*.parquet"))
    whole = files[-1].stat().st_size
    footer = pq.read_metadata(files[0])
    group = footer.row_group(0)
    keys_and_times = sum(group.column(i).total_compressed_size for i in (0, 1))
    # Footers of all files, and the pages that DuckDB looks at to open one.
    around = 20_000 * len(files)
    everywhere = [n for n in range(_DRIVERS) if n not in (500, 501)]
    read, values = _bytes(long_history, everywhere)
    assert None not in values
    assert read <= whole + around
    # One driver's row is six files back, and another has none: keys and times are read once, features of two files.
    read, values = _bytes(long_history, [*everywhere, 500, 501])
    assert values[-1] is None
    assert None not in values[:-1]
    assert read <= 2 * whole + 8 * keys_and_times + around
    # Of a single driver, only the features of one file are read.
    read, values = _bytes(long_history, [500])
    assert None not in values
    assert read <= whole + 9 * keys_and_times + around


@pytest.mark.parametrize("name", ["filename", "FileName"])
def test_a_column_of_the_name_that_duckdb_gives_files_is_read_as_it_is(
    store: DuckDBOfflineStore, short_sections: None, tmp_path: Path, name: str
) -> None:
    for day in range(4):
        at = pa.array([DAY + timedelta(days=day)], TIME)
        pq.write_table(pa.table({"driver": [day], "at": at, name: [f"own {day}"]}), tmp_path / f"{day}.parquet")
    source = FileSource(path=str(tmp_path), timestamp_field="at")
    history = History("v", (source,), (DRIVER,), (Field(name=name, dtype=String),), "at")
    spine = pa.table({"driver": [0, 3], "at": pa.array([DAY + timedelta(days=9)] * 2, TIME)})
    read = joined(store, spine, [PointInTimeJoin(history, {}, {})], time_column="at")
    assert read[name].to_pylist() == ["own 0", "own 3"]


def test_a_column_that_only_newer_files_have_is_found_in_them(
    store: DuckDBOfflineStore, short_sections: None, tmp_path: Path
) -> None:
    for day in range(6):
        rows: dict[str, Any] = {"driver": [day], "at": pa.array([DAY + timedelta(days=day)], TIME)}
        if day > 3:
            rows["fare"] = [float(day)]
        pq.write_table(pa.table(rows), tmp_path / f"{day}.parquet")
    last = DAY + timedelta(days=9)
    spine = [{"driver": 0, "at": last}, {"driver": 5, "at": last}, {"driver": 4, "at": last}]
    assert _read(store, tmp_path, spine, None) == [None, 5.0, 4.0]
