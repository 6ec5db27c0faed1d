"""Permissions: who may do what to which objects."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from feast_assets.definitions.authorized_action import ALL_ACTIONS, AuthzedAction
from feast_assets.definitions.base import Definition, check_tags, listed, spec_of
from feast_assets.definitions.batch_feature_view import BatchFeatureView
from feast_assets.definitions.entity import Entity
from feast_assets.definitions.feature_service import FeatureService
from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.label_view import LabelView
from feast_assets.definitions.on_demand_feature_view import OnDemandFeatureView
from feast_assets.definitions.policy import POLICIES, AllowAll, Policy
from feast_assets.definitions.project import Project
from feast_assets.definitions.saved_dataset import SavedDataset
from feast_assets.definitions.sources.data_source import DataSource
from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
from feast_assets.definitions.stream_feature_view import StreamFeatureView
from feast_assets.definitions.validation_reference import ValidationReference
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.errors import DefinitionError, shown


class Permission(Definition):
    """Grants actions on objects to the callers that a policy names.

    It applies to objects of its types that match one of its name patterns and have all of its required tags. Several
    permissions may apply to an object: a caller needs the grant of one. Once a project has a permission, nothing is
    allowed that none grants.

    Args:
        name: unique among the project's permissions.
        types: classes of objects, such as ``FeatureView``, which includes batch and stream feature views; one, or a
            list. All classes when left out.
        name_patterns: regular expressions, one or a list; a whole name must match one of them. Any name when left out.
        actions: one, or a list.
        policy: whom they are granted to; everybody when left out.
        tags: of the permission itself.
        required_tags: that objects must have.

    Raises:
        DefinitionError: a class is not one of the registry's objects, there are no actions, or a pattern is no regular
            expression.
    """

    object_type = "permission"
    _spec = spec_of(type_names=[], name_patterns=[], actions=[], policy=AllowAll, required_tags={})

    type_names: list[str]
    name_patterns: list[str]
    actions: list[AuthzedAction]
    policy: Policy
    required_tags: dict[str, str]

    def __init__(
        self,
        name: str,
        types: Sequence[type] | type | None = [],  # noqa: B006 - Feast's default; nothing changes it
        name_patterns: Sequence[str] | str | None = [],
        actions: Sequence[AuthzedAction] | AuthzedAction = ALL_ACTIONS,
        policy: Policy = AllowAll,
        tags: Mapping[str, str] | None = None,
        required_tags: Mapping[str, str] | None = None,
    ):
        self._init_meta(name, "", _stripped(tags, name, "tags"), "")
        subject = f"Permission {name!r}"
        self.type_names = _type_names(types, subject)
        self.name_patterns = _patterns(name_patterns, subject)
        self.actions = _actions(actions, subject)
        if type(policy) not in POLICIES:
            raise DefinitionError(
                f"{subject}: policy must be AllowAll, a RoleBasedPolicy, GroupBasedPolicy, NamespaceBasedPolicy or "
                f"CombinedGroupNamespacePolicy, not {shown(policy)}."
            )
        self.policy = policy
        self.required_tags = _stripped(required_tags, name, "required_tags")

    @property
    def types(self) -> list[type]:
        """The classes of objects that it applies to."""
        return [MANAGED_TYPES[name] for name in self.type_names]

    def match_resource(self, resource: object) -> bool:
        """Returns whether it applies to an object, by its class, name and tags."""
        if not isinstance(resource, Definition):
            return False
        return self.applies_to(managed_types_of(resource), resource.name, getattr(resource, "tags", None) or {})

    def match_actions(self, requested_actions: Iterable[AuthzedAction]) -> bool:
        """Returns whether it grants all of the actions."""
        return all(action in self.actions for action in requested_actions)

    def applies_to(self, type_names: Collection[str], name: str, tags: Mapping[str, str]) -> bool:
        """Returns whether it applies to an object.

        Args:
            type_names: the names of the object's classes, see `managed_types_of`.
            name, tags: of the object.
        """
        if not any(each in type_names for each in self.type_names):
            return False
        if self.name_patterns and not any(_compiled(each).fullmatch(name) for each in self.name_patterns):
            return False
        return all(tags.get(key) == value for key, value in self.required_tags.items())


MANAGED_TYPES: Mapping[str, type] = {
    cls.__name__: cls
    for cls in (
        Project,
        FeatureView,
        OnDemandFeatureView,
        BatchFeatureView,
        StreamFeatureView,
        LabelView,
        Entity,
        FeatureService,
        DataSource,
        ValidationReference,
        SavedDataset,
        Permission,
    )
}
"""Name -> class, of the objects that permissions apply to."""

_NAMES_OF: tuple[tuple[type, frozenset[str]], ...] = (
    # In this order: a class comes before those that it derives from here. Feast's label views are no feature views, and
    # its stream feature views no batch feature views.
    (StoredOnDemandView, frozenset(("OnDemandFeatureView",))),
    (StreamFeatureView, frozenset(("StreamFeatureView", "FeatureView"))),
    (LabelView, frozenset(("LabelView",))),
    (BatchFeatureView, frozenset(("BatchFeatureView", "FeatureView"))),
    *((cls, frozenset((name,))) for name, cls in MANAGED_TYPES.items() if cls is not BatchFeatureView),
)


def managed_types_of(resource: object) -> frozenset[str]:
    """Returns the names of the classes that an object counts as; none for an object that no permission applies to.

    A version of a view, and what is stored of an on-demand view, count as the view.
    """
    if isinstance(resource, ViewVersion):
        resource = resource.as_view()
    return next((names for cls, names in _NAMES_OF if isinstance(resource, cls)), frozenset())


def _type_names(types: object, subject: str) -> list[str]:
    if isinstance(types, type):
        types = [types]
    names = []
    for cls in listed(types, f"{subject}: types must be a list of classes"):
        name = cls.__name__ if isinstance(cls, type) else ""
        if MANAGED_TYPES.get(name) is not cls:
            raise DefinitionError(
                f"{subject}: {shown(cls)} is not one of the types of objects: {', '.join(MANAGED_TYPES)}."
            )
        names.append(name)
    return names or list(MANAGED_TYPES)


def _patterns(patterns: object, subject: str) -> list[str]:
    if isinstance(patterns, str):
        patterns = [patterns]
    stripped = []
    for pattern in listed(patterns, f"{subject}: name_patterns must be a list of regular expressions"):
        if not isinstance(pattern, str):
            raise DefinitionError(f"{subject}: name_patterns must be regular expressions, got {shown(pattern)}.")
        try:
            _compiled(pattern.strip())
        except re.error as error:
            raise DefinitionError(
                f"{subject}: name pattern {shown(pattern)} is not a regular expression: {error}."
            ) from None
        stripped.append(pattern.strip())
    return stripped


def _actions(actions: object, subject: str) -> list[AuthzedAction]:
    given = [actions] if isinstance(actions, AuthzedAction) else listed(actions, f"{subject}: actions must be a list")
    if not given:
        raise DefinitionError(f"{subject}: actions must not be empty; leave it out for all actions.")
    for action in given:
        if not isinstance(action, AuthzedAction):
            raise DefinitionError(f"{subject}: actions must be of AuthzedAction, got {shown(action)}.")
    return list(given)


def _stripped(tags: Mapping[str, str] | None, name: str, argument: str) -> dict[str, str]:
    checked = check_tags(tags, f"Permission {shown(name)}: {argument}")
    return {key.strip(): value.strip() for key, value in checked.items()}


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
