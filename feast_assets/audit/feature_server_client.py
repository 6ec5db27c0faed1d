"""Reads features from a feature server over HTTP: Feast's own, or one of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http.client import BadStatusLine, HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from feast_assets.errors import InputError, StoreUnavailableError
from feast_assets.settings.server_url import masked_url, parse_server_url

_SECONDS = 60.0
_MOST_BYTES = 1 << 28
_SHOWN = 500


class _NoRedirects(HTTPRedirectHandler):
    """A token must not go to where a server sends it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class FeatureServerClient:
    """A feature server.

    Args:
        url: such as ``http://localhost:6566``.
        token: sent as bearer token; "" for none.

    Raises:
        InputError: the URL is none of HTTP.
    """

    def __init__(self, url: str, token: str = ""):
        parsed = parse_server_url(url)
        if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError("The URL of a feature server is http://host:port or https://host:port, without a login.")
        if parsed.username is not None:
            raise InputError("The URL of a feature server has no login in it; give a token.")
        self._url = url.rstrip("/")
        self._token = token
        self._opener = build_opener(_NoRedirects())

    def online_features(
        self,
        entities: Mapping[str, Sequence[object]],
        *,
        features: Sequence[str] = (),
        service: str = "",
    ) -> dict[str, Any]:
        """Returns the server's answer, with full names of features.

        Args:
            entities: join keys and request data: name -> one value for each entity, in JSON's terms.
            service: name of a feature service, instead of features.

        Raises:
            InputError: the server refuses the request.
            StoreUnavailableError: it does not answer.
        """
        chosen: dict[str, object] = {"feature_service": service} if service else {"features": list(features)}
        body = json.dumps({**chosen, "entities": entities, "full_feature_names": True}).encode()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = Request(f"{self._url}/get-online-features", body, headers)  # noqa: S310 - checked to be HTTP
        shown = masked_url(self._url)
        try:
            with self._opener.open(request, timeout=_SECONDS) as response:
                answer = json.loads(response.read(_MOST_BYTES))
        except HTTPError as error:
            with error:
                detail = error.read(_SHOWN).decode(errors="replace").strip()
            raise InputError(f"The feature server {shown} refuses with status {error.code}: {detail}") from None
        except BadStatusLine as error:
            raise StoreUnavailableError(
                f"The feature server {shown} does not speak HTTP. Servers by gRPC cannot be compared with."
            ) from error
        except (URLError, OSError, HTTPException) as error:
            raise StoreUnavailableError(f"The feature server {shown} does not answer: {error}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"The feature server {shown} does not answer with JSON.") from error
        if not isinstance(answer, dict):
            raise InputError(f"The feature server {shown} does not answer as Feast's does.")
        return answer
