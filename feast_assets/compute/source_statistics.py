"""Statistics of a view's history, of which each part is read once.

What a part contributes to windows is kept in the registry. A run lists the parts, reads those that are new or have
changed, and adds up. Where a store, or a registry, cannot do that, and where a window cuts through rows of a part, rows
are read as if nothing were kept. Either way the statistics are the same.

A part is recorded after it was read, if it is the same then; and only if it was last changed well before it was listed.
A file system may note two changes at the same time, so what was written just now may change again without a trace.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

from feast_assets.compute.kept_parts import KeptPart, KeptParts
from feast_assets.compute.results import PartCounts
from feast_assets.definitions.spec import content_hash, from_micros
from feast_assets.definitions.window import ALWAYS, Bounds, Window, duration_micros
from feast_assets.errors import SourceChangedError, SourceError, StoreUnavailableError
from feast_assets.offline_stores.abilities import SummarizesParts
from feast_assets.offline_stores.base import Survey, WindowStatistics
from feast_assets.offline_stores.fingerprints import fingerprint_of
from feast_assets.offline_stores.part_summaries import MOST_ROWS, Contributions, concatenated, no_contributions
from feast_assets.offline_stores.summary import Summary, statistics_of, whole_of
from feast_assets.offline_stores.window_numbers import (
    FIRST_MOMENT,
    LAST_MOMENT,
    Reaching,
    WindowInput,
    WindowNumbers,
    occupied,
)
from feast_assets.registry.part_statistics import KeepsPartStatistics
from feast_assets.stored_formats import PART_STATISTICS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feast_assets.definitions.partitions import Partitions
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.offline_stores.base import History, OfflineStore
    from feast_assets.offline_stores.fingerprints import KnownFingerprints
    from feast_assets.offline_stores.parts import Part
    from feast_assets.offline_stores.statistics_columns import StatisticsColumns
    from feast_assets.registry.base import Registry

_SMALL_BYTES = 16 << 20
"""How much is read of new and changed parts to answer a question about few windows."""

_MOST_KEPT = 2_000_000
"""Contributions of one source beyond which none are kept."""

_MOST_TRIED = 16
"""How many states of a window are compared with what is recorded of it."""

_WITHOUT_EFFECT_ON_ROWS = ("name", "description", "tags", "owner")


class Statistics(Protocol):
    """The statistics of a history's rows at one moment; see the methods of `OfflineStore`."""

    def oldest_event(self) -> datetime | None: ...

    def survey(self, windows: Sequence[Window]) -> Survey: ...

    def survey_grid(self, span: Window) -> Survey: ...

    def parts_of(self, window: Window) -> tuple[Part, ...] | None:
        """Returns the parts of the source that hold the rows of a window, and those that decide how these are read.

        None where that is not known, or rows are computed from those of several sources.
        """

    def added_parts(self, window: Window, rows: int, fingerprint: str) -> tuple[Part, ...] | None:
        """Returns the parts that were added to a window, as `parts_of` does, if nothing else has become of it.

        Args:
            rows, fingerprint: of the window before.

        Returns:
            None where the content of before is not known to be that of some of the present parts.
        """


@dataclass(frozen=True)
class StoreStatistics:
    """Statistics that the offline store reads when they are asked for."""

    store: OfflineStore
    history: History
    grid: Partitions | None

    def oldest_event(self) -> datetime | None:
        return self.store.oldest_event(self.history)

    def survey(self, windows: Sequence[Window]) -> Survey:
        return self.store.survey(self.history, windows)

    def survey_grid(self, span: Window) -> Survey:
        assert self.grid is not None
        return self.store.survey_grid(self.history, self.grid, span)

    def parts_of(self, window: Window) -> None:
        return None

    def added_parts(self, window: Window, rows: int, fingerprint: str) -> None:
        return None


