"""Checks that the options of several servers need."""

from __future__ import annotations

import os

from feast_assets.errors import ConfigError


def check_tls_files(key_path: str, cert_path: str, client_ca_path: str = "") -> None:
    """Raises ConfigError unless the PEM files are there: a key and a certificate, or none of both.

    Args:
        client_ca_path: what signed the certificates of clients; ``""`` for none.
    """
    if bool(key_path) != bool(cert_path):
        raise ConfigError("TLS needs both a key and a certificate; give both, or none to serve without TLS.")
    if client_ca_path and not cert_path:
        raise ConfigError("Certificates of clients are only checked with TLS; give a key and a certificate.")
    for path in (key_path, cert_path, client_ca_path):
        if path and not os.path.isfile(path):
            raise ConfigError(f"There is no TLS file {path}.")


def check_port(port: int) -> None:
    """Raises ConfigError if a number cannot be a port; 0 is any free one."""
    if not 0 <= port < 65536:
        raise ConfigError(f"Port {port} is not from 0 to 65535.")


def check_workers(workers: int) -> None:
    """Raises ConfigError for what is no number of processes; see `process_count`."""
    if workers != -1 and workers < 1:
        raise ConfigError(f"workers is {workers}; give a positive number, or -1 to go by the processors.")


def process_count(workers: int) -> int:
    """Returns a number of processes; -1 means two for each processor and one more."""
    return 2 * (os.cpu_count() or 1) + 1 if workers == -1 else workers


def check_not_negative(options: object, *names: str) -> None:
    """Raises ConfigError if one of these attributes is below zero."""
    for name in names:
        if getattr(options, name) < 0:
            raise ConfigError(f"{name} is {getattr(options, name)}; give 0 or a positive number.")


def check_positive(options: object, *names: str) -> None:
    """Raises ConfigError if one of these attributes is not above zero."""
    for name in names:
        if not getattr(options, name) > 0:
            raise ConfigError(f"{name} is {getattr(options, name)}; give a positive number.")
