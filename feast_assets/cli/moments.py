"""Dates on the command line: ISO 8601, UTC unless they say otherwise."""

from __future__ import annotations

from datetime import datetime

import click


def moment_callback(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Converts a parameter's text to a ``datetime`` in UTC, for click's ``callback=``."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_moment(text: str) -> datetime:
    """Returns the moment, in UTC, of an ISO 8601 text.

    Raises:
        ValueError: the text is not ISO 8601, or lies outside of the years 1 to 9999; the message shows valid ones.
    """
    from feast_assets.definitions.spec import as_utc

    try:
        return as_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a date in ISO 8601; write 2026-01-31, 2026-01-31T18:30:00 (both UTC) "
            "or 2026-01-31T18:30:00+02:00."
        ) from None
