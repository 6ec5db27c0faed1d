"""What a client sends to a server, so that it is known there."""

from __future__ import annotations

import base64
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from time import time
from urllib.parse import urlencode

from feast_assets.auth.discovery import discovery_of, requests_of
from feast_assets.auth.http_requests import json_object
from feast_assets.auth.refreshed import Refreshed
from feast_assets.auth.settings import AuthConfig, KubernetesAuthConfig, OidcClientAuthConfig
from feast_assets.errors import ConfigError, IdentityProviderError, printable

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes puts the token of a pod's service account."""

OIDC_VARIABLE = "FEAST_OIDC_TOKEN"
KUBERNETES_VARIABLE = "LOCAL_K8S_TOKEN"


class ClientTokens(ABC):
    """Gives the token that requests carry. Safe to share between threads."""

    @abstractmethod
    def token(self) -> str:
        """Returns a token that is valid now.

        Raises:
            ConfigError: there is none; says where one may be put.
            IdentityProviderError: the identity provider gives none now.
        """

    def refused(self, token: str) -> bool:
        """Notes that a server did not take a token.

        Returns:
            whether `token` may now return another one, so that the request is worth a second try.
        """
        return False

    def headers(self) -> dict[str, str]:
        """Returns the HTTP header, or the metadata of gRPC and Arrow Flight, that carries the token."""
        return {"authorization": f"Bearer {self.token()}"}


class SendsTokens(ABC):
    """A backend that talks to a server which wants to know its callers. Whoever makes it from a configuration hands it
    the tokens before it is used."""

    @abstractmethod
    def send_tokens(self, tokens: ClientTokens) -> None:
        """From now on, sends a token with every request."""


def client_tokens(config: AuthConfig) -> ClientTokens | None:
    """Returns what gives the tokens that a client with these settings sends; None where it sends none."""
    if isinstance(config, OidcClientAuthConfig) and config.client_secret is not None:
        return ProviderTokens(config)
    if isinstance(config, OidcClientAuthConfig):
        return GivenTokens(lambda: _oidc_token(config))
    if isinstance(config, KubernetesAuthConfig):
        return GivenTokens(lambda: _kubernetes_token(config))
    if config.type == "oidc":
        # The settings of a server; a client with the same file has its token in the environment.
        return GivenTokens(lambda: _oidc_token(None))
    return None


class GivenTokens(ClientTokens):
    """Tokens that are put into a setting, the environment, or a file, and looked up again for each request: Kubernetes
    replaces the file before its token expires."""

    def __init__(self, find: Callable[[], str]):
        self._find = find

    def token(self) -> str:
        """Returns the token that is there now."""
        return self._find()

    def refused(self, token: str) -> bool:
        """Returns whether there is another token by now."""
        return self._find() != token


class ProviderTokens(ClientTokens):
    """Tokens that the identity provider gives for a client's secret, or for a user's password.

    A token is used until shortly before it expires.
    """

    def __init__(self, config: OidcClientAuthConfig):
        self._config = config
        self._requests = requests_of(config)
        self._discovery = discovery_of(config, self._requests)
        self._token = Refreshed(self._new)

    def token(self) -> str:
        """Returns the token, or a new one where it is about to expire."""
        return self._token.get()

    def refused(self, token: str) -> bool:
        """Forgets the token: the provider may have withdrawn it."""
        self._token.forget()
        return True

    def _new(self) -> tuple[str, float]:
        config = self._config
        assert config.client_secret is not None
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_id or "",
            "client_secret": config.client_secret.get_secret_value(),
        }
        if config.username and config.password is not None:
            form |= {
                "grant_type": "password",
                "username": config.username,
                "password": config.password.get_secret_value(),
            }
        purpose = f"Asking the identity provider for a token of client {config.client_id!r}"
        status, body = self._requests.send(
            purpose,
            self._discovery.text("token_endpoint"),
            urlencode(form).encode(),
            {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
        )
        if status != 200:
            reason = _error_code(body)
            raise IdentityProviderError(
                f"{purpose} was answered with status {status}{f' ({reason})' if reason else ''}. Check client_id, "
                "client_secret, username and password in the section auth, and that the provider allows "
                f"{form['grant_type']}."
            )
        answer = json_object(purpose, body)
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise IdentityProviderError(f"{purpose}: the answer has no access_token.")
        lasts = _expiry(token, answer.get("expires_in")) - time() - config.token_refresh_margin_seconds
        return token, max(lasts, 0.0)


def _oidc_token(config: OidcClientAuthConfig | None) -> str:
    if config is not None and config.token is not None:
        return config.token.get_secret_value()
    variable = OIDC_VARIABLE if config is None or not config.token_env_var else config.token_env_var
    if token := os.environ.get(variable, "").strip():
        return token
    if variable != OIDC_VARIABLE:
        raise ConfigError(f"auth.token_env_var names the environment variable {variable}, which is not set, or empty.")
    if token := _file_token():
        return token
    raise ConfigError(
        "The server wants a token, and there is none: set the environment variable FEAST_OIDC_TOKEN, or one of token, "
        "token_env_var and client_secret (with client_id and auth_discovery_url) in the section auth."
    )


def _kubernetes_token(config: KubernetesAuthConfig) -> str:
    if config.user_token is not None:
        return config.user_token.get_secret_value()
    token = _file_token() or os.environ.get(KUBERNETES_VARIABLE, "").strip()
    if token:
        return token
    raise ConfigError(
        "The server wants a token of Kubernetes, and there is none: run in a pod, set the environment variable "
        f"{KUBERNETES_VARIABLE}, or user_token in the section auth."
    )


def _file_token() -> str:
    try:
        return SERVICE_ACCOUNT_TOKEN.read_text().strip()
    except OSError:
        return ""


def _error_code(body: bytes) -> str:
    """Returns the code of an OAuth2 error, such as ``invalid_client``; the rest of the answer may quote what was
    sent."""
    try:
        code = json_object("", body).get("error")
    except IdentityProviderError:
        return ""
    return printable(code, 60) if isinstance(code, str) else ""


def _expiry(token: str, expires_in: object) -> float:
    """Returns when a token expires, in seconds since the epoch; 0 where nobody says: it is used once."""
    parts = token.split(".")
    if len(parts) == 3:
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            return float(claims["exp"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            pass
    if isinstance(expires_in, int | float) and not isinstance(expires_in, bool):
        return time() + float(expires_in)
    return 0.0
