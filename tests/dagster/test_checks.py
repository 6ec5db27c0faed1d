"""Asset checks: each kind passes and fails for what it is for, and what it refuses does not reach the online store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from checked_visits import DAYS, FIRST, KEY, OF_RUNS, RIDE, Project, checked_project, evaluations, failed, table, visits

from feast_assets import FeatureStore
from feast_assets.dagster.check_specs import FEATURE_VIEW_CHECKS
from feast_assets.errors import DefinitionError
from feast_assets.testing.online_store import remove_rows


@pytest.fixture
def project(write_repository: Callable[..., Path], instance: dg.DagsterInstance) -> Project:
    return checked_project(write_repository, instance, "")


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
    assert set(found[RIDE]) == {"schema", "keys_and_times", "row_count", "consistency"}
    assert set(found[dg.AssetKey(["taxi", "ride_totals"])]) == {"keys_and_times", "row_count", "consistency"}
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
    ranges = [e for e in result.get_asset_check_evaluations() if e.asset_key == KEY and e.check_name == "ranges"]
    assert [e.partition for e in ranges] == [f"2024-01-{day:02}" for day in range(1, DAYS + 1)]
    assert {e.metadata["feast_assets/rows_checked"].value for e in ranges} == {10}


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
    project = checked_project(write_repository, instance, "enable_validation=False," if off == "view" else "")
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
    assert table(evaluation, "outside") == [{"partition": "2024-01-12", "rows": 2, "minimum": 8, "maximum": 12}]
    assert evaluation.metadata["feast_assets/partitions_compared"].value == DAYS - 7


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
    project = checked_project(write_repository, instance, "")
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
    from feast_assets.online_stores.rows.keys import encode_keys
    from feast_assets.types import Int64

    (key,) = encode_keys(["driver_id"], [Int64], [[2]])
    remove_rows(store.online_store, store.get_feature_view("ride").online_table("taxi"), [key])
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
