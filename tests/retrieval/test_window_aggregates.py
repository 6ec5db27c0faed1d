"""Features of windows of time: what history and the online store say, beside a brute force in plain Python."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from window_oracle import aggregated, same, values_in_window

from feast_assets import (
    Aggregation,
    BatchFeatureView,
    Entity,
    FeatureStore,
    FileSource,
    RepoConfig,
)
from feast_assets.errors import NotSupportedError

USER = Entity(name="user", join_keys=["user_id"])
START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIVE_MINUTES, MINUTE = timedelta(minutes=5), timedelta(minutes=1)
# Windows with the hops that follow from their lengths.
WINDOWS = {HOUR: FIVE_MINUTES, 3 * HOUR: timedelta(minutes=15), DAY: HOUR, 30 * DAY: DAY}
SCHEMA = pa.schema(
    [
        ("user_id", pa.int64()),
        ("amount", pa.float64()),
        ("items", pa.int64()),
        ("shop", pa.string()),
        ("ts", pa.timestamp("us", "UTC")),
    ]
)
FUNCTIONS = {
    "amount": ["sum", "count", "mean", "min", "max", "stddev", "first", "last", "last_3", "count_distinct"],
    "items": ["sum", "count", "mean", "min", "max", "last"],
    "shop": ["count", "first", "last", "last_2", "count_distinct"],
}
AGGREGATIONS = [
    Aggregation(column, function, window)
    for column, functions in FUNCTIONS.items()
    for function in functions
    for window in WINDOWS
]


class Purchases:
    """A project with a view of windows over one file of purchases."""

    def __init__(self, root: Path, online_store: Any = "sqlite", **view: Any):
        self.root = root
        self.store = FeatureStore(
            root, RepoConfig(project="shop", registry="registry.db", provider="local", online_store=online_store)
        )
        self.rows: list[dict[str, Any]] = []
        self.view = BatchFeatureView(
            **{
                "name": "spending",
                "entities": [USER],
                "source": FileSource(name="purchases", path="purchases.parquet", timestamp_field="ts"),
                "aggregations": AGGREGATIONS,
                "online": True,
                **view,
            }
        )

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Makes the source hold just these rows."""
        self.rows = rows
        temporary = self.root / "purchases.writing"
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), temporary)
        os.replace(temporary, self.root / "purchases.parquet")

    def features(self) -> list[str]:
        return [f"spending:{a.resolved_name(a.time_window)}" for a in self.view.aggregations]

    def check_history(self, moments: list[tuple[int, datetime]]) -> None:
        """Asserts that history is what the brute force says, for entities at moments."""
        entity_df = pa.table(
            {
                "user_id": pa.array([user for user, _ in moments], pa.int64()),
                "event_timestamp": pa.array([at for _, at in moments], pa.timestamp("us", "UTC")),
            }
        )
        result = self.store.get_historical_features(entity_df, self.features()).to_arrow().to_pylist()
        for row, (user, at) in zip(result, moments, strict=True):
            self._check(row, user, at, "history")

    def check_online(self, users: list[int], at: datetime) -> None:
        """Asserts that what is served at a moment is what the brute force says."""
        served = self.served(users, at)
        for number, user in enumerate(users):
            self._check({name: values[number] for name, values in served.items()}, user, at, "online")

    def served(self, users: list[int], at: datetime) -> dict[str, list[Any]]:
        plan = self.store._online_plan(self.features(), False)
        return plan.read(self.store.online_store, {"user_id": users}, now=at).to_dict()

    def _check(self, row: dict[str, Any], user: int, at: datetime, where: str) -> None:
        for each in self.view.aggregations:
            slides = each.slide_interval != each.time_window
            hop = each.slide_interval if slides else WINDOWS[each.time_window]
            values = values_in_window(self.rows, user, at, each.column, each.time_window, hop)
            expected = aggregated(values, each.function)
            name = each.resolved_name(each.time_window)
            scale = max(map(abs, values), default=0.0) if each.column in ("amount", "items") else 0.0
            assert same(row[name], expected, scale=scale), (where, name, user, at, row[name], expected, values)


def purchase(user: int, at: datetime, amount: float | None = 1.0, items: int | None = 1, shop: str | None = "a"):
    return {"user_id": user, "amount": amount, "items": items, "shop": shop, "ts": at}


def some_purchases() -> list[dict[str, Any]]:
    """Purchases of a few users over 40 days, with gaps, ties, nulls and NaN."""
    rows = []
    for number in range(400):
        at = START + timedelta(minutes=143 * number % 57_600, seconds=number % 7)
        amount = [None, float("nan"), 0.1 * number, -3.3, 1e6 + number / 3][number % 5]
        rows.append(purchase(number % 3, at, amount, None if number % 4 == 0 else number - 200, f"s{number % 6}"))
    rows.append(purchase(0, rows[0]["ts"], 7.5, 9, None))
    return rows


