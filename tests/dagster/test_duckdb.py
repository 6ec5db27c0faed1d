"""Tables that assets of the user's own make with dagster-duckdb, as sources of features."""

import itertools
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
from dagster_duckdb import DuckDBResource
from dagster_duckdb_polars import DuckDBPolarsIOManager
from ticks import Daemon

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for, duckdb_pool, online_pool, training_set_asset

CONFIG = "project: shop\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
FEATURES = """
    from datetime import UTC, datetime

    from feast_assets import (
        DuckDBSource, Entity, FeatureView, Field, FileSource, Float64, Partitions, ValueType, batch_feature_view,
    )

    GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 6, tzinfo=UTC))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    orders = DuckDBSource(
        name="orders", database="shop.duckdb", table="public.orders", timestamp_field="placed_at"
    )
    last_order = FeatureView(
        name="last_order", entities=[customer], source=orders, schema=[Field(name="amount", dtype=Float64)],
        partitions=GRID,
    )
"""
KEPT = """
    spent_kept = DuckDBSource(
        name="spent_kept", database="{database}", table="features.spent", timestamp_field="placed_at"
    )

    @batch_feature_view(
        mode="sql", entities=[customer], source=orders, sink_source=spent_kept, offline=True, partitions=GRID,
        schema=[Field(name="spent", dtype=Float64)],
    )
    def spent(orders):
        last = "max(placed_at) AS placed_at"
        return f"SELECT customer_id, {{last}}, sum(amount) AS spent FROM {{orders}} GROUP BY customer_id"
"""
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06", timezone="UTC")
ORDERS, VIEW = dg.AssetKey(["public", "orders"]), dg.AssetKey(["shop", "last_order"])


def repository(root: Path, more: str = "") -> Path:
    """Writes the repository and applies it; of the database's file there is nothing yet."""
    (root / "feature_store.yaml").write_text(CONFIG)
    (root / "features.py").write_text(textwrap.dedent(FEATURES) + textwrap.dedent(more))
    store = FeatureStore(root)
    store.apply_repository()
    store.close()
    return root


def ingest(root: Path) -> dg.AssetsDefinition:
    """The user's own asset: orders of each day, of customers 1 and 2."""

    @dg.asset(
        key=ORDERS,
        partitions_def=DAYS,
        metadata={"partition_expr": "placed_at"},
        io_manager_key="duckdb_io",
        pool=duckdb_pool(root / "shop.duckdb"),
    )
    def orders(context: dg.AssetExecutionContext) -> pl.DataFrame:
        day = int(context.partition_key[8:10])
        at = datetime(2024, 1, day, 12)
        return pl.DataFrame({"customer_id": [1, 2], "placed_at": [at, at], "amount": [float(day), 10.0 * day]})

    return orders


def definitions(root: Path, *assets: Any, **arguments: Any) -> dg.Definitions:
    database = str(root / "shop.duckdb")
    resources = {"feature_store": FeatureStoreResource(repo_path=str(root))}
    own = {"duckdb_io": DuckDBPolarsIOManager(database=database), "duckdb": DuckDBResource(database=database)}
    return dg.Definitions.merge(
        definitions_for(resources, **arguments),
        dg.Definitions(
            assets=list(assets),
            jobs=[dg.define_asset_job("both", dg.AssetSelection.assets(*[k for a in assets for k in a.keys], VIEW))],
            resources=own,
        ),
    )


def amounts(root: Path, feature: str = "last_order:amount") -> list[float | None]:
    store = FeatureStore(root)
    found = store.get_online_features([feature], {"customer_id": [1, 2]}).to_dict()[feature.partition(":")[2]]
    store.close()
    return list(found)


def change(root: Path, sql: str) -> None:
    with duckdb.connect(str(root / "shop.duckdb")) as connection:
        connection.execute(sql)


def test_a_table_that_an_io_manager_writes_is_a_source_made_by_its_asset(tmp_path):
    root = repository(tmp_path)
    orders = ingest(root)
    defs = definitions(root, orders, source_assets={"orders": orders})
    assert defs.resolve_asset_graph().get(VIEW).parent_keys == {ORDERS}
    with dg.instance_for_test() as instance:
        for day in ("2024-01-01", "2024-01-03", "2024-01-02"):
            run = defs.resolve_job_def("both").execute_in_process(partition_key=day, instance=instance)
            assert run.success
        (view,) = instance.fetch_materializations(VIEW, limit=1).records
    assert view.partition_key == "2024-01-02"
    assert view.asset_materialization.metadata["dagster/partition_row_count"].value == 2
    assert amounts(root) == [3.0, 30.0]


def test_a_repository_is_applied_by_its_job_before_the_file_is_there(tmp_path):
    root = repository(tmp_path)
    FeatureStore(root).teardown()
    defs = definitions(root)
    assert VIEW in defs.resolve_asset_graph().get_all_asset_keys()
    assert defs.resolve_job_def("apply_shop").execute_in_process().success
    assert [v.name for v in FeatureStore(root).list_feature_views()] == ["last_order"]


