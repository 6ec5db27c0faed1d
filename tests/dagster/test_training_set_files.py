"""Training sets as inputs: loaded as what an annotation says, one partition or many, in the same run or a later one."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ticks import RANGE

from feast_assets import FeatureStore
from feast_assets.dagster import (
    FeatureStoreResource,
    TrainingSetIOManager,
    definitions_for,
    training_set_asset,
    training_set_io_manager,
)
from feast_assets.errors import DefinitionError
from feast_assets.retrieval.training_set import read_pins

DAYS = dg.DailyPartitionsDefinition("2024-01-05", end_date="2024-01-10", timezone="UTC")
KEYS = [f"2024-01-0{day}" for day in range(5, 10)]
FIRST = datetime(2024, 1, 5, tzinfo=UTC)
ALLOWED = {"allow_missing_partitions": True}


def of_window(context: dg.AssetExecutionContext) -> dict[str, list[Any]]:
    """Entity rows in the partition's time window: of drivers 1 to 3, at noon."""
    noon = context.partition_time_window.start + timedelta(hours=12)
    return {"driver_id": [1, 2, 3], "event_timestamp": [noon] * 3, "day": [context.partition_key] * 3}


def training(**changes: Any) -> dg.AssetsDefinition:
    arguments: dict[str, Any] = {
        "name": "training",
        "features": ["ride:fare", "ride:minutes"],
        "entity_df": "SELECT driver_id, TIMESTAMP '2024-01-05' AS event_timestamp FROM range(1, 3) d(driver_id)",
    }
    return training_set_asset(**{**arguments, **changes})


def daily(**changes: Any) -> dg.AssetsDefinition:
    return training(**{"partitions_def": DAYS, "entity_df": of_window, **changes})


def model(annotation: Any, got: list[Any], **changes: Any) -> dg.AssetsDefinition:
    """An asset downstream, which notes what it was given."""

    def body(training):
        got.append(training)

    body.__annotations__ = {"return": None} if annotation is None else {"training": annotation, "return": None}
    made: dg.AssetsDefinition = dg.asset(name="model", **changes)(body)
    return made


def column(loaded: Any, name: str) -> list[Any]:
    """Returns the values of a column, of whatever a training set was loaded as."""
    loaded = pq.read_table(loaded) if isinstance(loaded, Path) else loaded
    loaded = loaded.collect() if isinstance(loaded, pl.LazyFrame) else loaded
    return list(loaded[name].to_pylist() if isinstance(loaded, pa.Table) else loaded[name])


class Project:
    """Runs of a training set and what is downstream of it, each by itself."""

    def __init__(self, root: Path, instance: dg.DagsterInstance):
        self.root, self.instance = root, instance

    def run(self, *assets: Any, only: str, keys: Any = None, config: Any = None, **arguments: Any) -> Any:
        """Runs one asset: without partitions, of a partition, or of a pair's range."""
        defs = dg.Definitions(
            assets=list(assets), resources={"feature_store": FeatureStoreResource(repo_path=str(self.root))}
        )
        tags = dict(zip(RANGE, keys, strict=True)) if isinstance(keys, tuple) else {}
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(only)],
            partition_key=keys if isinstance(keys, str) else None,
            tags=tags,
            run_config=config,
            **arguments,
        )

    def metadata(self, partition: str | None = None) -> Mapping[str, Any]:
        """Returns the metadata of the newest materialization."""
        only = dg.AssetRecordsFilter(
            dg.AssetKey("training"), asset_partitions=None if partition is None else [partition]
        )
        (record,) = self.instance.fetch_materializations(only, limit=1).records
        return {name: value.value for name, value in record.asset_materialization.metadata.items()}

    def file(self, key: str) -> Path:
        return self.root / "data" / "training_sets" / "training" / f"{key}.parquet"

    def fares(self, *keys: str) -> list[float | None]:
        """Returns what the store says that the rows of partitions hold."""
        store = FeatureStore(self.root)
        noons = [
            datetime.fromisoformat(key).replace(tzinfo=UTC) + timedelta(hours=12) for key in keys for _ in range(3)
        ]
        rows = {"driver_id": [1, 2, 3] * len(keys), "event_timestamp": noons}
        found = store.get_historical_features(pa.table(rows), ["ride:fare"]).to_arrow()
        store.close()
        return list(found.sort_by([("event_timestamp", "ascending"), ("driver_id", "ascending")])["fare"].to_pylist())


