"""The discovery document of an OpenID Connect provider."""

from __future__ import annotations

from feast_assets.auth.http_requests import HttpRequests
from feast_assets.auth.refreshed import Refreshed
from feast_assets.auth.settings import OidcAuthConfig
from feast_assets.errors import IdentityProviderError

_WHAT = "Reading the discovery document of the identity provider"


class Discovery:
    """What a provider says of itself, read when it is first needed, and again after a time.

    Args:
        url: of the document.
        lifespan_seconds: after which it is read again.
    """

    def __init__(self, url: str, requests: HttpRequests, lifespan_seconds: float):
        self._document = Refreshed(lambda: (requests.get_json(_WHAT, url), lifespan_seconds))

    def text(self, name: str) -> str:
        """Returns an entry of the document, such as ``jwks_uri``.

        Raises:
            IdentityProviderError: the document cannot be read, or has no such entry.
        """
        value = self._document.get().get(name)
        if not isinstance(value, str) or not value:
            raise IdentityProviderError(f"{_WHAT}: it has no {name!r}; check auth.auth_discovery_url.")
        return value


def discovery_of(config: OidcAuthConfig, requests: HttpRequests) -> Discovery:
    """Returns the discovery document that the settings name."""
    return Discovery(config.auth_discovery_url, requests, config.jwks_cache_lifespan_seconds)


def requests_of(config: OidcAuthConfig) -> HttpRequests:
    """Returns what sends requests to the provider as the settings say."""
    return HttpRequests(config.jwks_request_timeout_seconds, verify=config.verify_ssl, ca_path=config.ca_cert_path)