@dataclass(frozen=True)
class _Source:
    """What all parts of one source contribute.

    Attributes:
        parts: by the numbers that they have in the contributions; those that were read earlier come first.
        examples: a part of each way in which parts are read, where there are several ways.
        rows: keeps what the store has in memory of parts that it has just read.
        fingerprints: what is known of those of the windows.
    """

    is_timed: bool
    contributions: Contributions
    null_times: int
    parts: Sequence[Part]
    examples: Sequence[Part]
    rows: object = None
    fingerprints: KnownFingerprints | None = None

    @property
    def whole(self) -> Summary:
        """All rows of a source without event times."""
        whole = whole_of([summary for _, _, summary in self.contributions.summed()])
        return Summary(whole.rows, total=whole.total, mix=whole.mix)

    def parts_and_examples(self, numbers: Collection[int]) -> tuple[Part, ...]:
        """Returns some parts, and those that decide how they are read."""
        parts = {part.name: part for part in (*(self.parts[number] for number in sorted(numbers)), *self.examples)}
        return tuple(parts.values())


@dataclass(frozen=True)
class PartStatistics:
    """Statistics that are added up from what parts contribute."""

    otherwise: StoreStatistics
    sources: Sequence[_Source]

    def oldest_event(self) -> datetime | None:
        ends = [
            int(source.contributions.oldest[timed].min())
            for source in self.sources
            if source.is_timed and (timed := source.contributions.rows > 0).any()
        ]
        return from_micros(min(ends)) if ends else None

    def survey(self, windows: Sequence[Window]) -> Survey:
        seen: dict[int, WindowStatistics] = {}
        wholes = [None if source.is_timed else source.whole for source in self.sources]
        for position, window in enumerate(windows):
            inputs = [
                self._of_window(source, window) if whole is None else whole
                for source, whole in zip(self.sources, wholes, strict=True)
            ]
            known = [each for each in inputs if each is not None]
            if len(known) == len(inputs):
                seen[position] = statistics_of(window, known, of_source=self._history.all_columns)
        cut = [position for position in range(len(windows)) if position not in seen]
        if cut:
            read = self.otherwise.survey([windows[position] for position in cut]).windows
            seen |= dict(zip(cut, read, strict=True))
        return Survey([seen[position] for position in range(len(windows))], self._null_times)

    def survey_grid(self, span: Window) -> Survey:
        grid = self.otherwise.grid
        assert grid is not None
        if grid.end is not None:
            span = Window(span.start, min(span.end, grid.end))
        if span.start >= span.end:
            return Survey([])
        numbers = WindowNumbers(grid.grain, span)
        columns = self._survey_as_columns(numbers, span)
        if columns is not None:
            return Survey(columns, self._null_times)
        inputs, cut = self._inputs(numbers, span)
        seen = []
        to_read = []
        for first, last in occupied(numbers, inputs):
            # What is active in a window is asked for in order, also where it is not used.
            summaries = [each.upon(first) for each in inputs]
            if first in cut and first == last:
                to_read.append(numbers.window(first, last))
            else:
                window = numbers.window(first, last)
                seen.append(statistics_of(window, summaries, of_source=self._history.all_columns))
        if to_read:
            read = self.otherwise.survey(to_read).windows
            seen += [each for each in read if each.rows or each.null_keys]
            seen.sort(key=lambda each: each.window)
        return Survey(seen, self._null_times)

    def parts_of(self, window: Window) -> tuple[Part, ...] | None:
        """See `Statistics.parts_of`."""
        if self._history.transformation is not None or self._history.all_columns:
            return None
        (source,) = self.sources
        lower, upper = self._bounds(window)
        rows = source.contributions
        return source.parts_and_examples(set(rows.part[(rows.newest >= lower) & (rows.oldest < upper)].tolist()))

    def added_parts(self, window: Window, rows: int, fingerprint: str) -> tuple[Part, ...] | None:
        """See `Statistics.added_parts`; what the parts that were read last contribute is taken away, part by part."""
        import numpy as np

        if self._history.transformation is not None or self._history.all_columns or not fingerprint:
            return None
        (source,) = self.sources
        present = self._contributions_of(source, window) if source.is_timed else None
        if present is None or not len(present):
            return None
        by_part = present.take(np.argsort(present.part, kind="stable"))
        last_of_parts = np.flatnonzero(np.append(by_part.part[1:] != by_part.part[:-1], True))[:-1]
        counts = np.cumsum(by_part.rows)
        for last in reversed(last_of_parts[counts[last_of_parts] == rows][-_MOST_TRIED:].tolist()):
            before = by_part.take(np.arange(last + 1))
            mix = int(np.bitwise_xor.reduce(before.mix))
            if fingerprint_of(rows, int(before.low.sum()), int(before.high.sum()), mix) == fingerprint:
                return source.parts_and_examples(set(by_part.part[last + 1 :].tolist()))
        return None

    def _survey_as_columns(self, numbers: WindowNumbers, span: Window) -> StatisticsColumns | None:
        """Returns the statistics of a span's windows, made at once.

        None where there are several sources, where rows count in several windows, or where the span cuts through what
        is known.
        """
        from feast_assets.offline_stores.grid_statistics import grid_statistics

        if len(self.sources) != 1 or not self.sources[0].is_timed:
            return None
        lower, upper = self._bounds(span)
        rows = self.sources[0].contributions
        touched = rows.take((rows.newest >= lower) & (rows.oldest < upper))
        cut = (touched.oldest < lower) | (touched.newest >= upper) | (touched.first != touched.last)
        if cut.any():
            return None
        known = self.sources[0].fingerprints
        return grid_statistics(numbers, touched, of_source=self._history.all_columns, known=known)

    def _inputs(self, numbers: WindowNumbers, span: Window) -> tuple[list[WindowInput], set[int]]:
        """Returns what counts in the windows of a span, and the windows whose ends cut through what is known."""
        inputs = []
        cut: set[int] = set()
        lower, upper = self._bounds(span)
        for source in self.sources:
            if not source.is_timed:
                inputs.append(WindowInput([], source.whole))
                continue
            all_rows = source.contributions
            touched = all_rows.take((all_rows.newest >= lower) & (all_rows.oldest < upper))
            if (touched.oldest < lower).any():
                cut.add(numbers.first)
            if (touched.newest >= upper).any():
                cut.add(numbers.last)
            reaching = [
                Reaching(max(first, numbers.first), min(last, numbers.last), summary)
                for first, last, summary in touched.summed()
            ]
            inputs.append(WindowInput(sorted(reaching, key=lambda each: each.first)))
        return inputs, cut

    def _of_window(self, source: _Source, window: Window) -> Summary | None:
        """Returns the summary of a source's rows in a window, lookback included; None where that is not known."""
        touched = self._contributions_of(source, window)
        return None if touched is None else whole_of([summary for _, _, summary in touched.summed()])

    def _contributions_of(self, source: _Source, window: Window) -> Contributions | None:
        """Returns what counts in a window, lookback included; None where its ends cut through what is known."""
        lower, upper = self._bounds(window)
        rows = source.contributions.by_window
        if self.otherwise.grid is not None:
            rows = rows.take(_between(rows, self.otherwise.grid, lower, upper))
        touched = rows.take((rows.newest >= lower) & (rows.oldest < upper))
        if (touched.oldest < lower).any() or (touched.newest >= upper).any():
            return None
        return touched

    def _bounds(self, window: Window) -> tuple[int, int]:
        """Returns the first moment of a window, lookback included, and the one after its last."""
        lookback = timedelta(0) if self._history.transformation is None else self._history.lookback
        bounds = Bounds.of(window, lookback)
        return (
            FIRST_MOMENT if bounds.start is None else bounds.start,
            LAST_MOMENT + 1 if bounds.end is None else bounds.end,
        )

    @property
    def _history(self) -> History:
        return self.otherwise.history

    @property
    def _null_times(self) -> int:
        return sum(source.null_times for source in self.sources)


