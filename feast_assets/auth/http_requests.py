"""Requests to identity providers and the Kubernetes API: few and small, so that Python's own client does."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from feast_assets.errors import ConfigError, IdentityProviderError, printable

_LARGEST_ANSWER = 4 * 2**20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected request would send the secret in its body or headers to another place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class HttpRequests:
    """Sends requests with a timeout, and with verified TLS.

    Args:
        seconds: how long an answer is waited for.
        verify: whether certificates are verified.
        ca_path: a PEM file with authorities to trust beside those of the system; "" for none.
        is_proxied: whether the proxy that the environment names is used.

    Raises:
        ConfigError: there is no such PEM file, or it is none.
    """

    def __init__(self, seconds: float, *, verify: bool = True, ca_path: str = "", is_proxied: bool = True):
        self._seconds = seconds
        context = ssl.create_default_context()
        if ca_path and verify:
            try:
                context.load_verify_locations(ca_path)
            except OSError as error:
                raise ConfigError(f"The certificates in {Path(ca_path)} cannot be used: {printable(error)}.") from None
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        handlers = [urllib.request.HTTPSHandler(context=context), _NoRedirects()]
        if not is_proxied:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def send(
        self,
        purpose: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Returns the status and the body of the answer; any status is an answer.

        Args:
            purpose: what is asked for, for messages.
            body: sent by POST; without one it is a GET.

        Raises:
            IdentityProviderError: there is no answer, or it is too large. Holds neither body nor headers.
        """
        shown_url = _without_query(url)
        if not shown_url:
            raise IdentityProviderError(f"{purpose}: {printable(url, 200)!r} is not an http or https URL.")
        request = urllib.request.Request(url, data=body, headers=dict(headers or {}))  # noqa: S310 - checked above
        try:
            try:
                answer = self._opener.open(request, timeout=self._seconds)
            except urllib.error.HTTPError as refused:
                answer = refused
            with answer:
                return int(answer.status), self._read(answer)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise IdentityProviderError(f"{purpose} at {shown_url} failed: {printable(reason, 300)}.") from None

    def get_json(self, purpose: str, url: str, headers: Mapping[str, str] | None = None) -> dict[str, object]:
        """Returns the JSON object at a URL.

        Raises:
            IdentityProviderError: there is no answer, its status is not 200, or it is no JSON object.
        """
        status, body = self.send(purpose, url, headers=headers)
        if status != 200:
            raise IdentityProviderError(f"{purpose} at {_without_query(url)} was answered with status {status}.")
        return json_object(purpose, body)

    @staticmethod
    def _read(answer: IO[bytes]) -> bytes:
        body = answer.read(_LARGEST_ANSWER + 1)
        if len(body) > _LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        return body


def json_object(purpose: str, body: bytes) -> dict[str, object]:
    """Returns an answer as a JSON object.

    Raises:
        IdentityProviderError: it is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise IdentityProviderError(f"{purpose}: the answer is not a JSON object.")
    return value


def _without_query(url: str) -> str:
    """Returns a URL without what may be secret in it; "" where it is no http or https URL."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}" if parts.scheme in ("http", "https") else ""
