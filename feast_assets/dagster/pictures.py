"""Pictures of distributions, small enough to live in an event log: a few hundred bytes each, shown inline."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

_HEIGHT = 20
_BAR = 6
_COLOUR = "#4f43dd"


def histogram(counts: Sequence[int], description: str) -> str:
    """Returns a bar chart of counts as Markdown that shows an image.

    Args:
        counts: one for each bar, from left to right. The highest bar takes the whole height; a bar of few is still
            seen, and one of none is not there.
        description: what is read out in place of the image; without brackets.
    """
    most = max(counts, default=0)
    # Bars are strokes of one path from the ground upwards, which is the shortest way to say them.
    bars = "".join(
        f"M{_BAR * place + _BAR // 2} {_HEIGHT}v-{max(1, round(_HEIGHT * count / most))}"
        for place, count in enumerate(counts)
        if count > 0
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_BAR * len(counts)}" height="{_HEIGHT}">'
        f'<path stroke="{_COLOUR}" stroke-width="{_BAR - 1}" d="{bars}"/></svg>'
    )
    return f"![{description}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
