"""A user's own assets and features under a real webserver, daemon and executor; all tests share one start.

There are two code locations. In `shop`, an ingest asset, views, a training set and a model are side by side, run with
the multiprocess executor; it also makes the source of a view of the other one, `live`.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from live import DONE, Live, running, wait_for
from ticks import RANGE

from feast_assets import FeatureStore
from feast_assets.retrieval.training_set import read_pins

CONFIG = "project: {name}\nregistry: registry.db\nonline_store: {{type: sqlite, path: online.db}}\n"
LIVE = """
    from datetime import timedelta
    from pathlib import Path

    import dagster as dg

    from feast_assets.dagster import (
        FeatureRepository, FeatureStoreResource, build_feature_view_assets, feature_view_jobs, late_data_sensor,
    )

    feature_store = FeatureStoreResource(repo_path=str(Path(__file__).parent))
    # Something outside of Dagster makes these, and reports it.
    stock = dg.AssetSpec(["raw", "stock"])
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06", timezone="UTC")
    prices = dg.AssetSpec(["raw", "prices"], partitions_def=days)
    # Another code location makes the orders, of which nothing is known here but the key.
    made_by = {"orders": "raw/orders", "stock": stock, "prices": prices}
    repository = FeatureRepository.load(feature_store, source_assets=made_by)
    assets = build_feature_view_assets(repository, backfill_policy=dg.BackfillPolicy.multi_run(4))
    jobs = feature_view_jobs(assets)
    late = late_data_sensor(repository, assets, jobs, minimum_interval_seconds=1, retry_after=timedelta(seconds=1))
    defs = dg.Definitions(
        assets=[*assets, stock, prices],
        jobs=jobs,
        sensors=[late, dg.AutomationConditionSensorDefinition("automation", target="*", minimum_interval_seconds=1)],
        resources={"feature_store": feature_store},
        executor=dg.in_process_executor,
    )
"""
LIVE_FEATURES = """
    import os
    import time
    from datetime import UTC, datetime
    from pathlib import Path

    from feast_assets import (
        Automation, Checks, Entity, FeatureView, Field, FileSource, Float64, Int64, Partitions, ValueType,
        batch_feature_view,
    )

    HERE = Path(__file__).parent
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    rides = FileSource(name="rides", path="rides.parquet", timestamp_field="at")

    def grid(end):
        return Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=end)

    @batch_feature_view(
        mode="pandas",
        entities=[driver],
        source=rides,
        schema=[Field(name="fare", dtype=Float64)],
        partitions=grid(datetime(2024, 1, 9, tzinfo=UTC)),
    )
    def ride(rides):
        while (HERE / "hold").exists():
            (HERE / "held").write_text(str(os.getpid()))
            time.sleep(0.05)
        return rides

    last_order = FeatureView(
        name="last_order",
        entities=[driver],
        source=FileSource(name="orders", path="orders/", timestamp_field="placed_at"),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="amount", dtype=Float64, checks=Checks(maximum=100))],
        partitions=grid(datetime(2024, 1, 6, tzinfo=UTC)),
        automation=Automation.eager(),
    )

    def of_folder(view, folder, automation):
        return FeatureView(
            name=view,
            entities=[driver],
            source=FileSource(name=folder, path=f"{folder}/", timestamp_field="at"),
            schema=[Field(name="driver_id", dtype=Int64), Field(name="amount", dtype=Float64)],
            partitions=grid(datetime(2024, 1, 6, tzinfo=UTC)),
            automation=automation,
        )

    in_stock = of_folder("in_stock", "stock", Automation.eager())
    price = of_folder("price", "prices", Automation.on_cron("* * * * *"))
