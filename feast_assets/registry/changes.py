"""What a commit changes, for every backend: objects by type and name, the revision it is based on, its summary."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from feast_assets.definitions.base import Definition
from feast_assets.errors import ConcurrentApplyError, DefinitionError, FeastObjectNotFoundException

Key = tuple[str, str]
"""Object type and name."""

_SUMMARY_OBJECTS = 50


class RevisionNotFoundError(FeastObjectNotFoundException):
    """The registry has no such revision."""

    kind = "revision"


def check_revision(project: str, number: int, newest: int) -> None:
    """Refuses a number that no revision has.

    Raises:
        RevisionNotFoundError: there is no such revision.
    """
    if not 0 <= number <= newest:
        raise RevisionNotFoundError(str(number), project, map(str, range(newest, max(0, newest - 10), -1)))


def refuse_other_base(project: str, based_on: int | None, newest: int) -> None:
    """Refuses changes that were worked out from another revision than the newest.

    Raises:
        ConcurrentApplyError: somebody else applied in between.
    """
    if based_on is not None and based_on != newest:
        raise ConcurrentApplyError(
            f"The registry of project {project!r} is at revision {newest}, but these changes were worked "
            f"out from revision {based_on}: somebody else applied in between. Nothing was changed; apply again."
        )


def distinct(upserts: Sequence[Definition]) -> dict[Key, Definition]:
    """Returns objects by type and name.

    Raises:
        DefinitionError: there are two different ones of a name.
    """
    by_key: dict[Key, Definition] = {}
    for definition in upserts:
        key = type(definition).object_type, definition.name
        if key in by_key and by_key[key] != definition:
            raise DefinitionError(f"One apply has two different versions of {key[0]} {key[1]!r}.")
        by_key[key] = definition
    return by_key


def summary_of(changed: Collection[Key], standing: Collection[Key], removed: Sequence[Key]) -> str:
    """Returns what a revision changes, in words.

    Args:
        standing: what there was before.
    """
    said = [f"{'updated' if k in standing else 'created'} {k[0]} {k[1]}" for k in sorted(changed)]
    said += [f"deleted {k[0]} {k[1]}" for k in removed]
    if len(said) > _SUMMARY_OBJECTS:
        said = [*said[:_SUMMARY_OBJECTS], f"and {len(said) - _SUMMARY_OBJECTS} more"]
    return "; ".join(said)