def _between(rows: Contributions, grid: Partitions, lower: int, upper: int) -> npt.NDArray[np.intp]:
    """Returns which of some contributions, in order of their windows, may have rows between two moments."""
    import numpy as np

    numbers = WindowNumbers(grid.grain, ALWAYS)
    first = numbers.number(max(lower, FIRST_MOMENT))
    last = numbers.number(min(max(upper - 1, FIRST_MOMENT), LAST_MOMENT))
    return np.arange(
        int(np.searchsorted(rows.first, first, side="left")), int(np.searchsorted(rows.first, last, side="right"))
    )


@dataclass
class SourceStatistics:
    """Reads the statistics of a history, with what the registry keeps of its parts.

    Args:
        grid: of the view; None for one window.

    Attributes:
        counts: what was found of the parts when all were last looked at; None where nobody could tell.
    """

    store: OfflineStore
    registry: Registry
    history: History
    grid: Partitions | None
    counts: PartCounts | None = field(default=None, init=False)

    def all_rows(self, *, reread: bool = False) -> Statistics:
        """Returns the statistics of the present rows, after new and changed parts were read and recorded.

        Args:
            reread: whether all parts are read, as if none were kept.
        """
        return self._by_parts(None, reread=reread) or self._by_store

    def for_windows(self) -> Statistics:
        """Returns the statistics of the present rows, for questions about few windows.

        New and changed parts are read and recorded where they are small or few beside the others. Otherwise the rows of
        the windows are read when they are asked for.
        """
        return self._by_parts(_SMALL_BYTES, reread=False) or self._by_store

    @property
    def _by_store(self) -> StoreStatistics:
        return StoreStatistics(self.store, self.history, self.grid)

    def _by_parts(self, most_bytes: int | None, *, reread: bool) -> PartStatistics | None:
        """Returns what the parts contribute; None where that cannot be told.

        Args:
            most_bytes: how much is read even if it is more than half of all; no limit with None.
        """
        self.counts = None
        store, registry = self.store, self.registry
        if not isinstance(store, SummarizesParts) or not isinstance(registry, KeepsPartStatistics):
            return None
        sources: list[_Source | None] = []
        counts = PartCounts()
        for source in self.history.sources:
            reading = _PartReading(store, registry, self.history, source, self.grid, reread)
            try:
                contributed = reading.read(most_bytes)
            except SourceChangedError:
                raise
            except SourceError:
                return None  # reading the whole source tells what is wrong
            sources.append(contributed)
            if reading.counts is None:
                return None
            counts += reading.counts
        self.counts = counts
        known = [source for source in sources if source is not None]
        return PartStatistics(self._by_store, known) if len(known) == len(sources) else None


