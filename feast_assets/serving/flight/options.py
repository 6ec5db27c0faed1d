"""How an offline server listens, and what it bears."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.errors import ConfigError
from feast_assets.serving.option_checks import check_port, check_tls_files


@dataclass(frozen=True, slots=True)
class OfflineServerOptions:
    """Settings of an offline server.

    Attributes:
        host, port: where it listens; port 0 is any free one.
        tls_key_path, tls_cert_path: PEM files, both or none.
        client_ca_path: a PEM file; clients need a certificate that it signed. "" for clients without one.
        calls: how many calls are in hand at most; the next are refused, and may be repeated.
        upload_bytes: how much a client may send with one call.
        any_source: whether clients may name sources that are not registered.
    """

    host: str = "127.0.0.1"
    port: int = 8815
    tls_key_path: str = ""
    tls_cert_path: str = ""
    client_ca_path: str = ""
    calls: int = 32
    upload_bytes: int = 4 * 2**30
    any_source: bool = False

    def __post_init__(self) -> None:
        """Checks the settings; raises ConfigError if one of them cannot be."""
        check_tls_files(self.tls_key_path, self.tls_cert_path, self.client_ca_path)
        check_port(self.port)
        for name in ("calls", "upload_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a positive number.")
