"""Pictures of the curves, as small SVG files that come out the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.curves import Curve

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
_COLOURS = ("#1f5fbf", "#e07b00", "#2a9d5c", "#a33ea1", "#c0392b", "#555555")


def draw(curve: Curve, directory: Path) -> Path:
    """Draws a curve, Feast's lines dashed; returns the file."""
    path = directory / f"{curve.name}.svg"
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        colours: dict[str, str] = {}
        for line in curve.lines:
            colour = colours.setdefault(line.label.removesuffix(" (Feast)"), _COLOURS[len(colours) % len(_COLOURS)])
            style: dict[str, Any] = (
                {"linestyle": "--", "marker": "x"} if line.feast else {"linestyle": "-", "marker": "o"}
            )
            axes.plot(*zip(*line.points, strict=True), label=line.label, color=colour, markersize=3.5, **style)
        axes.set(xscale="log", yscale="log", xlabel=curve.x, ylabel=curve.y, title=curve.title)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        ticks = sorted({x for line in curve.lines for x, _ in line.points})
        axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks])
        axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, metadata={"Date": None})
    return path
