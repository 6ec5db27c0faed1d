"""What a number that is found in a store says of the ledger; and that numbers are drawn apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from feast_assets.definitions.window import Window
from feast_assets.registry.base import DrawnMark, LedgerEntry, MarkDoubt
from feast_assets.registry.ledger_columns import LedgerColumns
from feast_assets.registry.marks import doubt_of, drawn_numbers, is_on_path, moment_of, path_of

START = datetime(2024, 1, 1, tzinfo=UTC)
SET_UP = 1


def entry(mark: int, settled: bool = True, definition_hash: str = "d") -> LedgerEntry:
    window = Window(START + timedelta(days=mark), START + timedelta(days=mark + 1))
    return LedgerEntry("v", window, "f", 2, definition_hash, 1, 1, START, "", settled, mark)


def drawn(*pairs: tuple[int, int]) -> list[DrawnMark]:
    return [DrawnMark(number, previous) for number, previous in pairs]


def doubt(found: int, marks: list[int], known: list[DrawnMark]) -> MarkDoubt | None:
    return doubt_of(found, LedgerColumns.of("v", [entry(m) for m in marks]), "d", known, SET_UP)


def test_a_store_as_it_was_left_is_not_doubted() -> None:
    known = drawn((10, SET_UP), (20, 10), (30, 20))
    assert doubt(30, [10, 20, 30, 0], known) is None
    assert doubt(SET_UP, [], []) is None
    assert doubt(0, [0, 0], []) is None, "a store and a ledger of before there were marks"


def test_a_store_that_went_back_lacks_what_was_settled_since() -> None:
    known = drawn((10, SET_UP), (20, 10), (30, 20))
    assert doubt(20, [10, 20, 30], known) == MarkDoubt("restored", 20, frozenset([30]))
    assert doubt(SET_UP, [10, 20, 0], known) == MarkDoubt("restored", SET_UP, frozenset([10, 20]))
    assert doubt(10, [10, 0], known) is None, "nothing was settled since"


def test_a_store_on_another_branch_lacks_what_was_settled_on_this_one() -> None:
    """It went back from 30 to 10, and on to 40: what was settled under 20 or 30 is not in it."""
    known = drawn((10, SET_UP), (20, 10), (30, 20), (40, 10), (50, 40))
    assert doubt(50, [10, 30, 50], known) == MarkDoubt("restored", 50, frozenset([30]))
    assert doubt(30, [10, 50], known) == MarkDoubt("restored", 30, frozenset([50]))


def test_a_number_that_nobody_drew_is_unknown() -> None:
    assert doubt(99, [10], drawn((10, SET_UP))) == MarkDoubt("unknown", 99)
    assert doubt(99, [], []) == MarkDoubt("unknown", 99)


def test_a_number_that_is_gone_is_missing() -> None:
    assert doubt(0, [10], drawn((10, SET_UP))) == MarkDoubt("missing", 0)


def test_numbers_that_are_no_longer_remembered_are_judged_by_their_order() -> None:
    known = drawn((30, 20), (40, 30))
    assert doubt(40, [10, 20, 30, 40], known) is None
    assert doubt(20, [10, 20, 30], known) == MarkDoubt("restored", 20, frozenset([30]))
    assert doubt(10, [10, 20], known) == MarkDoubt("restored", 10, frozenset([20]))


def test_entries_of_another_table_are_not_doubted() -> None:
    others = LedgerColumns.of("v", [entry(10, definition_hash="other"), entry(20, settled=False)])
    assert doubt_of(SET_UP, others, "d", [], SET_UP) is None
    assert doubt_of(SET_UP, others, "d", drawn((30, SET_UP)), SET_UP) is None
    # Of this table, but under another definition: it may become the present one again.
    known = drawn((10, SET_UP))
    assert doubt_of(SET_UP, others, "d", known, SET_UP) == MarkDoubt("restored", SET_UP, frozenset([10]))


def test_a_path_ends_where_it_came_from_is_not_known() -> None:
    known = [*drawn((10, SET_UP), (20, 10)), DrawnMark(50, 0, "found"), *drawn((60, 50))]
    assert path_of(60, known) == ({50, 60}, 50)
    assert path_of(20, known) == ({SET_UP, 10, 20}, SET_UP)
    assert is_on_path(10, 20, known)
    assert not is_on_path(20, 60, known)
    assert doubt(60, [10, 20, 60], known) is None, "the doubt of then was dealt with"


@given(st.integers(0, 2**52), st.lists(st.integers(0, 2**61), max_size=5), st.lists(st.integers(0, 2**31 - 1)))
def test_drawn_numbers_rise_above_all_others(now: int, above: list[int], random: list[int]) -> None:
    numbers = drawn_numbers(now, above, random)
    assert list(numbers) == sorted(set(numbers))
    assert len(numbers) == len(random)
    assert all(number > max(above, default=0) for number in numbers)
    assert all(number >= now << 10 for number in numbers)


def test_a_number_tells_when_it_was_drawn() -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
    micros = int(now.timestamp() * 1_000_000)
    (number,) = drawn_numbers(micros, [], [2**31 - 1])
    assert abs(moment_of(number) - now) < timedelta(microseconds=2)
