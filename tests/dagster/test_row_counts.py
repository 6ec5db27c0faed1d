"""How many rows a window should have, from how many the windows before it had."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from feast_assets.dagster.row_counts import HISTORY, expected_rows, rows_before
from feast_assets.definitions.window import Window
from feast_assets.registry.base import LedgerEntry

START = datetime(2024, 1, 1, tzinfo=UTC)


def window(first: float, last: float) -> Window:
    """Returns the window between two hours."""
    return Window(START + timedelta(hours=first), START + timedelta(hours=last))


def entry(first: float, last: float, rows: int, settled: bool = True) -> LedgerEntry:
    return LedgerEntry("v", window(first, last), "f", 1, "h", rows, rows, START, settled=settled)


def test_rows_before_are_those_of_settled_windows_with_rows_and_of_the_same_length() -> None:
    ledger = [entry(24 * day, 24 * day + 24, day + 1) for day in range(40)]
    ledger[3] = entry(72, 96, 4, settled=False)
    ledger[20] = entry(24 * 20, 24 * 20 + 5, 999)
    ledger[21] = entry(24 * 21, 24 * 22, 0)
    before = rows_before(window(24 * 35, 24 * 36), ledger)
    assert before == [n + 1 for n in range(35) if n not in (3, 20, 21)][-HISTORY:]
    assert rows_before(window(0, 24), ledger) == []


def test_row_counts_are_expected_from_those_before() -> None:
    assert expected_rows([10] * 6) is None
    assert expected_rows([10] * 7) == (7.5, 12.5)
    low, high = expected_rows([90, 100, 110, 95, 105, 100, 100, 20]) or (0, 0)
    assert 0 <= low < 90
    assert 110 < high < 200
    assert expected_rows([0] * 20) == (0, 0)
