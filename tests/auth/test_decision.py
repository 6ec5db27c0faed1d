"""The decision, beside a reading of the rules word by word."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from feast_assets.auth.decision import Resource, decide
from feast_assets.auth.identity import ANONYMOUS, Identity
from feast_assets.definitions.authorized_action import ALL_ACTIONS, AuthzedAction
from feast_assets.definitions.permission import MANAGED_TYPES, Permission
from feast_assets.definitions.policy import (
    AllowAll,
    CombinedGroupNamespacePolicy,
    GroupBasedPolicy,
    NamespaceBasedPolicy,
    Policy,
    RoleBasedPolicy,
)

words = st.sampled_from(["a", "b", "c"])
names = st.lists(words, max_size=2)
tags = st.dictionaries(st.sampled_from(["team", "pii"]), st.sampled_from(["x", "y"]), max_size=2)
policies: st.SearchStrategy[Policy] = st.one_of(
    st.just(AllowAll),
    st.builds(RoleBasedPolicy, names),
    st.builds(GroupBasedPolicy, names),
    st.builds(NamespaceBasedPolicy, names),
    st.builds(CombinedGroupNamespacePolicy, names, names),
)
permissions = st.builds(
    Permission,
    name=st.sampled_from(["p", "q"]),
    types=st.lists(st.sampled_from(list(MANAGED_TYPES.values())), max_size=3),
    name_patterns=st.lists(st.sampled_from(["rides", "r.*", "users", ".*", "ride"]), max_size=2),
    actions=st.lists(st.sampled_from(ALL_ACTIONS), min_size=1, max_size=8),
    policy=policies,
    required_tags=tags,
)
identities = st.builds(Identity, st.sampled_from(["ann", "bob", ""]), names, names, names)
resources = st.builds(
    Resource,
    kind=st.just("thing"),
    name=st.sampled_from(["rides", "users"]),
    type_names=st.frozensets(st.sampled_from(sorted(MANAGED_TYPES)), max_size=2),
    tags=tags,
)
requests = st.lists(st.sampled_from(ALL_ACTIONS), min_size=1, max_size=3)


def read_word_by_word(given: list[Permission], who: Identity, thing: Resource, actions: list[AuthzedAction]) -> bool:
    if who.username == "":
        return False
    if len(given) == 0:
        return True
    for permission in given:
        of_type = any(cls.__name__ in thing.type_names for cls in permission.types)
        of_name = len(permission.name_patterns) == 0 or any(
            re.fullmatch(pattern, thing.name) is not None for pattern in permission.name_patterns
        )
        of_tags = all(key in thing.tags and thing.tags[key] == v for key, v in permission.required_tags.items())
        of_actions = all(any(action is each for each in permission.actions) for action in actions)
        policy, granted = permission.policy, False
        if policy is AllowAll or type(policy).__name__ == "AllowAllPolicy":
            granted = True
        if isinstance(policy, RoleBasedPolicy):
            granted = len(set(policy.roles) & who.roles) > 0
        if isinstance(policy, (GroupBasedPolicy, CombinedGroupNamespacePolicy)):
            granted = granted or len(set(policy.groups) & who.groups) > 0
        if isinstance(policy, (NamespaceBasedPolicy, CombinedGroupNamespacePolicy)):
            granted = granted or len(set(policy.namespaces) & who.namespaces) > 0
        if of_type and of_name and of_tags and of_actions and granted:
            return True
    return False


@given(st.lists(permissions, max_size=4), identities, resources, requests)
def test_a_decision_is_what_the_rules_say(
    given: list[Permission], who: Identity, thing: Resource, actions: list[AuthzedAction]
) -> None:
    decision = decide(given, who, thing, actions)
    assert decision.granted is read_word_by_word(given, who, thing, actions)
    assert bool(decision.reason) is not decision.granted


@given(st.lists(permissions, max_size=3), permissions, identities, resources, requests)
def test_one_more_permission_takes_nothing_from_who_was_granted_something(
    given: list[Permission], more: Permission, who: Identity, thing: Resource, actions: list[AuthzedAction]
) -> None:
    if given and decide(given, who, thing, actions).granted:
        assert decide([*given, more], who, thing, actions).granted


@given(st.lists(permissions, max_size=4), resources, requests)
def test_nobody_may_do_anything(given: list[Permission], thing: Resource, actions: list[AuthzedAction]) -> None:
    assert not decide(given, ANONYMOUS, thing, actions).granted


def test_the_first_permission_ends_that_everybody_who_is_known_may_do_everything() -> None:
    thing = Resource("entity", "rides", frozenset(["Entity"]), {})
    ann = Identity("ann")
    other = Permission("p", name_patterns="users")
    assert decide([], ann, thing, [AuthzedAction.DELETE]).granted
    assert not decide([other], ann, thing, [AuthzedAction.DELETE]).granted


def test_a_refusal_says_what_is_required() -> None:
    thing = Resource("entity", "rides", frozenset(["Entity"]), {})
    both = [Permission("readers", policy=RoleBasedPolicy(["reader"])), Permission("p", policy=GroupBasedPolicy(["g"]))]
    reason = decide(both, Identity("ann"), thing, [AuthzedAction.DESCRIBE]).reason
    assert reason == (
        "permission 'readers' requires one of the roles 'reader'; permission 'p' requires one of the groups 'g'"
    )
    assert (
        decide([Permission("p", name_patterns="x")], Identity("ann"), thing, [AuthzedAction.DESCRIBE]).reason
        == "no permission grants it to anybody"
    )
