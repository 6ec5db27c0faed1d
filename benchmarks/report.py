"""Writes docs/benchmarks.md and its pictures from results: ``python -m benchmarks.report [--size small]``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from benchmarks.curves import FLAT, Curve, curves
from benchmarks.goals import Goal, goals, shapes_told
from benchmarks.libraries import BARE, FEAST, OURS
from benchmarks.results import Figure, Results
from benchmarks.run import ROOT, WORK, results_file
from benchmarks.sizes import SIZES
from benchmarks.supervision import MEMORY_SHARE

DOCUMENT = ROOT / "docs" / "benchmarks.md"
_DOLLARS_PER_CORE_HOUR = 0.05

_INTRODUCTION = """# Benchmarks

How fast the store is beside Feast 0.67.0 and beside the bare engines, and how it grows. `make bench` measures all of it
anew and writes this page; `make bench SIZE=small` takes a few minutes and writes the same below `.bench/`.

The same scripts run under both libraries: the same definitions, the same Parquet files, the same verb, each measurement
in a fresh process of its library's own environment, one after the other. *Bare* is what a careful person would write by
hand for the one task, on the same engine and with the same durability, without registry, ledger, ttl, statuses and
checks; it is in `benchmarks/bare_engines.py`.
"""
_HOW = """{shapes} Reads of one entity are {reads:,} samples; of several, at least {batches} and as many as fit in
{seconds:g} s. What is materialized goes into an empty store: the fastest of {attempts} counts, for Feast the only one.
What is read for training is repeated while all of it takes less than {repeat:.0f} s. Packages
that both build on (duckdb, numpy, pandas, pyarrow) are imported before the clock starts, except where a fresh process
is what is measured; what a library loads of its own when a verb is first called counts, which of Feast's
materialization is about half a second."""
_LEGEND = """In the tables, *beside Feast* is how many times faster (or smaller) we are, with the goal in brackets;
*beside bare* is how many times slower than the engine alone. Times of reads and pushes are medians. A figure after > is
of a measurement that was stopped at {limit}: the whole is unknown, and worse. One that had taken {memory:.0%} of the
machine's memory was stopped as well: nothing is compared with it, and the goal is what is left of it."""
_SCALE = """## Scale

Both axes are logarithmic. Below each picture is what each of our lines does, from its figures: a stretch is flat where
ten times as much costs less than {flat:.1f} times as much."""


def document(results: Results, pictures: str, drawn: Iterable[Curve]) -> str:
    """Returns the page.

    Args:
        pictures: where they are, as the page links to them.
        drawn: the curves that there are pictures of.
    """
    found, size = list(goals(results)), SIZES[results.size]
    parts = [
        _INTRODUCTION,
        _HOW.format(
            shapes=shapes_told(results.size),
            reads=size.single_reads,
            batches=size.batch_reads,
            seconds=size.read_seconds,
            attempts=size.attempts,
            repeat=size.limit / 12,
        ),
        *_machine(results),
        _verdict(found, len(results.failures())),
        *(_table(group, list(rows)) for group, rows in groupby(found, key=lambda goal: goal.group)),
        _costs(results),
        *_scale(drawn, pictures),
        *_failures(results),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _machine(results: Results) -> Iterator[str]:
    told = results.machine
    yield f"Measured on {told['processor']}, {told['memory']} of memory; {told['system']}; {told['packages']}."
    if results.size != "full":
        yield f"**These are the figures of a {results.size} run, which are no more than a look.**"


def _verdict(found: list[Goal], failures: int) -> str:
    judged = [goal for goal in found if goal.met is not None]
    missed = [f"{goal.group.lower()}: {goal.what}" for goal in judged if not goal.met]
    text = f"## Goals\n\n{len(judged) - len(missed)} of {len(judged)} goals are met."
    if missed:
        text += " Not met:\n\n" + "\n".join(f"- {each}" for each in missed)
    if failures:
        text += f"\n\n{failures} measurements failed, and their goals with them: see the end of the page."
    return text + "\n\n" + _LEGEND.format(limit=_limit(found), memory=MEMORY_SHARE)


def _limit(found: list[Goal]) -> str:
    stopped = [goal.feast.value for goal in found if goal.feast and goal.feast.stopped == "time" and goal.unit == "s"]
    return f"{max(stopped):.0f} s" if stopped else "its limit of time"


def _table(group: str, rows: list[Goal]) -> str:
    tails = any(row.tail is not None for row in rows)
    header = ["", "ours", *(["p99"] if tails else []), "Feast", "bare", "beside Feast", "beside bare", "met"]
    lines = [f"### {group}", "", _row(header), _row(["---", *["---:"] * (len(header) - 2), "---"])]
    for row in rows:
        cells = [row.what, _figure(row.ours, row.unit)]
        if tails:
            cells.append("" if row.tail is None else _value(row.tail, row.unit))
        cells += [
            _figure(row.feast, row.unit),
            _figure(row.bare, row.unit),
            _ratio(row.beside_feast, row.feast_goal, row.feast, "≥"),
            _ratio(row.beside_bare, row.bare_goal, None, "≤"),
            {True: "yes", False: "**no**", None: ""}[row.met],
        ]
        if row.most is not None:
            cells[1] += f" (≤ {_value(row.most, row.unit)})"
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figure(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return ""
    if figure.stopped == "memory":
        return "out of memory"
    return ("> " if figure.stopped else "") + _value(figure.value, unit)


def _value(value: float, unit: str) -> str:
    if unit == "s":
        if value < 1:
            return f"{value * 1e3:.3g} ms" if value < 0.1 else f"{value * 1e3:.0f} ms"
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value:,.0f} MiB" if unit == "MiB" else f"{value:,.0f}{unit}"


def _ratio(ratio: float | None, goal: float | None, figure: Figure | None, sign: str) -> str:
    if ratio is None:
        return ""
    text = f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2g}x" if ratio >= 2 else f"{ratio:.2f}x"
    if figure is not None and figure.stopped:
        text = f"> {text}"
    return text if goal is None else f"{text} ({sign} {goal:g})"


