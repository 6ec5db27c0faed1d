"""Differences of definitions and of online tables, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from feast_assets.apply.diff import ObjectDiff, PropertyDiff, RegistryDiff
    from feast_assets.apply.plan import InfraDiff

_DONE = {"CREATE": "Created", "UPDATE": "Updated", "DELETE": "Deleted"}
_PLANNED = {"CREATE": "Create", "UPDATE": "Update", "DELETE": "Delete"}
_COLOURS = {"CREATE": "green", "UPDATE": "yellow", "DELETE": "red"}


def print_registry_diff(diff: RegistryDiff, *, planned: bool) -> None:
    """Prints a line for each object that changes, and below an updated object a line for each changed attribute."""
    for change in diff.changed:
        _print_object(change, planned)
    if not diff.changed:
        click.echo("No changes to registry")


def print_infra_diff(diff: InfraDiff, *, planned: bool) -> None:
    """Prints a line for each online table that is created or dropped."""
    for action, tables in (("CREATE", diff.created), ("DELETE", diff.dropped)):
        for table in tables:
            click.echo(_headline(action, "online table", table, planned))
    if not diff.created and not diff.dropped:
        click.echo("No changes to infrastructure")


def _print_object(change: ObjectDiff, planned: bool) -> None:
    click.echo(_headline(change.action.name, change.object_type, change.name, planned))
    for part in change.property_diffs:
        click.echo(f"    {part.property}: {_part(part)}")


def _headline(action: str, kind: str, name: str, planned: bool) -> str:
    verb = (_PLANNED if planned else _DONE)[action]
    return f"{click.style(verb, fg=_COLOURS[action])} {kind} {click.style(name, fg=_COLOURS[action], bold=True)}"


def _part(part: PropertyDiff) -> str:
    if part.old == part.new:
        return part.new
    return f"{click.style(part.old or '(none)', fg='red')} -> {click.style(part.new or '(none)', fg='green')}"
