"""Dates on the command line: ISO 8601, UTC unless they say otherwise."""

from __future__ import annotations

from datetime import datetime

import click


def moment_callback(context: click.Context, parameter: click.Parameter, text: str | None) -> datetime | None:
    """Makes an aware ``datetime`` in UTC of what was given for a parameter, for click's ``callback=``."""
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def parse_moment(text: str) -> datetime:
    """Returns the moment, in UTC, that an ISO 8601 text names.

    Raises:
        ValueError: the text is not one, or lies outside of the years 1 to 9999 in UTC; the message says what is right.
    """
    from feast_assets.definitions.spec import as_utc

    try:
        return as_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a date in ISO 8601; write 2026-01-31, 2026-01-31T18:30:00 (both UTC) "
            "or 2026-01-31T18:30:00+02:00."
        ) from None
