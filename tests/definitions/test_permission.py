"""Permissions and policies as definitions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets import (
    BatchFeatureView,
    DataSource,
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    Int64,
    LabelView,
    OnDemandFeatureView,
    Project,
    PushSource,
    SavedDataset,
    StreamFeatureView,
    ValidationReference,
)
from feast_assets.definitions.authorized_action import ALL_ACTIONS, CRUD, READ, WRITE, AuthzedAction
from feast_assets.definitions.permission import MANAGED_TYPES, Permission, managed_types_of
from feast_assets.definitions.policy import (
    AllowAll,
    CombinedGroupNamespacePolicy,
    GroupBasedPolicy,
    NamespaceBasedPolicy,
    Policy,
    RoleBasedPolicy,
)
from feast_assets.errors import DefinitionError

SOURCE = FileSource(name="history", path="x.parquet", timestamp_field="at")
SCHEMA = [Field(name="id", dtype=Int64), Field(name="a", dtype=Int64)]
POLICIES = [
    AllowAll,
    RoleBasedPolicy(["reader"]),
    GroupBasedPolicy(["pricing"]),
    NamespaceBasedPolicy(["prod"]),
    CombinedGroupNamespacePolicy(["pricing"], ["prod"]),
]


class Somebody:
    def __init__(
        self,
        roles: Collection[str] = (),
        groups: Collection[str] = (),
        namespaces: Collection[str] = (),
    ):
        self.roles, self.groups, self.namespaces = roles, groups, namespaces


def test_what_is_left_out_means_every_type_name_and_action_for_everybody() -> None:
    permission = Permission("all")
    assert permission.types == list(MANAGED_TYPES.values())
    assert permission.name_patterns == []
    assert permission.actions == ALL_ACTIONS
    assert permission.policy is AllowAll
    assert (permission.tags, permission.required_tags) == ({}, {})


def test_arguments_go_by_position_as_in_feast() -> None:
    permission = Permission(
        "p", [Entity], ["a"], [AuthzedAction.CREATE], RoleBasedPolicy(["r"]), {"t": "1"}, {"team": "x"}
    )
    assert (permission.types, permission.name_patterns) == ([Entity], ["a"])
    assert (permission.actions, permission.policy) == ([AuthzedAction.CREATE], RoleBasedPolicy(["r"]))
    assert (permission.tags, permission.required_tags) == ({"t": "1"}, {"team": "x"})


def test_one_type_pattern_and_action_need_no_list_and_spaces_do_not_count() -> None:
    permission = Permission(
        "p", types=Entity, name_patterns=" a.* ", actions=AuthzedAction.DELETE, required_tags={" team ": " x "}
    )
    assert permission.types == [Entity]
    assert permission.name_patterns == ["a.*"]
    assert permission.actions == [AuthzedAction.DELETE]
    assert permission.required_tags == {"team": "x"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"types": int}, "is not one of the types of objects: Project, FeatureView"),
        ({"types": [FileSource]}, "is not one of the types of objects"),
        ({"types": "FeatureView"}, "types must be a list of classes"),
        ({"actions": []}, "actions must not be empty"),
        ({"actions": None}, "actions must not be empty"),
        ({"actions": ["create"]}, "actions must be of AuthzedAction, got 'create'"),
        ({"policy": None}, "policy must be AllowAll, a RoleBasedPolicy"),
        ({"policy": RoleBasedPolicy}, "policy must be AllowAll"),
        ({"name_patterns": "("}, "is not a regular expression: missing"),
        ({"name_patterns": [1]}, "name_patterns must be regular expressions, got 1"),
        ({"required_tags": {"a": 1}}, "must map text to text"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        Permission(**{"name": "p", **arguments})


def test_a_policy_of_the_users_own_cannot_be_registered() -> None:
    class Mine(Policy):
        pass

    with pytest.raises(DefinitionError, match="policy must be AllowAll"):
        Permission("p", policy=Mine())


@pytest.mark.parametrize("make", [RoleBasedPolicy, GroupBasedPolicy, NamespaceBasedPolicy])
@pytest.mark.parametrize("names", ["reader", [1], {"reader": 1}])
def test_names_in_policies_are_a_list_of_texts(make: Any, names: object) -> None:
    with pytest.raises(DefinitionError, match="must be a list of names"):
        make(names)


@pytest.mark.parametrize(
    ("policy", "who", "granted"),
    [
        (RoleBasedPolicy(["a", "b"]), Somebody(roles={"b"}), True),
        (RoleBasedPolicy(["a", "b"]), Somebody(groups={"a"}, namespaces={"a"}), False),
        (RoleBasedPolicy([]), Somebody(roles={"a"}), False),
        (GroupBasedPolicy(["a"]), Somebody(groups={"a"}), True),
        (GroupBasedPolicy(["a"]), Somebody(roles={"a"}), False),
        (NamespaceBasedPolicy(["a"]), Somebody(namespaces={"a"}), True),
        (NamespaceBasedPolicy(["a"]), Somebody(roles={"a"}), False),
        (CombinedGroupNamespacePolicy(["a"], ["b"]), Somebody(groups={"a"}), True),
        (CombinedGroupNamespacePolicy(["a"], ["b"]), Somebody(namespaces={"b"}), True),
        (CombinedGroupNamespacePolicy(["a"], ["b"]), Somebody(groups={"b"}, namespaces={"a"}), False),
        (AllowAll, Somebody(), True),
    ],
)
def test_a_policy_grants_to_those_that_it_names(policy: Policy, who: Somebody, granted: bool) -> None:
    decided, explanation = policy.validate_user(who)
    assert decided is granted
    assert bool(explanation) is not granted


def test_order_and_repetition_of_roles_do_not_make_another_policy() -> None:
    assert RoleBasedPolicy(["b", "a", "b"]) == RoleBasedPolicy(["a", "b"])
    assert RoleBasedPolicy(["a"]) != GroupBasedPolicy(["a"])


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: type(p).__name__)
def test_a_permission_is_read_back_from_its_stored_form(policy: Policy) -> None:
    permission = Permission("p", [Entity, LabelView], "a.*", READ, policy, {"a": "b"}, {"team": "x"})
    assert Permission.from_spec(permission.to_spec()) == permission


view = FeatureView(name="rides", source=SOURCE, schema=SCHEMA, entities=[Entity(name="id")])
OBJECTS: list[tuple[object, set[type]]] = [
    (Project(name="rides"), {Project}),
    (view, {FeatureView}),
    (
        BatchFeatureView(
            name="rides", source=SOURCE, schema=SCHEMA, entities=[Entity(name="id")], mode="sql", udf=lambda: ""
        ),
        {FeatureView, BatchFeatureView},
    ),
    (
        StreamFeatureView(
            name="rides",
            source=PushSource(name="live", batch_source=SOURCE),
            schema=SCHEMA,
            entities=[Entity(name="id")],
            mode="python",
            udf=lambda rows: rows,
        ),
        {FeatureView, StreamFeatureView},
    ),
    (
        OnDemandFeatureView(
            name="rides", sources=[view], schema=[Field(name="b", dtype=Int64)], mode="python", udf=lambda rows: rows
        ),
        {OnDemandFeatureView},
    ),
    (LabelView(name="rides", source=SOURCE, schema=SCHEMA, entities=[Entity(name="id")]), {LabelView}),
    (Entity(name="rides"), {Entity}),
    (FeatureService(name="rides", features=[view]), {FeatureService}),
    (FileSource(name="rides", path="x.parquet"), {DataSource}),
    (PushSource(name="rides", batch_source=SOURCE), {DataSource}),
    (Permission("rides"), {Permission}),
    (ValidationReference("rides", "data"), {ValidationReference}),
]


@pytest.mark.parametrize(("thing", "types"), OBJECTS, ids=[type(o).__name__ for o, _ in OBJECTS])
def test_an_object_counts_as_the_classes_that_it_is_of_in_feast(thing: object, types: set[type]) -> None:
    assert managed_types_of(thing) == {cls.__name__ for cls in types}
    for cls in MANAGED_TYPES.values():
        assert Permission("p", types=[cls]).match_resource(thing) is (cls in types)


def test_a_subclass_of_the_users_own_counts_as_the_class_that_it_derives_from() -> None:
    class MySource(FileSource):
        pass

    class MyView(FeatureView):
        pass

    assert managed_types_of(MySource(name="a", path="b")) == {"DataSource"}
    assert managed_types_of(MyView(name="a", source=SOURCE, schema=SCHEMA, entities=[Entity(name="id")])) == {
        "FeatureView"
    }


def test_permissions_apply_to_nothing_that_is_no_object_of_the_registry() -> None:
    assert not Permission("p").match_resource(Field(name="a", dtype=Int64))
    assert not Permission("p").match_resource(None)


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        ([], True),
        (["rides"], True),
        (["ride"], False),
        (["ide"], False),
        (["x", "r.*"], True),
        ([".*s"], True),
        (["RIDES"], False),
        (["rides\n"], True),
        (["(?i)RIDES"], True),
    ],
)
def test_a_whole_name_must_match_one_of_the_patterns(patterns: list[str], matches: bool) -> None:
    assert Permission("p", name_patterns=patterns).match_resource(Entity(name="rides")) is matches


def test_all_required_tags_must_be_there_with_their_values() -> None:
    permission = Permission("p", required_tags={"team": "a", "pii": "no"})
    assert permission.match_resource(Entity(name="e", tags={"team": "a", "pii": "no", "x": "y"}))
    assert not permission.match_resource(Entity(name="e", tags={"team": "a"}))
    assert not permission.match_resource(Entity(name="e", tags={"team": "a", "pii": "yes"}))
    assert not permission.match_resource(Entity(name="e"))


@given(st.sets(st.sampled_from(ALL_ACTIONS), min_size=1), st.lists(st.sampled_from(ALL_ACTIONS), min_size=1))
def test_a_permission_needs_all_requested_actions(granted: set[AuthzedAction], asked: list[AuthzedAction]) -> None:
    assert Permission("p", actions=sorted(granted, key=str)).match_actions(asked) is (set(asked) <= granted)


def test_the_groups_of_actions_are_feasts() -> None:
    assert len(ALL_ACTIONS) == 8
    assert set(READ) == {AuthzedAction.READ_ONLINE, AuthzedAction.READ_OFFLINE}
    assert set(WRITE) == {AuthzedAction.WRITE_ONLINE, AuthzedAction.WRITE_OFFLINE}
    assert set(CRUD) == set(ALL_ACTIONS) - set(READ) - set(WRITE)
    assert SavedDataset in Permission("p").types
