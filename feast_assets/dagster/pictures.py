"""Pictures of distributions as a few characters of text: many of them fit into one event of a log."""

from __future__ import annotations

from collections.abc import Sequence

# A space that neither Markdown nor HTML drops, then blocks of one to eight eighths.
_BLOCKS = "\u00a0▁▂▃▄▅▆▇█"


def sparkline(counts: Sequence[int]) -> str:
    """Returns a bar chart of counts, one character for each.

    Args:
        counts: one for each bar, from left to right. The highest bar is a full block; the lowest count above zero is
            still seen, and a count of zero is a gap.
    """
    # Rounded up, so that only zero is a gap; in whole numbers, which are exact however large.
    most = max(1, max(counts, default=0))
    return "".join([_BLOCKS[-(-8 * count // most)] for count in counts])
