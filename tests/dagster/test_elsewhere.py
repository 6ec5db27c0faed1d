"""A view that another process computes, launched through Dagster Pipes; that process knows the library alone."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from ticks import RANGE, evaluated

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureRepository, FeatureStoreResource, definitions_for, feature_view_assets
from feast_assets.errors import DefinitionError

KEY, KEPT = dg.AssetKey(["taxi", "ride_totals"]), dg.AssetKey(["taxi", "sources", "kept_totals"])
PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-assets.md"


def worker(root: Path) -> str:
    """Returns the program that the documentation shows, for a repository."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (shown,) = (block for block in blocks if "open_dagster_pipes() as run" in block)
    shown = shown.replace('"feature_repo"', repr(str(root))).replace("my_project/driver_stats", "taxi/ride_totals")
    return str(shown) + '\nimport sys\n\nassert "dagster" not in sys.modules\n'


class Elsewhere:
    """The small repository; the view ride_totals is computed, kept and put online by a process of its own."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, program: Path):
        self.root, self.instance, self.worker = root, instance, program
        self.resource = FeatureStoreResource(repo_path=str(root))
        command = [sys.executable, str(program)]

        @feature_view_assets(
            repository=FeatureRepository.load(self.resource), views=["ride_totals"], name="elsewhere", checks="none"
        )
        def elsewhere(
            context: dg.AssetExecutionContext, feature_store: FeatureStoreResource, pipes: dg.PipesSubprocessClient
        ) -> Iterator[Any]:
            asked = feature_store.materialization_request(context)
            done = pipes.run(context=context, command=command, extras=asked)
            yield from feature_store.record_materialized(context, done.get_results(implicit_materializations=False))

        resources = {"feature_store": self.resource, "pipes": dg.PipesSubprocessClient()}
        self.definitions = definitions_for(resources, view_assets=[elsewhere], checks=["consistency"])

    def run(self, first: str, last: str, **arguments: Any) -> dg.ExecuteInProcessResult:
        tags = dict(zip(RANGE, (first, last), strict=True))
        job = self.definitions.resolve_job_def("materialize_elsewhere")
        return job.execute_in_process(instance=self.instance, tags=tags, **arguments)

    def late(self) -> list[tuple[str, str]]:
        """Returns job and first partition of the runs that the late data sensor asks for."""
        ticked = evaluated(self.definitions, self.resource, self.instance, "late_data_taxi")
        return [(r.job_name, r.tags.get(RANGE[0], r.partition_key)) for r in ticked.run_requests or []]


@pytest.fixture
def elsewhere(applied_root: Path, instance: dg.DagsterInstance, tmp_path: Path) -> Elsewhere:
    program = tmp_path / "worker.py"
    program.write_text(worker(applied_root))
    return Elsewhere(applied_root, instance, program)


def test_a_run_launches_the_process_and_records_its_partitions(elsewhere: Elsewhere) -> None:
    run = elsewhere.run("2024-01-03", "2024-01-05")
    days = {"2024-01-03", "2024-01-04", "2024-01-05"}
    for key in (KEY, KEPT):
        assert elsewhere.instance.get_materialized_partitions(key) == days
    told = {m.partition: m.metadata for m in run.asset_materializations_for_node("elsewhere") if m.asset_key == KEY}
    rows = {day: metadata["dagster/partition_row_count"].value for day, metadata in told.items()}
    # Of each driver's rides of a day, the view makes one row.
    assert rows == dict.fromkeys(days, 4)
    assert all(metadata["seconds"].value > 0 for metadata in told.values())
    store = FeatureStore(elsewhere.root)
    ledger = store.registry.ledger("ride_totals")
    assert {(entry.window.start.strftime("%Y-%m-%d"), entry.run_id) for entry in ledger} == {
        (day, run.run_id) for day in days
    }
    served = store.get_online_features(["ride_totals:rides", "ride_totals:fares"], [{"driver_id": 1}]).to_dict()
    expected = pd.read_parquet(elsewhere.root / "data" / "rides.parquet")
    of_day = expected[(expected.driver_id == 1) & (expected.finished_at.dt.strftime("%Y-%m-%d") == "2024-01-05")]
    assert served["rides"] == [len(of_day)]
    assert served["fares"] == [of_day.fare.sum()]
    store.close()


def test_the_sensor_runs_it_for_late_rows_and_not_again(elsewhere: Elsewhere) -> None:
    elsewhere.run("2024-01-03", "2024-01-05")
    # The days before were never run, and later ones were: gaps. They are made in the same way.
    assert elsewhere.late() == [("materialize_elsewhere", "2024-01-01")]
    elsewhere.run("2024-01-01", "2024-01-02")
    assert elsewhere.late() == []
    rides = elsewhere.root / "data" / "rides.parquet"
    frame = pd.read_parquet(rides)
    frame.loc[frame.finished_at.dt.strftime("%Y-%m-%d") == "2024-01-04", "fare"] += 1
    frame.to_parquet(rides, index=False)
    assert elsewhere.late() == [("materialize_elsewhere", "2024-01-04")]


def test_a_process_that_fails_fails_the_run_and_nothing_is_recorded(elsewhere: Elsewhere) -> None:
    (elsewhere.root / "data" / "rides.parquet").unlink()
    assert not elsewhere.run("2024-01-03", "2024-01-05", raise_on_error=False).success
    assert elsewhere.instance.get_materialized_partitions(KEY) == set()
    assert FeatureStore(elsewhere.root).registry.ledger("ride_totals") == []


def test_a_process_that_leaves_days_out_fails_the_run_and_those_it_has_made_are_recorded(elsewhere: Elsewhere) -> None:
    text = elsewhere.worker.read_text()
    elsewhere.worker.write_text(text.replace('asked["end_date"]', '"2024-01-03T23:59:59.999999+00:00"'))
    with pytest.raises(
        dg.Failure, match=r"not materialized ride_totals in \[2024-01-04T.* and 1 more: the ledger has no"
    ):
        elsewhere.run("2024-01-03", "2024-01-05")
    for key in (KEY, KEPT):
        assert elsewhere.instance.get_materialized_partitions(key) == {"2024-01-03"}


def test_what_another_run_has_materialized_does_not_count(elsewhere: Elsewhere) -> None:
    elsewhere.worker.write_text(elsewhere.worker.read_text().replace('run_id=asked["run_id"]', 'run_id="mine"'))
    with pytest.raises(dg.Failure, match="Let it materialize what materialization_request says, with its run_id"):
        elsewhere.run("2024-01-03", "2024-01-03")
    assert elsewhere.instance.get_materialized_partitions(KEY) == set()


def test_days_without_rows_are_recorded_too(elsewhere: Elsewhere) -> None:
    rides = elsewhere.root / "data" / "rides.parquet"
    frame = pd.read_parquet(rides)
    frame[frame.finished_at.dt.strftime("%Y-%m-%d") != "2024-01-04"].to_parquet(rides, index=False)
    elsewhere.run("2024-01-03", "2024-01-05")
    assert elsewhere.instance.get_materialized_partitions(KEY) == {"2024-01-03", "2024-01-04", "2024-01-05"}


def test_a_view_that_was_not_applied_is_not_launched(elsewhere: Elsewhere) -> None:
    code = elsewhere.root / "taxi_features.py"
    code.write_text(code.read_text().replace("sum(fare) AS fares", "max(fare) AS fares"))
    elsewhere.worker.write_text("raise SystemExit('was launched')")
    with pytest.raises(dg.Failure, match=r"'ride_totals'.*apply"):
        elsewhere.run("2024-01-03", "2024-01-03")


def test_the_other_views_of_the_grid_are_run_as_ever(elsewhere: Elsewhere) -> None:
    names = {job.name for job in elsewhere.definitions.resolve_all_job_defs() if job.name.startswith("materialize")}
    assert {"materialize_elsewhere", "materialize_taxi_daily"} <= names
    daily = elsewhere.definitions.resolve_job_def("materialize_taxi_daily")
    assert KEY not in daily.asset_layer.executable_asset_keys
    schedules = {s.name for s in elsewhere.definitions.schedules or []}
    assert "materialize_elsewhere_schedule" in schedules


def test_assets_of_the_same_name_or_of_no_view_are_refused(applied_root: Path) -> None:
    resource = FeatureStoreResource(repo_path=str(applied_root))

    @feature_view_assets(repository=FeatureRepository.load(resource), views=["ride_totals"])
    def unnamed(context: dg.AssetExecutionContext): ...

    @dg.asset
    def other() -> None: ...

    with pytest.raises(DefinitionError, match="called 'taxi_daily'; give feature_view_assets another name="):
        definitions_for({"feature_store": resource}, view_assets=[unnamed])
    with pytest.raises(DefinitionError, match="view_assets holds other, which feature_view_assets has not made"):
        definitions_for({"feature_store": resource}, view_assets=[other])