@pytest.fixture
def project(applied_root: Path, instance: dg.DagsterInstance) -> Project:
    return Project(applied_root, instance)


# --- without partitions


def test_the_annotation_says_as_what_it_is_loaded(project: Project) -> None:
    project.run(training(), only="training")
    table = pq.read_table(project.root / "data" / "training_sets" / "training.parquet")
    assert table.num_rows == 2
    for annotation in (pa.Table, pd.DataFrame, pl.DataFrame, pl.LazyFrame, Path, None, pa.Table | None):
        got: list[Any] = []
        # The model is run later, by itself.
        project.run(training(), model(annotation, got), only="model")
        (loaded,) = got
        kind = pa.Table if annotation in (None, pa.Table | None) else annotation
        assert isinstance(loaded, kind)
        assert [column(loaded, name) for name in table.column_names] == [
            column(table, name) for name in table.column_names
        ]


def test_it_is_loaded_in_the_run_that_makes_it(project: Project) -> None:
    got: list[Any] = []
    resources: Any = {"feature_store": FeatureStoreResource(repo_path=str(project.root))}
    assert dg.materialize([training(), model(pa.Table, got)], instance=project.instance, resources=resources).success
    assert got[0].column_names == ["driver_id", "event_timestamp", "fare", "minutes"]


def test_io_managers_of_the_users_own_stay_as_they_are(project: Project) -> None:
    """The default one stores what the model returns, and is asked for nothing else."""
    stored: list[str] = []

    class Own(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            stored.append(f"{context.asset_key.to_user_string()}={obj}")

        def load_input(self, context: dg.InputContext) -> Any:
            raise AssertionError

    @dg.asset
    def size(training: pa.Table) -> int:
        return int(training.num_rows)

    resources = {"feature_store": FeatureStoreResource(repo_path=str(project.root)), "io_manager": Own()}
    defs = dg.Definitions.merge(definitions_for(resources), dg.Definitions(assets=[training(), size]))
    job = defs.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey("training"), dg.AssetKey("size")]
    assert job.execute_in_process(asset_selection=selection, instance=project.instance).success
    assert stored == ["size=2"]


def test_an_io_manager_of_the_users_own_may_load_it(project: Project) -> None:
    class Own(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None: ...

        def load_input(self, context: dg.InputContext) -> Any:
            return "own"

    got: list[Any] = []
    resources: Any = {"feature_store": FeatureStoreResource(repo_path=str(project.root)), "own": Own()}
    assets = [training(io_manager_key="own"), model(None, got)]
    assert dg.materialize(assets, instance=project.instance, resources=resources).success
    assert got == ["own"]


def test_what_was_never_made_says_so_first(project: Project) -> None:
    with pytest.raises(dg.Failure, match=r"training set training was not made yet: there is no .*training\.parquet"):
        project.run(training(), model(pa.Table, []), only="model")


def test_a_damaged_file_is_named(project: Project) -> None:
    file = project.root / "data" / "training_sets" / "training.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no Parquet")
    with pytest.raises(dg.Failure, match=r"training\.parquet cannot be read"):
        project.run(training(), model(pa.Table, []), only="model")


def test_a_type_that_it_cannot_be_loaded_as_is_refused_with_those_there_are(project: Project) -> None:
    project.run(training(), only="training")
    for annotation in (int, pd.Series):
        message = rf"annotated {annotation.__name__}, .* Possible are pyarrow.Table, pandas"
        with pytest.raises(dg.Failure, match=message):
            project.run(training(), model(annotation, []), only="model")


def test_another_assets_value_is_not_stored(project: Project) -> None:
    @dg.asset(io_manager_key="training_sets")
    def other() -> int:
        return 1

    resources: Any = {
        "feature_store": FeatureStoreResource(repo_path=str(project.root)),
        "training_sets": training_set_io_manager,
    }
    with pytest.raises(dg.Failure, match="stores nothing else; give asset other another io_manager_key"):
        dg.materialize([other], instance=project.instance, resources=resources)


