from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from feast_assets.cli import progress

NOW = datetime.now(UTC)


def _online(run, repo: Path) -> str:
    return run("-c", str(repo), "get-online-features", "-e", "driver_id=1001", "-f", "driver_stats:rating").output


def _row(output: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith("driver_stats  "))


def test_materialize_ends_with_what_it_did_per_view(run, repo: Path) -> None:
    run("-c", str(repo), "apply")
    start = (NOW - timedelta(hours=47)).isoformat()
    result = run("-c", str(repo), "materialize", start, NOW.isoformat())
    assert result.stdout.splitlines()[0].split("  ")[0] == "VIEW"
    name, windows, rows, written, seconds = _row(result.stdout)
    assert (name, written) == ("driver_stats", "5")
    assert int(windows) >= 2
    assert int(rows) >= 47 * 5
    assert float(seconds) >= 0
    assert "windows" in result.stderr
    assert "null" not in _online(run, repo)


def test_incremental_does_only_what_is_missing(run, repo: Path) -> None:
    run("-c", str(repo), "apply")
    rounds = []
    for end in (NOW - timedelta(days=2), NOW, NOW):
        result = run("-c", str(repo), "materialize-incremental", end.isoformat())
        rounds.append(tuple(map(int, _row(result.stdout)[1:4])))
    assert rounds[0][1] >= 5 * 24 * 11
    assert rounds[1][1] <= 5 * 24 * 4
    assert rounds[2] == (0, 0, 0)


def test_incremental_says_what_it_found_of_the_files_and_reads_all_again_on_demand(run, repo: Path) -> None:
    run("-c", str(repo), "apply")
    said = []
    for options in ([], [], ["--reread"]):
        result = run("-c", str(repo), "materialize-incremental", NOW.isoformat(), *options)
        said += [line for line in result.stdout.splitlines() if "source files" in line]
    size = (repo / "data" / "driver_stats.parquet").stat().st_size
    assert said == [
        f"driver_stats: source files: 1 listed, 1 new, 0 changed, 0 gone; {size:,} bytes read.",
        "driver_stats: source files: 1 listed, 0 new, 0 changed, 0 gone; 0 bytes read.",
        f"driver_stats: source files: 1 listed, 0 new, 1 changed, 0 gone; {size:,} bytes read.",
    ]


@pytest.mark.parametrize("time_zone", ["America/New_York", "Asia/Tokyo"])
def test_naive_dates_are_utc_wherever_the_machine_is(
    run, repo: Path, time_zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("-c", str(repo), "apply")
    times = parquet.read_table(repo / "data" / "driver_stats.parquet")["event_timestamp"].to_pylist()
    first, last = min(times).replace(tzinfo=None), max(times).replace(tzinfo=None)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", time_zone)
        time.tzset()
        # Three hours at the end of the data, and three at its beginning: shifted either way, one of them would miss it.
        ends = run("-c", str(repo), "materialize", (last - timedelta(hours=2)).isoformat(), last.isoformat())
        starts = run("-c", str(repo), "materialize", first.isoformat(), (first + timedelta(hours=2)).isoformat())
    time.tzset()
    assert [_row(result.stdout)[2] for result in (ends, starts)] == ["15", "15"]


def test_views_can_be_chosen(run, repo: Path) -> None:
    run("-c", str(repo), "apply")
    result = run("-c", str(repo), "materialize-incremental", NOW.isoformat(), "-v", "driver_stats")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["VIEW", "driver_stats", "driver_stats:"]


def test_disable_event_timestamp_takes_everything_and_no_dates(run, repo: Path) -> None:
    run("-c", str(repo), "apply")
    result = run("-c", str(repo), "materialize", "--disable-event-timestamp")
    assert int(_row(result.stdout)[2]) == 5 * (14 * 24 + 1)
    assert (
        "leave START and END out" in run("materialize", "2026-01-01", "--disable-event-timestamp", exit_code=2).stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["materialize"], "START and END are needed"),
        (["materialize", "2026-01-01"], "START and END are needed"),
        (["materialize", "soon", "2026-01-01"], "'soon' is not a date in ISO 8601"),
        (["materialize-incremental"], "Missing argument"),
        (["materialize-incremental", "2026-13-01"], "write 2026-01-31"),
    ],
)
def test_wrong_dates_are_wrong_usage(run, arguments, message) -> None:
    assert message in run(*arguments, exit_code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["materialize", "2026-02-01", "2026-01-01"], "is after end_date"),
        (["materialize-incremental", "2026-02-01", "-v", "driver_stat"], "Did you mean 'driver_stats'?"),
        (["materialize-incremental", "2026-02-01", "-v", "driver_reviews"], "cannot be materialized"),
    ],
)
def test_what_cannot_be_materialized_is_one_line(run, served_repo: Path, arguments, message) -> None:
    result = run("-c", str(served_repo), *arguments, exit_code=1)
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_an_empty_project_has_nothing_to_materialize(run, tmp_path: Path) -> None:
    run("init", str(tmp_path / "empty"), "--minimal")
    repo = str(tmp_path / "empty" / "feature_repo")
    run("-c", repo, "apply")
    assert "No feature view to materialize" in run("-c", repo, "materialize-incremental", "2026-01-01").output