def test_a_connection_that_a_failed_asset_left_open_is_no_obstacle(tmp_path):
    root = repository(tmp_path)

    @dg.asset(key=ORDERS)
    def orders(duckdb: DuckDBResource) -> None:
        with duckdb.get_connection() as connection:
            connection.execute("CREATE SCHEMA public")
            connection.execute(
                "CREATE TABLE public.orders AS SELECT 1 AS customer_id, TIMESTAMP '2024-01-01' AS placed_at, "
                "7.0 AS amount"
            )
            raise ValueError("half way")

    defs = definitions(root, orders, source_assets={"orders": orders})
    job = defs.resolve_implicit_global_asset_job_def()
    failed = job.execute_in_process(asset_selection=[ORDERS], raise_on_error=False)
    assert not failed.success
    try:
        orders(DuckDBResource(database=str(root / "shop.duckdb")))
    except duckdb.CatalogException as error:
        kept = error  # with its traceback, and so the connection
    run = job.execute_in_process(asset_selection=[VIEW], partition_key="2024-01-01")
    assert run.success, kept
    assert amounts(root) == [7.0, None]


def test_a_training_set_pins_the_table_and_not_the_file(tmp_path):
    root = repository(tmp_path)
    orders = ingest(root)
    rows = training_set_asset(
        name="rows",
        features=["last_order:amount"],
        entity_df=lambda context: pl.DataFrame(
            {"customer_id": [1], "event_timestamp": [datetime(2024, 1, 5)]}
        ).to_arrow(),
        project="shop",
    )
    defs = definitions(root, orders, rows, source_assets={"orders": orders})
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.instance_for_test() as instance:
        run = job.execute_in_process(asset_selection=[ORDERS], partition_key="2024-01-02", instance=instance)
        assert run.success
        assert job.execute_in_process(asset_selection=[rows.key], instance=instance).success
        change(root, "CREATE TABLE other AS SELECT 1 AS a")
        rebuild = {"ops": {rows.op.name: {"config": {"rebuild": True}}}}
        again = job.execute_in_process(asset_selection=[rows.key], instance=instance, run_config=rebuild)
        assert again.success
        change(root, "UPDATE public.orders SET amount = 9")
        with pytest.raises(dg.Failure, match="orders|last_order"):
            job.execute_in_process(asset_selection=[rows.key], instance=instance, run_config=rebuild)


def test_assets_of_one_file_share_a_pool(tmp_path):
    root = repository(tmp_path, KEPT.format(database="features.duckdb"))
    pool = duckdb_pool(root / "shop.duckdb")
    assert pool.startswith("duckdb_shop_")
    (tmp_path / "link.duckdb").symlink_to("shop.duckdb")
    assert duckdb_pool(root / "link.duckdb") == pool != duckdb_pool(root / "other" / "shop.duckdb")
    made = ingest(root)

    def pools(**arguments: Any) -> dict[str, str | None]:
        graph = definitions(root, made, **arguments).resolve_asset_graph()
        return {key.to_user_string(): next(iter(graph.get(key).pools), None) for key in (VIEW, ORDERS)}

    assert pools() == {"shop/last_order": pool, "public/orders": pool}
    assert pools(pool="mine") == {"shop/last_order": "mine", "public/orders": pool}
    assert pools(pool="") == {"shop/last_order": None, "public/orders": pool}


def test_without_a_duckdb_file_the_pool_is_the_online_store_s(tmp_path):
    file = 'FileSource(name="orders", path="orders", timestamp_field="placed_at")'
    text = textwrap.dedent(FEATURES)
    start, end = text.index("DuckDBSource(\n"), text.index("last_order =")
    (tmp_path / "feature_store.yaml").write_text(CONFIG)
    (tmp_path / "features.py").write_text(f"{text[:start]}{file}\n{text[end:]}")
    graph = definitions(tmp_path).resolve_asset_graph()
    assert graph.get(VIEW).pools == {online_pool("shop")}


