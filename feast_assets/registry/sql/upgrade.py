"""Turns a registry that an earlier version wrote into one of the present format."""

# ruff: noqa: S608 - what is put into statements are names of ours

from __future__ import annotations

from feast_assets.registry.segments import segments_of
from feast_assets.registry.sql.reading import ProjectReading
from feast_assets.registry.sql.schema import META, NUMBER, PROJECTS, SEGMENTS, WRITTEN_BY
from feast_assets.registry.sql.transaction import Transaction
from feast_assets.stored_formats import REGISTRY, package_version

_SAID = f"SELECT value FROM {META} WHERE \"key\" = '{NUMBER}'"
_SAY = f'UPDATE {META} SET value = :value WHERE "key" = :key'
_PROJECTS = f"SELECT project FROM {PROJECTS} ORDER BY project"
_FORGET = f"DELETE FROM {SEGMENTS}"


def turn_windows_into_segments(transaction: Transaction, *, has_marks: bool) -> None:
    """Writes the ledger of a registry of format 1 anew, and says that it is of the present format.

    A process of an earlier version that writes the registry meanwhile waits, and then finds its table gone.

    Args:
        has_marks: whether the old table has the column ``mark``.
    """
    # An earlier version locks the row of its project, or that of the number where there is no such row yet.
    ((number,),) = transaction(_SAID + transaction.lock_rows)
    projects = [project for (project,) in transaction(_PROJECTS + transaction.lock_rows)]
    if str(number) != "1":
        return
    transaction.each(_FORGET, [{}])
    for project in projects:
        reading = ProjectReading(transaction, project)
        for view in reading.views_of_windows():
            columns = reading.ledger_of_windows(view, has_marks=has_marks)
            assert columns is not None
            of_view = {"project": project, "view": view}
            transaction.upsert(SEGMENTS, (of_view | segment._asdict() for segment in segments_of(columns)))
    said = {NUMBER: str(REGISTRY.number), WRITTEN_BY: package_version()}
    transaction.each(_SAY, ({"key": key, "value": value} for key, value in said.items()))
