"""The command that serves features: serve."""

from __future__ import annotations

import click

from feast_assets.cli.session import Session, pass_session


@click.command()
@click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=6566,
    show_default=True,
    help="The port to listen on; 0 for any free one, which is printed.",
)
@click.option(
    "-t", "--type", "kind", type=click.Choice(["http"]), default="http", show_default=True, help="What is spoken."
)
@click.option("--no-access-log", is_flag=True, help="Do not write a line of JSON for each request to standard output.")
@click.option(
    "-w",
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="Processes; -1 for two for each processor and one more.",
)
@click.option(
    "--worker-connections",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Requests that a worker has in hand at most; the next are answered 503 with Retry-After.",
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
@click.option(
    "--keep-alive-timeout",
    "keep_alive_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds after which an idle connection is closed.",
)
@click.option(
    "-r",
    "--registry_ttl_sec",
    "--registry-ttl-sec",
    "registry_seconds",
    type=click.FloatRange(0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds between two looks at the registry.",
)
@click.option("-k", "--key", "--tls-key", "tls_key_path", default="", help="The TLS key, a PEM file; needs --cert.")
@click.option(
    "-c", "--cert", "--tls-cert", "tls_cert_path", default="", help="The TLS certificate, a PEM file; needs --key."
)
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
@click.option(
    "--request-timeout",
    "request_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds by which a read is answered, if need be with 504.",
)
@click.option(
    "--receive-timeout",
    "receive_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds by which a request must have come in whole.",
)
@click.option(
    "--shutdown-timeout",
    "shutdown_seconds",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="Seconds that requests in hand may take when the server is told to end.",
)
@click.option(
    "--max-body-bytes",
    "body_bytes",
    type=click.IntRange(1),
    default=64 * 2**20,
    show_default=True,
    help="The largest body of a request.",
)
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