# --- partitions


def test_each_partition_has_a_file_and_pins_of_its_own(project: Project) -> None:
    for key in KEYS[:2]:
        project.run(daily(), only="training", keys=key)
    tables = [pq.read_table(project.file(key)) for key in KEYS[:2]]
    assert [set(table["day"].to_pylist()) for table in tables] == [{KEYS[0]}, {KEYS[1]}]
    assert tables[0]["fare"].to_pylist() == project.fares(KEYS[0]) != tables[1]["fare"].to_pylist()
    for key in KEYS[:2]:
        told, pins = project.metadata(key), read_pins(project.file(key))
        assert pins.to_dict() == told["feast_assets/pins"]
        assert told["feast_assets/registry_revision"] == pins.registry_revision == 1
        assert told["dagster/partition_row_count"] == 3
        # A view without a ttl is read from its beginning.
        assert told["feast_assets/partitions_read"] == {"ride": ["2024-01-01", key]}
        assert told["feast_assets/path"] == str(project.file(key))
    assert read_pins(project.file(KEYS[0])).sources != read_pins(project.file(KEYS[1])).sources


def test_a_run_of_a_range_makes_what_runs_of_each_day_make(project: Project) -> None:
    for key in KEYS:
        project.run(daily(), only="training", keys=key)
    alone = {key: (project.file(key).read_bytes(), project.metadata(key)) for key in KEYS}
    for key in KEYS:
        project.file(key).unlink()
    project.run(daily(), only="training", keys=(KEYS[0], KEYS[-1]))
    assert {key: (project.file(key).read_bytes(), project.metadata(key)) for key in KEYS} == alone
    assert project.instance.get_materialized_partitions(dg.AssetKey("training")) == set(KEYS)


def test_a_partition_that_fails_in_a_range_does_not_stop_the_others(project: Project) -> None:
    def rows(context: dg.AssetExecutionContext) -> Any:
        made = of_window(context)
        return {name: [] if context.partition_key == KEYS[1] else values for name, values in made.items()}

    failing = daily(entity_df=rows)
    with pytest.raises(dg.Failure, match=rf"could not be made of partition '{KEYS[1]}'.*no entity rows"):
        project.run(failing, only="training", keys=(KEYS[0], KEYS[2]))
    assert sorted(p.stem for p in project.file("x").parent.iterdir()) == [KEYS[0], KEYS[2]]
    assert project.instance.get_materialized_partitions(dg.AssetKey("training")) == {KEYS[0], KEYS[2]}


def test_one_partition_is_rebuilt_from_its_own_pins(project: Project) -> None:
    project.run(daily(), only="training", keys=(KEYS[0], KEYS[2]))
    first = project.file(KEYS[1]).read_bytes()
    project.file(KEYS[1]).unlink()
    rebuild = {"ops": {"training": {"config": {"rebuild": True}}}}
    project.run(daily(), only="training", keys=KEYS[1], config=rebuild)
    assert project.file(KEYS[1]).read_bytes() == first
    rides = project.root / "data" / "rides.parquet"
    content = pd.read_parquet(rides)
    newest = content.finished_at == content.finished_at[content.finished_at < pd.Timestamp(KEYS[2], tz="UTC")].max()
    content.assign(fare=content.fare.where(~newest, 0.125)).to_parquet(rides, index=False)
    project.run(daily(), only="training", keys=KEYS[0], config=rebuild)
    with pytest.raises(dg.Failure, match="Source 'rides' of feature view 'ride' has changed"):
        project.run(daily(), only="training", keys=KEYS[2], config=rebuild)


def test_a_query_for_all_partitions_is_refused() -> None:
    with pytest.raises(DefinitionError, match="each partition would hold the same rows"):
        training(partitions_def=DAYS)


