"""What the parts of a source tell: whether it is as it was, and which of its windows have changed.

Nothing here depends on an engine. Stores that know no parts (`TracksParts`) are served too, by reading statistics where
something has to be told, and by answering 'cannot tell' where that would not help.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.spec import content_hash, from_micros
from feast_assets.definitions.window import ALWAYS, Window, meeting, union
from feast_assets.errors import SourceError
from feast_assets.offline_stores.abilities import TracksParts
from feast_assets.offline_stores.base import History, OfflineStore, whole_source
from feast_assets.offline_stores.parts import Part, SourceParts

if TYPE_CHECKING:
    from feast_assets.definitions.sources.data_source import DataSource


@dataclass(frozen=True, slots=True)
class HistoryState:
    """What the sources of a history consisted of at one moment.

    Attributes:
        parts: the change tokens of all parts, each with the part's name; None where the store cannot tell.
        gone: the names of the sources that were not there.
        is_settled: whether all parts were changed long enough before that another change would show.
    """

    parts: frozenset[str] | None
    gone: tuple[str, ...] = ()
    is_settled: bool = field(default=True, compare=False)

    @property
    def change_token(self) -> str:
        """The change token of the sources; "" where the store cannot tell.

        That of a state which is not settled differs from that of the same state later, so that who compares tokens
        looks again.
        """
        if self.parts is None:
            return ""
        parts = sorted(self.parts)
        more: dict[str, object] = {"gone": sorted(self.gone)} if self.gone else {}
        if not self.is_settled:
            more["is_settled"] = False
        return content_hash({"parts": parts, **more} if more else parts)

    def is_same(self, now: HistoryState) -> bool:
        """Whether the sources surely are as they were; false where the store cannot tell."""
        return self.parts is not None and self == now

    def may_have_changed(self, now: HistoryState) -> bool:
        """Whether the store noticed a change; false where it cannot notice any."""
        return self.parts is not None and self != now

    def is_kept_in(self, now: HistoryState) -> bool:
        """Whether all parts are still there as they were, perhaps beside others; true where the store cannot tell."""
        return self.parts is None or (now.parts is not None and self.parts <= now.parts)


UNKNOWN = HistoryState(None)
"""Of a store that cannot tell."""


def history_state(store: OfflineStore, history: History) -> HistoryState:
    """Returns what a history's sources consist of at present. No rows are read."""
    if not isinstance(store, TracksParts):
        return UNKNOWN
    texts: set[str] = set()
    gone = []
    is_settled = True
    listed_at = time.time_ns()
    for source in history.sources:
        source_parts = store.parts(source)
        if source_parts is None:
            return UNKNOWN
        if source_parts.is_gone:
            gone.append(source.name)
        texts.update(part.identity for part in source_parts.parts)
        is_settled = is_settled and all(part.is_settled(listed_at) for part in source_parts.parts)
    return HistoryState(frozenset(texts), tuple(gone), is_settled)


def extent(store: OfflineStore, history: History) -> tuple[datetime, datetime] | None:
    """Returns times between which, both included, all events lie; None where that is not known, or there are none.

    No rows are read. Of a transformation's sources, those with event times count.
    """
    if not isinstance(store, TracksParts):
        return None
    ends: list[int] = []
    for source in history.sources:
        if history.transformation is not None and not source.timestamp_field:
            continue
        try:
            source_parts = store.parts(source, extents=True)
        except SourceError:
            return None
        if source_parts is None:
            return None
        for part in source_parts.parts:
            if part.extent is None:
                return None
            ends += [end for end in (part.extent.oldest, part.extent.newest) if end is not None]
    return (from_micros(min(ends)), from_micros(max(ends))) if ends else None


