"""Completes pushes that were interrupted: killed, or separated from a store.

Two processes may complete the same push at once, or one of them be the push itself; see
`feast_assets.compute.push_runs`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from feast_assets.compute.handed_in_rows import HandedInRows
from feast_assets.compute.push_runs import HOLDS_FEATURES, key_of, rows_from_bytes
from feast_assets.compute.writes import Stores, Write
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.errors import (
    DataFrameSerializationError,
    FeastAssetsError,
    FeatureViewNotFoundException,
    InputError,
)
from feast_assets.registry.noted_pushes import NotedPush, NotesPushes
from feast_assets.registry.snapshot import RegistrySnapshot


def complete_pushes(stores: Stores, snapshot: RegistrySnapshot, *, may_append: bool) -> bool:
    """Completes the pushes that the registry notes, oldest first. Raises nothing; a failure is a warning.

    What can never be stored, because its view is no longer registered or does not take such rows any more, is left out
    with a warning that names it. A push whose stores cannot be reached is kept for the next use.

    Args:
        may_append: whether rows may be appended to history. Not so where this process does not use history: it may run
            on a machine with other files in their place. Of a push with history it then only does what comes after
            that.

    Returns:
        whether it need not be tried again soon; false where a store could not be reached.
    """
    registry = stores.registry
    if not isinstance(registry, NotesPushes):
        return True
    try:
        pushes = registry.noted_pushes()
    except FeastAssetsError as error:
        warnings.warn(f"The registry could not be searched for unfinished pushes: {error}", stacklevel=2)
        return False
    is_done = True
    for push in pushes:
        try:
            _complete(registry, stores, snapshot, push, may_append)
        except Exception as error:  # noqa: BLE001 - one push must not stand in the way of all others, and of the caller
            is_done = False
            warnings.warn(
                f"{_named(push)} is not complete yet, and is kept for the next use: {str(error).rstrip('.')}. "
                f"To discard it, call FeatureStore.drop_unfinished_push({push.id!r}).",
                stacklevel=2,
            )
    return is_done


def _complete(
    registry: NotesPushes, stores: Stores, snapshot: RegistrySnapshot, push: NotedPush, may_append: bool
) -> None:
    if push.damage:
        raise DataFrameSerializationError(push.damage)
    content = registry.rows_of_push(push)
    if content is None:
        return  # another process has completed it
    rows = rows_from_bytes(content)
    transforms = HOLDS_FEATURES not in (rows.schema.metadata or {})
    write = Write(stores, push.call, HandedInRows(rows, push.call), push.version, transforms=transforms)
    write.key = key_of(push)
    refused: list[str] = []
    if push.offline_view:
        if may_append:
            _add(snapshot, push.offline_view, write.add_history, refused)
        elif not _is_in_history(snapshot, push, write):
            return
    for name in push.online_views:
        _add(snapshot, name, write.add_online, refused)
    write.append()
    write.put()
    registry.forget_push(push)
    if refused:
        warnings.warn(
            f"{_named(push)} was completed, except for what can no longer be stored, which is lost: "
            f"{' '.join(refused)}",
            stacklevel=3,
        )


def _add(snapshot: RegistrySnapshot, name: str, add: Callable[[FeatureView], None], refused: list[str]) -> None:
    try:
        add(snapshot.feature_view(name))
    except (FeatureViewNotFoundException, InputError) as error:
        refused.append(str(error))


def _is_in_history(snapshot: RegistrySnapshot, push: NotedPush, write: Write) -> bool:
    """Says whether the history's part is known to be done; false also where this process cannot see history."""
    try:
        write.add_history(snapshot.feature_view(push.offline_view))
        return write.is_in_history()
    except FeastAssetsError:
        return False


def _named(push: NotedPush) -> str:
    by = f" by {push.by}" if push.by else ""
    return f"{push.call} of {push.at.isoformat(timespec='seconds')}{by}"