@dataclass
class _PartReading:
    """Reads the parts of one source of a history, as far as they are not kept."""

    store: SummarizesParts
    registry: KeepsPartStatistics
    history: History
    source: DataSource
    grid: Partitions | None
    reread: bool
    counts: PartCounts | None = field(default=None, init=False)

    def read(self, most_bytes: int | None) -> _Source | None:
        """Returns what the present parts contribute; None where that cannot be told.

        Args:
            most_bytes: how much is read even if it is more than half of all; no limit with None.
        """
        listed_at = time.time_ns()
        listed = self.store.row_parts(self.source)
        if listed is None:
            return None
        digest = statistics_digest(self.store, self.history, self.source, self.grid)
        kept = KeptParts(self.registry.part_statistics(digest))
        known_parts = {} if self.reread else {p.name: known for p in listed if (known := kept.find(p)) is not None}
        unknown = [p for p in listed if p.name not in known_parts]
        is_too_much = self._is_too_much(unknown, listed, most_bytes)
        self._count(kept, listed, unknown, None if is_too_much else 0)
        if is_too_much:
            return None
        alone = {name: known.alone for name, known in known_parts.items()}
        if unknown:
            texts = self.store.read_alone(self.history, self.source, unknown)
            alone |= {p.name: text for p, text in zip(unknown, texts, strict=True)}
        examples = _examples(listed, alone)
        read_as = next(iter(alone.values()), "")
        if len(examples) > 1:
            read_as = self.store.read_together(self.history, self.source, examples)
        stay = kept.in_order({name: known for name, known in known_parts.items() if known.read_as == read_as})
        to_read = [p for p in listed if p.name not in stay]
        if self._is_too_much(to_read, listed, most_bytes):
            self._count(kept, listed, to_read, None)
            return None
        contributions = kept.contributions(list(stay.values()))
        null_times = sum(known.null_times for known in stay.values())
        summaries = None
        if to_read:
            beside = [p for p in examples if p.name in stay] if len(examples) > 1 else []
            summaries = self.store.summarize_parts(self.history, self.source, to_read, beside, self.grid)
            if summaries is None:
                self.counts = None
                return None
            null_times += sum(summaries.null_times)
        self._count(kept, listed, to_read, sum(p.size for p in to_read))
        gone = kept.without(listed)
        recorded = self._to_record(to_read, listed_at) if to_read else []
        parts = [
            KeptPart.of(part, alone[part.name], read_as, summaries.null_times[number])
            for number, part in recorded
            if summaries is not None
        ]
        read = no_contributions() if summaries is None else summaries.contributions
        of_parts = read.of_parts({number: i for i, (number, _) in enumerate(recorded)})
        if (parts or gone) and len(contributions) + len(of_parts) <= _MOST_KEPT:
            self._record(digest, *kept.added(parts, of_parts, gone))
        if summaries is not None:
            contributions = concatenated([contributions, summaries.contributions.with_parts_from(len(stay))])
        if int(contributions.rows.sum()) >= MOST_ROWS:
            return None
        by_name = {part.name: part for part in listed}
        return _Source(
            bool(self.source.timestamp_field),
            contributions,
            null_times,
            [*(by_name[name] for name in stay), *to_read],
            examples if len(examples) > 1 else (),
            None if summaries is None else summaries.rows,
            self._fingerprints(digest, kept),
        )

    def _fingerprints(self, digest: str, kept: KeptParts) -> KnownFingerprints:
        known = kept.fingerprints
        known.save = lambda content: self._record(digest, content, kept.notes)
        return known

    def _is_too_much(self, to_read: Sequence[Part], listed: Sequence[Part], most_bytes: int | None) -> bool:
        """Whether so many parts should not be read for a question about few windows."""
        size, whole = (sum(part.size for part in parts) for parts in (to_read, listed))
        return most_bytes is not None and size > most_bytes and 2 * size > whole

    def _count(self, kept: KeptParts, listed: Sequence[Part], to_read: Sequence[Part], size: int | None) -> None:
        new = sum(not kept.has_name(part) for part in to_read)
        self.counts = PartCounts(len(listed), new, len(to_read) - new, len(kept.without(listed)), size)

    def _to_record(self, read: Sequence[Part], listed_at: int) -> list[tuple[int, Part]]:
        """Returns which of the parts that were read are known to be what they were when they were listed."""
        now = {part.identity for part in self.store.row_parts(self.source) or ()}
        return [
            (number, part) for number, part in enumerate(read) if part.identity in now and part.is_settled(listed_at)
        ]

    def _record(self, digest: str, content: bytes, instead_of: Sequence[int]) -> None:
        # Without the record, parts are read again; a registry that cannot be written keeps nobody from asking.
        with contextlib.suppress(StoreUnavailableError):
            self.registry.keep_part_statistics(digest, self.source.name, content, instead_of=instead_of)


