"""Commands that bring features online: materialize, materialize-incremental."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from feast_assets.cli.moments import moment_callback
from feast_assets.cli.output import print_records
from feast_assets.cli.progress import view_progress
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.compute.results import MaterializationResult

_views = click.option(
    "-v",
    "--views",
    multiple=True,
    metavar="VIEW",
    help="A feature view to materialize; may be repeated. [default: all that are online and enabled]",
)


_version = click.option(
    "--version", metavar="VERSION", help="A version of the one view named by -v, such as v1. [default: the one in use]"
)


@click.command()
@click.argument("start", callback=moment_callback, required=False)
@click.argument("end", callback=moment_callback, required=False)
@_views
@_version
@click.option(
    "--disable-event-timestamp",
    is_flag=True,
    help="Materialize everything up to now, whatever its event time; START and END must be left out.",
)
@pass_session
def materialize(
    session: Session,
    start: datetime | None,
    end: datetime | None,
    views: tuple[str, ...],
    version: str | None,
    disable_event_timestamp: bool,
) -> None:
    """Writes each entity's newest values with event times from START to END, both included, to the online store.

    START and END are ISO 8601; without an offset they are UTC. What is stored is replaced only by newer
    values, so any span may be run again, in any order.

    \b
    Example:
      feast-assets materialize 2026-01-01T00:00:00 2026-01-31T23:59:59 -v driver_stats
    """
    if disable_event_timestamp:
        if start or end:
            raise click.UsageError("--disable-event-timestamp takes everything up to now; leave START and END out.")
        from datetime import UTC

        # The store takes its own window then; the two dates only have to be in order.
        start, end = datetime(1970, 1, 1, tzinfo=UTC), datetime.now(UTC)
    elif start is None or end is None:
        raise click.UsageError("START and END are needed, such as 2026-01-01 2026-02-01, or --disable-event-timestamp.")
    store = session.store()
    with view_progress() as progress:
        results = store.materialize(
            start,
            end,
            feature_views=list(views) or None,
            disable_event_timestamp=disable_event_timestamp,
            version=version,
            progress=progress,
        )
    _print_results(results)


@click.command("materialize-incremental")
@click.argument("end", callback=moment_callback)
@_views
@click.option(
    "--reread",
    is_flag=True,
    help="Read all files of the sources, also those that have the size and times that they had before.",
)
@_version
@pass_session
def materialize_incremental(
    session: Session, end: datetime, views: tuple[str, ...], version: str | None, reread: bool
) -> None:
    """Brings the online store up to date until END, running only what is missing or has changed.

    It runs every window up to END that was not materialized yet, or whose source or definition has changed
    since. END is ISO 8601; without an offset it is UTC. Of the sources only files that are new or have changed
    are read; the command says how many these were for each view.

    \b
    Example:
      feast-assets materialize-incremental $(date -u +%Y-%m-%dT%H:%M:%S)
    """
    store = session.store()
    with view_progress() as progress:
        results = store.materialize_incremental(
            end, feature_views=list(views) or None, version=version, progress=progress, reread=reread
        )
    _print_results(results)


def _known(count: int | None) -> int | str:
    """Returns a count as it is shown; "-" where it is not known."""
    return "-" if count is None else count


def _print_results(results: list[MaterializationResult]) -> None:
    if not results:
        click.echo("No feature view to materialize: none is online and enabled.")
        return
    print_records(
        ["VIEW", "WINDOWS", "ROWS", "ENTITIES WRITTEN", "SECONDS"],
        [[r.view, len(r.windows), _known(r.made), _known(r.written), r.seconds] for r in results],
        "table",
    )
    for result in results:
        if result.parts is not None:
            click.echo(f"{result.view}: source files: {result.parts}.")
        if result.left_out:
            click.echo(f"{result.view}: {result.left_out}.")