"""
SHOP = """
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    import dagster as dg
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feast_assets.dagster import FeatureStoreResource, definitions_for, training_set_asset

    HERE = Path(__file__).parent
    WHOLE = dg.BackfillPolicy.single_run()
    month = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-31", timezone="UTC")

    def write(folder, day, names, amount):
        at = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=9)
        columns = dict(zip(names, (pa.array([1], pa.int64()), pa.array([at], pa.timestamp("us", "UTC")), [amount])))
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), folder / f".{day}.tmp")
        (folder / f".{day}.tmp").rename(folder / f"{day}.parquet")

    @dg.asset(
        key=["raw", "orders"],
        partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06", timezone="UTC"),
        backfill_policy=WHOLE,
    )
    def orders(context) -> None:
        wrong = (HERE / "wrong").exists()
        for day in context.partition_keys:
            amount = 1000.0 if wrong and day == "2024-01-05" else float(day[-2:])
            write(HERE.parent / "live" / "orders", day, ("driver_id", "placed_at", "amount"), amount)

    @dg.asset(key=["raw", "purchases"], partitions_def=month, backfill_policy=WHOLE)
    def purchases(context) -> None:
        for day in context.partition_keys:
            write(HERE / "purchases", day, ("customer_id", "bought_at", "amount"), float(day[-2:]))

    def noons(context):
        noon = context.partition_time_window.start + timedelta(hours=12)
        return {"customer_id": [1], "event_timestamp": [noon]}

    rows = training_set_asset(
        name="rows", feature_service="spending", entity_df=noons, partitions_def=month, project="shop",
        backfill_policy=WHOLE,
    )

    @dg.asset
    def model(rows: pa.Table) -> None:
        (HERE / "model").write_text(str([rows["amount"].to_pylist(), rows["week"].to_pylist()]))

    defs = dg.Definitions.merge(
        definitions_for(
            {"feature_store": FeatureStoreResource(repo_path=str(HERE))},
            source_assets={"purchases": purchases},
            checks="none",
        ),
        dg.Definitions(
            assets=[orders, purchases, rows, model],
            jobs=[dg.define_asset_job("ingest", selection=[purchases.key, dg.AssetKey(["shop", "purchase"])])],
            executor=dg.multiprocess_executor.configured(
                {"start_method": {"forkserver": {"preload_modules": ["feast_assets.dagster", "pandas", "duckdb"]}}}
            ),
        ),
    )
"""
SHOP_FEATURES = """
    from datetime import UTC, datetime, timedelta

    from feast_assets import (
        Entity, FeatureService, FeatureView, Field, FileSource, Float64, Int64, Partitions, ValueType,
        batch_feature_view,
    )

    MONTH = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC), end=datetime(2024, 1, 31, tzinfo=UTC))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    purchases = FileSource(name="purchases", path="purchases/", timestamp_field="bought_at")
    kept = FileSource(name="kept", path="kept", timestamp_field="bought_at")

    purchase = FeatureView(
        name="purchase", entities=[customer], source=purchases, partitions=MONTH,
        schema=[Field(name="customer_id", dtype=Int64), Field(name="amount", dtype=Float64)],
    )

    @batch_feature_view(
        mode="sql", entities=[customer], source=purchases, partitions=MONTH, lookback=timedelta(days=6),
        sink_source=kept, offline=True,
        schema=[Field(name="customer_id", dtype=Int64), Field(name="week", dtype=Float64)],
    )
    def purchases_of_week(purchases):
        week = "RANGE BETWEEN INTERVAL 6 DAYS PRECEDING AND CURRENT ROW"
        over = f"(PARTITION BY customer_id ORDER BY bought_at {week})"
        return f"SELECT customer_id, bought_at, sum(amount) OVER {over} AS week FROM {purchases}"

    spending = FeatureService(name="spending", features=[purchase, purchases_of_week])