def _costs(results: Results) -> str:
    """Returns what a million costs in processor time, and in money at a price that is made up but usual."""
    lines = []
    for what, path, about, per in _COSTED:
        cells = [what]
        for side in (OURS, BARE, FEAST):
            seconds = _processor_seconds(results, path, side, about, per)
            cells.append("" if seconds is None else f"{seconds:,.3g} s ({_dollars(seconds)})")
        if cells[1]:
            lines.append(_row(cells))
    if not lines:
        return ""
    head = [_row(["per million", "ours", "bare", "Feast"]), _row(["---", "---:", "---:", "---:"])]
    text = (
        "## Cost\n\nProcessor time of the measuring process and its threads, Redis' own aside, and what it costs at "
        f"${_DOLLARS_PER_CORE_HOUR:.2f} for an hour of a core."
    )
    return "\n".join([text, "", *head, *lines])


_COSTED: list[tuple[str, str, dict[str, object], int | None]] = [
    ("reads of one entity, SQLite, narrow", "online_reads", {"store": "sqlite", "shape": "narrow", "entities": 1}, 1),
    ("reads of one entity, Redis, narrow", "online_reads", {"store": "redis", "shape": "narrow", "entities": 1}, 1),
    (
        "entities, 100 a read, SQLite, narrow",
        "online_reads",
        {"store": "sqlite", "shape": "narrow", "entities": 100},
        100,
    ),
    ("entities, 100 a read, SQLite, wide", "online_reads", {"store": "sqlite", "shape": "wide", "entities": 100}, 100),
    ("materialized source rows, SQLite, narrow", "materialization", {"store": "sqlite", "shape": "narrow"}, None),
    ("materialized source rows, Redis, narrow", "materialization", {"store": "redis", "shape": "narrow"}, None),
    ("materialized source rows, SQLite, wide", "materialization", {"store": "sqlite", "shape": "wide"}, None),
]


def _processor_seconds(
    results: Results, path: str, side: str, about: dict[str, object], per: int | None
) -> float | None:
    found = [r for r in results.found(path, side, **about) if "cpu" in r]
    if not found:
        return None
    best = min(found, key=lambda r: float(r["cpu"]))
    # What is materialized is counted in rows of the source.
    count = per if per is not None else best["rows_per_second"] * best["seconds"]
    return float(best["cpu"]) / count * 1e6


def _dollars(seconds: float) -> str:
    return f"${seconds / 3600 * _DOLLARS_PER_CORE_HOUR:.6f}".rstrip("0").rstrip(".")


def _scale(drawn: Iterable[Curve], pictures: str) -> Iterator[str]:
    curves_drawn = list(drawn)
    if not curves_drawn:
        return
    yield _SCALE.format(flat=10**FLAT)
    for curve in curves_drawn:
        told = "\n".join(f"- {each}" for each in curve.told())
        yield f"### {curve.title}\n\n![{curve.title}]({pictures}/{curve.name}.svg)\n\n{told}\n\n{curve.why}"


def _failures(results: Results) -> Iterator[str]:
    failed = results.failures()
    if failed:
        told = []
        for record in failed:
            about = ", ".join(f"{v}" for k, v in record.items() if k not in ("path", "side", "failed", "attempt"))
            told.append(f"- {record['path']}, {record['side']}, {about}: `{record['failed'][:200]}`")
        yield "## What failed\n\n" + "\n".join(dict.fromkeys(told))


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
