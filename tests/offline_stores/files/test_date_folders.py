"""Folders named by days of any calendar: no row goes missing, and those that are far off are left out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets import Entity, FeatureStore, FeatureView, Field, FileSource, Partitions, RepoConfig
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import DefinitionError, SourceError
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.spine import PointInTimeJoin
from feast_assets.testing.offline_store import history, hour, joined, spine, trips
from feast_assets.types import Float64, Int64

Calendar = Callable[[datetime, int], str]

CALENDARS: dict[str, Calendar] = {
    "UTC day": lambda at, n: f"{at:%Y-%m-%d}",
    "day in the west": lambda at, n: f"{at.astimezone(timezone(timedelta(hours=-11))):%Y-%m-%d}",
    "day in the east": lambda at, n: f"{at.astimezone(timezone(timedelta(hours=14))):%Y-%m-%d}",
    "day of arrival": lambda at, n: f"{at + timedelta(days=1 + n % 20):%Y-%m-%d}",
    "first of the month": lambda at, n: f"{at:%Y-%m}-01",
    "month": lambda at, n: f"{at:%Y-%m}",
    "month as number": lambda at, n: f"{at:%Y%m}",
    "day as number": lambda at, n: f"{at:%Y%m%d}",
    "ISO week": lambda at, n: f"{at:%G-W%V}",
    "junk": lambda at, n: ["x", "2024-13-45", "latest", "__HIVE_DEFAULT_PARTITION__", "2024-01-01 x"][n % 5],
    "random day": lambda at, n: f"2024-01-{1 + n % 28:02d}",
}
Row = tuple[int, datetime]

rows_of_days = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 10 * 24 * 4).map(lambda n: hour(n / 4)), st.integers(0, 99)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: (row[0], row[1]),
)


def put(folder: Path, calendar: Calendar, rows: list[tuple[int, datetime, int]], *, times: str = "timestamp") -> None:
    by_name: dict[str, list[Row]] = {}
    for driver, at, n in rows:
        by_name.setdefault(calendar(at, n), []).append((driver, at))
    for name, held in by_name.items():
        (folder / f"dt={name}").mkdir(parents=True)
        table = trips([(driver, at, float(i), "") for i, (driver, at) in enumerate(held)])
        if times == "text":
            texts = [f"{at:%Y-%m-%dT%H:%M:%SZ}" for _, at in held]
            table = table.set_column(1, "event_timestamp", pa.array(texts))
        # Without statistics nothing says what a file holds.
        pq.write_table(table, folder / f"dt={name}" / "x.parquet", write_statistics=times != "no statistics")


def source(path: str = "t", **changes: object) -> FileSource:
    return FileSource(path=path, timestamp_field="event_timestamp", date_partition_column="dt", **changes)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(CALENDARS)),
    rows_of_days,
    st.integers(0, 10),
    st.integers(1, 5),
    st.sampled_from(["timestamp", "text", "no statistics"]),
)
def test_no_row_goes_missing_whatever_the_folders_are_called(
    calendar: str, rows: list[tuple[int, datetime, int]], first: int, days: int, times: str
) -> None:
    with TemporaryDirectory() as root:
        put(Path(root) / "t", CALENDARS[calendar], rows, times=times)
        store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), Path(root))
        window = Window(hour(24 * first), hour(24 * (first + days)))
        inside = [(driver, at) for driver, at, _ in rows if window.start <= at < window.end]
        of = history(source(), features=())
        assert store.statistics(of, [window])[0].rows == len(inside)
        found = store.scan(of, window).read_all()
        assert sorted(zip(found["driver"].to_pylist(), found.column(1).to_pylist(), strict=True)) == sorted(inside)
        assert sorted(store.latest(of, [window]).read_all()["driver"].to_pylist()) == sorted({d for d, _ in inside})


@pytest.mark.parametrize("calendar", sorted(CALENDARS))
def test_what_is_served_is_what_history_says_whatever_the_folders_are_called(tmp_path: Path, calendar: str) -> None:
    rows = [(i % 7, hour(7 * i), i) for i in range(40)]
    put(tmp_path / "t", CALENDARS[calendar], rows)
    newest = {driver: at for driver, at, _ in sorted(rows, key=lambda row: row[1])}
    store = FeatureStore(
        tmp_path, RepoConfig(project="p", registry="registry.db", provider="local", online_store="sqlite")
    )
    driver = Entity(name="driver", join_keys=["driver"])
    schema = [Field(name="driver", dtype=Int64), Field(name="fare", dtype=Float64)]
    view = FeatureView(
        name="v", entities=[driver], schema=schema, source=source(), partitions=Partitions("daily", hour(0))
    )
    store.apply([driver, view])
    store.materialize_incremental(hour(24 * 20))
    assert sum(w.rows for w in store.registry.ledger("v")) == sum(
        len({d for d, at, _ in rows if at.date() == day}) for day in {at.date() for _, at, _ in rows}
    )
    asked = pa.table({"driver": list(newest), "event_timestamp": pa.array(newest.values(), pa.timestamp("us", "UTC"))})
    history_says = store.get_historical_features(asked, ["v:fare"]).to_arrow()["fare"].to_pylist()
    assert None not in history_says
    online = store.get_online_features(["v:fare"], {"driver": list(newest)}).to_dict()["fare"]
    assert online == history_says
    assert not store.audit(["v"]).mismatches
    store.close()


class TestDeclaredSlack:
    """A source that says how far event times may lie from the folder's day."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> DuckDBOfflineStore:
        return DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)

    def _damage(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[4:200] = bytes(196)
        path.write_bytes(data)

    def test_leaves_out_files_of_days_that_are_too_far_off(self, store: DuckDBOfflineStore, tmp_path: Path) -> None:
        rows = [(i, hour(24 * i + 1), 0) for i in range(6)]
        put(tmp_path / "t", CALENDARS["UTC day"], rows, times="no statistics")
        # Reading these would fail.
        self._damage(tmp_path / "t" / "dt=2024-01-01" / "x.parquet")
        self._damage(tmp_path / "t" / "dt=2024-01-06" / "x.parquet")
        window = Window(hour(24 * 2), hour(24 * 3))
        for slack in (timedelta(0), timedelta(hours=20), timedelta(days=1)):
            of = history(source(date_partition_slack=slack))
            assert store.scan(of, window).read_all()["driver"].to_pylist() == [2]
            assert store.statistics(of, [window])[0].rows == 1
            join = PointInTimeJoin(of, {}, {}, timedelta(hours=1))
            assert joined(store, spine([(2, hour(49))]), [join])["fare"].to_pylist() == [0.0]
        with pytest.raises(SourceError):
            store.scan(history(source(date_partition_slack=timedelta(days=2))), window).read_all()

    @settings(max_examples=15, deadline=None)
    @given(
        st.sampled_from(["UTC day", "day in the west", "day in the east"]),
        rows_of_days,
        st.integers(0, 240),
        st.integers(1, 30),
    )
    def test_of_a_day_is_enough_for_every_time_zone(
        self, calendar: str, rows: list[tuple[int, datetime, int]], first: int, hours: int
    ) -> None:
        with TemporaryDirectory() as root:
            put(Path(root) / "t", CALENDARS[calendar], rows)
            store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=1), Path(root))
            window = Window(hour(first), hour(first + hours))
            of = history(source(date_partition_slack=timedelta(days=1)))
            inside = sorted(driver for driver, at, _ in rows if window.start <= at < window.end)
            assert sorted(store.scan(of, window).read_all()["driver"].to_pylist()) == inside

    @pytest.mark.parametrize("times", ["timestamp", "text"])
    def test_that_does_not_hold_is_an_error_and_no_missing_row(
        self, store: DuckDBOfflineStore, tmp_path: Path, times: str
    ) -> None:
        put(tmp_path / "t", CALENDARS["day of arrival"], [(1, hour(1), 4)], times=times)
        of = history(source(date_partition_slack=timedelta(days=1)))
        for read in (
            lambda: store.statistics(of, [Window(hour(0), hour(240))]),
            lambda: store.scan(of, ALWAYS).read_all(),
        ):
            with pytest.raises(SourceError, match=r"date_partition_slack \(1 day, 0:00:00\).*dt=2024-01-06"):
                read()

    def test_needs_a_column_and_a_duration(self) -> None:
        with pytest.raises(DefinitionError, match="date_partition_column"):
            FileSource(path="t", date_partition_slack=timedelta(0))
        for wrong in (timedelta(seconds=-1), 3):
            with pytest.raises(DefinitionError, match="zero or more"):
                source(date_partition_slack=wrong)

    def test_changes_no_hash_where_it_is_left_out(self) -> None:
        assert "date_partition_slack" not in source().to_spec()
        declared = source(date_partition_slack=timedelta(days=1))
        assert declared.content_hash() != source().content_hash()
        assert FileSource.from_spec(declared.to_spec()).date_partition_slack == timedelta(days=1)
        assert FileSource.from_spec(source().to_spec()).date_partition_slack is None


def test_statistics_in_the_files_leave_out_what_cannot_hold_a_row(tmp_path: Path) -> None:
    put(tmp_path / "t", CALENDARS["day in the west"], [(1, hour(1), 0), (2, hour(50), 0)])
    path = tmp_path / "t" / "dt=2024-01-02" / "x.parquet"
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(threads=2), tmp_path)
    assert store.scan(history(source()), Window(hour(0), hour(2))).read_all()["driver"].to_pylist() == [1]
