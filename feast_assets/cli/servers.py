"""The commands that serve history and definitions: serve_offline, serve_registry."""

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
)
from feast_assets.cli.session import Session, pass_session


@click.command("serve_offline")
@host_option
@port_option("--port", 8815)
@key_option
@cert_option
@click.option(
    "--client-ca",
    "client_ca_path",
    default="",
    help="A PEM file: clients need a certificate that it signed. Only with --key and --cert.",
)
@count_option("--max-calls", "calls", 32, "Calls in hand at most; the next are refused, and clients try again.")
@count_option("--max-upload-bytes", "upload_bytes", 4 * 2**30, "How much a client may send with one call.")
@click.option(
    "--unregistered-sources",
    "any_source",
    is_flag=True,
    help="Let clients name sources that are not registered, so that they can apply new ones. Whoever reaches the "
    "server can then read and write every file that it can.",
)
@pass_session
def serve_offline(session: Session, /, **settings: object) -> None:
    """Serves history by Arrow Flight, to offline stores of the type remote, until SIGTERM or SIGINT.

    \b
    Example:
      feast-assets serve_offline --port 8815
    """
    from feast_assets.serving.flight.options import OfflineServerOptions
    from feast_assets.serving.flight.server import serve_offline as run

    run(session.store(), OfflineServerOptions(**settings))  # type: ignore[arg-type]


@click.command("serve_registry")
@host_option
@port_option("--rest-port", 6572)
@key_option
@cert_option
@processes_option("-w", "--workers")
@no_access_log_option
@count_option("--max-body-bytes", "body_bytes", 256 * 2**20, "The largest body of a request.")
@pass_session
def serve_registry(session: Session, /, no_access_log: bool, **settings: object) -> None:
    """Serves the registry by HTTP: to registries of the type remote, and Feast's REST API, until SIGTERM or SIGINT.

    \b
    Example:
      feast-assets serve_registry --rest-port 6572
    """
    from feast_assets.serving.http.options import ServerOptions
    from feast_assets.serving.http.server import REGISTRY_SERVER, serve

    options = ServerOptions(access_log=not no_access_log, subject="the registry", **settings)  # type: ignore[arg-type]
    serve(session.store(), options, REGISTRY_SERVER)
