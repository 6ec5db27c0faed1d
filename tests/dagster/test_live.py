"""A user's own assets and features under a real webserver, daemon and executor; all tests share one start.

There are two code locations. In `shop`, an ingest asset, views, a training set and a model are side by side, run with
the multiprocess executor; it also makes the source of a view of the other one, `live`.
"""

from __future__ import annotations

import os
import textwrap
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
    # Another code location makes it, of which nothing is known here but the key.
    repository = FeatureRepository.load(feature_store, source_assets={"orders": "raw/orders"})
    assets = build_feature_view_assets(repository, backfill_policy=dg.BackfillPolicy.multi_run(4))
    jobs = feature_view_jobs(assets)
    late = late_data_sensor(repository, assets, jobs, minimum_interval_seconds=1, retry_after=timedelta(seconds=1))
    defs = dg.Definitions(
        assets=assets,
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
    for folder, key, time in (
        ("live/orders", "driver_id", "placed_at"),
        ("shop/purchases", "customer_id", "bought_at"),
    ):
        # An older row, which apply finds; the ingest assets make the rest.
        (root / folder).mkdir()
        old = pd.DataFrame({key: [1], time: [_FIRST - timedelta(days=9)], "amount": [0.5]})
        old.astype({time: "datetime64[us, UTC]"}).to_parquet(root / folder / "old.parquet", index=False)
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
    before = {run["runId"] for run in live.runs()}
    live.start_sensor("live", "late_data_live")

    def ended(status: str) -> list[dict[str, Any]]:
        return [run for run in live.runs() if run["runId"] not in before and run["status"] == status]

    here = live.root / "live"
    (here / "hold").touch()
    write_rides(live.root, [*ROWS, (1, 24 * 6 + 23, 7.0), (2, 24 * 7 + 23, 8.0)])
    pid = int(wait_for("run that holds", lambda: (here / "held").exists() and (here / "held").read_text()))
    os.kill(pid, 9)
    (here / "hold").unlink()
    (first, *_) = wait_for("end of the killed run", lambda: ended("FAILURE"))
    assert [first["tags"][tag] for tag in RANGE] == DAYS[6:8]
    assert first["tags"]["dagster/sensor_name"] == "late_data_live"
    assert served(live, "live", "ride:fare", "driver_id", 1, 2, 3) == [107.0, 207.0, 307.0]

    (second, *_) = wait_for("another attempt", lambda: ended("SUCCESS"))
    assert [second["tags"][tag] for tag in RANGE] == DAYS[6:8]
    assert second["tags"]["dagster/run_key"] != first["tags"]["dagster/run_key"]
    assert served(live, "live", "ride:fare", "driver_id", 1, 2, 3) == [107.0, 8.0, 307.0]
    assert len([run for run in live.runs() if run["runId"] not in before]) == 2


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
        new = [run for run in live.runs() if run["runId"] not in before]
        views = [run for run in new if {"path": ["live", "last_order"]} in (run["assetSelection"] or [])]
        return views if views and all(run["status"] in DONE for run in new) else None

    views = wait_for("run of the view after its upstream asset", healed)
    assert {run["status"] for run in views} == {"SUCCESS"}
    assert live.checks("live/last_order")["ranges"] == {"SUCCEEDED": {"2024-01-01...2024-01-05"}}
    assert live.partitions("live/last_order") == (5, 0)
    assert served(live, "live", "last_order:amount", "driver_id", 1) == [5.0]
