"""What a materialized partition shows of its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import datetime

import dagster as dg

from feast_assets.dagster.pictures import sparkline
from feast_assets.offline_stores.profile import ColumnProfile, WindowProfile

SHOWN = 24
"""Features of a view that are shown, the first of its schema; an event of a wide view would be too big with all."""
SHOWN_IN_PLACE = 1000
"""Characters of Markdown from which on Dagster hides it behind a link."""
_TOP = 3
_TEXT = 24
_NAME = 64
_HEADER = "|feature|values|min|mean|max|null|\n|-|-|-:|-:|-:|-:|"
_NOT_IN_CODE = {ord("`"): "'", ord("|"): "¦", ord("\n"): " ", ord("\r"): " "}


def profile_metadata(profile: WindowProfile) -> dict[str, object]:
    """Returns what one window's values look like, for people and for plots over partitions.

    A run writes an event for each of its partitions, and Dagster stores each event in three places; so all features
    share a table, which is cut where Dagster would not show it in place, and a mean is a number of its own only
    where somebody watches the values.

    Returns:
        ``values`` (and ``values/2``, ... where the features are many), a table with a picture of each feature's
        distribution or its most frequent values, its minimum, mean and maximum and its share of nulls; and as
        numbers, which Dagster plots over time, ``mean/<feature>`` of features whose fields declare checks of their
        values, and ``null_share/<feature>`` where there are nulls. Without rows there is nothing to show.
    """
    if not profile.rows:
        return {}
    shown = list(profile.columns.items())[:SHOWN]
    tables = _tables(_line(name, column, profile.rows) for name, column in shown)
    return {
        "feast_assets/entities": profile.entities,
        **{f"values/{i}" if i > 1 else "values": dg.MetadataValue.md(table) for i, table in enumerate(tables, 1)},
        **{f"mean/{n}": c.mean for n, c in shown if c.broken and c.mean is not None and math.isfinite(c.mean)},
        **{f"null_share/{n}": round(c.nulls / profile.rows, 6) for n, c in shown if c.nulls},
    }


def _tables(lines: Iterable[str]) -> Iterator[str]:
    """Yields tables of these lines, each short enough to be shown in place."""
    table = _HEADER
    for line in lines:
        if len(table) + len(line) + 1 >= SHOWN_IN_PLACE:
            yield table
            table = _HEADER
        table += "\n" + line
    yield table


def _line(name: str, column: ColumnProfile, rows: int) -> str:
    """Returns a line of the table; figures that the type does not have are left empty."""
    values = f"`{sparkline(column.histogram)}`" if column.histogram else _most_frequent(column, rows)
    nulls = f"{column.nulls / rows:.1%}" if column.nulls else ""
    numbers = (_text(column.minimum), _text(column.mean), _text(column.maximum))
    return f"|{_quoted(name, _NAME)}|{values}|{'|'.join(numbers)}|{nulls}|"


def _most_frequent(column: ColumnProfile, rows: int) -> str:
    top = list(column.top_values.items())[:_TOP]
    return ", ".join(f"{_quoted(value, _TEXT)} {count / rows:.1%}" for value, count in top)


def _text(value: float | datetime | None) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _quoted(text: str, length: int) -> str:
    """Returns a text, or its beginning, as Markdown code that cannot break out of its cell of a table."""
    short = text if len(text) <= length else text[: length - 1] + "…"
    return "`" + short.translate(_NOT_IN_CODE) + "`"
