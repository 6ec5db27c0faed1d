"""Whether the acting identity may make the changes of an apply."""

from __future__ import annotations

from feast_assets.auth.access import Access
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.registry.base import Changes
from feast_assets.registry.snapshot import RegistrySnapshot


def check_changes(access: Access, snapshot: RegistrySnapshot, changes: Changes) -> None:
    """Checks changes, by the permissions that hold before them.

    As in Feast, whoever changes an object must be allowed to DESCRIBE and UPDATE it as it was, and as it becomes: an
    object cannot be moved into somebody's reach by changing its tags.

    Args:
        snapshot: what is registered now.

    Raises:
        FeastPermissionError: a change is not permitted.
    """
    update = (AuthzedAction.DESCRIBE, AuthzedAction.UPDATE)
    for definition in changes.upserts:
        before = snapshot.get(definition.object_type, definition.name)
        if before is None:
            access.check(snapshot, [definition], AuthzedAction.CREATE)
        else:
            access.check(snapshot, [before, definition], *update)
    for object_type, name in changes.deletes:
        gone = snapshot.get(object_type, name)
        if gone is not None:
            access.check(snapshot, [gone], AuthzedAction.DELETE)
