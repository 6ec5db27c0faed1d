"""A view's freshness is Dagster's policy, which judges when something was materialized; event times are the ttl's."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.errors import DefinitionError

FEATURES = """
    from datetime import UTC, datetime, timedelta

    from feast_assets import (
        Entity, FeatureView, Field, FileSource, Float64, Freshness, Partitions, ValueType, batch_feature_view,
    )

    GRID = Partitions("daily", start=datetime(2024, 1, 1, tzinfo=UTC))
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    orders = FileSource(name="orders", path="orders.parquet", timestamp_field="ts")
    kept = FileSource(name="kept", path="kept/", timestamp_field="ts")
    shared = dict(entities=[customer], source=orders, schema=[Field(name="amount", dtype=Float64)], partitions=GRID)

    watched = FeatureView(
        name="watched", ttl=timedelta(days=1), freshness=timedelta(hours=26), tags={"team": "shop"}, owner="team:shop",
        **shared,
    )
    offline = FeatureView(name="offline", online=False, freshness=timedelta(hours=26), **shared)
    plain = FeatureView(name="plain", **shared)

    DEADLINE = Freshness.by("DEADLINE", timedelta(hours=1))

    @batch_feature_view(mode="sql", sink_source=kept, offline=True, freshness=DEADLINE, **shared)
    def computed(orders):
        return f"SELECT * FROM {orders}"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "feature_store.yaml").write_text(
        "project: shop\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
    )
    (tmp_path / "features.py").write_text(textwrap.dedent(FEATURES).replace('"DEADLINE"', '"0 9 * * *"'))
    at = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2)]
    pq.write_table(pa.table({"customer_id": [1, 1], "ts": at, "amount": [1.0, 2.0]}), tmp_path / "orders.parquet")
    return tmp_path


def definitions(root: Path) -> dg.Definitions:
    return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(root))})


def test_freshness_is_a_policy_of_the_asset(root: Path) -> None:
    graph = definitions(root).resolve_asset_graph()

    def policy(*path: str) -> dg.FreshnessPolicy | None:
        return graph.get(dg.AssetKey(["shop", *path])).freshness_policy

    assert policy("watched") == dg.FreshnessPolicy.time_window(timedelta(hours=26))
    assert policy("computed") == dg.FreshnessPolicy.cron("0 9 * * *", timedelta(hours=1))
    # Nothing materializes these.
    assert policy("offline") is policy("plain") is policy("sources", "kept") is None
    watched = graph.get(dg.AssetKey(["shop", "watched"]))
    assert (watched.owners, watched.tags["team"]) == (["team:shop"], "shop")
    assert watched.kinds >= {"feature_view"}
    assert "dagster/code_references" in watched.metadata


def test_a_deadline_that_dagster_cannot_keep_names_the_view(root: Path) -> None:
    path = root / "features.py"
    path.write_text(path.read_text().replace("0 9 * * *", "*/10 * * * *"))
    with pytest.raises(DefinitionError, match=r"'computed': freshness by \*/10.*smallest cron interval"):
        definitions(root)


def test_an_old_backfill_leaves_the_check_of_the_ttl_red(root: Path) -> None:
    store = FeatureStore(root)
    store.apply_repository()
    store.close()
    defs = definitions(root)
    job = defs.resolve_implicit_global_asset_job_def()
    key = dg.AssetKey(["shop", "watched"])
    with dg.instance_for_test() as instance:
        run = job.execute_in_process(asset_selection=[key], partition_key="2024-01-02", instance=instance)
        assert run.success
        # Just now it was materialized, so the policy is content; what is served is years old.
        (made,) = instance.fetch_materializations(key, limit=1).records
        assert datetime.now(UTC).timestamp() - made.timestamp < timedelta(hours=26).total_seconds()
        audit = defs.resolve_job_def("audit_shop").execute_in_process(instance=instance)
        (found,) = [e for e in audit.get_asset_check_evaluations() if (e.asset_key, e.check_name) == (key, "freshness")]
    assert not found.passed
    assert "no value is served" in (found.description or "")


def test_a_changed_freshness_makes_nothing_stale_and_reads_no_source(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

    store = FeatureStore(root)
    store.apply_repository()
    store.materialize_incremental(datetime(2024, 1, 3, tzinfo=UTC))
    path = root / "features.py"
    path.write_text(path.read_text().replace("timedelta(hours=26)", "timedelta(hours=27)"))

    def read(*arguments: object) -> None:
        raise AssertionError("a source is read")

    with monkeypatch.context() as patched:
        patched.setattr(DuckDBOfflineStore, "schema", read)
        changed = FeatureStore(root).apply_repository()
    assert "freshness" in str(changed)
    assert FeatureStore(root).stale_windows("watched", datetime(2024, 1, 3, tzinfo=UTC)) == []