def _examples(parts: Sequence[Part], alone: Mapping[str, str]) -> list[Part]:
    """Returns the first part of each way in which some parts are read alone."""
    examples: dict[str, Part] = {}
    for part in parts:
        examples.setdefault(alone[part.name], part)
    return list(examples.values())


def statistics_digest(store: SummarizesParts, history: History, source: DataSource, grid: Partitions | None) -> str:
    """Returns a text for all that decides what a part of a source contributes, besides the part itself.

    Views that read the same columns of a source in windows of the same length share it.
    """
    computed = history.transformation is not None
    columns = (
        None
        if computed or history.all_columns
        else [[(f.name, str(f.dtype)) for f in fields] for fields in (history.join_keys, history.features)]
    )
    kind = type(store)
    return content_hash(
        {
            "format": PART_STATISTICS.number,
            "store": f"{kind.__module__}.{kind.__qualname__}",
            "packages": {name: version(name) for name in getattr(kind, "packages", ())},
            "source": {k: v for k, v in source.to_spec().items() if k not in _WITHOUT_EFFECT_ON_ROWS},
            "columns": columns,
            "grain": None if grid is None else grid.grain,
            "lookback": duration_micros(history.lookback) if computed else 0,
        }
    )


@lru_cache
def version(package: str) -> str:
    """Returns the version of an installed package."""
    return metadata.version(package)
