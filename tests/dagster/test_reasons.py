"""Why a window is run stands on the run request, on the tick, and on the partition."""

from __future__ import annotations

import os
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ticks import Daemon

from feast_assets import FeatureStore

FEATURES = """
    from datetime import UTC, datetime

    from feast_assets import (
        DuckDBSource, Entity, FeatureView, Field, FileSource, Float64, Partitions, ValueType, batch_feature_view,
    )

    GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 6, tzinfo=UTC))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    orders = FileSource(name="orders", path="orders", timestamp_field="ts")
    stock = DuckDBSource(name="stock", database="shop.duckdb", table="stock", timestamp_field="ts")
    shared = dict(entities=[customer], schema=[Field(name="amount", dtype=Float64)], partitions=GRID)

    last = FeatureView(name="last", source=orders, **shared)
    stocked = FeatureView(name="stocked", source=stock, **shared)

    @batch_feature_view(mode="sql", source=orders, **shared)
    def doubled(orders):
        return f"SELECT customer_id, ts, 2 * amount AS amount FROM {orders}"
"""
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def write_day(root: Path, day: int, amount: float) -> None:
    (root / "orders").mkdir(exist_ok=True)
    rows = {"customer_id": [1], "ts": [FIRST + timedelta(days=day, hours=12)], "amount": [amount]}
    pq.write_table(pa.table(rows), root / "orders" / f"{day}.parquet.new")
    os.replace(root / "orders" / f"{day}.parquet.new", root / "orders" / f"{day}.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose five days are materialized."""
    (tmp_path / "feature_store.yaml").write_text(
        "project: shop\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
    )
    (tmp_path / "features.py").write_text(textwrap.dedent(FEATURES))
    for day in range(5):
        write_day(tmp_path, day, day)
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE stock AS SELECT 1 AS customer_id, TIMESTAMP '2024-01-01' AS ts, 1.0 AS amount")
    store = FeatureStore(tmp_path)
    store.apply_repository()
    store.materialize_incremental(FIRST + timedelta(days=5))
    store.close()
    return tmp_path


def reasons(requests: list[dg.RunRequest]) -> dict[str, str]:
    """Returns why views are run, by their names."""
    return {key.path[-1]: r.tags["feast_assets/reason"] for r in requests for key in r.asset_selection or ()}


def test_late_rows_name_their_files_or_sources_on_request_tick_and_partition(root: Path) -> None:
    with dg.instance_for_test() as instance:
        late = Daemon(root, instance, "late_data_shop")
        assert late.tick() == []
        for day in (2, 3):
            write_day(root, day, 7.0)
        with duckdb.connect(str(root / "shop.duckdb")) as connection:
            connection.execute("INSERT INTO stock VALUES (1, TIMESTAMP '2024-01-01 01:00', 2.0)")
        requests = late.tick()
        in_orders = "late or corrected rows in orders/2.parquet, orders/3.parquet"
        assert reasons(requests) == {
            "last": in_orders,
            "doubled": in_orders,
            "stocked": "rows of stock were added, corrected or removed",
        }
        assert late.run(requests) == [True] * len(requests)
        for partition in ("2024-01-03", "2024-01-04"):
            (made,) = instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey(["shop", "last"]), asset_partitions=[partition]), limit=1
            ).records
            assert made.asset_materialization.metadata["feast_assets/reason"].value == in_orders
        assert late.tick() == []


def test_rows_that_are_gone_name_their_source(root: Path) -> None:
    with dg.instance_for_test() as instance:
        late = Daemon(root, instance, "late_data_shop")
        late.tick()
        (root / "orders" / "2.parquet").unlink()
        assert set(reasons(late.tick()).values()) == {"rows of orders were added, corrected or removed"}


def test_a_gap_and_a_run_that_was_killed_say_so(root: Path) -> None:
    path = root / "features.py"
    path.write_text(path.read_text() + "\nfresh = FeatureView(name='fresh', source=orders, **shared)\n")
    store = FeatureStore(root)
    store.apply_repository()
    from feast_assets.definitions.window import Window

    store.materialize_windows(
        "fresh", [Window(FIRST + timedelta(days=d), FIRST + timedelta(days=d + 1)) for d in (0, 2)]
    )
    store.close()
    with dg.instance_for_test() as instance:
        assert reasons(Daemon(root, instance, "late_data_shop").tick()) == {"fresh": "not materialized before"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("2 * amount AS", "3 * amount AS", {"doubled": "definition changed: sql"}),
        (
            'last = FeatureView(name="last", source=orders, **shared)',
            'last = FeatureView(name="last", source=orders, entities=[customer], partitions=GRID, '
            'schema=[*shared["schema"], Field(name="customer_id", dtype=Int64), Field(name="more", dtype=Float64)])',
            {"last": "definition changed: features.more"},
        ),
    ],
)
def test_a_changed_definition_says_what_has_changed(root: Path, before: str, after: str, told: dict[str, str]) -> None:
    for day in range(5):
        rows = {"customer_id": [1], "ts": [FIRST + timedelta(days=day)], "amount": [1.0], "more": [2.0]}
        pq.write_table(pa.table(rows), root / "orders" / f"{day}.parquet")
    with dg.instance_for_test() as instance:
        changes = Daemon(root, instance, "definitions_shop")
        assert changes.tick() == []
        path = root / "features.py"
        path.write_text(path.read_text().replace(before, after).replace("Float64,", "Float64, Int64,", 1))
        store = FeatureStore(root)
        store.apply_repository()
        store.close()
        assert reasons(changes.tick()) == told
        # Until it is run, the next tick says the same.
        assert reasons(changes.tick()) == told


def test_a_new_view_says_so(root: Path) -> None:
    with dg.instance_for_test() as instance:
        changes = Daemon(root, instance, "definitions_shop")
        changes.tick()
        path = root / "features.py"
        path.write_text(path.read_text() + "\nfresh = FeatureView(name='fresh', source=orders, **shared)\n")
        store = FeatureStore(root)
        store.apply_repository()
        store.close()
        assert reasons(changes.tick()) == {"fresh": "new view"}
