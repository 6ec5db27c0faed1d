"""The numbers of online tables' marks: how they are drawn, and what a number that is found says of the ledger.

A run advances the mark of its table twice: before its first row is put, and after its last. Each number is noted in
the registry, with the number that it is to follow, before the store is asked to advance; and the store advances by
compare and set. So the numbers that a store had are a path, which is known from any of its numbers on backwards. An
entry of the ledger holds if the number under which it was settled is on the path of the number found in the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import DrawnMark, LedgerEntry, MarkDoubt, OnlineTable


class KeepsMarks(ABC):
    """A registry that knows which numbers the marks of online tables had.

    With a registry without this ability nothing is noticed when an online store is restored to an earlier state: the
    ledger goes on listing windows whose rows the store has lost. A backend passes
    `feast_assets.testing.KeepsMarksConformance`.
    """

    @abstractmethod
    def draw_marks(self, view: str, table: OnlineTable) -> tuple[int, int]:
        """Draws two numbers for the mark of a view's online table, in one transaction, before the mark is set to them.

        They are above every number of the view that the registry knows, and no registry draws one twice, not even one
        that was put back to an earlier state. The first is to follow the number found, the second the first.
        """

    @abstractmethod
    def known_marks(self, view: str, identity: str) -> list[DrawnMark]:
        """Returns the numbers of a table's mark that were drawn or taken over, ascending.

        Of very many, those drawn long ago may be forgotten; a thousand at least are kept.
        """

    @abstractmethod
    def distrust(
        self,
        view: str,
        identity: str,
        doubt: MarkDoubt,
        *,
        newest: int,
        gaps: Sequence[Window] = (),
        above: int = 0,
    ) -> bool:
        """Unsettles, in one transaction, what a table's mark says is not surely in the store any more.

        Those are the entries that the doubt concerns, each with the doubt's kind; and every claim that is not settled
        yet, as nobody knows which of its rows were put before the store was put back. Windows that were settled without
        rows stay settled, unless their number is lost. A number that was unknown is known from then on; of a missing
        one it is remembered that it was missed.

        Args:
            newest: the newest number in `known_marks`, 0 for none, when the doubt arose. If another was drawn since,
                nothing is changed.
            gaps: windows that the store may hold rows of though the ledger has nothing there, or says that there are
                none; entered as unsettled.
            above: versions that are given to these windows from now on are higher.

        Returns:
            whether it was done.
        """


NUMBERS_KEPT = 1000
"""How many numbers of a view's table are remembered at least. A run takes two for each stretch of windows."""

_RANDOM_BITS = 10
"""Two registries of one origin may draw at one moment, if their clocks differ."""


def drawn_numbers(now: int, above: Iterable[int], random: Sequence[int]) -> tuple[int, ...]:
    """Returns ascending numbers that are above some others, one for each random number.

    Args:
        now: UTC microseconds, which the numbers tell unless others were drawn at later ones.
        random: each below 2**31.
    """
    last = max(above, default=0) >> _RANDOM_BITS
    first = max(now, last + 1)
    return tuple((first + i << _RANDOM_BITS) | part % (1 << _RANDOM_BITS) for i, part in enumerate(random))


def moment_of(number: int) -> datetime:
    """Returns when a number was drawn, UTC."""
    return from_micros(number >> _RANDOM_BITS)


def path_of(number: int, known: Collection[DrawnMark]) -> tuple[set[int], int]:
    """Returns the numbers that a mark had before it had a number, this included, and the lowest of them.

    Where the path begins with a number whose predecessor is not known, what was settled under lower ones counts as on
    it: their numbers are no longer remembered, or a doubt about them was dealt with when the path began.
    """
    previous = {mark.number: mark.previous for mark in known}
    path = {number}
    lowest = number
    while (before := previous.get(lowest, 0)) and before not in path:
        path.add(before)
        lowest = before
    return path, lowest


def is_on_path(number: int, current: int, known: Collection[DrawnMark]) -> bool:
    """Whether a mark that is found with one number had another before."""
    return number in path_of(current, known)[0]


def doubt_of(
    current: int,
    entries: Iterable[LedgerEntry],
    definition_hash: str,
    known: Collection[DrawnMark],
    never_advanced: int,
) -> MarkDoubt | None:
    """Returns what the number of a table's mark says against the entries of its view's ledger; None for nothing.

    Args:
        current: in the store; 0 for none.
        definition_hash: that the ledger would keep now. Entries with another one may be of another table, and are run
            again anyway; so they are not doubted unless their number is known to be this table's.
        known: of this table. If there are none, no run has used it since there are marks, and the store is taken as it
            is, unless its mark was advanced.
        never_advanced: the number after the set-up.
    """
    if not current:
        return MarkDoubt("missing", 0) if known else None
    numbers = {m.number for m in known}
    settled_under = {
        e.mark for e in entries if e.settled and e.mark and (e.mark in numbers or e.definition_hash == definition_hash)
    }
    if current != never_advanced and current not in numbers and current not in settled_under:
        return MarkDoubt("unknown", current)
    path, lowest = path_of(current, known)
    lost = frozenset(mark for mark in settled_under if mark > lowest and mark not in path)
    return MarkDoubt("restored", current, lost) if lost else None