def window_change_tokens(store: OfflineStore, source: DataSource, windows: Sequence[Window]) -> list[str]:
    """Returns a change token for each window: another one when rows of the source in it are added, removed or changed.

    Rows are read only of windows that share a part with another one, and where the store does not know which parts
    hold which times. So a token may also change when rows are only stored anew. ``""`` where there are no rows.

    Args:
        windows: that do not overlap, in order of time; `ALWAYS` alone for a source whose times do not matter.
    """
    known = _parts(store, source) if list(windows) == [ALWAYS] else None
    if known is not None and known.parts and not known.are_shared:
        return [_change_token(part.text for part in known.parts)]
    timed = _timed_parts(store, source)
    if timed is None:
        return _read(store, source, windows)
    starts = [window.start_micros for window in windows]
    ends = [window.end_micros for window in windows]
    texts: list[list[str]] = [[] for _ in windows]
    shared: set[int] = set()
    for part, oldest, newest in timed:
        first, last = bisect_right(ends, oldest), bisect_left(starts, newest + 1)
        if last - first > 1:
            shared.update(range(first, last))
        elif last > first:
            texts[first].append(part.text)
    tokens = [_change_token(each) if each else "" for each in texts]
    to_read = sorted(shared)
    for number, token in zip(to_read, _read(store, source, [windows[i] for i in to_read]), strict=True):
        tokens[number] = token
    return tokens


def grid_change_tokens(store: OfflineStore, source: DataSource, grid: Partitions, span: Window) -> dict[Window, str]:
    """Returns the `window_change_tokens` of those windows of a grid, cut to a span, that have rows, in order of time.

    The cost grows with the parts and the rows that must be read, not with the windows in between.
    """
    if grid.end is not None:
        span = Window(span.start, min(span.end, grid.end))
    if span.start >= span.end:
        return {}
    first, last = span.start_micros, span.end_micros - 1
    timed = _timed_parts(store, source)
    texts: dict[Window, list[str]] = {}
    to_read: list[Window] = [] if timed is not None else [span]
    for part, oldest, newest in timed or []:
        if newest < first or oldest > last:
            continue
        one = _window(grid, span, max(oldest, first))
        other = one if newest < one.end_micros else _window(grid, span, min(newest, last))
        if one == other:
            texts.setdefault(one, []).append(part.text)
        else:
            to_read.append(Window(one.start, other.end))
    tokens = {window: _change_token(each) for window, each in texts.items()}
    tokens |= _read_grid(store, source, grid, to_read)
    return {window: tokens[window] for window in sorted(tokens)}


def _parts(store: OfflineStore, source: DataSource, *, extents: bool = False) -> SourceParts | None:
    return store.parts(source, extents=extents) if isinstance(store, TracksParts) else None


def _timed_parts(store: OfflineStore, source: DataSource) -> list[tuple[Part, int, int]] | None:
    """Returns the parts with event times, and the oldest and the newest of these in UTC microseconds.

    None where some times are not known, or the source is not there, so that reading it tells what is wrong.
    """
    source_parts = _parts(store, source, extents=True) if source.timestamp_field else None
    if source_parts is None or source_parts.is_gone or not source_parts.hold_rows:
        return None
    timed = []
    for part in source_parts.parts:
        if part.extent is None:
            return None
        if part.extent.oldest is not None and part.extent.newest is not None:
            timed.append((part, part.extent.oldest, part.extent.newest))
    return timed


def _change_token(texts: Iterable[str]) -> str:
    return content_hash(sorted(texts))[:32]


def _window(grid: Partitions, span: Window, moment: int) -> Window:
    """Returns the window of a grid that holds a moment of the span, cut to the span.

    Args:
        moment: UTC microseconds.
    """
    start = grid.floor(from_micros(moment))
    return Window(max(start, span.start), min(grid.next(start), span.end))


def _read(store: OfflineStore, source: DataSource, windows: Sequence[Window]) -> list[str]:
    if not windows:
        return []
    return [seen.fingerprint for seen in store.statistics(whole_source(source), windows)]


def _read_grid(
    store: OfflineStore, source: DataSource, grid: Partitions, ranges: Sequence[Window]
) -> dict[Window, str]:
    """Returns the change tokens of the windows with rows in some ranges, which are found by one reading."""
    if not ranges:
        return {}
    to_read = union(ranges)
    windows = store.survey_grid(whole_source(source), grid, Window(to_read[0].start, to_read[-1].end)).windows
    asked = meeting(to_read, [seen.window for seen in windows])
    return {seen.window: seen.fingerprint for seen in windows if seen.rows and seen.window in asked}
