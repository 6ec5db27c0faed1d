"""A repository is applied before its data are there, wherever what is declared suffices."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import (
    BatchFeatureView,
    DataSource,
    DuckDBSource,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    Partitions,
    RepoConfig,
    ValueType,
)
from feast_assets.errors import SourceError

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=2)
ORDERS = pa.table({"customer_id": [1, 2], "ts": [START, START + timedelta(hours=30)], "amount": [1.0, 2.0]})
TYPED = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
UNTYPED = Entity(name="customer", join_keys=["customer_id"])
DAILY = Partitions("daily", start=START)
NOT_YET = {
    "file": FileSource(name="orders", path="orders.parquet", timestamp_field="ts"),
    "csv file": FileSource(name="orders", path="made/orders.csv", timestamp_field="ts"),
    "folder": FileSource(name="orders", path="made/orders/", timestamp_field="ts"),
    "glob": FileSource(name="orders", path="made/*.parquet", timestamp_field="ts"),
    "database": DuckDBSource(name="orders", database="made/shop.duckdb", table="s.orders", timestamp_field="ts"),
    "query": DuckDBSource(
        name="orders", database="made/shop.duckdb", query="SELECT * FROM s.orders", timestamp_field="ts"
    ),
}
SINGLE = ["file", "csv file", "database", "query"]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    config = RepoConfig(project="shop", registry="registry.db", provider="local", online_store={"type": "sqlite"})
    return FeatureStore(tmp_path, config)


def view(source: DataSource, entity: Entity = TYPED, **options: Any) -> FeatureView:
    declared: dict[str, Any] = {"schema": [Field(name="amount", dtype=Float64)], "partitions": DAILY, **options}
    return FeatureView(name="last_order", entities=[entity], source=source, **declared)


def make(store: FeatureStore, source: DataSource, rows: pa.Table = ORDERS) -> None:
    """Makes what a source names."""
    (store.repo_path / "made").mkdir(exist_ok=True)
    if isinstance(source, DuckDBSource):
        with duckdb.connect(str(store.repo_path / source.database)) as connection:
            connection.register("given", rows)
            connection.execute("CREATE SCHEMA s; CREATE TABLE s.orders AS SELECT * FROM given")
        return
    assert isinstance(source, FileSource)
    path = store.repo_path / source.path.replace("*", "orders")
    if source.path.endswith("/"):
        path.mkdir(parents=True)
        path /= "orders.parquet"
    if path.suffix == ".csv":
        rows.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(rows, path)


def online(store: FeatureStore) -> list[Any]:
    found = store.get_online_features(["last_order:amount"], {"customer_id": [1, 2]}).to_dict()
    return list(found["amount"])


@pytest.mark.parametrize("kind", NOT_YET)
@pytest.mark.parametrize("typed_by", ["entity", "field"])
def test_what_is_declared_suffices(store: FeatureStore, kind: str, typed_by: str) -> None:
    source = NOT_YET[kind]
    fields = [Field(name="amount", dtype=Float64)]
    if typed_by == "entity":
        objects = [TYPED, view(source)]
    else:
        objects = [UNTYPED, view(source, UNTYPED, schema=[Field(name="customer_id", dtype=Int64), *fields])]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.apply(objects)
    told = [str(w.message) for w in caught if "'orders'" in str(w.message)]
    assert len(told) == (1 if kind in SINGLE else 0)
    assert all("applied as declared, and checked when it is read" in text for text in told)
    make(store, source)
    store.apply(objects)
    store.materialize_incremental(END)
    assert online(store) == [1.0, 2.0]
    assert store.stale_windows("last_order", END) == []


@pytest.mark.parametrize("kind", SINGLE)
def test_before_there_are_data_a_run_says_what_is_missing(store: FeatureStore, kind: str) -> None:
    store.apply([TYPED, view(NOT_YET[kind])])
    with pytest.raises(SourceError, match="'orders'.*there is no file"):
        store.materialize_incremental(END)
    rows = pd.DataFrame({"customer_id": [1], "event_timestamp": [END]})
    with pytest.raises(SourceError, match="'orders'.*there is no file"):
        store.get_historical_features(rows, ["last_order:amount"]).to_df()
    assert online(store) == [None, None]


@pytest.mark.parametrize("kind", ["file", "folder", "database", "query"])
def test_data_of_another_kind_than_declared_are_an_error_of_the_run(store: FeatureStore, kind: str) -> None:
    source = NOT_YET[kind]
    store.apply([TYPED, view(source)])
    make(store, source, ORDERS.set_column(2, "amount", pa.array(["one", "two"])))
    with pytest.raises(SourceError, match="'orders'.*'amount' of feature view 'last_order'.*Float64.*string"):
        store.materialize_incremental(END)
    with pytest.raises(SourceError, match="'last_order'.*'amount' is declared Float64.*'orders' has string"):
        store.apply([TYPED, view(source)])


def test_data_without_a_declared_column_are_an_error_of_the_run(store: FeatureStore) -> None:
    store.apply([TYPED, view(NOT_YET["database"])])
    make(store, NOT_YET["database"], ORDERS.rename_columns(["customer_id", "ts", "amuont"]))
    with pytest.raises(SourceError, match="no column 'amount', a feature of.*Did you mean 'amuont'"):
        store.materialize_incremental(END)


@pytest.mark.parametrize("kind", NOT_YET)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": None}, r"FeatureView 'last_order': its features cannot be inferred.*Declare them in its schema"),
        (
            {"entity": UNTYPED},
            r"the type of join key 'customer_id' cannot be inferred.*Declare it: value_type of entity 'customer', or "
            r"Field\(name='customer_id', dtype=\.\.\.\) in the view's schema",
        ),
    ],
)
def test_what_would_have_to_be_inferred_is_named_with_what_would_do(
    store: FeatureStore, kind: str, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(SourceError, match=told):
        store.apply([TYPED if "schema" in change else UNTYPED, view(NOT_YET[kind], **change)])
    assert store.list_feature_views() == []


@pytest.mark.parametrize("kind", NOT_YET)
def test_a_time_column_that_would_have_to_be_inferred_is_asked_for(store: FeatureStore, kind: str) -> None:
    source = type(NOT_YET[kind]).from_spec(NOT_YET[kind].to_spec() | {"timestamp_field": ""})
    with pytest.raises(SourceError, match="'orders': its time column cannot be inferred.*Declare timestamp_field"):
        store.apply([TYPED, view(source)])


def test_where_partitions_start_is_told_by_the_first_apply_with_data(store: FeatureStore) -> None:
    source = NOT_YET["file"]
    objects = [TYPED, view(source, partitions=Partitions("daily"))]
    with pytest.warns(UserWarning, match="no rows yet that tell where its partitions start.*Declare the start"):
        store.apply(objects)
    assert store.get_feature_view("last_order").partitions == Partitions("daily")
    make(store, source)
    store.apply(objects)
    assert store.get_feature_view("last_order").partitions == Partitions("daily", start=START)


def test_a_transformation_is_applied_before_its_inputs_are_there(store: FeatureStore) -> None:
    def doubled(orders: str) -> str:
        return f"SELECT customer_id, ts, 2 * amount AS amount FROM {orders}"

    sources = [NOT_YET["database"], FileSource(name="lookup", path="lookup.parquet", timestamp_field="ts")]
    computed = BatchFeatureView(
        name="last_order",
        mode="sql",
        udf=doubled,
        entities=[TYPED],
        source=sources[:1],
        schema=[Field(name="amount", dtype=Float64)],
        online=True,
        partitions=DAILY,
    )
    store.apply([TYPED, computed])
    make(store, sources[0])
    store.materialize_incremental(END)
    assert online(store) == [2.0, 4.0]


def test_skipping_the_validation_of_sources_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

    (tmp_path / "feature_store.yaml").write_text("project: shop\nregistry: registry.db\n")
    (tmp_path / "features.py").write_text(
        "from datetime import UTC, datetime\n"
        "from feast_assets import *\n"
        "customer = Entity(name='customer', join_keys=['customer_id'], value_type=ValueType.INT64)\n"
        "orders = FileSource(name='orders', path='orders.parquet', timestamp_field='ts')\n"
        "last_order = FeatureView(name='last_order', entities=[customer], source=orders,\n"
        "    schema=[Field(name='amount', dtype=Float64)],\n"
        "    partitions=Partitions('daily', start=datetime(2024, 1, 1, tzinfo=UTC)))\n"
    )

    def read(*arguments: Any) -> None:
        raise AssertionError("a source is read")

    def apply() -> None:
        store = FeatureStore(tmp_path)
        store.apply_plan(store.plan_repository(skip_source_validation=True))

    for verb in ("schema", "check_texts", "oldest_event", "survey"):
        monkeypatch.setattr(DuckDBOfflineStore, verb, read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply()
    pq.write_table(ORDERS.drop_columns(["amount"]), tmp_path / "orders.parquet")
    apply()
