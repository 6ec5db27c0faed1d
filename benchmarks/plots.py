"""Pictures of the curves, as small SVG files that come out the same for the same figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.curves import Curve
from benchmarks.figures import short

_STYLE: Any = {
    # Text stays text, which is smaller and can be found.
    "svg.fonttype": "none",
    "svg.hashsalt": "feast_assets",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "figure.facecolor": "white",
}
_SHORT = 1_000
"""How many times its lower end the upper end of an axis is, for which decades alone are too few numbers."""
_COLOURS = ("#1f5fbf", "#e07b00", "#2a9d5c", "#a33ea1", "#c0392b", "#555555")


def draw(curve: Curve, directory: Path) -> Path:
    """Draws a curve, Feast's lines dashed; returns the file."""
    path = directory / f"{curve.name}.svg"
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        colours: dict[str, str] = {}
        for line in curve.lines:
            colour = colours.setdefault(line.name, _COLOURS[len(colours) % len(_COLOURS)])
            style: dict[str, Any] = (
                {"linestyle": "--", "marker": "x"} if line.feast else {"linestyle": "-", "marker": "o"}
            )
            axes.plot(*zip(*line.points, strict=True), label=line.label, color=colour, markersize=3.5, **style)
        axes.set(xscale="log", yscale="log", xlabel=curve.x, ylabel=curve.y, title=curve.title)
        xs, ys = ({point[i] for line in curve.lines for point in line.points} for i in (0, 1))
        low, high = y_limits(min(ys), max(ys))
        axes.set_ylim(low, high)
        axes.set_yticks(y_ticks(low, high))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(sorted(xs), [short(x) for x in sorted(xs)])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, metadata={"Date": None})
    return path


def y_limits(least: float, most: float) -> tuple[float, float]:
    """Returns an axis with some room at both ends, of a decade at least, so that what is flat looks so."""
    low, high = least * 0.8, most * 1.25
    widen = max(1.0, math.sqrt(10 * low / high))
    return low / widen, high * widen


def y_ticks(low: float, high: float) -> list[float]:
    """Returns the decades within an axis; of a short one 1, 2 and 5 of each, so that there are always several."""
    steps = (1, 2, 5) if high / low < _SHORT else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
