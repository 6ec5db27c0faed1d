"""Training sets as assets: what they hold, what they pin, and that they can be made again."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, training_set_asset
from feast_assets.errors import DefinitionError
from feast_assets.retrieval.training_set import read_pins

SERVICE = """
    from feast_assets import FeatureService, RequestSource, on_demand_feature_view

    tip = RequestSource(name="tip", schema=[Field(name="tip", dtype=Float64)])

    @on_demand_feature_view(sources=[ride[["fare"]], tip], schema=[Field(name="paid", dtype=Float64)])
    def paid(inputs):
        import pandas as pd
        return pd.DataFrame({"paid": inputs["fare"] + inputs["tip"]})

    pricing = FeatureService(name="pricing", features=[ride, paid])
"""
ROWS = """
    SELECT driver_id, t AS event_timestamp, 0.5 * driver_id AS tip, driver_id % 2 = 0 AS label
    FROM range(1, 5) d(driver_id), generate_series(TIMESTAMP '2024-01-03', TIMESTAMP '2024-01-20', INTERVAL 7 HOUR) x(t)
"""


@pytest.fixture
def root(write_repository: Callable[..., Path]) -> Path:
    made = write_repository(SERVICE)
    FeatureStore(made).apply_repository()
    return made


def asset(**changes: Any) -> dg.AssetsDefinition:
    arguments = {"name": "training", "feature_service": "pricing", "entity_df": ROWS, "project": "taxi"}
    return training_set_asset(**{**arguments, **changes})


def run(root: Path, instance: dg.DagsterInstance, made: dg.AssetsDefinition, *, rebuild: bool = False) -> Any:
    config = {"ops": {"training": {"config": {"rebuild": rebuild}}}} if rebuild else None
    resources: Any = {"feature_store": FeatureStoreResource(repo_path=str(root))}
    result = dg.materialize([made], instance=instance, resources=resources, run_config=config)
    (event,) = result.get_asset_materialization_events()
    return {k: v.value for k, v in event.materialization.metadata.items()}


def file(root: Path) -> Path:
    return root / "data" / "training_sets" / "training.parquet"


def test_it_holds_what_a_retrieval_of_the_same_rows_returns(root: Path, instance: dg.DagsterInstance) -> None:
    told = run(root, instance, asset())
    made = pq.read_table(file(root))
    expected = FeatureStore(root).get_historical_features(ROWS, FeatureStore(root).get_feature_service("pricing"))
    keys = ["event_timestamp", "driver_id"]
    pd.testing.assert_frame_equal(
        made.to_pandas(), expected.to_df().sort_values(keys).reset_index(drop=True), check_dtype=False
    )
    assert made.to_pandas()[keys].equals(made.to_pandas()[keys].sort_values(keys))
    assert told["dagster/row_count"] == made.num_rows
    assert told["feast_assets/sha256"] == hashlib.sha256(file(root).read_bytes()).hexdigest()
    assert [c.name for c in told["dagster/column_schema"].columns] == made.column_names


def test_it_pins_the_revision_and_what_the_sources_held(root: Path, instance: dg.DagsterInstance) -> None:
    told = run(root, instance, asset())
    pins = read_pins(file(root))
    assert pins.to_dict() == told["feast_assets/pins"]
    assert pins.registry_revision == FeatureStore(root).snapshot().revision == told["feast_assets/registry_revision"]
    assert pins.features == ("ride:fare", "ride:minutes", "paid:paid")
    (source,) = pins.sources
    assert (source.view, source.sources) == ("ride", ("rides",))
    rides = pd.read_parquet(root / "data" / "rides.parquet").finished_at
    last = pq.read_table(file(root))["event_timestamp"].to_pandas().max()
    assert source.rows == (rides <= last).sum()


def shuffled(seed: int) -> Callable[[dg.AssetExecutionContext], pa.Table]:
    def rows(context: dg.AssetExecutionContext) -> pa.Table:
        order = list(range(40))
        random.Random(seed).shuffle(order)
        return pa.table(
            {
                "driver_id": [i % 4 + 1 for i in order],
                "event_timestamp": [pd.Timestamp("2024-01-05", tz="UTC") + pd.Timedelta(hours=i) for i in order],
                "tip": [float(i) for i in order],
                "notes": [[i, i + 1] for i in order],
            }
        )

    return rows


def test_the_same_pins_give_the_same_bytes_whatever_order_rows_come_in(
    root: Path, instance: dg.DagsterInstance
) -> None:
    run(root, instance, asset(entity_df=shuffled(1)))
    first = file(root).read_bytes()
    file(root).unlink()
    run(root, instance, asset(entity_df=shuffled(2)))
    assert file(root).read_bytes() == first


def test_it_is_rebuilt_byte_for_byte_at_its_revision_after_later_rows_and_other_definitions(
    write_repository: Callable[..., Path], root: Path, instance: dg.DagsterInstance
) -> None:
    run(root, instance, asset())
    first = file(root).read_bytes()
    rides = root / "data" / "rides.parquet"
    content = pd.read_parquet(rides)
    write_repository(
        SERVICE.replace('Field(name="paid", dtype=Float64)', 'Field(name="paid", dtype=Float64, tags={"a": "b"})')
    )
    code = root / "taxi_features.py"
    code.write_text(code.read_text().replace("features=[ride, paid]", "features=[ride]"))
    FeatureStore(root).apply_repository()
    later = content.assign(finished_at=content.finished_at + pd.Timedelta(days=400))
    pd.concat([content, later]).to_parquet(rides, index=False)
    file(root).unlink()
    told = run(root, instance, asset(), rebuild=True)
    assert file(root).read_bytes() == first
    assert told["feast_assets/registry_revision"] == 1 < FeatureStore(root).snapshot().revision
    run(root, instance, asset())
    assert "paid" not in pq.read_schema(file(root)).names


def test_a_source_that_changed_is_named_and_the_file_stays(root: Path, instance: dg.DagsterInstance) -> None:
    run(root, instance, asset())
    first = file(root).read_bytes()
    rides = root / "data" / "rides.parquet"
    content = pd.read_parquet(rides)
    content.assign(fare=content.fare.where(content.index != 3, 0.25)).to_parquet(rides, index=False)
    with pytest.raises(dg.Failure, match="Source 'rides' of feature view 'ride' has changed between"):
        run(root, instance, asset(), rebuild=True)
    assert file(root).read_bytes() == first
    run(root, instance, asset())
    assert file(root).read_bytes() != first


def test_other_entity_rows_and_other_features_are_named(root: Path, instance: dg.DagsterInstance) -> None:
    run(root, instance, asset())
    with pytest.raises(dg.Failure, match="entity rows are not the same") as failed:
        run(root, instance, asset(entity_df=ROWS + " WHERE driver_id < 4"), rebuild=True)
    assert "Other features" not in str(failed.value.description)
    with pytest.raises(dg.Failure, match="Other features are asked for: ride:fare; before, ride:fare, ride:minutes"):
        run(root, instance, asset(feature_service=None, features=["ride:fare"]), rebuild=True)


def test_a_function_that_is_not_the_pinned_one_is_refused(
    write_repository: Callable[..., Path], root: Path, instance: dg.DagsterInstance
) -> None:
    run(root, instance, asset())
    write_repository(SERVICE.replace('inputs["fare"] + inputs["tip"]', 'inputs["fare"] - inputs["tip"]'))
    FeatureStore(root).apply_repository()
    with pytest.raises(dg.Failure, match="'paid' has another function"):
        run(root, instance, asset(), rebuild=True)


def test_without_dagsters_record_the_files_own_pins_count(root: Path, instance: dg.DagsterInstance) -> None:
    run(root, instance, asset())
    first = file(root).read_bytes()
    with dg.DagsterInstance.ephemeral() as other:
        run(root, other, asset(), rebuild=True)
        assert file(root).read_bytes() == first
        file(root).unlink()
    with dg.DagsterInstance.ephemeral() as another, pytest.raises(dg.Failure, match="There is no training set at"):
        run(root, another, asset(), rebuild=True)


def test_it_is_downstream_of_the_service_or_of_the_views() -> None:
    assert [d.asset_key.to_user_string() for d in _spec(asset()).deps] == ["taxi/services/pricing"]
    chosen = asset(feature_service=None, features=["ride:fare", "ride:minutes", "vehicle:plate"], deps=["labels"])
    upstream = sorted(d.asset_key.to_user_string() for d in _spec(chosen).deps)
    assert upstream == ["labels", "taxi/ride", "taxi/vehicle"]


def test_a_branch_writes_a_training_set_of_its_own(root: Path, instance: dg.DagsterInstance) -> None:
    run(root, instance, asset())
    first = file(root).read_bytes()
    branch: Any = FeatureStoreResource(repo_path=str(root), deployment="new-features")
    branch.get_store().apply_repository()
    shorter = asset(entity_df=ROWS + " WHERE driver_id < 3")
    assert dg.materialize([shorter], instance=instance, resources={"feature_store": branch}).success
    assert file(root).read_bytes() == first
    (own,) = (root / "data" / "training_sets").glob(".deployments/*/training.parquet")
    assert 0 < pq.read_table(own).num_rows < pq.read_table(file(root)).num_rows


def test_wrong_arguments_and_empty_entity_rows_are_refused(root: Path, instance: dg.DagsterInstance) -> None:
    with pytest.raises(DefinitionError, match="give one of feature_service and features"):
        asset(features=["ride:fare"])
    with pytest.raises(DefinitionError, match=r"such as \['ride:fare'\]"):
        asset(feature_service=None, features="ride:fare")
    with pytest.raises(dg.Failure, match="The entity query returned no rows"):
        run(root, instance, asset(entity_df=ROWS + " WHERE false"))
    with pytest.raises(dg.Failure, match="There are no entity rows"):
        run(root, instance, asset(entity_df=lambda context: shuffled(1)(context).slice(0, 0)))
    assert not file(root).exists()


def test_pins_are_json(root: Path, instance: dg.DagsterInstance) -> None:
    run(root, instance, asset())
    stored = json.loads(pq.read_schema(file(root)).metadata[b"feast_assets.training_set"])
    assert stored == read_pins(file(root)).to_dict()


def _spec(made: dg.AssetsDefinition) -> dg.AssetSpec:
    (spec,) = made.specs
    return spec