def test_a_result_is_kept_in_a_table_of_the_same_file(tmp_path):
    root = repository(tmp_path, KEPT.format(database="shop.duckdb"))
    orders = ingest(root)
    defs = definitions(root, orders, source_assets={"orders": orders})
    kept = dg.AssetKey(["shop", "sources", "spent_kept"])
    keys = [ORDERS, kept, dg.AssetKey(["shop", "spent"])]
    run = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=keys, partition_key="2024-01-02"
    )
    assert run.success
    assert amounts(root, "spent:spent") == [2.0, 20.0]
    with duckdb.connect(str(root / "shop.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT sum(spent) FROM features.spent").fetchall() == [(22.0,)]
    assert defs.resolve_asset_graph().get(kept).metadata["dagster/table_name"] == "features.spent"


def test_steps_of_one_file_run_in_turn_with_the_multiprocess_executor(tmp_path):
    root = repository(tmp_path)
    (root / ".feastignore").write_text("project.py\n")
    (root / "project.py").write_text(
        textwrap.dedent(f"""
            import sys, time
            from pathlib import Path
            import dagster as dg
            from dagster_duckdb import DuckDBResource
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_duckdb import DAYS, VIEW, definitions, duckdb_pool, ingest
            ROOT = Path({str(root)!r})

            @dg.asset(partitions_def=DAYS, pool=duckdb_pool(ROOT / "shop.duckdb"))
            def stock(duckdb: DuckDBResource) -> None:
                with duckdb.get_connection() as connection:
                    connection.execute("CREATE TABLE stock AS SELECT 1 AS item")
                    time.sleep(1)

            orders = ingest(ROOT)
            defs = definitions(ROOT, orders, stock, source_assets={{"orders": orders}})

            def job():
                return defs.resolve_job_def("both")
        """)
    )
    job = dg.build_reconstructable_job("project", "job", reconstructor_working_directory=str(root))
    limits = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
    with dg.instance_for_test(overrides=limits) as instance:
        run = dg.execute_job(job, instance, tags={"dagster/partition": "2024-01-02"})
        assert run.success
        spans = sorted((e.start_time, e.end_time, e.step_key) for e in instance.get_run_step_stats(run.run_id))
    assert {step for _, _, step in spans} >= {"public__orders", "stock", "shop_daily"}
    of_file = [span for span in spans if span[2] in ("public__orders", "stock", "shop_daily")]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(of_file)), spans
    assert amounts(root) == [2.0, 20.0]


def test_the_late_data_sensor_runs_what_has_changed_in_the_table_alone(tmp_path):
    root = repository(tmp_path)
    change(
        root,
        "CREATE SCHEMA public; CREATE TABLE public.orders AS SELECT 1 AS customer_id, TIMESTAMP '2024-01-01' + "
        "to_days(range::INT) AS placed_at, range * 1.0 AS amount FROM range(5)",
    )
    store = FeatureStore(root)
    store.materialize_incremental(datetime(2024, 1, 6, tzinfo=UTC))
    store.close()
    with dg.instance_for_test() as instance:
        sensor = Daemon(root, instance, "late_data_shop")
        assert sensor.tick() == []
        change(root, "CREATE TABLE other AS SELECT 1 AS a")
        assert sensor.tick() == []
        change(root, "INSERT INTO public.orders VALUES (2, TIMESTAMP '2024-01-02 12:00', 9.0)")
        requests = sensor.tick()
        assert [r.partition_key for r in requests] == ["2024-01-02"]
        assert sensor.run(requests) == [True]
        assert sensor.tick() == []
    assert amounts(root) == [4.0, 9.0]


def test_a_tick_waits_but_shortly_for_a_file_that_is_written(tmp_path, monkeypatch):
    from feast_assets.dagster import sensors

    monkeypatch.setattr(sensors, "_SHORT_WAIT", 0.1)
    root = repository(tmp_path)
    change(
        root,
        "CREATE SCHEMA public; CREATE TABLE public.orders AS SELECT 1 AS customer_id, TIMESTAMP '2024-01-01' AS "
        "placed_at, 1.0 AS amount",
    )
    code = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read(); c.close()"
    with dg.instance_for_test() as instance:
        sensor = Daemon(root, instance, "late_data_shop")
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(root / "shop.duckdb")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout is not None and holder.stdin is not None
            assert holder.stdout.readline() == "open\n"
            assert sensor.tick() == []
        finally:
            holder.stdin.close()
            holder.wait(300)
            holder.stdout.close()
        assert sensor.tick() == []


def test_an_observation_gives_new_versions_to_what_has_changed_in_the_table_alone(tmp_path):
    root = repository(tmp_path)
    change(
        root,
        "CREATE SCHEMA public; CREATE TABLE public.orders AS SELECT 1 AS customer_id, TIMESTAMP '2024-01-01' + "
        "to_days(range::INT) AS placed_at, range * 1.0 AS amount FROM range(3)",
    )
    defs = definitions(root)
    source = dg.AssetKey(["shop", "sources", "orders"])

    def observed(instance: dg.DagsterInstance) -> set[str | None]:
        defs.resolve_job_def("observe_shop_sources_daily").execute_in_process(instance=instance)
        records = instance.fetch_observations(source, limit=100).records
        new = records[: len(records) - known[0]]
        known[0] = len(records)
        return {r.asset_observation.partition for r in new if r.asset_observation is not None}

    known = [0]
    with dg.instance_for_test() as instance:
        assert observed(instance) == {"2024-01-01", "2024-01-02", "2024-01-03"}
        change(root, "CREATE TABLE other AS SELECT 1 AS a")
        assert observed(instance) == set()
        change(root, "UPDATE public.orders SET amount = 9 WHERE amount = 1")
        assert observed(instance) == {"2024-01-02"}
