"""The command that serves features by gRPC: listen."""

from __future__ import annotations

import click

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
@click.option(
    "--processes",
    "workers",
    type=int,
    default=1,
    show_default=True,
    help="Processes; -1 for two for each processor and one more.",
)
@click.option(
    "--max-calls",
    "calls_in_hand",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Calls that a process has in hand at most; the next are answered UNAVAILABLE.",
)
@click.option(
    "-r",
    "--registry_ttl_sec",
    "--registry-ttl-sec",
    "registry_seconds",
    type=click.FloatRange(0, min_open=True),
    default=5,
    show_default=True,
    help="Seconds between two looks at the registry.",
)
@click.option("-k", "--key", "--tls-key", "tls_key_path", default="", help="The TLS key, a PEM file; needs --cert.")
@click.option(
    "-c", "--cert", "--tls-cert", "tls_cert_path", default="", help="The TLS certificate, a PEM file; needs --key."
)
@click.option("-m", "--metrics", is_flag=True, help="Serve Prometheus metrics by HTTP on port 8000.")
@click.option(
    "--request-timeout",
    "request_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds by which a read is answered, if need be with DEADLINE_EXCEEDED.",
)
@click.option(
    "--shutdown-timeout",
    "shutdown_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds that calls in hand may take when the server is told to end.",
)
@click.option(
    "--max-message-bytes",
    "message_bytes",
    type=click.IntRange(1),
    default=64 * 2**20,
    show_default=True,
    help="The largest message that is taken.",
)
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
