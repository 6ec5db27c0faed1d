"""The windows of a grid by number in SQL, so that rows are grouped by the window that they lie in."""

# ruff: noqa: S608 - what is put into statements are names and numbers of ours

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_assets.offline_stores.duckdb.statistics import Content, group
from feast_assets.offline_stores.window_numbers import Reaching, WindowNumbers

if TYPE_CHECKING:
    import duckdb


def number_columns(numbers: WindowNumbers, lookback: int) -> dict[str, str]:
    """Returns SQL of the first and, with a lookback, the last window that a row with event time ``t`` counts in.

    Args:
        lookback: how long before a window, in microseconds, rows count in it.
    """
    columns = {"first_window": _number_sql(numbers, "t")}
    if lookback:
        # The sum may be beyond what a month can be found for.
        reached = f"CASE WHEN t > {numbers.end - lookback} THEN {numbers.end} ELSE t + {lookback} END"
        columns["last_window"] = _number_sql(numbers, f"({reached})")
    return columns


def grouped(
    cursor: duckdb.DuckDBPyConnection, content: Content, numbers: WindowNumbers, lookback: int
) -> tuple[list[Reaching], int]:
    """Returns rows by the windows that they count in, by the first of these, and how many rows have no time.

    Args:
        lookback: how long before a window, in microseconds, rows count in it.
    """
    by = number_columns(numbers, lookback)
    columns = ", ".join(f"{expression} AS {name}" for name, expression in by.items())
    summaries, without = group(cursor, content, lambda sql: f"SELECT *, {columns} FROM ({sql})", list(by))
    reaching = [Reaching(max(key[0], numbers.first), key[-1], rows) for key, rows in summaries.items()]
    return sorted(reaching, key=lambda each: each.first), without


def _number_sql(numbers: WindowNumbers, moment: str) -> str:
    if numbers.width:
        return f"({moment} - ({numbers.origin})) // {numbers.width}"
    at = f"make_timestamp({moment})"
    return f"(year({at}) * 12 + month({at}) - 1)"
