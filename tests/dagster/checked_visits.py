"""A project with a view whose fields declare checks, and runs of it on an instance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from feast_assets import FeatureStore
from feast_assets.dagster import FeatureStoreResource, definitions_for

CHECKED = """

    from feast_assets import Checks, String

    visits = FileSource(name="visits", path="data/visits.parquet", timestamp_field="at", field_mapping={"at": "at"})
    checked = FeatureView(
        name="checked",
        entities=[driver],
        source=visits,
        ttl=timedelta(days=2),
        schema=[
            Field(name="score", dtype=Float64, checks=Checks(minimum=0, maximum=100)),
            Field(name="place", dtype=String, checks=Checks(nullable=False, allowed=["north", "south"])),
            Field(name="ticket", dtype=Int64, checks=Checks(unique=True, max_null_share=0.5, severity="warn")),
        ],
        partitions=Partitions("daily", start=NEW_YEAR),
        ENABLE
    )
"""
KEY = dg.AssetKey(["taxi", "checked"])
RIDE = dg.AssetKey(["taxi", "ride"])
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 12
OF_RUNS = ("schema", "keys_and_times", "row_count", "nulls", "ranges", "allowed_values", "uniqueness")


def visits() -> pd.DataFrame:
    """Ten drivers, each with a visit a day."""
    rows = [
        (driver, FIRST + timedelta(days=day, hours=driver), float(10 * driver % 100), "north", day * 100 + driver)
        for day in range(DAYS)
        for driver in range(10)
    ]
    frame = pd.DataFrame(rows, columns=["driver_id", "at", "score", "place", "ticket"])
    return frame.astype({"at": "datetime64[us, UTC]", "ticket": "Int64"})


class Project:
    def __init__(self, root: Path, instance: dg.DagsterInstance):
        self.root = root
        self.instance = instance

    def write(self, frame: pd.DataFrame) -> None:
        frame.to_parquet(self.root / "data" / "visits.parquet", index=False)

    def change(self, day: int, driver: int, **values: Any) -> None:
        """Changes one visit in the file as it is."""
        frame = pd.read_parquet(self.root / "data" / "visits.parquet")
        chosen = (frame["driver_id"] == driver) & (frame["at"].dt.day_of_year == day + 1)
        assert chosen.sum() == 1
        for name, value in values.items():
            frame.loc[chosen, name] = value
        self.write(frame)

    def definitions(self, **arguments: Any) -> dg.Definitions:
        return definitions_for({"feature_store": FeatureStoreResource(repo_path=str(self.root))}, **arguments)

    def run(self, first: int = 0, last: int = DAYS - 1, **arguments: Any) -> dg.ExecuteInProcessResult:
        """Materializes the checked view over some days."""
        first_key, last_key = (f"{FIRST + timedelta(days=day):%Y-%m-%d}" for day in (first, last))
        tags = {"dagster/asset_partition_range_start": first_key, "dagster/asset_partition_range_end": last_key}
        job = self.definitions(**arguments).resolve_job_def("materialize_taxi_daily")
        return job.execute_in_process(instance=self.instance, tags=tags, asset_selection=[KEY], raise_on_error=False)

    def audit(self, **arguments: Any) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        job = self.definitions(**arguments).resolve_job_def("audit_taxi")
        return evaluations(job.execute_in_process(instance=self.instance))

    def online(self, name: str = "score") -> list[Any]:
        # The ttl is over since long, so the store is asked for what it would have served.
        store = FeatureStore(self.root)
        plan = store._online_plan([f"checked:{name}"], False)
        now = FIRST + timedelta(days=DAYS)
        return plan.read(store.online_store, {"driver_id": list(range(10))}, now=now).to_dict()[name]


def evaluations(result: dg.ExecuteInProcessResult) -> dict[tuple[str, str], Any]:
    """Returns an evaluation of each check of a run: of a partition that failed, if there is one."""
    found: dict[tuple[str, str], Any] = {}
    for each in sorted(result.get_asset_check_evaluations(), key=lambda e: (not e.passed, e.severity.value == "ERROR")):
        found[each.asset_key.path[-1], each.check_name] = each
    return found


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    """Returns the checks of the run that did not pass; the data is old, so freshness never does."""
    return {name for (_, name), e in evaluations(result).items() if not e.passed} & set(OF_RUNS)


def table(evaluation: Any, name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in evaluation.metadata[f"feast_assets/{name}"].records]


def checked_project(write: Callable[..., Path], instance: dg.DagsterInstance, enable: str) -> Project:
    made = Project(write(CHECKED.replace("ENABLE", enable)), instance)
    made.write(visits())
    FeatureStore(made.root).apply_repository()
    return made
