"""The command that consumes streams: consume."""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import TYPE_CHECKING

import click

from feast_assets.cli.moments import moment_callback
from feast_assets.cli.session import Session, pass_session

if TYPE_CHECKING:
    from feast_assets.streams.progress import StreamProgress


@click.command()
@click.argument("views", nargs=-1, metavar="[VIEW]...")
@click.option(
    "--to",
    type=click.Choice(["online", "offline", "online_and_offline"]),
    default="online_and_offline",
    show_default=True,
    help="Where rows go. Choose online where something else writes the batch source.",
)
@click.option("--from-beginning", is_flag=True, help="Begin with the oldest message that there is.")
@click.option(
    "--from-time",
    "from_time",
    callback=moment_callback,
    metavar="TIME",
    help="Begin with messages that were written at a time or later (ISO 8601; UTC without an offset).",
)
@click.option("--stop-at-end", is_flag=True, help="End when all that is there now has been consumed.")
@click.option(
    "--flush-seconds",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds that rows are held at most before they are appended to history.",
)
@click.option(
    "--flush-mb",
    type=click.FloatRange(0, min_open=True),
    default=64,
    show_default=True,
    help="Megabytes that are held at most.",
)
@click.option("--group", default="", help="The consumer group of Kafka. [default: one for these views]")
@pass_session
def consume(
    session: Session,
    views: tuple[str, ...],
    to: str,
    from_beginning: bool,
    from_time: datetime | None,
    stop_at_end: bool,
    flush_seconds: float,
    flush_mb: float,
    group: str,
) -> None:
    """Consumes the streams of feature views, until SIGTERM or SIGINT.

    Messages are put online as they arrive, and appended to history at each flush. A consumer that was
    killed goes on where it was, and stores nothing twice. Left out, VIEW is every view with a stream.

    \b
    Example:
      feast-assets consume rides_live --flush-seconds 30
    """
    from feast_assets.definitions.sources.push_source import PushMode

    if from_beginning and from_time is not None:
        raise click.UsageError("Give --from-beginning or --from-time, not both.")
    store = session.store()
    stop = threading.Event()
    _on_signals(stop)
    shown: dict[str, str] = {}

    def show(progress: StreamProgress) -> None:
        shown[progress.source] = _line(progress)
        click.echo(shown[progress.source])

    done = store.consume(
        list(views) or None,
        to=PushMode[to.upper()],
        start=from_time or ("beginning" if from_beginning else "checkpoint"),
        stop_at_end=stop_at_end,
        flush_seconds=flush_seconds,
        flush_bytes=max(1, int(flush_mb * 2**20)),
        group=group,
        stop=stop,
        progress=show,
    )
    for each in done:
        if shown.get(each.source) != _line(each):
            show(each)
        if each.ended_by_change:
            click.echo(f"{each.source}: ended, as an apply has changed what it is consumed for. Start it again.")


def _on_signals(stop: threading.Event) -> None:
    """Has the first signal end the consumer after what is in hand, and the second at once."""

    def end(number: int, _: object) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _line(progress: StreamProgress) -> str:
    lag = sum(progress.lag.values())
    return (
        f"{progress.source}: {progress.messages} messages, {progress.rows} rows online, {progress.history_rows} to "
        f"history, {progress.dead_letters} dead letters, {progress.late} late, {lag} behind."
    )
