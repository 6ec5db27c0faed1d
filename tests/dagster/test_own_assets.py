"""Assets of the user's own around features: one makes a source, others read views, services and training sets."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ticks import RANGE, evaluated

from feast_assets import FeatureStore
from feast_assets.dagster import FeastTranslator, FeatureStoreResource, definitions_for, training_set_asset
from feast_assets.dagster.translator import DataSourceTranslatorData
from feast_assets.errors import DefinitionError

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06", timezone="UTC")
HOURS = dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-06-00:00", timezone="UTC")
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
CONFIG = "project: shop\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
FEATURES = """
    from datetime import UTC, datetime, timedelta

    from feast_assets import (
        Automation, Entity, FeatureService, FeatureView, Field, FileSource, Float64, Int64, Partitions, RequestSource,
        ValueType, batch_feature_view, on_demand_feature_view,
    )

    GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 6, tzinfo=UTC))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    orders = FileSource(name="orders", path="orders", timestamp_field="placed_at"{tags})

    last_order = FeatureView(
        name="last_order", entities=[customer], source=orders, schema=[Field(name="amount", dtype=Float64)],
        partitions=GRID, automation={automation},
    )

    @batch_feature_view(
        mode="sql", entities=[customer], source=orders, schema=[Field(name="spent", dtype=Float64)],
        partitions=GRID, lookback=timedelta(days=2),
    )
    def spent_lately(orders):
        last = "max(placed_at) AS placed_at"
        return f"SELECT customer_id, {last}, sum(amount) AS spent FROM {orders} GROUP BY customer_id"

    @on_demand_feature_view(
        sources=[last_order, RequestSource(name="cart", schema=[Field(name="items", dtype=Int64)])],
        schema=[Field(name="per_item", dtype=Float64)], mode="python",
    )
    def cart_price(inputs):
        return {"per_item": [a / max(i, 1) if a else None for a, i in zip(inputs["amount"], inputs["items"])]}

    basket = FeatureService(name="basket", features=[cart_price])
    totals = FeatureService(name="totals", features=[spent_lately])
