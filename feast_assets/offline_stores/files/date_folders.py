"""Leaving out folders by the day in their name, as far as that is known to leave out no row.

A folder's day need not be the UTC day of the event times in it: it may be the day somewhere else, or that of the rows'
arrival. So by itself a name leaves nothing out; that is left to the statistics in the files' own footers, which DuckDB
goes by. A source that declares how far its event times may lie from the folder's day has folders left out by name, and
is held to it: a row that lies further off is an error wherever it is read.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta

from feast_assets.definitions.spec import to_micros

_FIRST = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST = to_micros(datetime.max.replace(tzinfo=UTC))
_DAY = 86_400_000_000


def event_times_of(path: str, partition: str, slack: timedelta) -> tuple[int, int] | None:
    """Returns the earliest and the latest event time that a file may hold by the name of its folder, in UTC
    microseconds, both included; None where the name tells none.

    Args:
        path: of the file.
        partition: the column with the day, which is written as a ``key=value`` folder.
        slack: how far an event time may lie before the day's start, or after its end, in UTC.
    """
    days = [part.partition("=")[2] for part in path.split(os.sep)[:-1] if part.startswith(f"{partition}=")]
    try:
        (day,) = days
        if date.fromisoformat(day).isoformat() != day:
            return None
    except ValueError:
        return None
    begin = to_micros(datetime.fromisoformat(day).replace(tzinfo=UTC))
    micros = slack // timedelta(microseconds=1)
    return begin - micros, begin + _DAY + micros - 1


def conditions(
    partition: str, event_time: str, slack: timedelta, start: int | None, end: int | None, subject: str
) -> list[str]:
    """Returns SQL conditions: on the folder's day alone, by which files are left out; and that rows are where they are
    declared to be.

    Args:
        partition: SQL identifier of the column with the day. What is no date leaves nothing out.
        event_time: SQL expression of the event time, in UTC microseconds.
        slack: how far an event time may lie before the day's start, or after its end, in UTC.
        start, end: event times that are wanted, in UTC microseconds, the end not included; None for no bound.
        subject: SQL text literal; names the column in the error.

    Raises (when the query runs):
        duckdb.InvalidInputException: an event time lies further off.
    """
    day = f"TRY_CAST(CAST({partition} AS VARCHAR) AS DATE)"
    micros = slack // timedelta(microseconds=1)
    terms = []
    if start is not None and _FIRST <= (first := start - micros - _DAY) <= _LAST:
        terms.append(f"coalesce(CAST({day} AS TIMESTAMP) > make_timestamp({first}), true)")
    if end is not None and _FIRST <= (last := end + micros) <= _LAST:
        terms.append(f"coalesce(CAST({day} AS TIMESTAMP) < make_timestamp({last}), true)")
    begins = f"epoch_us(CAST({day} AS TIMESTAMP))"
    inside = f"{event_time} BETWEEN {begins} - {micros} AND {begins} + {_DAY + micros - 1}"
    message = f"{subject} || {partition} || ' holds a row of ' || make_timestamp({event_time})"
    terms.append(f"CASE WHEN coalesce({inside}, true) THEN true ELSE error({message}) END")
    return terms
