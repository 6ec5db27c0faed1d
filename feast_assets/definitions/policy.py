"""Policies: which callers a permission grants its actions to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from feast_assets.definitions.base import listed
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown


class Memberships(Protocol):
    """What a policy asks of a caller; `feast_assets.auth.identity.Identity` has it."""

    @property
    def roles(self) -> Collection[str]: ...

    @property
    def groups(self) -> Collection[str]: ...

    @property
    def namespaces(self) -> Collection[str]: ...


class Policy(Spec):
    """Base of the policies. Those of this module can be registered; other classes cannot."""

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns whether a caller is granted the actions; if not, also what is required."""
        raise NotImplementedError


class AllowAllPolicy(Policy):
    """Grants to everybody; `AllowAll` is the instance to use."""

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns that the caller is granted the actions."""
        return True, ""


AllowAll = AllowAllPolicy()


class RoleBasedPolicy(Policy):
    """Grants to callers that have one of the roles."""

    _spec = {"roles": []}

    def __init__(self, roles: Sequence[str]):
        self.roles = _texts(roles, "RoleBasedPolicy", "roles")

    def get_roles(self) -> list[str]:
        """Returns the roles."""
        return self.roles

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns whether the caller has one of the roles; if not, also which are required."""
        return _any_of(self.roles, user.roles, "roles")


class GroupBasedPolicy(Policy):
    """Grants to callers in one of the groups."""

    _spec = {"groups": []}

    def __init__(self, groups: Sequence[str]):
        self.groups = _texts(groups, "GroupBasedPolicy", "groups")

    def get_groups(self) -> list[str]:
        """Returns the groups."""
        return self.groups

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns whether the caller is in one of the groups; if not, also which are required."""
        return _any_of(self.groups, user.groups, "groups")


class NamespaceBasedPolicy(Policy):
    """Grants to callers in one of the Kubernetes namespaces."""

    _spec = {"namespaces": []}

    def __init__(self, namespaces: Sequence[str]):
        self.namespaces = _texts(namespaces, "NamespaceBasedPolicy", "namespaces")

    def get_namespaces(self) -> list[str]:
        """Returns the namespaces."""
        return self.namespaces

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns whether the caller is in one of the namespaces; if not, also which are required."""
        return _any_of(self.namespaces, user.namespaces, "namespaces")


class CombinedGroupNamespacePolicy(Policy):
    """Grants to callers that are in one of the groups, or in one of the namespaces."""

    _spec = {"groups": [], "namespaces": []}

    def __init__(self, groups: Sequence[str], namespaces: Sequence[str]):
        self.groups = _texts(groups, "CombinedGroupNamespacePolicy", "groups")
        self.namespaces = _texts(namespaces, "CombinedGroupNamespacePolicy", "namespaces")

    def get_groups(self) -> list[str]:
        """Returns the groups."""
        return self.groups

    def get_namespaces(self) -> list[str]:
        """Returns the namespaces."""
        return self.namespaces

    def validate_user(self, user: Memberships) -> tuple[bool, str]:
        """Returns whether the caller is in a group or namespace; if not, also which are required."""
        by_group, need_group = _any_of(self.groups, user.groups, "groups")
        by_namespace, need_namespace = _any_of(self.namespaces, user.namespaces, "namespaces")
        granted = by_group or by_namespace
        return granted, "" if granted else f"{need_group}, or {need_namespace}"


POLICIES = (AllowAllPolicy, RoleBasedPolicy, GroupBasedPolicy, NamespaceBasedPolicy, CombinedGroupNamespacePolicy)


def _texts(values: object, policy: str, name: str) -> list[str]:
    texts = listed(values, f"{policy}: {name} must be a list of names")
    if not all(isinstance(text, str) for text in texts):
        raise DefinitionError(f"{policy}: {name} must be a list of names, got {shown(values)}.")
    return sorted(set(texts))


def _any_of(required: Sequence[str], had: Collection[str], kind: str) -> tuple[bool, str]:
    if any(name in had for name in required):
        return True, ""
    return False, f"requires one of the {kind} {', '.join(map(repr, required)) or '(none is named)'}"