"""


def key(*path: str) -> dg.AssetKey:
    return dg.AssetKey(list(path))


VIEW, LATELY = key("shop", "last_order"), key("shop", "spent_lately")


def write_day(root: Path, day: int, amount: float) -> None:
    """Writes the orders of one day: of customers 1 and 2, at noon."""
    (root / "orders").mkdir(exist_ok=True)
    rows = {
        "customer_id": pa.array([1, 2], pa.int64()),
        "placed_at": pa.array([FIRST + timedelta(days=day, hours=12)] * 2, pa.timestamp("us", "UTC")),
        "amount": [amount, 10 * amount],
    }
    pq.write_table(pa.table(rows), root / "orders" / f"{day}.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Path]:
    """Writes the repository, applied with a first day of orders that the ingest asset is going to overwrite."""

    def write(automation: str = "None", tags: str = "") -> Path:
        (tmp_path / "feature_store.yaml").write_text(CONFIG)
        text = textwrap.dedent(FEATURES).replace("{automation}", automation).replace("{tags}", tags)
        (tmp_path / "features.py").write_text(text)
        write_day(tmp_path, 0, 0.5)
        store = FeatureStore(tmp_path)
        store.apply_repository()
        store.close()
        return tmp_path

    return write


def ingest(root: Path, partitions: dg.PartitionsDefinition[str] | None = DAYS) -> dg.AssetsDefinition:
    """The user's own asset: writes each day's orders, of an amount that tells the day."""

    @dg.asset(key=["raw", "orders"], partitions_def=partitions)
    def orders(context):
        for day in range(5) if partitions is None else [int(k[8:10]) - 1 for k in context.partition_keys]:
            write_day(root, day, day + 1.0)

    return orders


def definitions(root: Path, *assets: Any, jobs: Any = (), **arguments: Any) -> dg.Definitions:
    resources = {"feature_store": FeatureStoreResource(repo_path=str(root))}
    return dg.Definitions.merge(
        definitions_for(resources, **arguments), dg.Definitions(assets=list(assets), jobs=list(jobs))
    )


def parents(defs: dg.Definitions, child: dg.AssetKey) -> set[dg.AssetKey]:
    return set(defs.resolve_asset_graph().get(child).parent_keys)


def amounts(root: Path, view: str = "last_order:amount") -> list[float | None]:
    store = FeatureStore(root)
    read = store.get_online_features([view], {"customer_id": [1, 2]}).to_dict()[view.partition(":")[2]]
    store.close()
    return list(read)


def steps_of(run: dg.ExecuteInProcessResult) -> list[str]:
    """Returns the steps that make assets, in the order in which they started."""
    started = [e.step_key for e in run.all_events if e.event_type_value == "STEP_START"]
    return [str(step) for step in started if step != "shop_serving_checks"]


# --- the graph


@pytest.mark.parametrize("given", ["asset", "spec", "key", "text", "path"])
def test_views_depend_on_the_users_asset_and_the_source_has_no_asset_of_its_own(
    shop: Callable[..., Path], given: str
) -> None:
    root = shop()
    asset = ingest(root)
    made_by: dict[str, Any] = {
        "asset": asset,
        "spec": next(iter(asset.specs)),
        "key": asset.key,
        "text": "raw/orders",
        "path": ["raw", "orders"],
    }
    defs = definitions(root, asset, source_assets={"orders": made_by[given]})
    graph = defs.resolve_asset_graph()
    assert parents(defs, VIEW) == parents(defs, LATELY) == {asset.key}
    assert key("shop", "sources", "orders") not in graph.get_all_asset_keys()
    assert not any("observe" in job.name for job in defs.resolve_all_job_defs())


def test_a_tag_of_the_source_names_the_asset(shop: Callable[..., Path]) -> None:
    root = shop(tags=', tags={"dagster/asset": "raw/orders"}')
    assert parents(definitions(root, ingest(root)), VIEW) == {key("raw", "orders")}


def test_a_translator_that_renames_sources_leaves_the_users_asset_alone(shop: Callable[..., Path]) -> None:
    class Renamed(FeastTranslator):
        def get_asset_spec(self, data: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(data)
            is_source = isinstance(data, DataSourceTranslatorData)
            return spec.replace_attributes(key=spec.key.with_prefix("renamed")) if is_source else spec

    root = shop()
    asset = ingest(root)
    assert parents(definitions(root, asset, source_assets={"orders": asset}, translator=Renamed()), VIEW) == {asset.key}


def test_partitions_follow_those_of_the_asset(shop: Callable[..., Path]) -> None:
    root = shop()

    def upstream(partitions: dg.PartitionsDefinition[str] | None, view: dg.AssetKey) -> list[str] | None:
        asset = ingest(root, partitions)
        graph = definitions(root, asset, source_assets={"orders": asset}).resolve_asset_graph()
        mapping = graph.get_partition_mapping(view, asset.key)
        if partitions is None:
            return None
        subset = graph.get(view).partitions_def.subset_with_partition_keys(["2024-01-04"])
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(
            subset, graph.get(view).partitions_def, partitions
        )
        return sorted(found.partitions_subset.get_partition_keys())

    # One group has one mapping of each upstream asset: of the view that looks back furthest.
    assert upstream(DAYS, VIEW) == upstream(DAYS, LATELY) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert upstream(HOURS, LATELY) == [f"2024-01-0{day}-{hour:02}:00" for day in (2, 3, 4) for hour in range(24)]
    assert upstream(None, VIEW) is None


class Warehouse(FeastTranslator):
    """Says which asset makes a source, and how its partitions are mapped."""

    def __init__(self, asset: Any, *mappings: dg.PartitionMapping):
        self.asset = asset
        self.mappings = dict(zip((VIEW, LATELY), mappings, strict=False))

    def get_source_asset(self, source: Any) -> Any:
        return self.asset

    def get_asset_spec(self, data: Any) -> dg.AssetSpec:
        spec = super().get_asset_spec(data)
        if spec.key not in self.mappings:
            return spec
        deps = [dg.AssetDep(dep.asset_key, partition_mapping=self.mappings[spec.key]) for dep in spec.deps]
        return spec.replace_attributes(deps=deps)


@pytest.mark.parametrize("given", ["asset", "key"])
def test_a_translator_names_the_asset(shop: Callable[..., Path], given: str) -> None:
    root = shop(tags=', tags={"dagster/asset": "raw/other"}')
    asset = ingest(root)
    defs = definitions(root, asset, translator=Warehouse(asset if given == "asset" else "raw/orders"))
    assert parents(defs, VIEW) == parents(defs, LATELY) == {asset.key}
    assert key("shop", "sources", "orders") not in defs.resolve_asset_graph().get_all_asset_keys()
    # What is given with the call counts.
    called = definitions(root, asset, translator=Warehouse("raw/other"), source_assets={"orders": asset})
    assert parents(called, VIEW) == {asset.key}


def test_a_translator_overrides_how_partitions_are_mapped(shop: Callable[..., Path]) -> None:
    root = shop()
    asset = ingest(root)
    week = dg.TimeWindowPartitionMapping(start_offset=-6, allow_nonexistent_upstream_partitions=True)
    for mapping in (week, dg.LastPartitionMapping()):
        graph = definitions(root, asset, translator=Warehouse(asset, mapping)).resolve_asset_graph()
        assert graph.get_partition_mapping(VIEW, asset.key) == mapping
        assert graph.get_partition_mapping(LATELY, asset.key) == mapping
    with pytest.raises(DefinitionError, match=r"'raw/orders' in one way for 'shop/last_order' and in another for"):
        definitions(root, asset, translator=Warehouse(asset, week, dg.LastPartitionMapping()))


def test_an_asset_that_begins_later_than_the_view_is_no_obstacle(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = shop()
    late = dg.DailyPartitionsDefinition("2024-01-03", end_date="2024-01-06", timezone="UTC")
    asset = ingest(root, late)
    defs = definitions(root, asset, source_assets={"orders": asset})
    run = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=[VIEW], partition_key="2024-01-01", instance=instance
    )
    assert run.success


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"order": "raw/orders"}, "'order', which is no data source. Did you mean 'orders'"),
        (["orders"], "must be a dict of data source names to assets, specs or keys, not list"),
        ("orders", "must be a dict of data source names to assets, specs or keys, not str"),
        ({"orders": 3}, "Give an asset, a spec or a key for data source 'orders', not int"),
    ],
)
def test_what_is_no_asset_or_no_source_is_refused(shop: Callable[..., Path], given: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        definitions(shop(), source_assets=given)


def test_an_asset_of_several_keys_is_refused_with_the_way_out(shop: Callable[..., Path]) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("orders"), dg.AssetSpec("customers")])
    def both(): ...

    with pytest.raises(
        DefinitionError, match=r"Several assets are given for data source 'orders' \(customers, orders\)"
    ):
        definitions(shop(), both, source_assets={"orders": both})


# --- runs


def test_one_job_runs_the_asset_before_the_views_that_read_it(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = shop()
    asset = ingest(root)
    job = dg.define_asset_job("daily", selection=[asset.key, VIEW, LATELY])
    defs = definitions(root, asset, jobs=[job], source_assets={"orders": asset})
    run = defs.resolve_job_def("daily").execute_in_process(partition_key="2024-01-01", instance=instance)
    assert steps_of(run) == ["raw__orders", "shop_daily"]
    assert amounts(root) == [1.0, 10.0]


# --- automation


class Automated:
    """Ticks of the automations of some definitions, a minute apart."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance):
        self.defs, self.instance, self.cursor = defs, instance, None
        self.now = datetime.now(UTC)

    def tick(self) -> dict[str, list[str | None]]:
        """Returns the partitions that are asked for, by asset."""
        self.now += timedelta(minutes=1)
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, cursor=self.cursor, evaluation_time=self.now
        )
        self.cursor = result.cursor
        asked: dict[str, list[str | None]] = {}
        for each in result.results:
            for partition in result.get_requested_partitions(each.key):
                asked.setdefault(each.key.to_user_string(), []).append(partition)
        return asked

    def run(self, *keys: dg.AssetKey, partition: str | None = None) -> None:
        job = self.defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(
            asset_selection=list(keys), partition_key=partition, instance=self.instance
        ).success


