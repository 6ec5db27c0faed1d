"""The command that serves features: serve."""

from __future__ import annotations

import click

from feast_assets.cli.server_options import (
    cert_option,
    count_option,
    host_option,
    key_option,
    no_access_log_option,
    port_option,
    processes_option,
    registry_seconds_option,
    seconds_option,
)
from feast_assets.cli.session import Session, pass_session


@click.command()
@host_option
@port_option("--port", 6566)
@click.option(
    "-t", "--type", "kind", type=click.Choice(["http"]), default="http", show_default=True, help="What is spoken."
)
@no_access_log_option
@processes_option("-w", "--workers")
@count_option(
    "--worker-connections",
    "worker_connections",
    1000,
    "Requests that a worker has in hand at most; the next are answered 503 with Retry-After.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Replace a worker after so many requests; 0 for never.",
)
@click.option(
    "--max-requests-jitter",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="At most so many requests more, drawn at random.",
)
@seconds_option("--keep-alive-timeout", "keep_alive_seconds", "Seconds after which an idle connection is closed.")
@registry_seconds_option(60)
@key_option
@cert_option
@click.option(
    "-m",
    "--metrics",
    is_flag=True,
    help="Serve Prometheus metrics on port 8000 too, as Feast does; they are at /metrics in any case.",
)
@click.option(
    "--server",
    type=click.Choice(["uvicorn", "granian"]),
    default="uvicorn",
    show_default=True,
    help="What speaks HTTP.",
)
@seconds_option("--request-timeout", "request_seconds", "Seconds by which a read is answered, if need be with 504.")
@seconds_option("--receive-timeout", "receive_seconds", "Seconds by which a request must have come in whole.")
@seconds_option(
    "--shutdown-timeout", "shutdown_seconds", "Seconds that requests in hand may take when the server is told to end."
)
@count_option("--max-body-bytes", "body_bytes", 64 * 2**20, "The largest body of a request.")
@click.option(
    "--audit-log",
    type=click.Path(dir_okay=False),
    default="",
    help="Append a line of JSON to this file for each access: who read, wrote or changed what. Denials are logged in "
    "any case.",
)
@pass_session
def serve(session: Session, /, no_access_log: bool, metrics: bool, audit_log: str, **settings: object) -> None:
    """Serves features by HTTP, as Feast's feature server does, until SIGTERM or SIGINT.

    \b
    Example:
      feast-assets serve --port 6566 --workers 2
    """
    from feast_assets.serving.http.options import ServerOptions
    from feast_assets.serving.http.server import serve as run

    options = ServerOptions(access_log=not no_access_log, metrics_listener=metrics, audit_log=audit_log, **settings)  # type: ignore[arg-type]
    run(session.store(), options)
