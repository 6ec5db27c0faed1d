"""Schedules that are written as five cron fields."""

from __future__ import annotations

import re

from feast_assets.errors import DefinitionError, shown

_FIELD = re.compile(r"[0-9A-Za-z*/,\-#]+")


def checked_schedule(schedule: object, subject: str, example: str) -> str:
    """Returns a schedule with single spaces between its fields.

    Args:
        subject: names what takes it, for messages.
        example: of a schedule, for messages.

    Raises:
        DefinitionError: these are not five cron fields.
    """
    fields = schedule.split() if isinstance(schedule, str) else []
    if len(fields) != 5 or not all(_FIELD.fullmatch(f) for f in fields):
        raise DefinitionError(f"{subject} takes five cron fields, such as {example}, not {shown(schedule)}.")
    return " ".join(fields)