def test_an_eager_view_follows_the_asset_that_makes_its_source(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = shop("Automation.eager()")
    asset = ingest(root)
    automated = Automated(definitions(root, asset, source_assets={"orders": asset}), instance)
    assert "shop/last_order" not in automated.tick()
    automated.run(asset.key, partition="2024-01-05")
    assert automated.tick() == {"shop/last_order": ["2024-01-05"]}
    automated.run(VIEW, partition="2024-01-05")
    assert automated.tick() == {}
    assert amounts(root) == [5.0, 50.0]


def test_a_view_on_cron_waits_for_the_asset_that_makes_its_source(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    # Once a year, half a year from now: no tick of the test meets it by chance.
    root = shop(f'Automation.on_cron("0 0 1 {(datetime.now(UTC).month + 5) % 12 + 1} *")')
    asset = ingest(root)
    automated = Automated(definitions(root, asset, source_assets={"orders": asset}), instance)
    automated.run(asset.key, partition="2024-01-05")
    # Until that day, an update asks for nothing.
    assert automated.tick() == automated.tick() == {}
    automated.now += timedelta(days=366)
    # It has come, and the asset was not updated since.
    assert automated.tick() == automated.tick() == {}
    automated.run(asset.key, partition="2024-01-05")
    assert automated.tick() == {"shop/last_order": ["2024-01-05"]}
    assert automated.tick() == {}


def test_an_eager_view_of_an_asset_without_partitions_is_left_to_its_rows(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    """Which windows an update concerns, the late-data sensor tells: not all of them, and not just the newest."""
    root = shop("Automation.eager()")
    asset = ingest(root, None)
    defs = definitions(root, asset, source_assets={"orders": asset})
    automated = Automated(defs, instance)
    automated.run(asset.key)
    assert automated.tick() == {}

    def asked(cursor: str | None) -> tuple[list[tuple[str, str]], str | None]:
        resource = FeatureStoreResource(repo_path=str(root))
        ticked = evaluated(defs, resource, automated.instance, "late_data_shop", cursor)
        whole = [[r.tags.get(tag, r.partition_key) for tag in RANGE] for r in ticked.run_requests or []]
        return [(str(first), str(last)) for first, last in whole], ticked.cursor

    spans, cursor = asked(None)
    assert spans == [("2024-01-01", "2024-01-05")]
    for day in range(1, 6):
        automated.run(VIEW, partition=f"2024-01-0{day}")
    write_day(root, 1, 99.0)
    spans, _ = asked(cursor)
    assert spans == [("2024-01-02", "2024-01-02")]


def test_a_training_set_of_a_service_waits_for_its_views_and_is_asked_for_after_them(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = shop()
    asset = ingest(root)
    rows = {"customer_id": [1], "event_timestamp": [FIRST + timedelta(days=4, hours=13)], "items": [2]}
    eager = dg.AutomationCondition.eager()
    baskets = training_set_asset(
        name="baskets",
        feature_service="basket",
        entity_df=lambda context: rows,
        project="shop",
        automation_condition=eager,
    )

    @dg.asset(deps=[key("shop", "services", "totals")], automation_condition=eager)
    def report() -> None: ...

    job = dg.define_asset_job("all", selection=[VIEW, baskets.key])
    defs = definitions(root, asset, baskets, report, jobs=[job], source_assets={"orders": asset})
    automated = Automated(defs, instance)
    assert automated.tick() == {}
    automated.run(asset.key, partition="2024-01-05")
    automated.run(VIEW, partition="2024-01-05")
    assert automated.tick() == {"baskets": [None]}
    automated.run(LATELY, partition="2024-01-05")
    assert automated.tick() == {"report": [None]}
    run = defs.resolve_job_def("all").execute_in_process(partition_key="2024-01-05", instance=automated.instance)
    assert steps_of(run) == ["shop_daily", "baskets"]
    assert pq.read_table(root / "data" / "training_sets" / "baskets.parquet")["per_item"].to_pylist() == [2.5]


def test_a_run_tells_of_the_services_that_read_its_views(
    shop: Callable[..., Path], instance: dg.DagsterInstance
) -> None:
    root = shop()
    defs = definitions(root)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(asset_selection=[VIEW], partition_key="2024-01-01", instance=instance).success

    def told(*path: str) -> str | None:
        event = instance.get_latest_materialization_event(key("shop", *path))
        return None if event is None else event.asset_materialization.metadata["feast_assets/views_made"].value

    assert told("cart_price") == told("services", "basket") == "last_order"
    assert told("services", "totals") is None