def test_a_function_may_return_a_query_of_its_window(project: Project) -> None:
    def query(context: dg.AssetExecutionContext) -> str:
        window = context.partition_time_window
        between = f"finished_at >= '{window.start}' AND finished_at < '{window.end}'"
        return f"SELECT driver_id, finished_at AS event_timestamp FROM 'data/rides.parquet' WHERE {between}"

    project.run(daily(entity_df=query), only="training", keys=(KEYS[0], KEYS[1]))
    for key in KEYS[:2]:
        times = pq.read_table(project.file(key))["event_timestamp"].to_pylist()
        assert times
        assert {f"{time:%Y-%m-%d}" for time in times} == {key}


def test_a_run_without_a_partition_is_refused(project: Project) -> None:
    with pytest.raises(dg.Failure, match="has partitions, and none were chosen"):
        project.run(daily(), only="training")


def test_keys_of_any_text_are_names_of_files(project: Project) -> None:
    keys = ["north/south", "../above", "a|b", "ä.b"]
    static = dg.StaticPartitionsDefinition(keys)

    def rows(context: dg.AssetExecutionContext) -> dict[str, list[Any]]:
        return {"driver_id": [1], "event_timestamp": [FIRST], "key": [context.partition_key]}

    made = daily(partitions_def=static, entity_df=rows)
    got: list[Any] = []
    for key in keys:
        project.run(made, only="training", keys=key)
    project.run(made, model(dict[str, pa.Table], got), only="model")
    assert {key: table["key"].to_pylist() for key, table in got[0].items()} == {key: [key] for key in keys}
    assert len(list(project.file("x").parent.iterdir())) == len(keys)
    assert not (project.file("x").parent.parent / "above.parquet").exists()


def test_all_partitions_are_a_dict_or_one_table_in_their_order(project: Project) -> None:
    project.run(daily(), only="training", keys=(KEYS[0], KEYS[-1]))
    fares = project.fares(*KEYS)
    assert len(set(fares)) == len(fares) == 15
    for annotation in (dict[str, pa.Table], dict, None, dict[str, pd.DataFrame], dict[str, Path]):
        got: list[Any] = []
        project.run(daily(), model(annotation, got), only="model")
        assert list(got[0]) == KEYS
        assert [fare for key in KEYS for fare in column(got[0][key], "fare")] == fares
    for annotation in (pa.Table, pd.DataFrame, pl.DataFrame, pl.LazyFrame):
        got = []
        project.run(daily(), model(annotation, got), only="model")
        assert column(got[0], "day") == [key for key in KEYS for _ in range(3)]
        assert column(got[0], "fare") == fares


def test_a_partition_downstream_gets_its_own_partition(project: Project) -> None:
    got: list[Any] = []
    assets = (daily(), model(pa.Table, got, partitions_def=DAYS))
    project.run(*assets, only="training", keys=(KEYS[0], KEYS[-1]))
    project.run(*assets, only="model", keys=KEYS[3])
    assert set(got[0]["day"].to_pylist()) == {KEYS[3]}
    # One partition brings its pins along.
    assert b"feast_assets.training_set" in got[0].schema.metadata


def test_a_partition_that_was_never_made_is_a_clear_error(project: Project) -> None:
    for key in (KEYS[0], KEYS[2]):
        project.run(daily(), only="training", keys=key)
    message = f"not made yet for partitions '{KEYS[1]}', '{KEYS[3]}', '{KEYS[4]}'. .*allow_missing_partitions"
    for annotation in (pa.Table, dict[str, pa.Table]):
        got: list[Any] = []
        with pytest.raises(dg.Failure, match=message):
            project.run(daily(), model(annotation, got), only="model")
        lenient = model(annotation, got, ins={"training": dg.AssetIn(metadata=ALLOWED)})
        project.run(daily(), lenient, only="model")
        (loaded,) = got
        there = loaded if isinstance(loaded, dict) else dict.fromkeys(loaded["day"].to_pylist())
        assert list(there) == [KEYS[0], KEYS[2]]


def test_where_no_partition_was_made_a_dict_is_empty_and_a_table_an_error(project: Project) -> None:
    got: list[Any] = []
    ins = {"training": dg.AssetIn(metadata=ALLOWED)}
    project.run(daily(), model(dict[str, pa.Table], got, ins=ins), only="model")
    assert got == [{}]
    with pytest.raises(dg.Failure, match="not made yet for partitions '2024-01-05'.* and 2 more"):
        project.run(daily(), model(pa.Table, got, ins=ins), only="model")


