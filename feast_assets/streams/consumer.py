"""Consumes one stream: online at each poll, history at each flush, then the position.

The stream itself says what is still to be done: a consumer that dies begins again where it last noted its position.
Whatever it does a second time has no further effect. Online, the newest row wins, and a row's version comes from its
message. In history, what was appended before is recognised by its offsets.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from feast_assets.errors import StoreUnavailableError
from feast_assets.streams.base import Messages, StreamReader
from feast_assets.streams.dead_letters import DeadLetter
from feast_assets.streams.intake import StreamRows, rows_of_messages
from feast_assets.streams.positions import HISTORY, Positions, Start
from feast_assets.streams.progress import ProgressCallback, StreamProgress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from feast_assets.online_stores.base import EncodedRows
    from feast_assets.streams.formats.base import Rejected
    from feast_assets.streams.history import StreamHistory
    from feast_assets.streams.parts import StreamParts

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")
_POLL_SECONDS = 0.2
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds before a store that cannot be reached is tried again."""
_TABLE_BYTES = 8192
"""What a small Arrow table takes beside its values."""
_TABLES_JOINED = 128


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer works.

    Attributes:
        start: where it begins.
        flush_seconds, flush_bytes: how long, and how much, is held before it is appended to history and the position is
            noted.
        most_messages: that are taken from the stream at once.
        stops_at_end: whether it ends when it has consumed what was there when it began.
    """

    start: Start = "checkpoint"
    flush_seconds: float = 60.0
    flush_bytes: int = 64 << 20
    most_messages: int = 5000
    stops_at_end: bool = False


@dataclass
class _Partition:
    """What is held of one partition since the last flush.

    Attributes:
        position: the next offset to read.
        flushed: the position that was noted last.
        history: the offset up to which history has the rows, as far as this consumer knows.
        until: where the partition ended when it was assigned.
        pieces: rows for history, with their offsets.
        dead: messages that did not become rows.
    """

    position: int
    flushed: int
    history: int
    until: int = 0
    pieces: list[tuple[list[int], pa.Table]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)


class StreamConsumer:
    """Consumes one stream source for some views.

    Args:
        history: where rows are appended; None where they only go online.
        stop: set from outside to end it after what is in hand.
        is_current: says whether the definitions are still those that are consumed for; asked after each flush. If not,
            the consumer ends.
        late_after: microseconds behind the newest event time after which a row counts as late; None for never.
    """

    def __init__(
        self,
        parts: StreamParts,
        reader: StreamReader,
        history: StreamHistory | None,
        positions: Positions,
        identity: str,
        settings: ConsumerSettings,
        stop: threading.Event,
        *,
        is_current: Callable[[], bool] = lambda: True,
        late_after: int | None = None,
        progress: ProgressCallback | None = None,
    ):
        self._source = parts.stream.name
        self._reader = reader
        self._decoder = parts.decoder
        self._columns = parts.columns
        self._views = parts.views
        self._online = parts.online
        self._history = history
        self._positions = positions
        self._dead_letters = parts.dead_letters
        self._identity = identity
        self._settings = settings
        self._stop = stop
        self._is_current = is_current
        self._late_after = late_after
        self._report = progress
        self._partitions: dict[str, _Partition] = {}
        self._reached: dict[str, int] = {}
        self._held = 0
        self._newest_event: int | None = None
        self._was_assigned = self._is_assigned = False
        self._next_flush = 0.0
        self._rejoin_wait = _FIRST_WAIT
        self.progress = StreamProgress(self._source, tuple(intake.view.name for intake, _ in parts.views))

    def run(self) -> StreamProgress:
        """Consumes until it is told to stop, or, with ``stops_at_end``, until the end is reached.

        Raises:
            StoreUnavailableError: the stream cannot be reached. While a store cannot be reached, it waits.
        """
        self._next_flush = time.monotonic() + self._settings.flush_seconds
        self._reader.open(self._assigned, self._revoked)
        try:
            while not self._stop.is_set() and not self._is_done():
                received = self._polled()
                if received:
                    self._take(received)
                if self._held >= self._settings.flush_bytes or time.monotonic() >= self._next_flush:
                    self._when_stores_answer(self._flush)
                    self._tell()
                    if self._is_changed():
                        self.progress.ended_by_change = True
                        break
            self._when_stores_answer(self._flush)
            self._tell()
        finally:
            self._reader.close()
        return self.progress

    def _is_changed(self) -> bool:
        try:
            return not self._is_current()
        except StoreUnavailableError as error:
            _LOG.warning("Stream source %r: the registry does not tell what has changed: %s", self._source, error)
            return False

    def _polled(self) -> list[Messages]:
        """Returns what has arrived; joins the stream again after it could not be reached."""
        try:
            received = self._reader.poll(_POLL_SECONDS, self._settings.most_messages)
        except StoreUnavailableError as error:
            if not self._was_assigned or self._stop.is_set():
                raise
            _LOG.warning("Stream source %r is joined again: %s", self._source, error)
            self._reader.close()
            self._partitions.clear()
            self._is_assigned = False
            self._held = 0
            self._stop.wait(self._rejoin_wait)
            self._rejoin_wait = min(2 * self._rejoin_wait, _LONGEST_WAIT)
            self._reader.open(self._assigned, self._revoked)
            return []
        if received:
            self._rejoin_wait = _FIRST_WAIT
        return received

    # --- partitions

    def _assigned(self, names: Sequence[str]) -> Mapping[str, int | None]:
        self._was_assigned = True
        if not names:
            self._is_assigned = True
            return {}
        known = self._positions.known(names)
        begins = self._reader.begins(names)
        starts = self._starts(names, known, begins)
        for name in names:
            start = starts[name]
            history = max(start, known[name].get(HISTORY, start))
            self._partitions[name] = _Partition(start, start, history)
            self.progress.positions[name] = start
        if self._settings.stops_at_end and self._reader.knows_ends:
            for name, end in self._reader.ends(names).items():
                self._partitions[name].until = end
        self._is_assigned = True
        return dict(starts)

    def _starts(
        self, names: Sequence[str], known: Mapping[str, Mapping[str, int]], begins: Mapping[str, int]
    ) -> dict[str, int]:
        """Returns where each partition begins."""
        start = self._settings.start
        at: Mapping[str, int] = {}
        if isinstance(start, datetime):
            fresh = [name for name in names if name not in self._reached]
            at = self._reader.at(fresh, start) if fresh else {}
        readers = [f"view:{intake.view.name}" for intake, table in self._views if table]
        readers += [HISTORY] if self._history is not None else []
        starts = {}
        for name in names:
            if start != "checkpoint":
                # After a rebalance it goes on where this process was, and does not begin anew.
                begun = self._reached.get(name, at.get(name, begins[name]))
            elif all(reader in known[name] for reader in readers):
                begun = min(known[name][reader] for reader in readers)
                if begun < begins[name]:
                    _LOG.warning(
                        "Stream source %r, partition %s: %d messages that were not consumed are gone. Materialize its "
                        "views, so that the batch source fills the gap.",
                        self._source,
                        name,
                        begins[name] - begun,
                    )
            else:
                begun = begins[name]
            starts[name] = max(begun, begins[name])
        return starts

    def _revoked(self, names: Sequence[str], lost: bool) -> None:
        if not lost and self._partitions:
            try:
                self._flush()
            except StoreUnavailableError as error:
                _LOG.warning(
                    "Stream source %r: what was held of partitions that are given up is read again: %s",
                    self._source,
                    error,
                )
        for name in names:
            gone = self._partitions.pop(name, None)
            if gone is not None:
                self._reached[name] = gone.flushed
        self._held = sum(_size(part) for part in self._partitions.values())
        # Until the group has divided the partitions anew, nobody knows what is left to do.
        self._is_assigned = bool(self._partitions)

    def _is_done(self) -> bool:
        if not self._settings.stops_at_end or not self._is_assigned:
            return False
        if not self._reader.knows_ends:
            ends = self._reader.ends(list(self._partitions))
            return all(part.position >= ends[name] for name, part in self._partitions.items())
        return all(part.position >= part.until for part in self._partitions.values())

    # --- messages

    def _take(self, received: Sequence[Messages]) -> None:
        # A store that is waited for may take so long that the partitions are given up, and come back, meanwhile.
        before = {part.partition: self._partitions.get(part.partition) for part in received}
        values = [value for part in received for value in part.values]
        times = [moment for part in received for moment in part.times]
        if values:
            self.progress.messages += len(values)
            decoded = self._when_stores_answer(lambda: rows_of_messages(self._decoder, self._columns, values, times))
            self._put(received, decoded, before)
        for part in received:
            state = self._state(part, before)
            if state is not None:
                state.position = max(state.position, part.next)
                self.progress.positions[part.partition] = state.position

    def _state(self, part: Messages, before: Mapping[str, _Partition | None]) -> _Partition | None:
        """Returns what is held of the partition of some messages; None where it was given up since they were read."""
        state = before[part.partition]
        return state if state is not None and self._partitions.get(part.partition) is state else None

    def _put(self, received: Sequence[Messages], decoded: StreamRows, before: Mapping[str, _Partition | None]) -> None:
        import numpy as np

        rejected = [("", each) for each in decoded.rejected]
        taken = np.zeros(len(decoded.messages), np.bool_)
        puts: list[tuple[str, list[EncodedRows]]] = []
        for intake, table in self._views:
            # Also where nothing goes online: what a view cannot take does not become its history.
            encoded, refused, is_taken = intake.encoded(decoded)
            rejected += [(intake.view.name, each) for each in refused]
            taken |= is_taken
            puts.append((table, encoded))
        for table, encoded in puts:
            if encoded and table:
                self._when_stores_answer(lambda t=table, e=encoded: self._online.put_many(t, e))  # type: ignore[misc]
                self.progress.rows += sum(map(len, encoded))
        self._count_late(decoded)
        states = [self._state(part, before) for part in received]
        self._hold(received, states, decoded, taken)
        if rejected:
            in_history = set(decoded.messages[taken].tolist())
            self._bury(received, states, rejected, in_history)

    def _hold(
        self,
        received: Sequence[Messages],
        states: Sequence[_Partition | None],
        decoded: StreamRows,
        taken: npt.NDArray[np.bool_],
    ) -> None:
        """Keeps the rows for history until the next flush."""
        import numpy as np

        if self._history is None:
            return
        first = 0
        for part, state in zip(received, states, strict=True):
            last = first + len(part)
            low, high = np.searchsorted(decoded.messages, [first, last])
            if state is not None and high > low:
                rows = decoded.rows.slice(low, high - low)
                indices = decoded.messages[low:high] - first
                if not taken[low:high].all():
                    kept = np.flatnonzero(taken[low:high])
                    rows, indices = rows.take(kept), indices[kept]
                offsets = [part.offsets[i] for i in indices.tolist()]
                skipped = bisect_left(offsets, state.history)
                if skipped < len(offsets):
                    piece = (offsets[skipped:], rows.slice(skipped))
                    state.pieces.append(piece)
                    self._held += _piece_size(piece)
                    if len(state.pieces) >= _TABLES_JOINED:
                        self._join(state)
            first = last

    def _join(self, state: _Partition) -> None:
        """Makes one table of many small ones, which take more memory than their values do."""
        before = sum(map(_piece_size, state.pieces))
        state.pieces = [_joined(state.pieces)]
        self._held += _piece_size(state.pieces[0]) - before

    def _bury(
        self,
        received: Sequence[Messages],
        states: Sequence[_Partition | None],
        rejected: Sequence[tuple[str, Rejected]],
        in_history: Collection[int],
    ) -> None:
        """Keeps messages that cannot be taken until the next flush."""
        of_parts = zip(received, states, strict=True)
        places = [(part, state, i) for part, state in of_parts for i in range(len(part))]
        for view, each in sorted(rejected, key=lambda pair: (pair[1].index, pair[0])):
            part, state, i = places[each.index]
            if state is None:
                continue
            letter = DeadLetter(
                self._source,
                self._identity,
                part.partition,
                part.offsets[i],
                view,
                each.reason,
                part.times[i],
                part.keys[i],
                part.values[i],
                self._history is None or each.index in in_history,
            )
            state.dead.append(letter)
            self._held += _letter_size(letter)
            self.progress.dead_letters += 1

    def _count_late(self, decoded: StreamRows) -> None:
        """Counts rows that are later than the source expects. They are taken like all others."""
        if self._late_after is None or not decoded.rows.num_rows:
            return
        import numpy as np
        import pyarrow as pa

        events = decoded.rows.column(self._columns.timestamp).cast(pa.int64()).to_numpy()
        # An event from the future would make all others late.
        known = decoded.versions > 1
        newest = np.maximum.accumulate(np.where(known, np.minimum(events, decoded.versions), events))
        if self._newest_event is not None:
            newest = np.maximum(newest, self._newest_event)
        self.progress.late += int((events < newest - self._late_after).sum())
        self._newest_event = int(newest[-1])

    # --- flushes

    def _flush(self) -> None:
        """Appends what is held to history, and notes the positions."""
        moved = {}
        for name, part in self._partitions.items():
            if part.position <= part.flushed:
                continue
            self._dead_letters.add(part.dead)
            if self._history is not None and part.position > part.history:
                offsets, rows = _joined(part.pieces) if part.pieces else ([], self._no_rows())
                self.progress.history_rows += self._history.append(name, part.history, part.position, offsets, rows)
                part.history = part.position
            part.dead, part.pieces = [], []
            moved[name] = part.position
        if moved:
            self._positions.keep(moved)
            for name, position in moved.items():
                self._partitions[name].flushed = position
        self._held = 0
        self._next_flush = time.monotonic() + self._settings.flush_seconds
        self.progress.flushes += 1

    def _no_rows(self) -> pa.Table:
        return rows_of_messages(self._decoder, self._columns, [], []).rows

    def _tell(self) -> None:
        if self._reader.knows_ends:
            try:
                ends = self._reader.ends(list(self._partitions))
            except StoreUnavailableError:
                return
            self.progress.lag = {name: max(0, ends[name] - part.position) for name, part in self._partitions.items()}
        if self._report is not None:
            self._report(self.progress)

    def _when_stores_answer(self, call: Callable[[], _T]) -> _T:
        """Returns what a call returns, trying again while a store cannot be reached. Nothing is read meanwhile."""
        wait = _FIRST_WAIT
        while True:
            try:
                return call()
            except StoreUnavailableError as error:
                if self._stop.is_set():
                    raise
                _LOG.warning("Stream source %r waits for a store: %s", self._source, error)
            self._reader.wait(wait)
            wait = min(2 * wait, _LONGEST_WAIT)


def _joined(pieces: Sequence[tuple[list[int], pa.Table]]) -> tuple[list[int], pa.Table]:
    import pyarrow as pa

    offsets = [offset for some, _ in pieces for offset in some]
    return offsets, pa.concat_tables([rows for _, rows in pieces], promote_options="permissive").combine_chunks()


def _piece_size(piece: tuple[list[int], pa.Table]) -> int:
    return int(piece[1].nbytes) + 40 * len(piece[0]) + _TABLE_BYTES


def _letter_size(letter: DeadLetter) -> int:
    return 500 + len(letter.key or b"") + len(letter.value or b"") + len(letter.reason)


def _size(part: _Partition) -> int:
    return sum(map(_piece_size, part.pieces)) + sum(map(_letter_size, part.dead))
