"""Requests to identity providers: whatever goes wrong is said in one way, and without secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from feast_assets.auth.http_requests import HttpRequests
from feast_assets.errors import IdentityProviderError


class Talkative(BaseHTTPRequestHandler):
    """Refuses every request with an answer that is too large."""

    def do_GET(self) -> None:
        size = 5 * 2**20
        self.send_response(500)
        self.send_header("content-length", str(size))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(b"x" * size)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Talkative)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_refusal_that_is_too_large_is_an_error_of_the_provider(address: str) -> None:
    with pytest.raises(IdentityProviderError) as failed:
        HttpRequests(30, is_proxied=False).send("Asking", f"{address}?token=secret")
    assert str(failed.value) == f"Asking at {address} failed: the answer is too large."


@pytest.mark.parametrize("url", ["http://host:port/keys", "http://[::1/keys", "file:///etc/passwd", "", "keys"])
def test_what_is_no_url_of_a_server_is_an_error_of_the_provider(url: str) -> None:
    with pytest.raises(IdentityProviderError, match="is not an http or https URL"):
        HttpRequests(30).send("Asking", url)