KEPT = {"offline": True, "sink_source": FileSource(name="tiles", path="tiles", timestamp_field="begin")}


@pytest.fixture(params=["computed", "kept"])
def purchases(request: pytest.FixtureRequest, tmp_path: Path) -> Purchases:
    """Purchases whose tiles are computed when they are read, or kept."""
    made = Purchases(tmp_path, **(KEPT if request.param == "kept" else {}))
    made.write(some_purchases())
    made.store.apply([USER, made.view])
    return made


def test_history_is_what_a_brute_force_makes_of_the_rows(purchases: Purchases) -> None:
    moments = some_moments() + [(row["user_id"], row["ts"]) for row in purchases.rows[:50]]
    purchases.check_history(moments)


def test_what_is_served_is_what_a_brute_force_makes_of_the_rows(purchases: Purchases) -> None:
    end = START + 41 * DAY
    purchases.store.materialize_incremental(end)
    newest = max(row["ts"] for row in purchases.rows)
    for at in (newest, newest + timedelta(minutes=17), newest + 5 * HOUR, newest + 12 * DAY, newest + 100 * DAY):
        purchases.check_online([0, 1, 2], at)
        purchases.check_history([(user, at) for user in (0, 1, 2)])


def test_extreme_values_read_the_same_online_and_in_history(tmp_path: Path) -> None:
    aggregations = [Aggregation("amount", function, DAY) for function in FUNCTIONS["amount"]]
    aggregations += [Aggregation("items", function, DAY) for function in FUNCTIONS["items"]]
    purchases = Purchases(tmp_path, aggregations=aggregations)
    amounts = {1: [1e308, 5e-324, 1e308], 2: [1e200, -3.0, 2.0], 3: [float("inf"), 1.0, -float("inf")], 4: [1.0, 2.0]}
    purchases.write(
        [
            purchase(user, START + HOUR * n, amount, 2**62)
            for user, some in amounts.items()
            for n, amount in enumerate(some)
        ]
    )
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + 2 * DAY)
    at = START + 3 * HOUR
    entities = {"user_id": list(amounts), "event_timestamp": pa.array([at] * len(amounts), pa.timestamp("us", "UTC"))}
    history = purchases.store.get_historical_features(pa.table(entities), purchases.features()).to_arrow()
    served = purchases.served(list(amounts), at)
    for name, values in served.items():
        assert repr(values) == repr(history.column(name).to_pylist()), name
    # A sum that no Int64 holds is null, and fails no other entity.
    assert served["sum_items_86400s"] == [None] * 4
    assert served["mean_items_86400s"] == [float(2**62)] * 4
    assert served["stddev_amount_86400s"][0] == float("inf")


@pytest.mark.parametrize("keeps", [False, True])
def test_the_join_key_and_times_can_be_aggregated(tmp_path: Path, keeps: bool) -> None:
    aggregations = [Aggregation("user_id", "count", DAY), Aggregation("ts", "last_2", DAY)]
    purchases = Purchases(tmp_path, aggregations=aggregations, **(KEPT if keeps else {}))
    times = [START + HOUR, START + 2 * HOUR, START + 3 * HOUR]
    purchases.write([purchase(1, at) for at in times])
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + 2 * DAY)
    purchases.check_history([(1, START + 2 * HOUR), (2, START + HOUR)])
    served = purchases.served([1], START + 5 * HOUR)
    assert served["count_user_id_86400s"] == [3]
    assert served["last_2_ts_86400s"] == [times[:0:-1]]


def test_a_ttl_as_long_as_the_window_withholds_nothing_that_is_in_the_window(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, aggregations=[Aggregation("items", "sum", DAY)], ttl=DAY)
    purchases.write([purchase(1, START + HOUR + MINUTE)])
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + DAY)
    for later in (DAY, DAY + 58 * MINUTE, DAY + 59 * MINUTE):
        purchases.check_online([1], START + HOUR + MINUTE + later)
        purchases.check_history([(1, START + HOUR + MINUTE + later)])


def test_an_entity_without_rows_is_not_found(purchases: Purchases) -> None:
    purchases.store.materialize_incremental(START + 41 * DAY)
    response = purchases.store.get_online_features(purchases.features()[:2], [{"user_id": 99}])
    assert set(response.to_dict()) == {"user_id", *(f.partition(":")[2] for f in purchases.features()[:2])}
    assert response.to_dict()["sum_amount_3600s"] == [None]


