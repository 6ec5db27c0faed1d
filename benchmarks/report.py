"""Writes docs/benchmarks.md and its pictures from results: ``python -m benchmarks.report [--size small]``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import fill

from benchmarks.costs import Cost, costs, redis_told
from benchmarks.curves import FLAT, LESS, MORE, NOISE, Curve, curves
from benchmarks.figures import plain, rounded, span, times, told, value
from benchmarks.goals import DAGSTER, SECOND, Goal, goals, shapes_told
from benchmarks.libraries import BARE, FEAST, OURS
from benchmarks.paths.materialization import PULL_LATEST, TWO_STEPS
from benchmarks.results import TAIL_SAMPLES, Figure, Results
from benchmarks.run import ROOT, WORK, results_file
from benchmarks.sizes import SIZES
from benchmarks.summary import leads, summary, where_feast_is_faster
from benchmarks.supervision import MEMORY_SHARE

DOCUMENT = ROOT / "docs" / "benchmarks.md"
_DOLLARS_PER_CORE_HOUR = 0.05

_INTRODUCTION = """# Benchmarks

How fast the store is beside Feast 0.67.0 and beside the bare engines, and how it grows. `make bench` measures all of it
anew and writes this page; `make bench SIZE=small` takes a few minutes and writes the same below `.bench/`.
"""
_HOW = """## How it is measured

The same scripts run under both libraries: the same definitions, the same Parquet files, the same verb, each measurement
in a fresh process of its library's own environment, one after the other. *Bare* is what a careful person would write by
hand for the one task, on the same engine and with the same durability, without registry, ledger, ttl, statuses and
checks; it is in `benchmarks/bare_engines.py`.

{shapes} {samples}

What is materialized goes into an empty store{attempts}.{two_ways}{runs} Applies, loads and refreshes are repeated, and
the fastest counts; a first apply is the only one. What a fresh process serves first is the median of several processes.
Packages that both build on (duckdb, numpy, pandas, pyarrow) are imported before the clock starts, except where a fresh
process is what is measured; what a library loads of its own when a verb is first called counts."""
_FEAST = """### How Feast is configured

The local provider and the local engine, which are its defaults; the offline store `duckdb`; the online stores `sqlite`
and `redis` with the client and the options that they have when nothing is said; `entity_key_serialization_version: 3`.
Its registry is a file, ours is SQLite. Its SQLite keeps SQLite's own default, a rollback journal; ours is in WAL mode
with `synchronous = FULL`. It materializes with its default, `pull_latest_features: false`.{other}"""
_OTHER_SETTING = """ Rows that are named so
show it with `pull_latest_features: true`, beside the same figures of ours."""
_TABLES = """In the tables, *beside Feast* is how many times faster (or smaller) we are, with the goal in brackets;
*beside bare* is how many times slower (or larger) than the engine alone. Times of reads and pushes are medians."""
_SCALE = """## Scale

