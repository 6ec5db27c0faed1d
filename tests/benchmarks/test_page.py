"""What the benchmark's page says follows from the figures, of whichever run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.costs import Cost, costs, redis_told
from benchmarks.curves import Curve, Line, course, curves
from benchmarks.figures import plain, short
from benchmarks.goals import DAGSTER_LOADING, MATERIALIZATION, MEMORY, READS, Goal, goals
from benchmarks.libraries import BARE, FEAST, OURS
from benchmarks.machine import commit_of, feast_versions
from benchmarks.report import document
from benchmarks.results import Figure, Provenance, Results
from benchmarks.run import keep, results_file
from benchmarks.summary import leads, summary, where_feast_is_faster

MACHINE = {"processor": "one", "memory": "1 GiB", "system": "Linux", "packages": "duckdb 2"}


def page(records: list[dict[str, Any]], measured: dict[str, Provenance] | None = None) -> str:
    results = Results("tiny", MACHINE, records, measured or {})
    # Paragraphs are wrapped.
    return " ".join(document(results, "pictures", curves(results)).split())


def read(side: str, samples: int, p50: float = 1.0, **about: Any) -> dict[str, Any]:
    asked = {"path": "online_reads", "store": "sqlite", "shape": "narrow", "entities": 1}
    return {**asked, "side": side, "samples": samples, "p50": p50, "p99": 2 * p50, **about}


def materialized(side: str, seconds: float, **about: Any) -> dict[str, Any]:
    asked = {"path": "materialization", "store": "sqlite", "shape": "narrow", "attempt": 0}
    return {**asked, "side": side, "seconds": seconds, "rows_per_second": 1000 / seconds, **about}


def applied(side: str, views: int, seconds: float, verb: str = "apply") -> dict[str, Any]:
    return {"path": "registry", "side": side, "views": views, "verb": verb, "seconds": seconds}


# --- what a line does


def test_steps_that_are_each_flat_are_told_as_what_they_make_together() -> None:
    points = [(10_000, 0.22), (100_000, 0.30), (1_000_000, 0.40), (10_000_000, 0.55)]
    assert course(points, "ms", "entities") == (
        "grows 2.5x while entities grow 1,000x, from 10,000 to 10,000,000 (0.22 to 0.55 ms)."
    )
    falling = [(x, 1 / y) for x, y in points]
    assert course(falling, "ms", "entities").startswith("falls to 1/2.5 while entities grow 1,000x")


def test_steps_close_together_are_told_by_the_slope_of_the_whole() -> None:
    points = [(1.2**i, 1.2**i) for i in range(10)]
    assert course(points, "ms").startswith("grows in proportion from 1 to 5.16")


def test_one_step_within_noise_is_no_bend() -> None:
    assert course([(1, 250.0), (25, 250.0), (50, 299.0)], "MiB") == "is flat from 1 to 50 (250 to 299 MiB)."
    assert course([(1, 5.0), (2, 6.5), (4, 5.8)], "rows/s").startswith("grows less than in proportion from 1 to 2")


# --- where results come from


def test_each_path_says_at_which_commit_it_was_measured(tmp_path: Path) -> None:
    file = results_file(tmp_path, "tiny")
    keep(file, "tiny", "pushes", [{"path": "pushes", "side": OURS}], commit="abc", seconds=60.0, feast={"feast": "1"})
    keep(file, "tiny", "registry", [{"path": "registry", "side": OURS}], commit="def+", seconds=120.0)
    results = Results.read(file)
    assert {path: told.commit for path, told in results.measured.items()} == {"pushes": "abc", "registry": "def+"}
    assert results.feast == {"feast": "1"}
    told = " ".join(document(results, "pictures", []).split())
    assert "The paths were not measured together" in told
    assert "- pushes: at commit abc, on 2" in told
    assert "- registry: at commit def with changes that are not committed, on 2" in told
    assert "Feast's environment has feast 1." in told
    assert "took 3 minutes" in told


def test_results_of_before_provenance_was_kept_still_render(tmp_path: Path) -> None:
    file = results_file(tmp_path, "tiny")
    file.parent.mkdir()
    file.write_text(json.dumps({"size": "tiny", "machine": MACHINE, "records": [read(OURS, 10)]}))
    told = document(Results.read(file), "pictures", [])
    assert "Measured on one, 1 GiB of memory; Linux; duckdb 2." in told
    assert "commit" not in told
    assert "Measuring what is on this page" not in told
    keep(file, "tiny", "registry", [{"path": "registry", "side": OURS}], commit="abc")
    assert "- online_reads: not recorded" in document(Results.read(file), "pictures", [])


def test_one_commit_of_all_paths_is_said_once() -> None:
    told = page([read(OURS, 10)], {"online_reads": Provenance("abc", "2026-01-02", 5.0, MACHINE)})
    assert "Measured at commit abc, on 2026-01-02." in told


def test_another_machine_is_said() -> None:
    other = {**MACHINE, "processor": "another"}
    assert "on another, 1 GiB" in page([read(OURS, 10)], {"online_reads": Provenance("abc", "2026-01-02", 5.0, other)})


def test_a_changed_tree_is_marked(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    assert commit_of(tmp_path) == ""
    (tmp_path / "file").write_text("one")
    git("init")
    git("add", "file")
    git("commit", "-m", "one")
    clean = commit_of(tmp_path)
    assert clean
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "benchmarks.md").write_text("made by an earlier run")
    assert commit_of(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{clean}+"


def test_an_environment_is_asked_for_its_versions() -> None:
    known = feast_versions(sys.executable)
    assert known["duckdb"]
    assert "feast" not in known or known["feast"]


# --- tables


def test_no_99th_percentile_of_few_samples() -> None:
    (goal,) = goals(Results("tiny", {}, [read(OURS, 10_000), read(FEAST, 999), read(BARE, 1_000)]))
    assert goal.second == {OURS: 2.0, BARE: 2.0}
    told = page([read(OURS, 10_000, 0.001), read(FEAST, 30, 0.002)])
    assert "| SQLite, narrow, 1 | 1 ms | 2 ms | 2 ms | 2x (≥ 3) | **no** |" in told
    assert "A read of one entity has 30 to 10,000 samples. No p99 is given of fewer than 1,000." in told


def test_feasts_other_setting_is_a_row_without_goals() -> None:
    records = [
        materialized(OURS, 1.0, peak_mib=100.0),
        materialized(FEAST, 20.0, peak_mib=300.0),
        materialized(FEAST, 4.0, peak_mib=200.0, setting="pull_latest_features"),
    ]
    default, other = (g for g in goals(Results("tiny", {}, records)) if g.group == MATERIALIZATION)
    assert (default.beside_feast, default.met) == (20.0, True)
    assert other.subject == "SQLite, narrow, Feast with pull_latest_features"
    assert (other.beside_feast, other.met) == (4.0, None)
    assert other.second == {OURS: 1000.0, FEAST: 250.0}
    assert [g.beside_feast for g in goals(Results("tiny", {}, records)) if g.group == MEMORY] == [3.0, 2.0]
    records[1]["setting"] = "default"
    assert next(goals(Results("tiny", {}, records))) == default
    assert "Rows that are named so show it" in page(records)


def test_the_other_way_by_hand_has_a_row_of_its_own() -> None:
    by_hand = [materialized(BARE, 2.0), materialized(BARE, 1.0, setting="two steps")]
    plain, other = goals(Results("tiny", {}, [materialized(OURS, 1.2), *by_hand]))
    assert (plain.beside_bare, plain.met, plain.second[BARE]) == (0.6, True, 500.0)
    assert (other.beside_bare, other.met) == (1.2, None)
    told = page([materialized(OURS, 1.2), *by_hand])
    assert "bare in two steps" in told
    assert "*Bare in two steps* finds" in told


def test_what_was_spilled_is_said() -> None:
    window = {"path": "bounded_memory", "side": OURS, "verb": "window", "seconds": 1.0, "peak_mib": 5.0}
    assert "memory_limit 200MiB |" in page([window])
    assert "memory_limit 200MiB, 1,234 MiB spilled by us |" in page([{**window, "spilled_mib": 1234.0}])


def test_memory_that_was_not_enough_is_a_lower_bound() -> None:
    asked = {"path": "historical", "shape": "wide", "spine": 100, "into": "pandas"}
    told = page(
        [
            {**asked, "side": OURS, "seconds": 1.0, "peak_mib": 5_000.0},
            {**asked, "side": FEAST, "seconds": 9.0, "peak_mib": 18_082.0, "stopped": "memory"},
        ]
    )
    assert "| 5,000 MiB | > 18,082 MiB | > 3.6x (≥ 3) | yes |" in told
    assert "Memory after > is what" in told
    assert "A time after >" not in told


def test_what_is_on_no_table_is_not_explained() -> None:
    told = page([read(OURS, 10), read(FEAST, 10)])
    assert "after >" not in told
    assert "Out of memory" not in told


def test_first_ticks_are_shown_and_only_later_ones_are_goals() -> None:
    ticks = [
        {"path": "dagster_runs", "side": OURS, "verb": verb, "sensor": "s", "partitions": 5, "seconds": seconds}
        for verb, seconds in (("first tick", 8.0), ("tick", 0.1))
    ]
    found = list(goals(Results("tiny", {}, ticks)))
    assert [(g.group, g.subject.split(" of ")[0], g.met) for g in found] == [
        (DAGSTER_LOADING, "first tick", None),
        (DAGSTER_LOADING, "later tick", True),
    ]
    assert "1 of 1 goals are met: Dagster's loading and ticks 1 of 1." in page(ticks)


# --- costs


def test_the_redis_server_is_counted_where_it_was_measured() -> None:
    reads = [read(side, 10, store="redis", cpu=1e-5) for side in (OURS, FEAST)]
    assert redis_told(Results("tiny", {}, reads), "online_reads") == "Redis' own aside"
    measured = [{**record, "redis_cpu": 2e-5} for record in reads]
    (cost,) = costs(Results("tiny", {}, measured))
    assert cost.seconds == pytest.approx({OURS: 30.0, FEAST: 30.0})
    assert redis_told(Results("tiny", {}, measured), "online_reads") == "that of the Redis server included"
    assert "where it was measured" in redis_told(Results("tiny", {}, [reads[0], measured[1]]), "online_reads")


def test_numbers_have_no_exponents() -> None:
    assert [plain(x) for x in (1848.2, 0.0173, 99.96)] == ["1,848", "0.0173", "100"]
    assert [short(x) for x in (1, 365, 1_000, 100_000, 50_000_000)] == ["1", "365", "1k", "100k", "50M"]


# --- where Feast is ahead


def test_every_figure_where_feast_is_ahead_is_listed() -> None:
    records = [
        *(applied(OURS, views, seconds) for views, seconds in ((10, 0.2), (100, 0.3))),
        *(applied(FEAST, views, seconds) for views, seconds in ((10, 0.03), (100, 0.4))),
        read(OURS, 10, 0.002),
        read(FEAST, 10, 0.001),
    ]
    told = page(records)
    assert "- Online reads: 1 ms beside our 2 ms (SQLite, narrow, 1)." in told
    assert "registry, apply: 30 ms beside our 200 ms (10 views). The first apply here" in told
    assert "(100 views)" not in told
    assert "Feast is ahead of us in 2 figures" in told
    assert "0.50x faster" not in told


def test_a_lead_is_of_more_rows_per_second_and_not_of_what_was_stopped() -> None:
    rates = Curve(
        "n", "rates", "rows", "y", "rows/s", "", (Line("a", ((1, 5.0),)), Line("a (Feast)", ((1, 9.0),), True))
    )
    assert [(lead.ours, lead.feast) for lead in leads([], [rates], [])] == [("5 rows/s", "9 rows/s")]
    stopped = Goal(READS, "what", "s", Figure(100.0), Figure(90.0, "time"))
    assert list(leads([stopped], [], [])) == []
    assert [lead.subject for lead in leads([], [], [Cost("reads", {OURS: 2.0, FEAST: 1.0})])] == ["a million reads"]
    assert "Nowhere" in where_feast_is_faster([])


def test_the_summary_has_the_range_and_the_worst_of_each_table() -> None:
    rows = [
        Goal(READS, name, "s", Figure(1.0), Figure(feast), bare=Figure(0.5)) for name, feast in (("a", 3), ("b", 9))
    ]
    told = summary(Results("tiny", MACHINE, []), rows, [])
    assert "- Online reads: 3x to 9x as fast as Feast (least: *a*); 2x the time of the bare engine (most: *b*)." in told