def test_late_changed_and_deleted_rows_change_what_is_served(purchases: Purchases) -> None:
    end = START + 41 * DAY
    rows = purchases.rows
    purchases.store.materialize_incremental(end)
    newest = max(row["ts"] for row in rows)
    at = newest + HOUR
    # A late row of an entity that has newer ones, and of one that had none.
    late = [purchase(0, newest - 3 * DAY, 50.25, 7, "late"), purchase(5, newest - 2 * DAY, -1.5, 2, "new")]
    purchases.write(rows + late)
    purchases.store.materialize_incremental(end)
    purchases.check_online([0, 1, 2, 5], at)
    # A changed row, and the newest row of each entity gone.
    of_user = {user: [row for row in rows if row["user_id"] == user] for user in (0, 1, 2)}
    gone = [max(some, key=lambda row: row["ts"]) for some in of_user.values()]
    changed = {**rows[10], "amount": 123.5}
    purchases.write([*(r for r in rows if r not in gone and r is not rows[10]), changed])
    purchases.store.materialize_incremental(end)
    purchases.check_online([0, 1, 2], at)
    assert purchases.served([5], at)["count_items_2592000s"] == [None]


def test_windows_that_are_run_in_any_order_end_the_same(purchases: Purchases) -> None:
    for first, last in ((30, 41), (5, 12), (25, 31), (0, 6), (11, 26), (30, 32)):
        purchases.store.materialize(START + first * DAY, START + last * DAY)
    newest = max(row["ts"] for row in purchases.rows)
    purchases.check_online([0, 1, 2], newest + 2 * HOUR)


def some_moments() -> list[tuple[int, datetime]]:
    return [(n % 4, START + timedelta(hours=21 * n, minutes=n)) for n in range(50)]


def test_history_reads_kept_tiles_where_there_are_some_and_rows_elsewhere(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, **KEPT)
    purchases.write(some_purchases())
    purchases.store.apply([USER, purchases.view])
    for first, last in ((3, 9), (20, 22), (30, 41)):
        purchases.store.materialize(START + first * DAY, START + last * DAY)
        purchases.check_history(some_moments())
    # Half a day again: its tiles are those of the whole day.
    purchases.store.materialize(START + 4 * DAY + 10 * HOUR, START + 4 * DAY + 13 * HOUR)
    purchases.check_history(some_moments())


def test_a_late_row_computes_the_tiles_of_its_day_alone(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, **KEPT)
    purchases.write(some_purchases())
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + 41 * DAY)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").rglob("window_*.parquet")}
    assert len(files) == 40
    purchases.write([*purchases.rows, purchase(1, START + 7 * DAY + HOUR, 3.25)])
    purchases.store.materialize_incremental(START + 41 * DAY)
    changed = [path.name for path, written in files.items() if path.stat().st_mtime_ns != written]
    assert changed == ["window_20240308T000000.000000_20240309T000000.000000.parquet"]
    purchases.check_history(some_moments())
    purchases.check_online([0, 1, 2], max(row["ts"] for row in purchases.rows))


def test_other_windows_take_no_tiles_of_the_earlier_definition(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, **KEPT)
    purchases.write(some_purchases())
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + 41 * DAY)
    other = Purchases(tmp_path, **KEPT, aggregations=[Aggregation("items", "sum", DAY)], tiling_hop_size=FIVE_MINUTES)
    other.rows = purchases.rows
    other.store.apply([USER, other.view])
    newest = max(row["ts"] for row in other.rows)
    assert other.served([0], newest)["sum_items_86400s"] == [None]
    other.store.materialize_incremental(START + 41 * DAY)
    values = values_in_window(other.rows, 0, newest, "items", DAY, FIVE_MINUTES)
    assert other.served([0], newest)["sum_items_86400s"] == [sum(values)]


_MINUTES = st.integers(-3_000, 3_000)
_AMOUNTS = st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([float("nan"), 0.1, 1e15]))
_ROWS = st.lists(
    st.builds(
        lambda user, minute, amount, items, shop: purchase(user, START + minute * MINUTE, amount, items, shop),
        st.integers(0, 1),
        _MINUTES,
        _AMOUNTS,
        st.one_of(st.none(), st.integers(-(2**40), 2**40)),
        st.sampled_from([None, "a", "b", "ä\n"]),
    ),
    max_size=40,
)
_FEW = [
    Aggregation(column, function, window, slide)
    for column, functions in FUNCTIONS.items()
    for function in functions
    for window, slide in ((HOUR, 20 * MINUTE), (DAY, 9 * HOUR / 3))
]


