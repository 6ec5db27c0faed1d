"""The command that serves features by gRPC: listen."""

from __future__ import annotations

import click

from feast_assets.cli.server_options import (
    cert_option,
    count_option,
    key_option,
    processes_option,
    registry_seconds_option,
    seconds_option,
)
from feast_assets.cli.session import Session, pass_session


@click.command()
@click.option(
    "-a",
    "--address",
    default="localhost:50051",
    show_default=True,
    help="The host and port to listen on; port 0 for any free one, which is printed.",
)
@click.option(
    "-w",
    "--max_workers",
    "--max-workers",
    "running_calls",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Calls that a process runs at a time; the next ones wait. 0 for no limit.",
)
@processes_option("--processes")
@count_option(
    "--max-calls",
    "calls_in_hand",
    1000,
    "Calls that a process has in hand at most; the next are answered UNAVAILABLE.",
)
@registry_seconds_option(5)
@key_option
@cert_option
@click.option("-m", "--metrics", is_flag=True, help="Serve Prometheus metrics by HTTP on port 8000.")
@seconds_option(
    "--request-timeout",
    "request_seconds",
    "Seconds by which a read is answered, if need be with DEADLINE_EXCEEDED.",
)
@seconds_option(
    "--shutdown-timeout",
    "shutdown_seconds",
    "Seconds that calls in hand may take when the server is told to end.",
)
@count_option("--max-message-bytes", "message_bytes", 64 * 2**20, "The largest message that is taken.")
@pass_session
def listen(session: Session, /, metrics: bool, **settings: object) -> None:
    """Serves features by gRPC, as Feast's gRPC server does, until SIGTERM or SIGINT.

    \b
    Example:
      feast-assets listen --address localhost:50051
    """
    from feast_assets.serving.grpc.options import GrpcOptions
    from feast_assets.serving.grpc.server import listen as run

    run(session.store(), GrpcOptions(metrics_listener=metrics, **settings))  # type: ignore[arg-type]
