"""Commands that change, or would change, what is registered: apply, plan, teardown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from feast_assets.cli.diff_view import print_infra_diff, print_registry_diff
from feast_assets.cli.session import Session, pass_session

_skip_source_validation = click.option(
    "--skip-source-validation",
    is_flag=True,
    help="Do not check that the sources have the declared columns. What the definitions leave out is still inferred.",
)
_skip_view_validation = click.option(
    "--skip-feature-view-validation",
    is_flag=True,
    help="Do not try the functions of on-demand views on sample values.",
)


@click.command()
@_skip_source_validation
@_skip_view_validation
@click.option("--no-progress", is_flag=True, help="Show no spinner. When the output is piped, there is never one.")
@click.option("--no-promote", is_flag=True, help="Only keep the new versions of views; those in use stay.")
@pass_session
def apply(
    session: Session,
    skip_source_validation: bool,
    skip_feature_view_validation: bool,
    no_progress: bool,
    no_promote: bool,
) -> None:
    """Registers what the feature repository defines, and removes what it no longer defines.

    Imports every Python file of the repository and registers its module-level objects, in one transaction:
    either all changes are applied, or none. Creates and drops tables of the online store to match.

    \b
    Example:
      feast-assets -c my_project/feature_repo apply
    """
    store = session.store()
    with _working(f"Applying {store.project}", no_progress):
        plan = store.plan_repository(
            skip_source_validation=skip_source_validation,
            skip_feature_view_validation=skip_feature_view_validation,
            no_promote=no_promote,
        )
        store.apply_plan(plan)
    click.echo(f"Applied project {store.project}")
    print_registry_diff(plan.registry_diff, planned=False)
    print_infra_diff(plan.infra_diff, planned=False)


@click.command()
@_skip_source_validation
@_skip_view_validation
@pass_session
def plan(session: Session, skip_source_validation: bool, skip_feature_view_validation: bool) -> None:
    """Shows what apply would change, and changes nothing.

    \b
    Example:
      feast-assets -c my_project/feature_repo plan
    """
    planned = session.store().plan_repository(
        skip_source_validation=skip_source_validation, skip_feature_view_validation=skip_feature_view_validation
    )
    print_registry_diff(planned.registry_diff, planned=True)
    print_infra_diff(planned.infra_diff, planned=True)


@click.command()
@pass_session
def teardown(session: Session) -> None:
    """Removes the project: its online tables, its definitions and their history. It does not ask for confirmation.

    Sources, and data written to them, are left alone. A project with the tag
    feast.dev/protected-project=true is refused.

    \b
    Example:
      feast-assets -c my_project/feature_repo teardown
    """
    store = session.store()
    store.teardown()
    click.echo(f"Removed project {store.project}")


@contextmanager
def _working(activity: str, quiet: bool) -> Iterator[None]:
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(activity):
        yield