def test_piped_progress_is_a_line_at_the_beginning_and_the_end_of_a_view(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.view_progress() as report:
        for done in range(101):
            report("a", done, 100)
        report("b", 3, 3)
    assert capsys.readouterr().err.splitlines() == ["a: 0 of 100 windows", "a: 100 of 100 windows", "b: 3 of 3 windows"]


def test_slow_progress_is_a_line_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.view_progress() as report:
        for done in range(12):
            report("a", done, 12)
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["0", "5", "10"]


def test_a_terminal_gets_a_bar_per_view(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.view_progress() as report:
        report("driver_stats", 1, 4)
        report("driver_stats", 4, 4)
    assert "driver_stats" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


@pytest.mark.parametrize(
    "command",
    [
        ("materialize", "2026-01-01", "2026-01-02"),
        ("materialize-incremental", "2026-01-02"),
        ("get-online-features", "-e", "driver_id=1", "-f", "driver_stats:rating"),
    ],
)
def test_a_project_that_was_never_applied_is_told_to_apply(run, repo: Path, command) -> None:
    result = run("-c", str(repo), *command, exit_code=1)
    assert "project 'taxis' has not been applied" in result.stderr.replace("Project", "project")
    assert "feast-assets apply" in result.stderr


def test_views_that_fail_do_not_keep_others_from_being_materialized(run, repo: Path) -> None:
    definitions = repo / "feature_definitions.py"
    text = definitions.read_text()
    more = "".join(
        f"""
{name} = FeatureView(
    name="{name}",
    entities=[driver],
    source=FileSource(name="{name}_file", path="data/{name}.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="rating", dtype=Float32)],
)
"""
        for name in ("a_lost", "z_lost")
    )
    for name in ("a_lost", "z_lost"):
        shutil.copy(repo / "data" / "driver_stats.parquet", repo / "data" / f"{name}.parquet")
    definitions.write_text("from feast_assets import FeatureView, Field, FileSource\n" + text + more)
    run("-c", str(repo), "apply")
    for name in ("a_lost", "z_lost"):
        (repo / "data" / f"{name}.parquet").unlink()
    result = run("-c", str(repo), "materialize", "--disable-event-timestamp", exit_code=1)
    failures = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert [line.split()[1] for line in failures] == ["a_lost:", "z_lost:", "2"]
    assert "null" not in _online(run, repo)


def test_an_on_demand_view_is_not_materialized_and_the_error_says_why(run, served_repo: Path) -> None:
    command = ("-c", str(served_repo), "materialize-incremental", "2026-01-01", "-v", "fare_estimate")
    assert "on-demand feature view" in run(*command, exit_code=1).stderr


def test_rows_that_were_left_out_are_told_of(run, repo: Path) -> None:
    file = repo / "data" / "driver_stats.parquet"
    rows = parquet.read_table(file)
    times = rows.schema.get_field_index("event_timestamp")
    keys = rows.schema.get_field_index("driver_id")
    first = rows.slice(0, 3)
    timeless = first.set_column(times, rows.schema.field(times), pa.nulls(3, rows.schema.field(times).type))
    keyless = first.slice(0, 2).set_column(keys, rows.schema.field(keys), pa.nulls(2, rows.schema.field(keys).type))
    parquet.write_table(pa.concat_tables([rows, timeless, keyless]), file)
    run("-c", str(repo), "apply")
    told = "driver_stats: left out 2 rows without a join key and 3 rows without an event time."
    for arguments in (("materialize-incremental", NOW.isoformat()), ("materialize", "2000-01-01", NOW.isoformat())):
        with pytest.warns(UserWarning, match="left out 2 rows without a join key"):
            result = run("-c", str(repo), *arguments)
        assert told in result.stdout.splitlines()


COMPUTED = """
from datetime import UTC, datetime, timedelta

from feast_assets import Entity, Field, FileSource, Int64, Partitions, ValueType, batch_feature_view

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
rides = FileSource(name="rides", path="data/rides.parquet", timestamp_field="taken_at")


@batch_feature_view(
    mode="sql", entities=[driver], source=rides, lookback=timedelta(days=3), schema=[Field(name="taken", dtype=Int64)],
    partitions=Partitions("daily", start=datetime(2026, 1, 1, tzinfo=UTC)),
)
def counts(rides):
    return f"SELECT driver_id, date_trunc('day', taken_at) AS taken_at, count(*) AS taken FROM {rides} GROUP BY ALL"
"""


def test_rows_that_a_computed_view_reads_are_not_told_as_its_rows(run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "feature_store.yaml").write_text(
        "project: taxis\nregistry: {registry_type: sql, path: data/registry.db}\n"
        "online_store: {type: sqlite, path: data/online.db}\noffline_store: {type: duckdb}\n"
    )
    (tmp_path / "features.py").write_text(COMPUTED)
    times = [datetime(2026, 1, 1 + i // 10, i % 10, tzinfo=UTC) for i in range(50)]
    rides = pa.table({"driver_id": [i % 2 for i in range(50)], "taken_at": pa.array(times, pa.timestamp("us", "UTC"))})
    parquet.write_table(rides, tmp_path / "data" / "rides.parquet")
    run("-c", str(tmp_path), "apply")
    result = run("-c", str(tmp_path), "materialize-incremental", "2026-01-05T23:59:59")
    (told,) = [line.split() for line in result.stdout.splitlines() if line.startswith("counts ")]
    assert told[:4] == ["counts", "5", "-", "2"]
