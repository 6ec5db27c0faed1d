"""The commands for messages of streams that could not be taken: dead-letters list, replay, drop."""

from __future__ import annotations

import click

from feast_assets.cli.output import print_records
from feast_assets.cli.session import Session, pass_session


@click.group("dead-letters")
def dead_letters() -> None:
    """Shows, replays and drops messages of streams that could not be taken.

    \b
    Example:
      feast-assets dead-letters list rides
    """


@dead_letters.command("list")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most that are shown.")
@pass_session
def list_letters(session: Session, source: str, limit: int) -> None:
    """Shows the messages of stream source SOURCE that could not be taken, with offset and reason.

    \b
    Example:
      feast-assets dead-letters list rides
    """
    letters = session.store().list_dead_letters(source)
    print_records(
        ["PARTITION", "OFFSET", "VIEW", "REASON"],
        [[each.partition, each.offset, each.view or "-", each.reason] for each in letters[:limit]],
        "table",
    )
    if len(letters) > limit:
        click.echo(f"{len(letters) - limit} more.")


@dead_letters.command("replay")
@click.argument("source")
@pass_session
def replay_letters(session: Session, source: str) -> None:
    """Takes those messages that can be taken now, such as after a correction of a view's function.

    \b
    Example:
      feast-assets dead-letters replay rides
    """
    done = session.store().replay_dead_letters(source)
    click.echo(f"{done.taken} taken, {done.left} left.")


@dead_letters.command("drop")
@click.argument("source")
@click.confirmation_option("--yes", "-y", prompt="Remove these messages for good?")
@pass_session
def drop_letters(session: Session, source: str) -> None:
    """Removes the messages for good.

    \b
    Example:
      feast-assets dead-letters drop rides --yes
    """
    click.echo(f"{session.store().drop_dead_letters(source)} removed.")
