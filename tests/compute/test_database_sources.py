"""A project over tables of a DuckDB file: what is stale, what is kept, what is pushed, what is served."""

from __future__ import annotations

import itertools
import warnings
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from feast_assets import (
    BatchFeatureView,
    DuckDBSource,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    Float64,
    Int64,
    Partitions,
    PushMode,
    PushSource,
    RepoConfig,
    String,
)
from feast_assets.errors import InputError, SourceError
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=4)
CUSTOMER = Entity(name="customer", join_keys=["customer_id"])
ORDERS = DuckDBSource(name="orders", database="shop.duckdb", table="orders", timestamp_field="ts")
DAILY = Partitions("daily", start=START, end=END)


def moment(day: int, hour: float = 12) -> str:
    return f"{START + timedelta(days=day, hours=hour):%Y-%m-%d %H:%M}"


class Shop:
    """A DuckDB file with orders of four days, and a store over it."""

    def __init__(self, root, **options):
        self.root = root
        self.execute(
            f"""
            CREATE TABLE orders (customer_id BIGINT, amount DOUBLE, ts TIMESTAMP);
            INSERT INTO orders SELECT range % 3, range, TIMESTAMP '{moment(0, 1)}' + to_hours(range::INT * 4)
            FROM range(24);
            CREATE TABLE stock AS SELECT 1 AS item;
            """
        )
        self.store = FeatureStore(
            root,
            RepoConfig(
                project="shop", registry="registry.db", provider="local", online_store={"type": "sqlite"}, **options
            ),
        )

    def execute(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.root / "shop.duckdb")) as connection:
            return connection.execute(sql).fetchall()

    def before_the_last_look(self, monkeypatch, sql: str) -> None:
        """Has something changed after a view's rows are read, and before its source is looked at for the last time."""
        looks = itertools.count()
        parts = DuckDBOfflineStore.parts

        def looking(store, source, *, extents=False):
            if next(looks) == 1:
                self.execute(sql)
            return parts(store, source, extents=extents)

        monkeypatch.setattr(DuckDBOfflineStore, "parts", looking)

    def stale(self, view: str) -> list[tuple[int, str]]:
        return [((s.window.start - START).days, s.reason) for s in self.store.stale_windows(view, END)]

    def online(self, feature: str, customer: int = 0):
        found = self.store.get_online_features([feature], [{"customer_id": customer}]).to_dict()
        return found[feature.partition(":")[2]][0]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def last_order(**options) -> FeatureView:
    return FeatureView(
        **{
            "name": "last_order",
            "entities": [CUSTOMER],
            "source": ORDERS,
            "schema": [Field(name="amount", dtype=Float64)],
            "partitions": DAILY,
            **options,
        }
    )


def test_a_change_of_another_table_makes_nothing_stale(shop):
    shop.store.apply([CUSTOMER, last_order()])
    assert [day for day, _ in shop.stale("last_order")] == [0, 1, 2, 3]
    shop.store.materialize_incremental(END)
    assert shop.stale("last_order") == []
    assert shop.online("last_order:amount") == 21.0
    state = shop.store.change_tokens(["last_order"])
    shop.execute("INSERT INTO stock VALUES (2); CREATE TABLE more AS SELECT 1 AS a")
    assert shop.store.change_tokens(["last_order"]) == state
    assert shop.stale("last_order") == []
    result = shop.store.materialize_incremental(END)
    assert [r.rows for each in result for r in each.windows] == []
    shop.execute(f"INSERT INTO orders VALUES (0, 99, TIMESTAMP '{moment(1, 23)}')")
    assert shop.store.change_tokens(["last_order"]) != state
    assert shop.stale("last_order") == [(1, "changed")]
    shop.store.materialize_incremental(END)
    assert shop.online("last_order:amount") == 21.0


def test_another_table_may_change_while_a_view_is_materialized(shop, monkeypatch):
    shop.store.apply([CUSTOMER, last_order()])
    shop.before_the_last_look(monkeypatch, "INSERT INTO stock VALUES (2)")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shop.store.materialize_incremental(END)
    assert shop.stale("last_order") == []


