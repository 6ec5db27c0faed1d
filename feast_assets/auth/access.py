"""What the acting identity may do with one feature store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, TypeVar

from feast_assets.auth.audit_log import AuditLog
from feast_assets.auth.decision import Resource, decide
from feast_assets.auth.identity import ANONYMOUS, Identity, acting_identity, is_own_work
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.base import Definition
from feast_assets.definitions.entity import DUMMY_ENTITY_NAME
from feast_assets.definitions.permission import Permission, managed_types_of
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.view import BaseFeatureView
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.errors import FeastObjectNotFoundException
from feast_assets.feast_errors import FeastPermissionError

_KEPT = 4_096
"""How many permitted requests are remembered; then all are forgotten."""

_D = TypeVar("_D", bound=Definition)


class HasPermissions(Protocol):
    """The definitions of a project as of one revision, as `feast_assets.registry.snapshot.RegistrySnapshot` has them.

    Attributes:
        revision, committed: which state of the registry it is.
    """

    revision: int
    committed: int

    @property
    def permissions(self) -> list[Permission]: ...

    def view(self, name: str) -> BaseFeatureView: ...


class _Rules:
    """The permissions of one state of the registry, and the requests that they are known to permit."""

    def __init__(self, snapshot: HasPermissions):
        self.state = (snapshot.revision, snapshot.committed)
        self.permissions: Sequence[Permission] = snapshot.permissions
        self.permitted: set[tuple[Identity, Hashable, tuple[AuthzedAction, ...]]] = set()


class _Requirement:
    """Whether an identity is required."""

    is_set = False


class Access:
    """Decides for one project, by the permissions of its registry.

    Nothing is checked until an identity is acting (`feast_assets.auth.identity.acting_as`), or one is required: whoever
    runs the library with the passwords of the stores could read them without it.

    Attributes:
        log: where accesses are recorded.
    """

    def __init__(self, project: str):
        self.log = AuditLog(project)
        self._requirement = _Requirement()
        self._rules: _Rules | None = None

    def of_project(self, project: str) -> Access:
        """Returns what decides for another project; an identity is required for both, or for none."""
        other = Access(project)
        other._requirement = self._requirement
        return other

    def require_identity(self) -> None:
        """From now on, code that acts on behalf of nobody is denied everything."""
        self._requirement.is_set = True

    @property
    def is_open(self) -> bool:
        """Whether nothing is to be checked for the running code, so that `identity` is None; every online read asks."""
        identity = acting_identity()
        return not self._requirement.is_set if identity is None else is_own_work(identity)

    def identity(self) -> Identity | None:
        """Returns the identity to decide for; None where nothing is to be checked."""
        identity = acting_identity()
        if identity is None:
            return ANONYMOUS if self._requirement.is_set else None
        return None if is_own_work(identity) else identity

    def check(self, snapshot: HasPermissions, definitions: Iterable[Definition], *actions: AuthzedAction) -> None:
        """Raises FeastPermissionError unless the acting identity may do all of the actions to all definitions."""
        identity = self.identity()
        if identity is not None:
            self._check(self._rules_of(snapshot), snapshot, identity, definitions, actions)

    def check_once(
        self,
        snapshot: HasPermissions,
        request: Hashable,
        definitions: Callable[[], Iterable[Definition]],
        *actions: AuthzedAction,
    ) -> None:
        """As `check`, for requests that are made again and again: what was permitted is not decided again, as long as
        the registry stays as it is.

        Args:
            request: tells the definitions.
            definitions: returns them.
        """
        identity = self.identity()
        if identity is None:
            return
        rules = self._rules_of(snapshot)
        key = (identity, request, actions)
        if key not in rules.permitted:
            self._check(rules, snapshot, identity, definitions(), actions)
            if len(rules.permitted) >= _KEPT:
                rules.permitted.clear()
            rules.permitted.add(key)

    def permitted(self, snapshot: HasPermissions, definitions: Sequence[_D], *actions: AuthzedAction) -> list[_D]:
        """Returns the definitions to which the acting identity may do all of the actions."""
        identity = self.identity()
        if identity is None:
            return list(definitions)
        permissions = self._rules_of(snapshot).permissions
        return [
            definition
            for definition in definitions
            if _is_placeholder(definition)
            or decide(permissions, identity, resource_of(definition, snapshot), actions).granted
        ]

    def _check(
        self,
        rules: _Rules,
        snapshot: HasPermissions,
        identity: Identity,
        definitions: Iterable[Definition],
        actions: tuple[AuthzedAction, ...],
    ) -> None:
        for definition in definitions:
            if _is_placeholder(definition):
                continue
            resource = resource_of(definition, snapshot)
            decision = decide(rules.permissions, identity, resource, actions)
            if not decision.granted:
                needed = " and ".join(action.name for action in actions)
                self.log.denied(needed.lower(), identity, [resource.name], kind=resource.kind)
                who = repr(identity.username) if identity.is_known else "a caller without a name"
                raise FeastPermissionError(f"{who} may not {needed} {resource}: {decision.reason}.")

    def _rules_of(self, snapshot: HasPermissions) -> _Rules:
        # One object at a time, so that threads that see different states of the registry never mix them.
        rules = self._rules
        if rules is None or rules.state != (snapshot.revision, snapshot.committed):
            rules = self._rules = _Rules(snapshot)
        return rules


def resource_of(definition: Definition, snapshot: HasPermissions) -> Resource:
    """Returns what permissions see of an object.

    A version of a view is the view: its present name and tags count. What is stored of an on-demand view is that view.
    """
    if isinstance(definition, StoredOnDemandView) and definition.on_demand is not None:
        definition = definition.on_demand
    if isinstance(definition, (BaseFeatureView, ViewVersion)) and "@" in definition.name:
        name = definition.name.partition("@")[0]
        if isinstance(definition, ViewVersion):
            definition = definition.as_view()
        try:
            present = snapshot.view(name)
        except FeastObjectNotFoundException:
            present = definition
        return Resource(present.object_type, name, managed_types_of(present), present.tags)
    return Resource(definition.object_type, definition.name, managed_types_of(definition), definition.tags)


def _is_placeholder(definition: Definition) -> bool:
    """Whether it is the entity that apply adds for views without entities."""
    return definition.name == DUMMY_ENTITY_NAME and definition.object_type == "entity"
