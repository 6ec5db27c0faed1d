"""Statistics of many windows as columns: what is asked of all of them at once, without an object for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from feast_assets.definitions.spec import from_micros, to_micros
from feast_assets.definitions.window import Window
from feast_assets.definitions.window_columns import position_of
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.fingerprints import Fingerprints

if TYPE_CHECKING:
    import numpy.typing as npt

    Int64s = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]
    ByteTexts = npt.NDArray[np.bytes_]

NO_TIME = -(2**63)
"""Stands for None in columns of times."""

_PLACE = 3
"""That of the fingerprints among the columns."""


class StatisticsColumns(Sequence[WindowStatistics]):
    """The statistics of windows that do not overlap, in order of time. One is made an object when it is asked for.

    Attributes:
        starts, ends: of the windows, in UTC microseconds. `ALWAYS` ends one microsecond before its `Window.end_micros`.
        rows, null_keys: as in `WindowStatistics`.
        fingerprints: UTF-8; empty without rows. They may be made when they are asked for.
        oldest, newest, created: UTC microseconds; `NO_TIME` for none.
    """

    def __init__(
        self,
        starts: Int64s,
        ends: Int64s,
        rows: Int64s,
        fingerprints: ByteTexts | Fingerprints,
        oldest: Int64s,
        newest: Int64s,
        created: Int64s,
        null_keys: Int64s,
    ):
        self.starts, self.ends = starts, ends
        self.rows, self._fingerprints = rows, fingerprints
        self.oldest, self.newest, self.created = oldest, newest, created
        self.null_keys = null_keys

    @classmethod
    def of(cls, statistics: Sequence[WindowStatistics]) -> StatisticsColumns:
        """Returns statistics as columns; the argument itself where it is that."""
        if isinstance(statistics, StatisticsColumns):
            return statistics
        fingerprints = [s.fingerprint.encode() for s in statistics]
        return cls(
            np.array([to_micros(s.window.start) for s in statistics], np.int64),
            np.array([to_micros(s.window.end) for s in statistics], np.int64),
            np.array([s.rows for s in statistics], np.int64),
            np.array(fingerprints, np.bytes_) if fingerprints else np.zeros(0, "S1"),
            _times([s.oldest_event for s in statistics]),
            _times([s.newest_event for s in statistics]),
            _times([s.newest_created for s in statistics]),
            np.array([s.null_keys for s in statistics], np.int64),
        )

    @classmethod
    def without_rows(cls, starts: Int64s, ends: Int64s) -> StatisticsColumns:
        """Returns the statistics of windows without rows."""
        none, no_time = np.zeros(len(starts), np.int64), np.full(len(starts), NO_TIME, np.int64)
        return cls(starts, ends, none, np.zeros(len(starts), "S1"), no_time, no_time, no_time, none)

    @classmethod
    def merged(cls, parts: Sequence[StatisticsColumns]) -> StatisticsColumns:
        """Returns the statistics of several parts in order of time."""
        columns: list[Any] = [
            Fingerprints.concatenated(several) if number == _PLACE else np.concatenate(several)
            for number, several in enumerate(zip(*(p._columns for p in parts), strict=True))
        ]
        order = np.argsort(columns[0], kind="stable")
        return cls(*(column[order] for column in columns))

    @property
    def fingerprints(self) -> ByteTexts:
        """See the class."""
        lazy = self._fingerprints
        return lazy.values if isinstance(lazy, Fingerprints) else lazy

    def differ_from(self, fingerprints: ByteTexts) -> Bools:
        """Returns for each window whether its fingerprint is another one than that at its place among some."""
        lazy = self._fingerprints
        return lazy.differ_from(fingerprints) if isinstance(lazy, Fingerprints) else np.asarray(lazy != fingerprints)

    def fingerprint(self, position: int) -> str:
        """Returns the fingerprint of the window at a position."""
        lazy = self._fingerprints
        text = lazy.text(position) if isinstance(lazy, Fingerprints) else bytes(lazy[position])
        return text.decode()

    @property
    def _columns(self) -> tuple[Any, ...]:
        return (
            self.starts,
            self.ends,
            self.rows,
            self._fingerprints,
            self.oldest,
            self.newest,
            self.created,
            self.null_keys,
        )

    def taken(self, rows: slice | Bools | npt.NDArray[np.intp]) -> StatisticsColumns:
        """Returns some, by their positions or by a mask."""
        return StatisticsColumns(*(column[rows] for column in self._columns))

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, position: int) -> WindowStatistics: ...
    @overload
    def __getitem__(self, position: slice) -> StatisticsColumns: ...
    def __getitem__(self, position: int | slice) -> WindowStatistics | StatisticsColumns:
        if isinstance(position, slice):
            return self.taken(position)
        return WindowStatistics(
            self.window(position),
            int(self.rows[position]),
            _moment(int(self.oldest[position])),
            _moment(int(self.newest[position])),
            _moment(int(self.created[position])),
            self.fingerprint(position),
            int(self.null_keys[position]),
        )

    def __iter__(self) -> Iterator[WindowStatistics]:
        columns = [*self._columns]
        columns[_PLACE] = self.fingerprints
        for start, end, rows, fingerprint, oldest, newest, created, null_keys in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            yield WindowStatistics(
                Window(from_micros(start), from_micros(end)),
                rows,
                _moment(oldest),
                _moment(newest),
                _moment(created),
                fingerprint.decode(),
                null_keys,
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def window(self, position: int) -> Window:
        """Returns the window at a position."""
        return Window(from_micros(int(self.starts[position])), from_micros(int(self.ends[position])))

    def some(self, chosen: Bools) -> list[WindowStatistics]:
        """Returns those that a mask chooses, as objects."""
        return list(self.taken(chosen)) if chosen.any() else []

    @cached_property
    def have_rows(self) -> Bools:
        """Which windows have rows."""
        return self.rows > 0

    @cached_property
    def content(self) -> Mapping[Window, str]:
        """The fingerprints by window."""
        return _Fingerprints(self)


class _Fingerprints(Mapping[Window, str]):
    def __init__(self, statistics: StatisticsColumns):
        self._statistics = statistics

    def __len__(self) -> int:
        return len(self._statistics)

    def __iter__(self) -> Iterator[Window]:
        return (s.window for s in self._statistics)

    def __getitem__(self, window: Window) -> str:
        of = self._statistics
        position = position_of(window, of.starts, of.ends)
        if position < 0:
            raise KeyError(window)
        return of.fingerprint(position)


def _times(moments: Sequence[datetime | None]) -> Int64s:
    return np.array([NO_TIME if moment is None else to_micros(moment) for moment in moments], np.int64)


def _moment(micros: int) -> datetime | None:
    return None if micros == NO_TIME else from_micros(micros)
