"""The address of an HTTP server."""

from __future__ import annotations

from dataclasses import dataclass

from feast_assets.settings.server_url import parse_server_url


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where an HTTP server is.

    Attributes:
        is_tls: whether it speaks TLS.
        host: a name or an address; IPv6 without brackets.
        prefix: the path that comes before each of its own; "" or ``/path`` without a slash at the end.
    """

    is_tls: bool
    host: str
    port: int
    prefix: str = ""

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """Host and port, as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_http_address(text: str) -> HttpAddress:
    """Returns the address that a URL names.

    Raises:
        ValueError: it is none; the message does not show it, as it may hold a password.
    """
    url = parse_server_url(text)
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be the address of a server, such as http://localhost:6566")
    if url.username is not None or url.options:
        raise ValueError("must hold neither a login nor a query; tokens are configured under auth")
    is_tls = url.scheme == "https"
    return HttpAddress(is_tls, url.host, url.port or (443 if is_tls else 80), url.path.rstrip("/"))
