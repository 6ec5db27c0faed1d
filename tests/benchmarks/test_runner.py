"""The benchmark runs, and compares what is the same: at the tiniest size, without Feast."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import run
from benchmarks.bare_engines import duckdb_connection, point_in_time_sql
from benchmarks.curves import course, curves
from benchmarks.datasets import stage, stage_spine
from benchmarks.feature_repository import SERVICE, applied
from benchmarks.goals import Goal, goals
from benchmarks.jobs import Job, Workplace
from benchmarks.libraries import BARE, FEAST, OURS, Library
from benchmarks.paths import pushes
from benchmarks.paths.online_reads import reader
from benchmarks.report import document
from benchmarks.results import Figure, Results
from benchmarks.run import PATHS, Benchmark, keep, results_file
from benchmarks.shapes import narrow, wide
from benchmarks.sizes import SIZES, TINY
from benchmarks.supervision import Ended


def place(root: Path, side: str) -> Workplace:
    (root / side).mkdir(exist_ok=True)
    return Workplace(TINY, root / "data", root / side, "")


def test_measurements_become_figures_goals_and_a_page(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    benchmark = Benchmark(TINY, tmp_path, feast_python=None)
    records = [r for r in benchmark.records(["pushes", "first_feature"], [OURS]) if r.get("store") != "redis"]
    for path in ("pushes", "first_feature"):
        keep(results_file(tmp_path, "tiny"), "tiny", path, [r for r in records if r["path"] == path])
    results = Results.read(results_file(tmp_path, "tiny"))

    assert results.failures() == []
    for one in results.found("pushes", OURS, store="sqlite", rows=1):
        assert one["samples"] == TINY.pushes
        assert 0 < one["best"] <= one["p50"] <= one["p99"]
    assert len(results.found("pushes", OURS, store="sqlite")) == len(pushes.CASES)
    served = results.figure("first_feature", OURS, "seconds", verb="serve")
    imported = results.figure("first_feature", OURS, "seconds", verb="import")
    assert served is not None
    assert imported is not None
    assert imported.value < served.value

    assert {goal.subject for goal in goals(results)} >= {"SQLite, push of one row, DataFrame", "import of the package"}
    page = document(results, "pictures", curves(results))
    assert "| SQLite, push of one row, DataFrame |" in page
    assert "no more than a look" in page
    assert not (tmp_path / "stores").exists()


def test_results_of_other_paths_stay(tmp_path: Path) -> None:
    file = results_file(tmp_path, "tiny")
    keep(file, "tiny", "pushes", [{"path": "pushes", "side": OURS, "p50": 1.0}])
    keep(file, "tiny", "registry", [{"path": "registry", "side": OURS, "seconds": 1.0}])
    keep(file, "tiny", "pushes", [{"path": "pushes", "side": OURS, "p50": 2.0}])
    assert [(r["path"], r.get("p50")) for r in Results.read(file).records] == [("registry", None), ("pushes", 2.0)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES.values(), ids=lambda size: size.name)
def test_every_job_can_be_told_from_the_others_and_sent(path: str, size) -> None:
    jobs = list(importlib.import_module(f"benchmarks.paths.{path}").jobs(size))
    assert any(job.side == OURS for job in jobs)
    assert len({(job.side, json.dumps(job.parameters)) for job in jobs}) == len(jobs)
    assert [Job.from_json(job.to_json()) for job in jobs] == jobs


@pytest.mark.parametrize("shape", [narrow(TINY), wide(TINY)], ids=lambda shape: shape.name)
def test_by_hand_and_by_the_library_the_same_is_read_online(tmp_path: Path, shape) -> None:
    stage(tmp_path / "data", shape)
    ids = random.Random(1).sample(range(shape.entities), 20)
    answers = []
    for side in (OURS, BARE):
        read, as_given = reader(Job("online_reads", side, {"store": "sqlite"}, shape), place(tmp_path, side), shape)
        answers.append(read(as_given(ids)))
    ours, bare = answers
    assert ours == bare
    assert len(ours) == 1 + shape.views * shape.features
    assert None not in ours["view_0__f0"]


def test_by_hand_and_by_the_library_the_same_is_read_for_training(tmp_path: Path) -> None:
    shape = wide(TINY)
    stage(tmp_path / "data", shape)
    spine = pd.read_parquet(stage_spine(tmp_path / "data", shape, 100))
    work = place(tmp_path, OURS)
    store = applied(Library(OURS), work.directory, shape, work.data, work.online_store("sqlite", OURS))
    service = store.get_feature_service(SERVICE)
    ours = store.get_historical_features(entity_df=spine, features=service, full_feature_names=True).to_df()
    connection = duckdb_connection()
    connection.register("spine", spine)
    bare = connection.sql(point_in_time_sql(shape, work.data, "spine")).df()
    order = list(spine.columns)
    pd.testing.assert_frame_equal(
        ours.sort_values(order, ignore_index=True)[list(bare.columns)],
        bare.sort_values(order, ignore_index=True),
        check_dtype=False,
    )


def test_a_bend_is_where_a_line_changes_its_course() -> None:
    points = [(1, 10.0), (10, 10.5), (100, 105.0), (1000, 1050.0)]
    assert course(points, "ms") == (
        "is flat from 1 to 10 (10 to 10.5 ms); then grows in proportion from 10 to 1,000 (10.5 to 1,050 ms)."
    )
    assert course([(1, 8.0), (2, 4.0)], "s") == "falls from 1 to 2 (8 to 4 s)."


def test_a_stopped_measurement_is_a_lower_bound(tmp_path: Path) -> None:
    records = [
        {"path": "historical", "side": OURS, "shape": "narrow", "spine": 100, "into": "arrow", "seconds": 2.0},
        {
            "path": "historical",
            "side": FEAST,
            "shape": "narrow",
            "spine": 100,
            "into": "arrow",
            "seconds": 30.0,
            "stopped": "time",
        },
    ]
    results = Results("tiny", {}, records)
    (goal,) = goals(results)
    assert goal.feast == Figure(30.0, stopped="time")
    assert goal.beside_feast == 15.0
    assert goal.met
    assert "> 15x" in document(
        Results("tiny", dict.fromkeys(("processor", "memory", "system", "packages"), ""), records), "", []
    )


def test_a_measurement_that_ran_out_of_memory_is_compared_with_nothing() -> None:
    asked = {"path": "historical", "shape": "wide", "spine": 100, "into": "arrow"}
    records = [
        {**asked, "side": OURS, "seconds": 10.0},
        {**asked, "side": BARE, "seconds": 9.0},
        {**asked, "side": FEAST, "seconds": 19.0, "stopped": "memory"},
    ]
    (goal,) = goals(Results("tiny", {}, records))
    assert goal.beside_feast is None
    assert goal.met
    told = Results("tiny", dict.fromkeys(("processor", "memory", "system", "packages"), ""), records)
    assert "| 10 s | out of memory | 9.0 s |" in document(told, "", [])


def test_what_comes_after_a_stopped_measurement_is_not_tried_and_counts_as_it(tmp_path: Path, monkeypatch) -> None:
    tried = []

    def stopped_at_once(command, *_):
        tried.append(command)
        return Ended("memory", 3.0, 5.0, "")

    monkeypatch.setattr(run, "supervised", stopped_at_once)
    records = list(Benchmark(TINY, tmp_path, feast_python="python-of-feast").records(["historical"], [FEAST]))
    told = [(r["shape"], r["spine"], r["into"], r["stopped"], r["seconds"]) for r in records]
    assert len(tried) == len(records) / 2
    assert told == [
        (shape, spine, into, "memory", 3.0)
        for shape in ("narrow", "wide", "shallow")
        for spine in TINY.spines
        for into in ("arrow", "pandas")
    ]


def test_a_side_that_answers_otherwise_is_found() -> None:
    asked = {"path": "historical", "shape": "narrow", "spine": 100, "into": "arrow"}
    records = [{**asked, "side": side, "answer": told} for side, told in ((OURS, 1.5), (BARE, 1.5), (FEAST, 2.0))]
    assert [r["side"] for r in Results("tiny", {}, records).disagreements()] == [FEAST]


def test_more_is_better_where_requests_per_second_are_counted() -> None:
    goal = Goal("reads", "at once", "/s", Figure(1000.0), Figure(50.0), 10.0, Figure(4000.0), 2.0)
    assert goal.beside_feast == 20.0
    assert goal.beside_bare == 4.0
    assert goal.met is False


def test_pictures_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.plots import draw

    points = [{"axis": "partitions", "x": x, "store": "sqlite", "seconds": x / 10} for x in (1, 10, 100)]
    records = [{"path": "scale_materialization", "side": OURS, **point} for point in points]
    (curve,) = curves(Results("tiny", {}, records))
    first, again = (draw(curve, tmp_path / name).read_text() for name in ("one", "two"))
    assert first == again
    assert "partitions" in first