"""
ROWS = [(driver, 24.0 * day + driver, 100.0 * driver + day) for driver in (1, 2, 3) for day in range(8)]
DAYS = [f"2024-01-{day:02}" for day in range(1, 31)]
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def write_rides(root: Path, rows: list[tuple[int, float, float]]) -> None:
    """Makes the source hold rows: driver, hours since the start, fare."""
    frame = pd.DataFrame([(d, _FIRST + timedelta(hours=h), f) for d, h, f in rows], columns=["driver_id", "at", "fare"])
    frame.astype({"at": "datetime64[us, UTC]"}).to_parquet(root / "writing.parquet", index=False)
    os.replace(root / "writing.parquet", root / "live" / "rides.parquet")


def write_amounts(root: Path, folder: str, amounts: dict[int, float]) -> None:
    """Makes a folder of the location `live` hold an amount of some days, each at nine, in a file."""
    rows = [(1, _FIRST + timedelta(days=day - 1, hours=9), amount) for day, amount in amounts.items()]
    frame = pd.DataFrame(rows, columns=["driver_id", "at", "amount"]).astype({"at": "datetime64[us, UTC]"})
    frame.to_parquet(root / "writing.parquet", index=False)
    os.replace(root / "writing.parquet", root / "live" / folder / "days.parquet")


def runs_of(live: Live, key: str) -> list[dict[str, Any]]:
    """Returns the runs that were asked to make an asset, oldest first."""
    return [run for run in live.runs() if {"path": key.split("/")} in (run["assetSelection"] or [])]


def span(run: dict[str, Any]) -> list[str]:
    """Returns the first and the last partition of a run."""
    return [run["tags"].get(tag, run["tags"].get("dagster/partition")) for tag in RANGE]


def served(live: Live, project: str, feature: str, key: str, *values: int) -> list[Any]:
    store = FeatureStore(live.root / project)
    found = store.get_online_features([feature], {key: list(values)}).to_dict()[feature.partition(":")[2]]
    store.close()
    return list(found)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    root, home = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("home")
    code = {"live": (LIVE_FEATURES, LIVE), "shop": (SHOP_FEATURES, SHOP)}
    for name, (features, definitions) in code.items():
        (root / name).mkdir()
        (root / name / "feature_store.yaml").write_text(CONFIG.format(name=name))
        (root / name / "features.py").write_text(textwrap.dedent(features))
        (root / name / "definitions.py").write_text(textwrap.dedent(definitions))
        (root / name / ".feastignore").write_text("definitions.py\n")
    write_rides(root, ROWS)
    for folder, key, moment in (
        ("live/orders", "driver_id", "placed_at"),
        ("live/stock", "driver_id", "at"),
        ("live/prices", "driver_id", "at"),
        ("shop/purchases", "customer_id", "bought_at"),
    ):
        # An older row, which apply finds; the ingest assets make the rest.
        (root / folder).mkdir()
        old = pd.DataFrame({key: [1], moment: [_FIRST - timedelta(days=9)], "amount": [0.5]})
        old.astype({moment: "datetime64[us, UTC]"}).to_parquet(root / folder / "old.parquet", index=False)
    for name in code:
        store = FeatureStore(root / name)
        store.apply_repository()
        store.close()
    with running(root, home, list(code)) as made:
        yield made


def test_a_backfill_is_cut_into_runs_of_which_one_pool_runs_one_at_a_time(live: Live) -> None:
    status, runs = live.end_of_backfill(live.launch_backfill(["live/ride"], DAYS[:8]))
    assert status == "COMPLETED_SUCCESS", live.failures(runs)
    assert [run["status"] for run in runs] == ["SUCCESS"] * 2
    assert served(live, "live", "ride:fare", "driver_id", 1, 2, 3) == [107.0, 207.0, 307.0]
    steps = sorted((step["startTime"], step["endTime"]) for run in runs for step in run["stepStats"])
    assert len(steps) == 2
    assert all(end <= start for (_, end), (start, _) in pairwise(steps))
    ledger = FeatureStore(live.root / "live").registry.ledger("ride")
    assert len(ledger) == 8
    assert {entry.run_id for entry in ledger} == {run["runId"] for run in runs}


def test_late_rows_become_one_run_of_their_range_and_a_killed_worker_is_made_good(live: Live) -> None:
    store = FeatureStore(live.root / "live")
    store.materialize(_FIRST, _FIRST + timedelta(days=8, microseconds=-1), ["ride"])
    store.close()
    before = {run["runId"] for run in live.runs()}
    live.start_sensor("live", "late_data_live")

    def new() -> list[dict[str, Any]]:
        return [run for run in runs_of(live, "live/ride") if run["runId"] not in before]

    def ended(status: str) -> list[dict[str, Any]]:
        return [run for run in new() if run["status"] == status]

    here = live.root / "live"
    (here / "hold").touch()
    write_rides(live.root, [*ROWS, (1, 24 * 6 + 23, 7.0), (2, 24 * 7 + 23, 8.0)])
    pid = int(wait_for("run that holds", lambda: (here / "held").exists() and (here / "held").read_text()))
    os.kill(pid, 9)
    (here / "hold").unlink()
    (first, *_) = wait_for("end of the killed run", lambda: ended("FAILURE"))
    assert span(first) == [DAYS[6], DAYS[7]]
    assert first["tags"]["dagster/sensor_name"] == "late_data_live"
    assert served(live, "live", "ride:fare", "driver_id", 1, 2, 3) == [107.0, 207.0, 307.0]

    (second, *_) = wait_for("another attempt", lambda: ended("SUCCESS"))
    assert span(second) == [DAYS[6], DAYS[7]]
    assert second["tags"]["dagster/run_key"] != first["tags"]["dagster/run_key"]
    assert served(live, "live", "ride:fare", "driver_id", 1, 2, 3) == [107.0, 8.0, 307.0]
    assert len(new()) == 2


def test_materialize_all_over_thirty_partitions_runs_every_asset_in_order(live: Live) -> None:
    """Ingest, two views of which one looks back and is kept, a training set of their service, and a model of it."""
    views = ["shop/purchase", "shop/purchases_of_week", "shop/sources/kept"]
    status, runs = live.end_of_backfill(live.launch_backfill(["raw/purchases", *views, "rows", "model"]))
    assert status == "COMPLETED_SUCCESS", live.failures(runs)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    steps = sorted((step["startTime"], step["endTime"], step["stepKey"]) for run in runs for step in run["stepStats"])
    assert [step for _, _, step in steps] == ["raw__purchases", "shop_daily", "rows", "model"]
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(steps))
    for key in ("raw/purchases", *views, "rows"):
        assert live.partitions(key) == (30, 0), key
    # No day of any asset was made before what it reads was there.
    amounts = [float(day) for day in range(1, 31)]
    weeks = [sum(amounts[max(0, i - 6) : i + 1]) for i in range(30)]
    assert (live.root / "shop" / "model").read_text() == str([amounts, weeks])
    assert served(live, "shop", "purchases_of_week:week", "customer_id", 1) == [weeks[-1]]
    pins = [read_pins(live.root / "shop" / "data" / "training_sets" / "rows" / f"{day}.parquet") for day in DAYS]
    assert len({pin.entity_fingerprint for pin in pins}) == 30


def test_a_refused_partition_is_red_until_the_other_locations_asset_heals_it(live: Live) -> None:
    """Its own location knows the ingest asset by its key alone: backfills and automation go across."""
    wrong = live.root / "shop" / "wrong"
    wrong.touch()
    status, runs = live.end_of_backfill(live.launch_backfill(["raw/orders", "live/last_order"], DAYS[:5]))
    assert status == "COMPLETED_FAILED"
    # The ingest asset is one run, and the view one of four days and one of the fifth, which is refused.
    assert [run["status"] for run in runs if run["assetSelection"] == [{"path": ["raw", "orders"]}]] == ["SUCCESS"]
    assert sorted(run["status"] for run in runs) == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert live.checks("live/last_order")["ranges"] == {
        "SUCCEEDED": {"2024-01-01...2024-01-04"},
        "FAILED": {"2024-01-05...2024-01-05"},
    }
    assert live.partitions("live/last_order") == (4, 1)
    assert served(live, "live", "last_order:amount", "driver_id", 1) == [4.0]

    before = {run["runId"] for run in live.runs()}
    wrong.unlink()
    live.start_sensor("live", "automation")
    live.launch_backfill(["raw/orders"], DAYS[4:5])

    def healed() -> Any:
        new = [run for run in runs_of(live, "live/last_order") if run["runId"] not in before]
        return new if new and all(run["status"] in DONE for run in new) else None

    views = wait_for("run of the view after its upstream asset", healed)
    assert {run["status"] for run in views} == {"SUCCESS"}
    assert live.checks("live/last_order")["ranges"] == {"SUCCEEDED": {"2024-01-01...2024-01-05"}}
    assert live.partitions("live/last_order") == (5, 0)
    assert served(live, "live", "last_order:amount", "driver_id", 1) == [5.0]


def test_of_an_asset_without_partitions_only_the_days_are_run_whose_rows_moved(live: Live) -> None:
    """The view is eager; which of its partitions an update concerns, the late-data sensor tells."""
    live.start_sensor("live", "automation")
    live.start_sensor("live", "late_data_live")

    def updated(runs: int, amounts: dict[int, float]) -> list[dict[str, Any]]:
        """Returns the runs of the view after its upstream asset was updated."""
        write_amounts(live.root, "stock", amounts)
        live.report("raw/stock")

        def ended() -> Any:
            found = runs_of(live, "live/in_stock")
            return found if len(found) >= runs and all(run["status"] in DONE for run in found) else None

        found: list[dict[str, Any]] = wait_for("run of the view", ended)
        return found

    amounts = {day: float(day) for day in range(1, 6)}
    (whole,) = updated(1, amounts)
    assert (whole["status"], span(whole)) == ("SUCCESS", [DAYS[0], DAYS[4]])
    (_, third) = updated(2, amounts | {3: 30.0})
    assert (third["status"], span(third)) == ("SUCCESS", [DAYS[2], DAYS[2]])
    assert live.partitions("live/in_stock") == (5, 0)
    assert served(live, "live", "in_stock:amount", "driver_id", 1) == [5.0]


def test_a_view_on_a_cron_is_run_when_its_upstream_asset_has_been_updated_since(live: Live) -> None:
    live.start_sensor("live", "automation")
    write_amounts(live.root, "prices", {5: 9.5})
    # However often the cron has ticked.
    assert runs_of(live, "live/price") == []

    def ended() -> Any:
        if not runs_of(live, "live/price"):
            # An update counts until the next minute; a slow daemon may have come too late for the one before.
            live.report("raw/prices", DAYS[4])
            time.sleep(2)
        found = runs_of(live, "live/price")
        return found if found and all(run["status"] in DONE for run in found) else None

    runs = wait_for("run of the view", ended)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    assert [span(run) for run in runs] == [[DAYS[4], DAYS[4]]] * len(runs)
    assert served(live, "live", "price:amount", "driver_id", 1) == [9.5]


def test_one_job_runs_the_asset_before_the_view_that_reads_it_each_in_a_process(live: Live) -> None:
    run = live.end_of_job("shop", "ingest", dagster__partition=DAYS[0])
    assert run["status"] == "SUCCESS", live.failures([run])
    steps = sorted((step["startTime"], step["endTime"], step["stepKey"]) for step in run["stepStats"])
    assert [step for _, _, step in steps] == ["raw__purchases", "shop_daily"]
    assert steps[0][1] <= steps[1][0]
    ledger = FeatureStore(live.root / "shop").registry.ledger("purchase")
    assert [entry.rows for entry in ledger if entry.run_id == run["runId"]] == [1]