def test_a_table_that_changes_while_it_is_materialized_is_run_again(shop, monkeypatch):
    shop.store.apply([CUSTOMER, last_order()])
    shop.before_the_last_look(monkeypatch, f"INSERT INTO orders VALUES (0, 99, TIMESTAMP '{moment(3, 23)}')")
    with pytest.warns(UserWarning, match="changed while it was read"):
        shop.store.materialize_incremental(END)
    monkeypatch.undo()
    assert {reason for _, reason in shop.stale("last_order")} == {"unsettled"}
    shop.store.materialize_incremental(END)
    assert shop.online("last_order:amount") == 99.0
    assert shop.stale("last_order") == []


def test_what_is_left_out_is_inferred_from_the_table_or_query(shop):
    query = DuckDBSource(
        name="spent",
        database="shop.duckdb",
        query="SELECT customer_id, count(*) AS n, max(ts) AS ts FROM orders GROUP BY ALL",
    )
    plain = DuckDBSource(database="shop.duckdb", table="orders")
    shop.store.apply(
        [
            CUSTOMER,
            FeatureView(name="a", entities=[CUSTOMER], source=plain),
            FeatureView(name="b", entities=[CUSTOMER], source=query, partitions=None),
        ]
    )
    a, b = (shop.store.get_feature_view(name) for name in "ab")
    assert [(f.name, f.dtype) for f in a.schema] == [("customer_id", Int64), ("amount", Float64)]
    assert [(f.name, f.dtype) for f in b.schema] == [("customer_id", Int64), ("n", Int64)]
    assert a.batch_source.timestamp_field == b.batch_source.timestamp_field == "ts"
    assert a.partitions.start == START
    shop.store.materialize_incremental(END)
    assert (shop.online("a:amount"), shop.online("b:n")) == (21.0, 8)


def test_history_and_online_values_agree(shop):
    shop.store.apply([CUSTOMER, last_order()])
    shop.store.materialize_incremental(END)
    rows = pd.DataFrame({"customer_id": [0, 1, 2, 9], "event_timestamp": [END] * 4})
    history = shop.store.get_historical_features(rows, ["last_order:amount"]).to_df()
    online = [shop.online("last_order:amount", customer) for customer in (0, 1, 2, 9)]
    assert history["amount"].astype(object).where(history["amount"].notna(), None).tolist() == online
    assert online == [21.0, 22.0, 23.0, None]
    assert shop.store.audit().mismatches == ()


def result(sink: DuckDBSource, **options) -> BatchFeatureView:
    return BatchFeatureView(
        **{
            "name": "spending",
            "mode": "sql",
            "udf": spent,
            "entities": [CUSTOMER],
            "source": ORDERS,
            "sink_source": sink,
            "schema": [Field(name="amount", dtype=Float64)],
            "online": True,
            "offline": True,
            "partitions": DAILY,
            **options,
        }
    )


def spent(orders):
    return f"SELECT customer_id, max(ts) AS ts, sum(amount) AS amount FROM {orders} GROUP BY customer_id, ts::DATE"


@pytest.mark.parametrize("database", ["shop.duckdb", "data/features.duckdb"])
def test_a_result_is_kept_in_a_table_and_read_from_there(shop, database):
    sink = DuckDBSource(name="spending_kept", database=database, table="features.spending", timestamp_field="ts")
    shop.store.apply([CUSTOMER, result(sink)])
    rows = pd.DataFrame({"customer_id": [0], "event_timestamp": [END]})
    before = shop.store.get_historical_features(rows, ["spending:amount"]).to_df()
    assert before["amount"].isna().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shop.store.materialize_incremental(END)
    with duckdb.connect(str(shop.root / database), read_only=True) as connection:
        connection.execute("USE " + connection.execute("SELECT current_database()").fetchall()[0][0] + ".features")
        kept = connection.execute("SELECT count(*), min(customer_id) FROM spending").fetchall()
    assert kept == [(12, 0)]
    assert shop.online("spending:amount") == 18.0 + 21.0
    assert shop.store.get_historical_features(rows, ["spending:amount"]).to_df()["amount"].tolist() == [39.0]
    assert shop.stale("spending") == []
    shop.execute("DELETE FROM orders WHERE amount = 21")
    assert shop.stale("spending") == [(3, "changed")]
    shop.store.materialize_incremental(END)
    assert shop.online("spending:amount") == 18.0
    assert shop.stale("spending") == []


