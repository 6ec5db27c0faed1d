"""Asset checks: each kind passes and fails for what it is for, and what it refuses does not reach the online store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from feast_assets import FeatureStore
from feast_assets.compute.row_counts import expected_rows
from feast_assets.dagster import FeatureStoreResource, definitions_for
from feast_assets.dagster.check_specs import FEATURE_VIEW_CHECKS
from feast_assets.errors import DefinitionError

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
OF_RUNS = ("schema", "row_count", "nulls", "ranges", "allowed_values", "uniqueness")


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
    return {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    """Returns the checks of the run that did not pass; the data is old, so freshness never does."""
    return {name for (_, name), e in evaluations(result).items() if not e.passed} & set(OF_RUNS)


def table(evaluation: Any, name: str) -> list[dict[str, Any]]:
    return [dict(record.data) for record in evaluation.metadata[f"feast_assets/{name}"].records]


@pytest.fixture
def project(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Project:
    return _project(write_repository, instance, "")


def _project(write: Callable[..., Path], instance: dg.DagsterInstance, enable: str) -> Project:
    made = Project(write(CHECKED.replace("ENABLE", enable)), instance)
    made.write(visits())
    FeatureStore(made.root).apply_repository()
    return made


# --- which there are


def specs(definitions: dg.Definitions) -> dict[dg.AssetKey, dict[str, dg.AssetCheckSpec]]:
    found: dict[dg.AssetKey, dict[str, dg.AssetCheckSpec]] = {}
    for each in [*(definitions.assets or []), *(definitions.asset_checks or [])]:
        for spec in getattr(each, "check_specs", []):
            found.setdefault(spec.asset_key, {})[spec.name] = spec
    return found


def test_a_view_has_the_checks_that_it_declares_something_for(project: Project) -> None:
    found = specs(project.definitions())
    assert set(found[KEY]) == set(FEATURE_VIEW_CHECKS)
    assert set(found[RIDE]) == {"schema", "row_count", "consistency"}
    assert set(found[dg.AssetKey(["taxi", "ride_totals"])]) == {"row_count", "consistency"}
    assert {name for name, spec in found[KEY].items() if spec.blocking} == {
        "schema",
        "nulls",
        "ranges",
        "allowed_values",
        "uniqueness",
    }
    assert "score minimum=0, maximum=100" in str(found[KEY]["ranges"].description)


def test_checks_can_be_chosen(project: Project) -> None:
    assert specs(project.definitions(checks="none")) == {}
    some = specs(project.definitions(checks=["ranges", "freshness"]))
    assert {key: set(names) for key, names in some.items()} == {KEY: {"ranges", "freshness"}}
    assert not specs(project.definitions(blocking=False))[KEY]["ranges"].blocking
    with pytest.raises(DefinitionError, match=r"'range'.*'ranges'"):
        project.definitions(checks=["range"])
    with pytest.raises(DefinitionError, match="'rows'"):
        project.definitions(checks="rows")
    assert project.run(checks="none").success


# --- what runs say


def test_good_rows_pass_all_checks(project: Project) -> None:
    job = project.definitions().resolve_job_def("materialize_taxi_daily")
    tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-12"}
    result = job.execute_in_process(instance=project.instance, tags=tags)
    found = evaluations(result)
    assert result.success
    # What is served is checked by a job of its own.
    assert {name for view, name in found if view == "checked"} == set(OF_RUNS)
    assert {name for _, name in found} == set(OF_RUNS)
    assert all(e.passed for e in found.values())
    ranges = found["checked", "ranges"].metadata
    assert ranges["feast_assets/rows_checked"].value == DAYS * 10
    assert ranges["feast_assets/partitions_checked"].value == DAYS


@pytest.mark.parametrize(
    ("check", "values", "rule"),
    [
        ("ranges", {"score": 101.0}, "maximum=100"),
        ("ranges", {"score": -0.5}, "minimum=0"),
        ("nulls", {"place": None}, "nullable=False"),
        ("allowed_values", {"place": "nort"}, "allowed=['north', 'south']"),
    ],
)
def test_rows_that_break_a_rule_are_refused_and_the_rest_is_written(
    project: Project, check: str, values: dict[str, Any], rule: str
) -> None:
    assert project.run(0, 9).success
    project.change(10, 3, **values)
    result = project.run(9, 11)
    assert not result.success
    assert failed(result) == {check}
    evaluation = evaluations(result)["checked", check]
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.blocking
    (record,) = table(evaluation, "broken")
    assert record["partition"] == "2024-01-11"
    assert (record["rule"], record["rows"], record["of"]) == (rule, 1, 10)
    # The partitions around it are materialized, the refused one is not, and is asked for again.
    assert project.online()[3] == 30.0
    done = project.instance.get_materialized_partitions(KEY)
    assert {"2024-01-10", "2024-01-12"} <= done
    assert "2024-01-11" not in done
    (again,) = FeatureStore(project.root).stale_windows("checked", FIRST + timedelta(days=DAYS, microseconds=-1))
    assert again.window.start == FIRST + timedelta(days=10)
    # Corrected, it is written.
    project.write(visits())
    assert project.run(10, 10).success


def test_a_refused_window_keeps_what_was_served(project: Project) -> None:
    assert project.run().success
    assert project.online()[3] == 30.0
    project.change(11, 3, score=1000.0)
    assert not project.run(11, 11).success
    assert project.online()[3] == 30.0


def test_the_library_and_the_command_line_refuse_the_same(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from feast_assets.cli.main import cli
    from feast_assets.errors import BrokenChecksError

    project.change(10, 3, score=1000.0)
    store = FeatureStore(project.root)
    with pytest.raises(BrokenChecksError, match=r"'checked'.*1 window breaks.*score maximum=100: 1 of 10") as caught:
        store.materialize_incremental(FIRST + timedelta(days=DAYS), ["checked"])
    assert len(caught.value.result.windows) == DAYS - 1
    assert [b.feature for b in caught.value.broken] == ["score"]
    result = CliRunner().invoke(
        cli, ["-c", str(project.root), "materialize-incremental", "2024-02-01", "-v", "checked"]
    )
    assert result.exit_code == 1
    assert "score maximum=100" in result.output


def test_warnings_do_not_keep_rows_from_being_written(project: Project) -> None:
    project.change(10, 3, ticket=1004)
    result = project.run()
    assert result.success
    assert failed(result) == {"uniqueness"}
    evaluation = evaluations(result)["checked", "uniqueness"]
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert table(evaluation, "broken")[0]["partition"] == "2024-01-11"
    frame = visits()
    frame.loc[frame["driver_id"] < 6, "ticket"] = None
    project.write(frame)
    result = project.run(11, 11)
    assert failed(result) == {"nulls"}
    assert "max_null_share=0.5: 6 of 10" in evaluations(result)["checked", "nulls"].description


def test_one_error_makes_a_check_an_error_whatever_else_is_only_a_warning(project: Project) -> None:
    frame = visits()
    frame.loc[frame["driver_id"] < 6, "ticket"] = None
    frame.loc[0, "place"] = None
    project.write(frame)
    evaluation = evaluations(project.run(blocking=False))["checked", "nulls"]
    assert {r["severity"] for r in table(evaluation, "broken")} == {"error", "warn"}
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize("off", ["view", "argument"])
def test_refusing_can_be_switched_off(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, off: str
) -> None:
    project = _project(write_repository, instance, "enable_validation=False," if off == "view" else "")
    project.change(11, 3, score=1000.0)
    result = project.run(**({"blocking": False} if off == "argument" else {}))
    assert failed(result) == {"ranges"}
    assert result.success
    assert not evaluations(result)["checked", "ranges"].blocking
    assert project.online()[3] == 1000.0


def test_a_source_with_another_schema_fails_before_anything_is_written(project: Project) -> None:
    assert project.run().success
    project.write(visits().rename(columns={"place": "location"}).astype({"score": "string"}))
    result = project.run(11, 11)
    assert not result.success
    assert failed(result) == {"schema"}
    evaluation = evaluations(result)["checked", "schema"]
    assert {(r["column"], r["found"]) for r in table(evaluation, "problems")} >= {("place", "missing")}
    assert evaluation.metadata["feast_assets/columns_not_used"].value == "location"
    project.write(visits().assign(more=1))
    result = project.run(11, 11)
    assert result.success
    assert evaluations(result)["checked", "schema"].metadata["feast_assets/columns_not_used"].value == "more"
    (project.root / "data" / "visits.parquet").unlink()
    assert failed(project.run(11, 11)) == {"schema"}


def test_a_partition_with_few_or_many_rows_is_told(project: Project) -> None:
    frame = visits()
    twelfth = frame["at"] >= pd.Timestamp(FIRST + timedelta(days=11))
    project.write(frame[~twelfth | (frame["driver_id"] < 2)])
    result = project.run()
    assert result.success
    assert failed(result) == {"row_count"}
    evaluation = evaluations(result)["checked", "row_count"]
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert table(evaluation, "outside") == [{"partition": "2024-01-12", "rows": 2, "least": 8, "most": 12}]
    assert evaluation.metadata["feast_assets/partitions_compared"].value == DAYS - 7


def test_row_counts_are_expected_from_those_before() -> None:
    assert expected_rows([10] * 6) is None
    assert expected_rows([10] * 7) == (7.5, 12.5)
    low, high = expected_rows([90, 100, 110, 95, 105, 100, 100, 20]) or (0, 0)
    assert 0 <= low < 90
    assert 110 < high < 200
    assert expected_rows([0] * 20) == (0, 0)


# --- what is served


def test_what_is_served_is_consistent_and_fresh_only_within_the_ttl(project: Project) -> None:
    assert project.run().success
    found = project.audit()
    assert found["checked", "consistency"].passed
    # The data ended in January 2024; by now nothing of it is served.
    assert not found["checked", "freshness"].passed
    assert found["checked", "freshness"].severity == dg.AssetCheckSeverity.WARN
    assert ("ride", "freshness") not in found
    assert found["ride", "consistency"].passed
    assert found["ride", "consistency"].metadata["feast_assets/lag"].value > 0


@pytest.mark.parametrize(("end", "fresh"), [(DAYS, True), (DAYS + 1, True), (DAYS + 2, False)])
def test_freshness_is_judged_as_of_the_end_of_a_grid_that_has_ended(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, end: int, fresh: bool
) -> None:
    project = _project(write_repository, instance, "")
    path = project.root / "taxi_features.py"
    until = FIRST + timedelta(days=end)
    grid = f'Partitions("daily", start=NEW_YEAR, end=datetime({until.year}, {until.month}, {until.day}, tzinfo=UTC))'
    head, tail = path.read_text().rsplit('Partitions("daily", start=NEW_YEAR)', 1)
    path.write_text(head + grid + tail)
    store = FeatureStore(project.root)
    store.apply_repository()
    store.materialize_incremental(until, ["checked"])
    found = project.audit(checks=["freshness", "consistency"])
    assert found["checked", "freshness"].passed is fresh
    assert found["checked", "consistency"].passed


def test_an_inconsistency_that_nobody_can_explain_fails(project: Project) -> None:
    store = FeatureStore(project.root)
    store.materialize_incremental(FIRST + timedelta(days=DAYS), ["ride"])
    assert project.audit(checks=["consistency"])["ride", "consistency"].passed
    from feast_assets.online_stores.keys import encode_keys
    from feast_assets.types import Int64

    (key,) = encode_keys(["driver_id"], [Int64], [[2]])
    store.online_store.delete(store.get_feature_view("ride").online_table("taxi"), [key])
    # Later rides are not materialized, which would be a reason; so the file ends where the runs did.
    rides = pd.read_parquet(project.root / "data" / "rides.parquet")
    rides[rides["finished_at"] < pd.Timestamp(FIRST + timedelta(days=DAYS))].to_parquet(
        project.root / "data" / "rides.parquet", index=False
    )
    evaluation = project.audit(checks=["consistency"])["ride", "consistency"]
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["feast_assets/unexplained"].value == 2
    assert {r["entity"] for r in table(evaluation, "mismatches")} == {"driver_id=2"}


def test_a_view_whose_source_is_gone_does_not_keep_the_others_from_being_checked(project: Project) -> None:
    assert project.run().success
    (project.root / "data" / "rides.parquet").unlink()
    found = project.audit()
    assert not found["ride", "consistency"].passed
    assert found["checked", "consistency"].passed