@given(_ROWS, _ROWS, st.lists(st.tuples(st.integers(0, 2), _MINUTES), min_size=1, max_size=10), st.booleans())
@settings(max_examples=8, derandomize=True, phases=[Phase.explicit, Phase.generate])
def test_any_rows_that_come_in_two_batches_give_what_a_brute_force_makes_of_them(first, second, moments, keeps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        purchases = Purchases(Path(folder), aggregations=_FEW, **(KEPT if keeps else {}))
        purchases.write(first)
        purchases.store.apply([USER, purchases.view])
        purchases.store.materialize_incremental(START + 10 * DAY)
        purchases.write([*first[: len(first) // 2], *second])
        purchases.store.materialize_incremental(START + 10 * DAY)
        rows = purchases.rows
        purchases.check_history([(user, START + minute * MINUTE) for user, minute in moments])
        # Time does not go back, though the newest rows may have been deleted.
        newest = max((row["ts"] for row in [*first, *rows]), default=START)
        for later in (0 * HOUR, 30 * MINUTE, 25 * HOUR):
            purchases.check_online([0, 1, 2], newest + later)
        purchases.store.close()


def test_the_audit_finds_what_is_wrong_and_nothing_else(purchases: Purchases) -> None:
    now = datetime.now(UTC)
    rows = [purchase(n % 3, now - timedelta(minutes=97 * n + 1), 0.1 * n, n, f"s{n % 4}") for n in range(200)]
    purchases.write(rows)
    purchases.store.materialize_incremental(now)
    report = purchases.store.audit()
    assert report.mismatches == ()
    assert [view.entities for view in report.views] == [3]
    purchases.write([{**row, "items": 5} if row["user_id"] == 1 else row for row in rows])
    # Kept tiles are what history says until they are computed again.
    expected = set() if purchases.view.offline else {1}
    assert {mismatch.entity["user_id"] for mismatch in purchases.store.audit().mismatches} - {1} == set()
    assert {mismatch.entity["user_id"] for mismatch in purchases.store.audit().mismatches} >= expected


def test_rows_of_entities_that_fell_silent_are_removed(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, aggregations=[Aggregation("items", "sum", DAY)])
    now = datetime.now(UTC)
    purchases.write([purchase(1, now - 4 * DAY), purchase(2, now - 20 * HOUR)])
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(now)
    response = purchases.store.get_online_features(["spending:sum_items_86400s"], {"user_id": [1, 2]})
    assert response.to_dict()["sum_items_86400s"] == [None, 1]
    (table,) = purchases.store._online_plan(["spending:sum_items_86400s"], False).tables
    assert len(purchases.store.online_store.sample_keys(table, 10, 0)) == 1


def test_rows_of_the_future_are_not_served_before_their_time(tmp_path: Path) -> None:
    purchases = Purchases(tmp_path, aggregations=[Aggregation("items", "sum", 30 * DAY)])
    now = datetime.now(UTC)
    # One of them in the hop of the present, a day, unless that is about to end.
    future = [purchase(1, now + later, items=100) for later in (HOUR, 3 * DAY)]
    purchases.write([purchase(1, now - HOUR), *future])
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize(now - 2 * DAY, now + 5 * DAY)
    purchases.check_online([1], now)
    served = [purchases.served([1], now + later)["sum_items_2592000s"] for later in (2 * DAY + HOUR, 5 * DAY)]
    assert served == [[101], [201]]
    purchases.write(purchases.rows[:2])
    purchases.store.materialize(now - 2 * DAY, now + 5 * DAY)
    assert purchases.served([1], now + 5 * DAY)["sum_items_2592000s"] == [101]


def test_windows_are_served_from_redis(tmp_path: Path, redis_server: tuple[str, int]) -> None:
    host, port = redis_server
    online_store = {"type": "redis", "connection_string": f"{host}:{port}"}
    purchases = Purchases(tmp_path, online_store=online_store)
    purchases.write(some_purchases())
    purchases.store.apply([USER, purchases.view])
    purchases.store.materialize_incremental(START + 41 * DAY)
    newest = max(row["ts"] for row in purchases.rows)
    for at in (newest, newest + 5 * HOUR, newest + 12 * DAY):
        purchases.check_online([0, 1, 2, 7], at)
    purchases.store.close()


@pytest.mark.parametrize("function", ["approx_count_distinct", "approx_percentile_95", "top_5"])
def test_a_function_that_the_store_does_not_compute_is_refused_at_apply(tmp_path: Path, function: str) -> None:
    purchases = Purchases(tmp_path, aggregations=[Aggregation("items", function, DAY)])
    purchases.write(some_purchases())
    with pytest.raises(NotSupportedError, match=f"does not compute the aggregation function '{function}'"):
        purchases.store.apply([USER, purchases.view])
    assert purchases.store.list_feature_views() == []