Both axes are logarithmic. Below each picture is what each of our lines does, from its figures. A stretch grows in
proportion where ten times as much on the one axis is {less:.1f} to {more:.1f} times as much on the other, and is flat
where it is less than {flat:.1f} times as much, or where neighbouring figures differ by a factor of less than {noise:g},
which is not told from noise. Where steps that are each flat make more than {flat:.1f} times together, that is said
instead."""
_FEW_POINTS = """ Feast's lines have fewer points than ours, {most} at most: it is measured only up to sizes that it
ends at within its limit of time, which is {limit:.0f} s a verb."""
_TWO_WAYS = """ *Bare* finds the newest row of each entity by one aggregate. *Bare in two steps* finds the newest
times first, as we do, and then the rows of these times; where some tie it gives them all, and it reads little of a file
that is in order of time, as these are. What we take beside it is mostly the fingerprints, by which late and corrected
rows are found: every value is read once for them."""
_NOTES = {
    DAGSTER: "*Bare* is the library's own call, plus a run of an asset of as many partitions that does nothing.",
}
"""What has to be said of a table."""


def document(results: Results, pictures: str, drawn: Iterable[Curve]) -> str:
    """Returns the page.

    Args:
        pictures: where they are, as the page links to them.
        drawn: the curves that there are pictures of.
    """
    found, of_costs, shown = list(goals(results)), list(costs(results)), list(drawn)
    ahead = list(leads(found, shown, of_costs))
    parts = [
        _INTRODUCTION,
        *_machine(results),
        summary(results, found, ahead),
        _how(results),
        _FEAST.format(other=_OTHER_SETTING if _has(results, PULL_LATEST) else ""),
        _verdict(found, len(results.failures())),
        *(_table(group, list(rows)) for group, rows in groupby(found, key=lambda goal: goal.group)),
        where_feast_is_faster(ahead),
        _costs(results, of_costs),
        *_scale(shown, pictures, SIZES[results.size].limit),
        *_failures(results),
    ]
    return "\n\n".join(_wrapped(block) for part in parts for block in part.strip("\n").split("\n\n") if block) + "\n"


def _wrapped(block: str) -> str:
    """Returns prose in lines of one width; all else as it is."""
    if block.startswith(("#", "-", "|", "![")):
        return block
    return fill(" ".join(block.split()), 120, break_long_words=False, break_on_hyphens=False)


def _how(results: Results) -> str:
    return _HOW.format(
        shapes=shapes_told(results.size),
        samples=_samples(results),
        attempts=_attempts(results),
        two_ways=_TWO_WAYS if _has(results, TWO_STEPS) else "",
        runs=_runs(results),
    )


def _has(results: Results, setting: str) -> bool:
    return any(r.get("setting") == setting for r in results.records)


def _runs(results: Results) -> str:
    """Says how often training data are read."""
    runs = [r["runs"] for r in results.records if r["path"] == "historical" and "runs" in r]
    if not runs:
        return ""
    fewer = ", fewer where that takes long" if min(runs) < max(runs) else ""
    return f" Training data are read {span(runs)} times{fewer}: the fastest counts, and the memory of the first."


def _samples(results: Results) -> str:
    """Says how many samples there are of what, as the records have it."""
    reads = [r for r in results.records if r["path"] in ("online_reads", "scale_reads") and "samples" in r]
    pushes = [r["samples"] for r in results.records if r["path"] == "pushes" and "samples" in r]
    one, several = ([r["samples"] for r in reads if (r["entities"] == 1) is alone] for alone in (True, False))
    told = [
        f"{subject} {span(samples)} samples{why}"
        for subject, samples, why in (
            ("a read of one entity has", one, ""),
            ("a read of several", several, f", as many as fit in {SIZES[results.size].read_seconds:g} s"),
            ("a push", pushes, ""),
        )
        if samples
    ]
    if not told:
        return ""
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}. No p99 is given of fewer than {TAIL_SAMPLES:,}."


def _attempts(results: Results) -> str:
    """Says of how many attempts a materialization is the fastest."""
    known = {}
    for side in (OURS, FEAST):
        records = [
            r for r in results.records if r["path"] == "materialization" and r["side"] == side and "seconds" in r
        ]
        by_what = [(r.get("store"), r.get("shape"), r.get("setting")) for r in records]
        if by_what:
            known[side] = span([by_what.count(subject) for subject in by_what])
    if OURS not in known:
        return ""
    text = f": the fastest, and the least memory, of {known[OURS]} counts"
    return text + (f", for Feast of {known[FEAST]}" if known.get(FEAST, known[OURS]) != known[OURS] else "")


def _machine(results: Results) -> Iterator[str]:
    yield f"Measured on {_machine_told(results.machine)}.{_feast_told(results)}{_origins(results)}"
    if results.size != "full":
        yield f"**These are the figures of a {results.size} run, which are no more than a look.**"


def _machine_told(machine: dict[str, str]) -> str:
    return f"{machine['processor']}, {machine['memory']} of memory; {machine['system']}; {machine['packages']}"


def _feast_told(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results.feast.items())
    return f" Feast's environment has {versions}." if versions else ""


def _origins(results: Results) -> str:
    """Says at which commit, and when, which path was measured, as far as that is known."""
    paths: dict[str, list[str]] = {}
    for path in results.paths:
        paths.setdefault(_origin(results, path), []).append(path)
    if list(paths) == [""]:
        return ""
    if len(paths) == 1:
        return f" Measured {next(iter(paths))}."
    lines = [f"- {', '.join(of_origin)}: {origin or 'not recorded'}" for origin, of_origin in paths.items()]
    return " The paths were not measured together:\n\n" + "\n".join(lines)


def _origin(results: Results, path: str) -> str:
    measured = results.measured.get(path)
    if measured is None:
        return ""
    commit = measured.commit.removesuffix("+")
    changed = " with changes that are not committed" if measured.commit.endswith("+") else ""
    machine = "" if measured.machine == results.machine else f", on {_machine_told(measured.machine)}"
    return f"{f'at commit {commit}{changed}, ' if commit else ''}on {measured.date}{machine}"


def _verdict(found: list[Goal], failures: int) -> str:
    judged = [goal for goal in found if goal.met is not None]
    missed = [f"{goal.group}: {goal.subject}" for goal in judged if not goal.met]
    text = f"## Goals\n\n{len(judged) - len(missed)} of {len(judged)} goals are met"
    by_table = [
        f"{group} {sum(goal.met is True for goal in rows)} of {len(rows)}"
        for group, of_group in groupby(judged, key=lambda goal: goal.group)
        if (rows := list(of_group))
    ]
    text += f": {', '.join(by_table)}." if by_table else "."
    if missed:
        text += " Not met:\n\n" + "\n".join(f"- {each}" for each in missed)
    if failures:
        text += f"\n\n{failures} measurements failed, and their goals with them: see the end of the page."
    return f"{text}\n\n{_TABLES}{_stopped_told(found)}"


def _stopped_told(found: list[Goal]) -> str:
    """Explains figures of measurements that were stopped, where there are some."""
    text = ""
    timed = [figure for goal in found if goal.unit == "s" for figure in (goal.feast, goal.bare) if figure]
    if any(figure.stopped == "time" for figure in timed):
        text += f" A time after > is of a measurement that was stopped at {_limit(found)}: the whole takes longer."
    if any(figure.stopped == "memory" for figure in timed):
        text += (
            f" *Out of memory* is what was stopped when it had taken {MEMORY_SHARE:.0%} of the machine's. Its time is "
            "unknown, so we are compared with the bare engine only."
        )
    if any(figure.stopped and row.unit == "MiB" for row in found for figure in (row.feast, row.bare) if figure):
        text += " Memory after > is what such a measurement had reached: the whole takes more."
    return text


def _limit(found: list[Goal]) -> str:
    stopped = [goal.feast.value for goal in found if goal.feast and goal.feast.stopped == "time" and goal.unit == "s"]
    return f"{max(stopped):.0f} s" if stopped else "its limit of time"


def _table(group: str, rows: list[Goal]) -> str:
    sides: list[tuple[str, str, list[Figure | None]]] = [
        ("ours", OURS, [row.ours for row in rows]),
        ("Feast", FEAST, [row.feast for row in rows]),
        ("bare", BARE, [row.bare for row in rows]),
    ]
    columns: list[tuple[str, list[str]]] = [("", [row.subject for row in rows])]
    for name, side, figures in sides:
        columns.append((name, [told(figure, row.unit) for figure, row in zip(figures, rows, strict=True)]))
        seconds = [_second(row, side) if figure else "" for figure, row in zip(figures, rows, strict=True)]
        columns.append((SECOND.get(group, ""), seconds))
    columns[1] = (columns[1][0], [_with_most(cell, row) for cell, row in zip(columns[1][1], rows, strict=True)])
    columns += [
        ("beside Feast", [_ratio(row.beside_feast, row.feast_goal, row.feast, "≥") for row in rows]),
        ("beside bare", [_ratio(row.beside_bare, row.bare_goal, None, "≤") for row in rows]),
        ("met", [{True: "yes", False: "**no**", None: ""}[row.met] for row in rows]),
    ]
    filled = [(name, cells) for name, cells in columns if any(cells)]
    note = [_NOTES[group], ""] if group in _NOTES and any(row.bare for row in rows) else []
    header = [_row(name for name, _ in filled), _row(["---", *["---:"] * (len(filled) - 2), "---"])]
    body = [_row(cells) for cells in zip(*(cells for _, cells in filled), strict=True)]
    return "\n".join([f"### {group}", "", *note, *header, *body])


def _second(row: Goal, side: str) -> str:
    known = row.second.get(side)
    if known is None:
        return ""
    return rounded(known) if SECOND[row.group] == "rows/s" else value(known, row.unit)


def _with_most(cell: str, row: Goal) -> str:
    return cell if row.most is None else f"{cell} (≤ {value(row.most, row.unit)})"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _ratio(ratio: float | None, goal: float | None, figure: Figure | None, sign: str) -> str:
    if ratio is None:
        return ""
    text = times(ratio)
    if figure is not None and figure.stopped:
        text = f"> {text}"
    return text if goal is None else f"{text} ({sign} {goal:g})"


def _costs(results: Results, found: Sequence[Cost]) -> str:
    """Returns what a million costs in processor time, and in money at a price that is made up but usual."""
    if not found:
        return ""
    sides = (OURS, BARE, FEAST)
    lines = [
        _row([cost.subject, *(_cost(cost.seconds[side]) if side in cost.seconds else "" for side in sides)])
        for cost in found
    ]
    head = [_row(["per million", "ours", "bare", "Feast"]), _row(["---", "---:", "---:", "---:"])]
    text = (
        "## Cost\n\nProcessor time of the measuring process and its threads, "
        f"{redis_told(results, 'online_reads', 'materialization')}, and what it costs at "
        f"${_DOLLARS_PER_CORE_HOUR:.2f} for an hour of a core."
    )
    return "\n".join([text, "", *head, *lines])


def _cost(seconds: float) -> str:
    dollars = f"{seconds / 3600 * _DOLLARS_PER_CORE_HOUR:.6f}".rstrip("0").rstrip(".")
    return f"{plain(seconds)} s (${dollars})"


def _scale(drawn: Sequence[Curve], pictures: str, limit: float) -> Iterator[str]:
    if not drawn:
        return
    text = _SCALE.format(flat=10**FLAT, less=10**LESS, more=10**MORE, noise=NOISE)
    points = {feast: [len(x.points) for c in drawn for x in c.lines if x.feast is feast] for feast in (True, False)}
    fewer = bool(points[True]) and max(points[True]) < max(points[False], default=0)
    yield text + (_FEW_POINTS.format(most=max(points[True]), limit=limit) if fewer else "")
    for curve in drawn:
        sentences = "\n".join(f"- {each}" for each in curve.told())
        yield f"### {curve.title}\n\n![{curve.title}]({pictures}/{curve.name}.svg)\n\n{sentences}\n\n{curve.why}"


def _failures(results: Results) -> Iterator[str]:
    failed = results.failures()
    if failed:
        lines = []
        for record in failed:
            about = ", ".join(f"{v}" for k, v in record.items() if k not in ("path", "side", "failed", "attempt"))
            lines.append(f"- {record['path']}, {record['side']}, {about}: `{record['failed'][:200]}`")
        yield "## What failed\n\n" + "\n".join(dict.fromkeys(lines))


def write(results: Results, page: Path) -> None:
    """Writes the page, and its pictures to a directory beside it of the same name."""
    from benchmarks.plots import draw

    pictures = page.with_suffix("")
    drawn = list(curves(results))
    if pictures.exists():
        for old in pictures.glob("*.svg"):
            old.unlink()
    for curve in drawn:
        draw(curve, pictures)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(document(results, pictures.name, drawn), encoding="utf-8")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", choices=sorted(SIZES), default="full")
    arguments.add_argument("--work", type=Path, default=WORK, help="where the results are")
    arguments.add_argument("--page", type=Path, help="left out, docs/benchmarks.md for a full run, else below --work")
    given = arguments.parse_args()
    page = given.page or (DOCUMENT if given.size == "full" else given.work / given.size / "benchmarks.md")
    write(Results.read(results_file(given.work, given.size)), page)
    print(f"Written: {page}")


if __name__ == "__main__":
    main()
