"""The newest row of an entity as of a moment, for many moments at once: both sides sorted, then one search.

A pair of entity and time is packed into one integer, because integers are sorted and searched an order of magnitude
faster than pairs. Rows come in chunks, so only the moments must fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

NONE = -1
"""The id where no row was found, and the entity of moments that none is looked for."""
_ROOM = 2**63
_PARTS = 4
"""Searches that threads share."""


class Candidates(NamedTuple):
    """Some rows that may be found; int64[n] each.

    Attributes:
        entities: numbers from 0 on.
        since: the moment from which on a row counts.
        times: how new it is; an entity's rows are ordered by it as by ``since``.
        ids: from 0 on.
    """

    entities: Integers
    since: Integers
    times: Integers
    ids: Integers


@dataclass(frozen=True, slots=True)
class Moments:
    """Entities and the moments to look for their rows at, in order of both.

    Attributes:
        indices: int64[n]; where each was before it was sorted.
        entities, times: int64[n].
    """

    indices: Integers
    entities: Integers
    times: Integers

    @classmethod
    def of(cls, entities: Integers, times: Integers, count: int) -> Moments:
        """Sorts moments.

        Args:
            entities: int64[m], less than the count; `NONE` where there is nothing to find, which is left out.
            times: int64[m].
            count: of entities.
        """
        indices = None
        if not (there := entities != NONE).all():
            indices = np.flatnonzero(there)
            entities, times = entities[indices], times[indices]
        if not len(entities):
            return cls(np.zeros(0, np.int64), entities, times)
        scale = _Scale(times, count)
        packed = scale.packed(entities, times)
        order = np.argsort(packed)
        return cls(order if indices is None else indices[order], *scale.unpacked(_sorted(packed)))

    def at(self, positions: Integers) -> Moments:
        """Returns some of them, by their positions, which are in order."""
        return Moments(self.indices[positions], self.entities[positions], self.times[positions])

    def parts(self) -> list[Moments]:
        """Returns the same, one after the other, in parts for as many threads as work at once."""
        ends = np.linspace(0, len(self.indices), _PARTS + 1, dtype=int)
        return [Moments(self.indices[a:b], self.entities[a:b], self.times[a:b]) for a, b in pairwise(ends)]


class Newest(NamedTuple):
    """What was found for each of the sorted moments.

    Attributes:
        ids: int64[n]; `NONE` where nothing was. Those of one row are side by side.
        since, times: int64[n]; of these rows, anything where there is none.
        tied: bool[n]; whether another row of the entity counts since the same moment, and either may have been found.
    """

    ids: Integers
    since: Integers
    times: Integers
    tied: NDArray[np.bool_]


def newest(moments: Callable[[], Moments], count: int, chunks: Iterable[Candidates], pool: Executor) -> Newest:
    """Finds for each moment the row of its entity with the greatest ``since`` that is not later.

    Args:
        moments: gives them; called when the first rows have been sorted, as others may still be sorting the moments.
        count: of entities.
        pool: searches.
    """
    best: Newest | None = None
    for rows in chunks:
        if len(rows.ids):
            chunk_best = _joined(list(pool.map(_Sorted(rows, count).newest, moments().parts())))
            best = chunk_best if best is None else _newer(best, chunk_best)
    if best is None:
        size = len(moments().indices)
        times = np.zeros(size, np.int64)
        best = Newest(np.full(size, NONE, np.int64), times, times, np.zeros(size, np.bool_))
    return best


def _joined(parts: list[Newest]) -> Newest:
    ids, since, tied = (np.concatenate([getattr(p, name) for p in parts]) for name in ("ids", "since", "tied"))
    # They are the same where rows count from the moment on that they happened.
    same = all(p.times is p.since for p in parts)
    return Newest(ids, since, since if same else np.concatenate([p.times for p in parts]), tied)


def _newer(one: Newest, other: Newest) -> Newest:
    """Returns the newer of what was found among some rows and among others."""
    there = other.ids != NONE
    wins = there & ((one.ids == NONE) | (other.since > one.since))
    meets = there & (one.ids != NONE) & (other.since == one.since)
    return Newest(
        np.where(wins, other.ids, one.ids),
        np.where(wins, other.since, one.since),
        np.where(wins, other.times, one.times),
        np.where(wins, other.tied, one.tied | meets),
    )


class _Sorted:
    """Rows in the order of entity and ``since``."""

    def __init__(self, rows: Candidates, count: int):
        self._rows = rows
        self._scale = _Scale(rows.since, count)
        packed = self._scale.packed(rows.entities, rows.since)
        self._order = np.argsort(packed)
        self._packed = _sorted(packed)
        self._repeats = np.append(False, self._packed[1:] == self._packed[:-1])

    def newest(self, moments: Moments) -> Newest:
        packed = self._packed
        first = moments.entities * self._scale.span
        at = np.searchsorted(packed, first + self._scale.up_to(moments.times)) - 1
        there = (at >= 0) & (packed[at] >= first)
        at[~there] = 0
        tied = self._repeats[at] & there
        since = self._scale.times(np.where(there, packed[at] - first, 0))
        rows, at = self._rows, self._order[at]
        times = since if rows.times is rows.since else rows.times[at]
        return Newest(np.where(there, rows.ids[at], NONE), since, times, tied)


def _sorted(packed: Integers) -> Integers:
    """Sorts integers in place, which takes a part of the time of looking each up in its order."""
    packed.sort()
    return packed


class _Scale:
    """Times as integers from 0 on, in the same order and few enough to be packed with an entity's number.

    Attributes:
        span: more than any of them.
    """

    def __init__(self, times: Integers, entities: int):
        self._low, self._high = int(times.min()), int(times.max())
        self.span = self._high - self._low + 2
        self._distinct: Integers | None = None
        if self.span * entities >= _ROOM:
            ordered = np.sort(times)
            self._distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
            self.span = len(self._distinct) + 1

    # Arrays of this size are new pages of memory each time, which cost as much as what is done with them; so numbers
    # are worked on in place.

    def packed(self, entities: Integers, times: Integers) -> Integers:
        """Returns entities with times that the scale was made of, as integers in the order of both."""
        packed = entities * self.span
        if self._distinct is None:
            # What does not fit between these two steps comes back in the second.
            packed += times
            packed -= self._low
        else:
            packed += _searched(self._distinct, times, "left")
        return packed

    def unpacked(self, packed: Integers) -> tuple[Integers, Integers]:
        """Returns what `packed` was given, in the order of the packed integers; these are used up."""
        entities = packed // self.span
        packed -= entities * self.span
        return entities, self.times(packed)

    def times(self, numbers: Integers) -> Integers:
        """Returns the times that numbers stand for; these are used up."""
        if self._distinct is not None:
            return self._distinct[numbers]
        numbers += self._low
        return numbers

    def up_to(self, times: Integers) -> Integers:
        """Returns for any times the number after that of the last one of the scale that is not later."""
        if self._distinct is None:
            numbers = np.clip(times, self._low, self._high)
            numbers -= self._low
            numbers += times >= self._low
            return numbers
        return _searched(self._distinct, times, "right")


def _searched(ordered: Integers, values: Integers, side: Literal["left", "right"]) -> Integers:
    """Returns ``np.searchsorted``, which is many times faster for values in order, even with the sorting."""
    order = np.argsort(values)
    positions = np.empty(len(values), np.int64)
    positions[order] = np.searchsorted(ordered, values[order], side)
    return positions