def test_a_view_with_more_features_adds_columns_to_its_table(shop):
    sink = DuckDBSource(name="spending_kept", database="shop.duckdb", table="spending", timestamp_field="ts")

    def counted(orders):
        return f"SELECT customer_id, ts, amount, 1 AS n FROM {orders}"

    shop.store.apply([CUSTOMER, result(sink)])
    shop.store.materialize_incremental(END)
    shop.store.apply([CUSTOMER, result(sink, udf=counted, schema=[Field(name="n", dtype=Int64)])])
    shop.store.materialize_incremental(END)
    assert shop.execute("SELECT count(*), sum(n), count(amount) FROM spending") == [(24, 24, 0)]

    def textual(orders):
        return f"SELECT customer_id, ts, 'many' AS n FROM {orders}"

    shop.store.apply([CUSTOMER, result(sink, udf=textual, schema=[Field(name="n", dtype=String)])])
    shop.store.materialize_incremental(END)
    shop.store.apply([CUSTOMER, result(sink, udf=counted, schema=[Field(name="n", dtype=Int64)])])
    with pytest.raises(SourceError, match=r"'spending_kept'.*'n' holds VARCHAR.*BIGINT.*Drop the table"):
        shop.store.materialize_incremental(END)
    assert shop.execute("SELECT count(*) FROM spending WHERE n = 'many'") == [(24,)]


def test_a_branch_keeps_its_results_in_a_file_of_its_own(shop):
    sink = DuckDBSource(name="spending_kept", database="shop.duckdb", table="Spending", timestamp_field="ts")
    reader = FeatureView(
        name="reader",
        entities=[CUSTOMER],
        source=sink,
        schema=[Field(name="amount", dtype=Float64)],
        partitions=DAILY,
    )
    branch = FeatureStore(shop.root, shop.store.config.model_copy(update={"deployment": "feature"}))
    branch.apply([CUSTOMER, result(sink), reader])
    branch.materialize_incremental(END)
    assert shop.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL") == [("orders",), ("stock",)]
    assert (shop.root / ".deployments" / "feature" / "shop.duckdb").exists()
    found = branch.get_online_features(["reader:amount"], [{"customer_id": 0}]).to_dict()
    assert found["amount"] == [39.0]


def test_pushed_rows_are_appended_once(shop):
    pushed = PushSource(name="pushed", batch_source=ORDERS)
    shop.store.apply([CUSTOMER, last_order(source=pushed, offline=True)])
    row = {"customer_id": [0], "amount": [50.0], "ts": [END - timedelta(hours=1)]}
    for _ in range(2):
        shop.store.push("pushed", pd.DataFrame(row), to=PushMode.ONLINE_AND_OFFLINE)
    assert shop.online("last_order:amount") == 50.0
    assert shop.execute("SELECT count(*) FROM orders WHERE amount = 50") == [(1,)]
    with pytest.raises(InputError, match="'amount'"):
        shop.store.push("pushed", pd.DataFrame({"customer_id": [0], "ts": [END]}), to=PushMode.OFFLINE)
    with pytest.raises(InputError, match="'amount'.*DOUBLE|'amount'.*double"):
        shop.store.push("pushed", pd.DataFrame(row | {"amount": ["many"]}), to=PushMode.OFFLINE)


def test_the_first_push_makes_the_table(shop):
    fresh = PushSource(
        name="pushed",
        batch_source=DuckDBSource(name="new", database="new/push.duckdb", table="s.t", timestamp_field="ts"),
    )
    shop.store.apply(
        [
            CUSTOMER,
            last_order(
                source=fresh,
                offline=True,
                schema=[Field(name="customer_id", dtype=Int64), Field(name="amount", dtype=Float64)],
            ),
        ]
    )
    row = pa.table({"customer_id": [1], "amount": [2.0], "ts": [START]})
    shop.store.push("pushed", row.to_pandas(), to=PushMode.ONLINE_AND_OFFLINE)
    shop.store.push("pushed", row.to_pandas(), to=PushMode.ONLINE_AND_OFFLINE)
    with duckdb.connect(str(shop.root / "new" / "push.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT customer_id, amount FROM s.t").fetchall() == [(1, 2.0)]
