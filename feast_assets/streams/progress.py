"""What a consumer has done, and how far behind it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class StreamProgress:
    """What has been consumed of one stream source.

    Attributes:
        source: its name.
        views: the feature views that it feeds.
        messages: that were read.
        rows: that were put into online tables, of all views.
        dead_letters: messages that a view, or all of them, could not take.
        history_rows: that were appended to history.
        late: rows whose event time was further behind the newest one than the source's ``watermark_delay_threshold``.
        flushes: how often positions were noted.
        lag: for each partition that is assigned, how many offsets it is behind its end, as of the last flush;
            empty where the stream does not tell its end.
        positions: for each partition, the offset that is read next.
        ended_by_change: whether the consumer ended because a view, or its stream, was changed or removed by an apply.
    """

    source: str
    views: tuple[str, ...]
    messages: int = 0
    rows: int = 0
    dead_letters: int = 0
    history_rows: int = 0
    late: int = 0
    flushes: int = 0
    lag: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    ended_by_change: bool = False


ProgressCallback = Callable[[StreamProgress], None]
"""Called after each flush."""
