"""Commands that change single registered objects: ``feature-views enable``, ``delete`` and the like."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from feast_assets.cli.output import output_option, print_records
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.feature_store import FeatureStore


@click.command()
@click.argument("name")
@pass_session
def enable(session: Session, name: str) -> None:
    """Lets a view of any kind be served and materialized.

    \b
    Example:
      feast-assets feature-views enable driver_stats
    """
    store = session.store()
    _switch(store, name, "enabled", store.enable_feature_view)


@click.command()
@click.argument("name")
@pass_session
def disable(session: Session, name: str) -> None:
    """Keeps a view of any kind from being served and materialized, until the next apply of its declaration.

    \b
    Example:
      feast-assets feature-views disable driver_stats
    """
    store = session.store()
    _switch(store, name, "disabled", store.disable_feature_view)


@click.command("list-versions")
@click.argument("name")
@output_option
@pass_session
def list_versions(session: Session, name: str, output: str) -> None:
    """Lists the versions of a view of any kind; the one in use is marked.

    \b
    Example:
      feast-assets feature-views list-versions driver_stats
    """
    from feast_assets.types.json import iso_text

    store = session.store()
    versions = store.list_feature_view_versions(name)
    current = store.snapshot().view(name).current_version_number
    rows = [
        [
            str(each["version"]),
            str(each["feature_view_type"]),
            iso_text(at) if isinstance(at := each["created_timestamp"], datetime) else None,
            each["version_number"] == current,
        ]
        for each in versions
    ]
    print_records(["VERSION", "TYPE", "CREATED", "IN USE"], rows, output)


@click.command("set-state")
@click.argument("name")
@click.argument("state", metavar="STATE")
@pass_session
def set_state(session: Session, name: str, state: str) -> None:
    """Puts a view of any kind in another state: CREATED, GENERATED, MATERIALIZING or AVAILABLE_ONLINE.

    \b
    Example:
      feast-assets feature-views set-state driver_stats created
    """
    from feast_assets.definitions.feature_view_state import FeatureViewState

    names = [each.name for each in FeatureViewState]
    if state.upper() not in names:
        raise click.BadParameter(f"{state!r} is not one of {', '.join(names)}.", param_hint="STATE")
    store, new = session.store(), FeatureViewState[state.upper()]
    if store.snapshot().view(name).state is new:
        click.echo(f"Feature view {name!r} is already in state {new.name}.")
        return
    store.set_feature_view_state(name, new)
    click.echo(f"Feature view {name!r} is in state {new.name}.")


@click.command()
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Deletes a registered object of any kind but a project, with its online rows.

    \b
    Example:
      feast-assets delete driver_stats
    """
    from feast_assets.definitions.entity import Entity
    from feast_assets.definitions.feature_service import FeatureService
    from feast_assets.definitions.project import Project
    from feast_assets.definitions.sources.data_source import DataSource
    from feast_assets.definitions.stored_on_demand_view import StoredOnDemandView
    from feast_assets.registry.snapshot import VIEW_TYPES

    store = session.store()
    snapshot = store.snapshot()
    # What apply adds to an object by itself goes with it.
    hidden = (Project.object_type, StoredOnDemandView.object_type)
    kinds = [kind for kind, known in snapshot.known() if known == name and kind not in hidden]
    # Of objects with one name, such as a view and its source, first the one that may use the others.
    order = [FeatureService.object_type, *VIEW_TYPES, DataSource.object_type, Entity.object_type]
    kind = min(kinds, key=lambda kind: order.index(kind) if kind in order else len(order), default="")
    definition = snapshot.get(kind, name) if kind else None
    if definition is None:
        click.echo(f"There is no object {name!r} in project {store.project}; nothing was deleted.")
        return
    store.apply([], objects_to_delete=[definition], partial=False)
    click.echo(f"Deleted {kind} {name}")


@click.command("delete")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_session
def delete_project(session: Session, name: str, yes: bool) -> None:
    """Deletes a project of the registry: its online tables, its definitions and their history.

    \b
    Example:
      feast-assets projects delete old_project -y
    """
    store = session.store()
    store.get_project(name)
    if not yes:
        click.confirm(f"Delete project {name!r}, with its definitions and online tables?", abort=True)
    store.delete_project(name)
    click.echo(f"Deleted project {name}")


def _switch(store: FeatureStore, name: str, word: str, verb: Callable[[str], None]) -> None:
    if store.snapshot().view(name).enabled is (word == "enabled"):
        click.echo(f"Feature view {name!r} is already {word}.")
        return
    verb(name)
    click.echo(f"Feature view {name!r} has been {word}.")