def test_partitions_of_different_definitions_are_not_one_table(project: Project) -> None:
    project.run(daily(), only="training", keys=KEYS[0])
    fewer = daily(features=["ride:fare"])
    project.run(fewer, only="training", keys=KEYS[1])
    ins = {"training": dg.AssetIn(metadata=ALLOWED)}
    with pytest.raises(dg.Failure, match=r"cannot be one table: they differ in minutes \(int64 and no column\)"):
        project.run(fewer, model(pa.Table, [], ins=ins), only="model")


def test_several_partitions_have_no_single_path(project: Project) -> None:
    project.run(daily(), only="training", keys=(KEYS[0], KEYS[-1]))
    with pytest.raises(dg.Failure, match=r"annotate it dict\[str, Path\]"):
        project.run(daily(), model(Path, []), only="model")


def test_a_branch_loads_its_own_files(project: Project) -> None:
    got: list[Any] = []
    project.run(training(), only="training")
    branch: Any = FeatureStoreResource(repo_path=str(project.root), deployment="new-features")
    branch.get_store().apply_repository()
    defs = dg.Definitions(assets=[training(), model(Path, got)], resources={"feature_store": branch})
    job = defs.resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.Failure, match="was not made yet"):
        job.execute_in_process(asset_selection=[dg.AssetKey("model")], instance=project.instance)
    assert job.execute_in_process(instance=project.instance).success
    assert ".deployments" in got[0].parts


# --- elsewhere


def test_another_code_location_loads_it_by_its_specs_metadata(project: Project) -> None:
    got: list[Any] = []
    project.run(daily(), only="training", keys=(KEYS[0], KEYS[-1]))
    (spec,) = daily().specs
    elsewhere = dg.AssetSpec(
        "training", partitions_def=DAYS, metadata={**spec.metadata, "dagster/io_manager_key": "sets"}
    )
    resources = {
        "feature_store": FeatureStoreResource(repo_path=str(project.root)),
        "sets": training_set_io_manager,
    }
    defs = dg.Definitions(assets=[elsewhere, model(pa.Table, got)], resources=resources)
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=project.instance).success
    assert got[0].num_rows == 15


def test_the_multiprocess_executor_hands_it_on(project: Project, tmp_path: Path) -> None:
    (project.root / ".feastignore").write_text("handed_on.py\n")
    (project.root / "handed_on.py").write_text(
        textwrap.dedent(f"""
            import sys
            from pathlib import Path
            import dagster as dg
            import pyarrow as pa
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_training_set_files import daily, DAYS
            from feast_assets.dagster import FeatureStoreResource

            @dg.asset(partitions_def=DAYS)
            def model(training: pa.Table) -> None:
                Path({str(tmp_path)!r}, "days").write_text(",".join(training["day"].to_pylist()))

            defs = dg.Definitions(
                assets=[daily(), model],
                jobs=[dg.define_asset_job("both")],
                resources={{"feature_store": FeatureStoreResource(repo_path={str(project.root)!r})}},
            )

            def job():
                return defs.resolve_job_def("both")
        """)
    )
    home = tmp_path / "home"
    home.mkdir()
    job = dg.build_reconstructable_job("handed_on", "job", reconstructor_working_directory=str(project.root))
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        assert dg.execute_job(job, instance, tags={"dagster/partition": KEYS[1]}).success
    assert (tmp_path / "days").read_text() == ",".join([KEYS[1]] * 3)


def test_the_manager_can_be_made_by_hand(project: Project) -> None:
    got: list[Any] = []
    project.run(training(), only="training")
    resource = FeatureStoreResource(repo_path=str(project.root))
    resources: Any = {"feature_store": resource, "own": TrainingSetIOManager(resource)}
    assets = [training(io_manager_key="own"), model(pa.Table, got)]
    assert dg.materialize(assets, instance=project.instance, resources=resources, selection="model").success
    assert got[0].num_rows == 2
