"""What a materialized partition shows of its values."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import dagster as dg

from feast_assets.dagster.pictures import histogram
from feast_assets.offline_stores.profile import ColumnProfile, WindowProfile

SHOWN = 24
"""Features of a view that are shown, the first of its schema; an event of a wide view would be too big with all."""
_TOP = 3
_TEXT = 24


def profile_metadata(profile: WindowProfile) -> dict[str, Any]:
    """Returns what one window's values look like, for people and for plots over partitions.

    Dagster shows Markdown of less than a thousand characters where it stands, and hides longer texts behind a link; so
    each feature has an entry of its own.

    Returns:
        ``values/<feature>``, a picture of the distribution with least, mean, greatest and the share of nulls; and as
        numbers, which Dagster plots over time, ``mean/<feature>`` and, where there are nulls, ``null_share/<feature>``.
        Without rows there is nothing to show.
    """
    if not profile.rows:
        return {}
    shown = dict(list(profile.columns.items())[:SHOWN])
    return {
        "feast_assets/entities": profile.entities,
        **{f"values/{n}": dg.MetadataValue.md(_described(n, c, profile.rows)) for n, c in shown.items()},
        **{f"mean/{n}": c.mean for n, c in shown.items() if c.mean is not None and math.isfinite(c.mean)},
        **{f"null_share/{n}": round(c.nulls / profile.rows, 6) for n, c in shown.items() if c.nulls},
    }


def _described(name: str, column: ColumnProfile, rows: int) -> str:
    """Returns a line short enough not to be cut off beside its picture."""
    picture = histogram(column.histogram, f"Distribution of {name}") if column.histogram else ""
    told = [f"{_quoted(value)} {count / rows:.1%}" for value, count in list(column.top_values.items())[:_TOP]]
    told += [f"{column.nulls / rows:.1%} null"] if column.nulls else []
    return " ".join(part for part in (picture, _extremes(column), ", ".join(told)) if part)


def _extremes(column: ColumnProfile) -> str:
    """Returns least, mean and greatest value, as far as the type has them."""
    mean = "" if column.mean is None else f"mean {_text(column.mean)}"
    if column.minimum is None or column.maximum is None:
        return mean
    return " ≤ ".join(part for part in (_text(column.minimum), mean, _text(column.maximum)) if part)


def _text(value: float | datetime) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _quoted(value: str) -> str:
    """Returns a value as code that ends where it should."""
    short = value if len(value) <= _TEXT else value[: _TEXT - 1] + "…"
    return "`" + short.translate({ord("`"): "'", ord("\n"): " ", ord("\r"): " "}) + "`"
