"""Options that several commands of servers have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

# What click makes of a function; its own type is not more exact.
Option = Callable[[Any], Any]

host_option = click.option("-h", "--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
key_option = click.option(
    "-k", "--key", "--tls-key", "tls_key_path", default="", help="The TLS key, a PEM file; needs --cert."
)
cert_option = click.option(
    "-c", "--cert", "--tls-cert", "tls_cert_path", default="", help="The TLS certificate, a PEM file; needs --key."
)
no_access_log_option = click.option(
    "--no-access-log", is_flag=True, help="Do not write a line of JSON for each request to standard output."
)


def port_option(name: str, default: int) -> Option:
    """Returns the option of a port, such as ``--port``; the command takes it as ``port``."""
    return click.option(
        "-p",
        name,
        "port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="The port to listen on; 0 for any free one, which is printed.",
    )


def processes_option(*names: str) -> Option:
    """Returns the option of a number of processes; the command takes it as ``workers``."""
    return click.option(
        *names,
        "workers",
        type=int,
        default=1,
        show_default=True,
        help="Processes; -1 for two for each processor and one more.",
    )


def registry_seconds_option(default: float) -> Option:
    """Returns the option of how often the registry is read; the command takes it as ``registry_seconds``."""
    return click.option(
        "-r",
        "--registry_ttl_sec",
        "--registry-ttl-sec",
        "registry_seconds",
        type=click.FloatRange(0, min_open=True),
        default=default,
        show_default=True,
        help="Seconds between two looks at the registry.",
    )


def seconds_option(name: str, argument: str, text: str) -> Option:
    """Returns the option of a time of at most some seconds, 30 by default.

    Args:
        argument: the command's.
        text: the option's help.
    """
    return click.option(
        name, argument, type=click.FloatRange(0, min_open=True), default=30, show_default=True, help=text
    )


def count_option(name: str, argument: str, default: int, text: str) -> Option:
    """Returns the option of a number of at least 1; see `seconds_option`."""
    return click.option(name, argument, type=click.IntRange(1), default=default, show_default=True, help=text)
