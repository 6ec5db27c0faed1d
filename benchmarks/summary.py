"""What the page says before its tables: how far the sides are apart, and where Feast is the faster one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.costs import Cost
from benchmarks.curves import Curve
from benchmarks.figures import plain, times, value
from benchmarks.goals import Goal
from benchmarks.libraries import FEAST, OURS
from benchmarks.results import Results


@dataclass(frozen=True)
class Lead:
    """A figure of Feast that is better than ours.

    Attributes:
        where: the table or the picture that it is in.
        line: of the picture; "" in a table.
        subject: the row of the table, or how many of what.
        ours, feast: the figures, as they are written.
    """

    where: str
    line: str
    subject: str
    ours: str
    feast: str

    @property
    def told(self) -> str:
        return f"{self.feast} beside our {self.ours} ({self.subject})"


_WHY = {
    "apply": "The first apply here loads SQLAlchemy and makes the tables of a SQL registry, whatever the number of "
    "views; Feast writes one file.",
    "load": "The rows of a SQL registry are read and indexed here; Feast parses one protobuf file.",
    "refresh": "The rows of a SQL registry are read and indexed here; Feast parses one protobuf file.",
    "resolve": "The first request here plans for all later ones of the same features: it reads the definitions of its "
    "views, checks names, and makes what decodes their rows.",
}
"""Why Feast may be ahead, by line of a picture."""


def leads(goals: Iterable[Goal], drawn: Iterable[Curve], costs: Iterable[Cost]) -> Iterator[Lead]:
    """Yields every figure of the page where Feast is ahead."""
    for goal in goals:
        ahead = goal.beside_feast is not None and goal.beside_feast < 1
        # What was stopped at a limit is worse than what is known of it.
        if goal.feast and ahead and not goal.feast.stopped:
            yield Lead(
                goal.group, "", goal.subject, value(goal.ours.value, goal.unit), value(goal.feast.value, goal.unit)
            )
    for cost in costs:
        if OURS in cost.seconds and FEAST in cost.seconds and cost.seconds[FEAST] < cost.seconds[OURS]:
            ours, feast = (f"{plain(cost.seconds[side])} s" for side in (OURS, FEAST))
            yield Lead("Cost", "", f"a million {cost.subject}", ours, feast)
    for curve in drawn:
        yield from _leads_of(curve)


def _leads_of(curve: Curve) -> Iterator[Lead]:
    ours = {line.name: dict(line.points) for line in curve.lines if not line.feast}
    for line in curve.lines:
        of_ours = ours.get(line.name, {}) if line.feast else {}
        for x, feast in line.points:
            if x in of_ours and (feast > of_ours[x] if curve.unit == "rows/s" else feast < of_ours[x]):
                told = (f"{plain(y)} {curve.unit}" for y in (of_ours[x], feast))
                yield Lead(curve.title, line.name, f"{plain(x)} {curve.x}", *told)


def where_feast_is_faster(found: Sequence[Lead]) -> str:
    """Returns the part of the page that lists them all."""
    lines = []
    for (where, line), of_line in groupby(found, key=lambda lead: (lead.where, lead.line)):
        figures = "; ".join(lead.told for lead in of_line)
        why = f" {_WHY[line]}" if line in _WHY else ""
        lines.append(f"- {where}{', ' + line if line else ''}: {figures}.{why}")
    text = "\n".join(lines) or "Nowhere in the figures of this page."
    return f"## Where Feast is ahead\n\n{text}"


def summary(results: Results, goals: Iterable[Goal], found: Sequence[Lead]) -> str:
    """Returns the part of the page that is read first."""
    lines = [
        f"- {group}: {'; '.join(told)}."
        for group, rows in groupby(goals, key=lambda goal: goal.group)
        if (told := list(_ranges(list(rows))))
    ]
    if found:
        lines.append(f"- Feast is ahead of us in {len(found)} figures: [where, and why](#where-feast-is-ahead).")
    if seconds := _duration(results):
        duration = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"
        lines.append(f"- Measuring what is on this page took {duration}.")
    return "## In short\n\n" + "\n".join(lines) if lines else ""


def _ranges(rows: Sequence[Goal]) -> Iterator[str]:
    memory = rows[0].unit == "MiB"
    feast = [(row.beside_feast, row.subject) for row in rows if row.beside_feast is not None]
    if feast:
        (least, worst), (most, _) = min(feast), max(feast)
        bounds = any(row.feast is not None and row.feast.stopped for row in rows if row.beside_feast is not None)
        between = _between(least, most) + (" or more" if bounds else "")
        worst_told = f" (least: *{worst}*)" if len(feast) > 1 else ""
        yield (f"Feast takes {between} our memory" if memory else f"{between} as fast as Feast") + worst_told
    bare = [(row.beside_bare, row.subject) for row in rows if row.beside_bare is not None]
    if bare:
        (least, _), (most, worst) = min(bare), max(bare)
        worst_told = f" (most: *{worst}*)" if len(bare) > 1 else ""
        yield f"{_between(least, most)} the {'memory' if memory else 'time'} of the bare engine{worst_told}"


def _between(least: float, most: float) -> str:
    return times(least) if times(least) == times(most) else f"{times(least)} to {times(most)}"


def _duration(results: Results) -> float:
    """Returns the seconds that all paths took; 0 where that is not known of all."""
    known = [results.measured[path].seconds for path in results.paths if path in results.measured]
    return sum(known) if len(known) == len(results.paths) else 0.0
