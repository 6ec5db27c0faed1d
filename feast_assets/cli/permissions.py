"""The commands that show permissions, and what they come to: permissions list, describe, check, list-roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from feast_assets.cli.listing import Columns, ListedKind, kind_group, tags_option
from feast_assets.cli.output import output_option, print_records
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.definitions.base import Definition
    from feast_assets.definitions.permission import Permission
    from feast_assets.definitions.policy import Policy
    from feast_assets.feature_store import FeatureStore

_VERBOSE = "-v"


def _types(permission: Permission) -> list[str]:
    return list(permission.type_names)


def _granted_to(policy: Policy) -> str:
    """Returns whom a policy grants to, such as ``roles reader, writer``."""
    parts = [
        f"{kind} {', '.join(names) or '(none)'}"
        for kind in ("roles", "groups", "namespaces")
        if (names := getattr(policy, kind, None)) is not None
    ]
    return " or ".join(parts) or "everybody"


_COLUMNS: Columns = {
    "NAME": lambda p: p.name,
    "TYPES": _types,
    "NAME PATTERNS": lambda p: list(p.name_patterns),
    "ACTIONS": lambda p: [action.name for action in p.actions],
    "GRANTED TO": lambda p: _granted_to(p.policy),
    "REQUIRED TAGS": lambda p: dict(p.required_tags),
}
permissions = kind_group(
    ListedKind(
        "permissions",
        "permission",
        "readers",
        lambda store, tags: store.list_permissions(tags=tags),
        lambda store, name: store.get_permission(name),
        _COLUMNS,
    )
)


@permissions.command("list")
@click.option(_VERBOSE, "--verbose", is_flag=True, help="Show the objects that each permission applies to.")
@tags_option
@output_option
@pass_session
def list_permissions(session: Session, verbose: bool, tags: dict[str, str] | None, output: str) -> None:
    """Lists permissions by name.

    \b
    Example:
      feast-assets permissions list --verbose
    """
    store = session.store()
    listed = store.list_permissions(tags=tags)
    if not verbose:
        rows = [[show(permission) for show in _COLUMNS.values()] for permission in listed]
        print_records(list(_COLUMNS), rows, output)
        return
    objects = _objects(store)
    print_records(
        ["PERMISSION", "GRANTED TO", "TYPE", "OBJECTS"],
        [
            [permission.name, _granted_to(permission.policy), kind, names]
            for permission in listed
            for kind, names in _applies_to(permission, objects).items()
        ],
        output,
    )


@permissions.command("check")
@output_option
@pass_session
def check_permissions(session: Session, output: str) -> None:
    """Shows what no permission grants to anybody: with any permission declared, it is denied to all.

    Each object is listed with the actions that no permission has for it. Without permissions, everybody who is known
    may do everything.

    \b
    Example:
      feast-assets permissions check
    """
    from feast_assets.definitions.authorized_action import ALL_ACTIONS

    store = session.store()
    declared = store.list_permissions()
    rows = []
    for definition in _objects(store):
        applying = [permission for permission in declared if permission.match_resource(definition)]
        lacking = [a.name for a in ALL_ACTIONS if not any(p.match_actions([a]) for p in applying)]
        if lacking:
            rows.append([definition.name, type(definition).__name__, bool(applying), lacking])
    print_records(["NAME", "TYPE", "HAS PERMISSIONS", "ACTIONS WITHOUT PERMISSION"], rows, output)


@permissions.command("list-roles")
@click.option(_VERBOSE, "--verbose", is_flag=True, help="Show what each role may do to each object.")
@output_option
@pass_session
def list_roles(session: Session, verbose: bool, output: str) -> None:
    """Lists the roles that permissions name.

    \b
    Example:
      feast-assets permissions list-roles --verbose
    """
    from feast_assets.auth.access import resource_of
    from feast_assets.auth.decision import decide
    from feast_assets.auth.identity import Identity
    from feast_assets.definitions.authorized_action import ALL_ACTIONS

    store = session.store()
    declared = store.list_permissions()
    roles = sorted({role for permission in declared for role in getattr(permission.policy, "roles", ())})
    if not verbose:
        print_records(["ROLE"], [[role] for role in roles], output)
        return
    snapshot, rows = store.snapshot(), []
    for role in roles:
        somebody = Identity("somebody with the role", roles=[role])
        for definition in _objects(store):
            resource = resource_of(definition, snapshot)
            permitted = [a.name for a in ALL_ACTIONS if decide(declared, somebody, resource, [a]).granted]
            rows.append([role, definition.name, type(definition).__name__, permitted])
    print_records(["ROLE", "NAME", "TYPE", "PERMITTED ACTIONS"], rows, output)


def _objects(store: FeatureStore) -> list[Definition]:
    """Returns all objects that permissions can be about, in the order of Feast's command."""
    return [
        store.get_project(),
        *store.list_entities(),
        *store.list_all_feature_views(),
        *store.list_feature_services(),
        *store.list_data_sources(),
        *store.list_validation_references(),
        *store.list_saved_datasets(),
        *store.list_permissions(),
    ]


def _applies_to(permission: Permission, objects: list[Definition]) -> dict[str, list[str]]:
    """Returns the objects that a permission applies to: class -> names."""
    names: dict[str, list[str]] = {}
    for definition in objects:
        if permission.match_resource(definition):
            names.setdefault(type(definition).__name__, []).append(definition.name)
    return names
