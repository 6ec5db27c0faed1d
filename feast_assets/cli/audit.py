"""The command that compares served values with history: audit."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from feast_assets.cli.moments import moment_callback
from feast_assets.cli.output import print_json, print_records
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.audit.report import AuditReport

_SHOWN = 20


@click.command()
@click.option(
    "-v",
    "--view",
    "views",
    multiple=True,
    metavar="VIEW",
    help="A feature view to audit; may be repeated. [default: all that are online and enabled]",
)
@click.option(
    "-n",
    "--sample",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many entities of each view are compared at most.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Chooses the sample: the same seed takes the same entities."
)
@click.option(
    "--at",
    callback=moment_callback,
    help="Compare both sides as of this time, ISO 8601; for sources that get no more rows. [default: now]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["unexplained", "any", "never"]),
    default="unexplained",
    show_default=True,
    help="Which differences make the exit code 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
@pass_session
def audit(
    session: Session, views: tuple[str, ...], sample: int, seed: int, at: datetime | None, fail_on: str, as_json: bool
) -> None:
    """Compares served values with history, for a sample of entities, and names the cause of each difference.

    Causes: "late row", the source has changed since it was materialized; "lag", the row is not materialized yet;
    "restored", the online store or the registry was put back to an earlier state; "ttl", the row is older than the
    view's ttl, or than the store keeps rows; "code changed", the definition has changed since; "pushed", a pushed row
    is newer than history; "ahead", the served row is of a later time; "unexplained", none of these. The exit code is 1
    if a difference is unexplained (see --fail-on).

    \b
    Example:
      feast-assets audit --view driver_stats --sample 200
    """
    report = session.store().audit(list(views) or None, sample=sample, seed=seed, at=at)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)
    differing = {"unexplained": report.unexplained, "any": len(report.mismatches), "never": 0}[fail_on]
    if differing:
        click.get_current_context().exit(1)


def _print(report: AuditReport) -> None:
    if not report.views:
        click.echo("No feature view to audit: none is online and enabled.")
        return
    headers, rows = report.table()
    print_records(headers, rows, "table")
    for limit in report.limits:
        click.echo(limit)
    if not report.mismatches:
        return
    click.echo()
    # An unexplained difference needs a person's attention.
    mismatches = sorted(report.mismatches, key=lambda m: m.cause != "unexplained")
    print_records(
        ["VIEW", "ENTITY", "FEATURE", "ONLINE", "OFFLINE", "STATUS", "CAUSE"],
        [
            [m.feature_view, m.entity, m.feature, m.online, m.offline, m.status, m.cause.replace("_", " ")]
            for m in mismatches[:_SHOWN]
        ],
        "table",
    )
    if len(mismatches) > _SHOWN:
        click.echo(f"... and {len(mismatches) - _SHOWN} more; --json has them all.")
