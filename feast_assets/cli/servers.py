"""The commands that serve history and definitions: serve_offline, serve_registry."""

from __future__ import annotations

import click

from feast_assets.cli.session import Session, pass_session

_HOST = click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
_KEY = click.option("-k", "--key", "--tls-key", "tls_key_path", default="", help="The TLS key, a PEM file.")
_CERT = click.option("-c", "--cert", "--tls-cert", "tls_cert_path", default="", help="The TLS certificate, a PEM file.")


@click.command("serve_offline")
@_HOST
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=8815,
    show_default=True,
    help="The port to listen on; 0 for any free one, which is printed.",
)
@_KEY
@_CERT
@click.option(
    "--client-ca",
    "client_ca_path",
    default="",
    help="A PEM file: clients need a certificate that it signed. Only with --key and --cert.",
)
@click.option(
    "--max-calls",
    "calls",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Calls in hand at most; the next are refused, and clients try again.",
)
@click.option(
    "--max-upload-bytes",
    "upload_bytes",
    type=click.IntRange(1),
    default=4 * 2**30,
    show_default=True,
    help="How much a client may send with one call.",
)
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
@_HOST
@click.option(
    "-p",
    "--rest-port",
    "port",
    type=click.IntRange(0, 65535),
    default=6572,
    show_default=True,
    help="The port to listen on; 0 for any free one, which is printed.",
)
@_KEY
@_CERT
@click.option(
    "-w",
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="Processes; -1 for two for each processor and one more.",
)
@click.option("--no-access-log", is_flag=True, help="Do not write a line of JSON for each request to standard output.")
@click.option(
    "--max-body-bytes",
    "body_bytes",
    type=click.IntRange(1),
    default=256 * 2**20,
    show_default=True,
    help="The largest body of a request.",
)
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
