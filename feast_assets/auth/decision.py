"""The decision: may somebody do something to an object, by the permissions of its project? Pure functions.

The rules are Feast's:

1. Nobody who is not known may do anything.
2. While the project has no permissions, everybody who is known may do everything.
3. Otherwise a permission counts if it applies to the object (class, name, tags) and has *all* requested actions. It is
   enough that the policy of one of those that count grants. What none grants is denied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feast_assets.auth.identity import Identity
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission


@dataclass(frozen=True, slots=True)
class Resource:
    """What permissions see of an object.

    Attributes:
        kind: its class, for messages.
        type_names: the names of the classes that it counts as.
        tags: its tags.
    """

    kind: str
    name: str
    type_names: frozenset[str]
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed.

    Attributes:
        reason: why not; "" where it is allowed. It holds names of permissions and of what their policies require.
    """

    granted: bool
    reason: str = ""


GRANTED = Decision(True)


def decide(
    permissions: Sequence[Permission], identity: Identity, resource: Resource, actions: Sequence[AuthzedAction]
) -> Decision:
    """Returns whether an identity may do all of the actions to an object.

    Args:
        permissions: all of the project.
    """
    if not identity.is_known:
        return Decision(False, "the caller is not known")
    if not permissions:
        return GRANTED
    refusals = []
    for permission in permissions:
        if permission.match_actions(actions) and permission.applies_to(
            resource.type_names, resource.name, resource.tags
        ):
            granted, explanation = permission.policy.validate_user(identity)
            if granted:
                return GRANTED
            refusals.append(f"permission {permission.name!r} {explanation}")
    return Decision(False, "; ".join(refusals) or "no permission grants it to anybody")
