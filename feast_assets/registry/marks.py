"""The numbers of online tables' marks: how they are drawn, and what the number in a store tells about the ledger.

A run advances the mark of its table twice: before its first row is put, and after its last. The registry records each
number, with the number that it follows, before the store advances to it by compare-and-set. So the registry knows, for
every number, which numbers the mark had before: its path. An entry of the ledger holds if the number under which it was
settled is on the path of the number that the store has now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from feast_assets.definitions.spec import from_micros
from feast_assets.definitions.window import Window
from feast_assets.registry.base import DrawnMark, MarkDoubt, OnlineTable

if TYPE_CHECKING:
    from feast_assets.registry.ledger_columns import LedgerColumns


class KeepsMarks(ABC):
    """A registry that knows which numbers the marks of online tables had.

    Without this ability, nobody notices when an online store is restored to an earlier state: the ledger goes on
    listing windows whose rows the store has lost. A backend passes
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

        The oldest may be forgotten; at least a thousand are kept.
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
        """Unsettles, in one transaction, the entries whose rows may be missing from the store, as a table's mark shows.

        These are the entries that the doubt concerns, each with the doubt's kind, and every claim that is not settled
        yet, because it is not known which of its rows were put before the store was restored. Windows that were settled
        without rows stay settled, unless their number is lost. A number that was unknown is known from then on; for a
        missing one the registry records that it was missing.

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
"""Random bits, because two registries that were one may draw in the same microsecond."""


def drawn_numbers(now: int, above: Iterable[int], random: Sequence[int]) -> tuple[int, ...]:
    """Returns ascending numbers that are above some others, one for each random number.

    Args:
        now: UTC microseconds; the numbers contain this time, or a later one if higher numbers were drawn before.
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

    If the predecessor of the lowest number is not known, entries that were settled under lower numbers count as on the
    path: these numbers are no longer recorded, or a doubt about them was resolved when the path began.
    """
    previous = {mark.number: mark.previous for mark in known}
    path = {number}
    lowest = number
    while (before := previous.get(lowest, 0)) and before not in path:
        path.add(before)
        lowest = before
    return path, lowest


def is_on_path(number: int, current: int, known: Collection[DrawnMark]) -> bool:
    """Whether a mark had a number before it got its current one."""
    return number in path_of(current, known)[0]


def doubt_of(
    current: int,
    entries: LedgerColumns,
    definition_hash: str,
    known: Collection[DrawnMark],
    never_advanced: int,
) -> MarkDoubt | None:
    """Returns which entries of a view's ledger the current number of the mark contradicts; None if it contradicts none.

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
    is_of_table = entries.definitions.is_in([definition_hash]) | entries.marked(numbers)
    settled_under = entries.distinct_marks(entries.settled & is_of_table) - {0}
    if current != never_advanced and current not in numbers and current not in settled_under:
        return MarkDoubt("unknown", current)
    path, lowest = path_of(current, known)
    lost = frozenset(mark for mark in settled_under if mark > lowest and mark not in path)
    return MarkDoubt("restored", current, lost) if lost else None
