"""The section ``auth`` of ``feature_store.yaml``: how servers know their callers, and what clients send."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from feast_assets.settings.model import Settings

AUTH_TYPES = ("no_auth", "oidc", "kubernetes")

_CLIENT_KEYS = ("client_secret", "token", "token_env_var", "username", "password")
_LONGEST_WAIT_SECONDS = 300.0
_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def _variable(value: object) -> object:
    """Returns the name of an environment variable; what is none may be the token, and is not shown."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and text and not _VARIABLE.fullmatch(text):
        raise ValueError("must be the name of an environment variable; its value is not shown, as it may be a token")
    return text


class AuthConfig(Settings):
    """What all kinds have.

    Args:
        type: ``no_auth``, ``oidc`` or ``kubernetes``.
    """

    type: Literal["no_auth", "oidc", "kubernetes"] = "no_auth"


class NoAuthConfig(AuthConfig):
    """Callers are not known, and nothing is checked."""

    type: Literal["no_auth"] = "no_auth"


class OidcAuthConfig(AuthConfig):
    """Callers send access tokens of an OpenID Connect provider.

    Args:
        auth_discovery_url: the provider's discovery document, which ends in ``/.well-known/openid-configuration``.
        client_id: whose roles count: those in ``resource_access.<client_id>.roles`` of a token, and those in ``roles``.
        ui_client_id: Feast's; without effect, as there is no UI here.
        verify_ssl: whether the provider's certificate is verified.
        ca_cert_path: a PEM file with the authorities that are trusted, beside those of the system.
        audience: what ``aud`` of a token must be or contain. Left out, it is not verified, and a token for another
            service of the same provider is taken as well.
        issuer: what ``iss`` of a token must be; the discovery document's ``issuer`` when left out.
        jwks_cache_lifespan_seconds: after which the provider's keys are read again, so that a key that it withdrew is
            refused.
        jwks_request_timeout_seconds: how long the provider is waited for.
    """

    type: Literal["oidc"] = "oidc"
    auth_discovery_url: str
    client_id: str | None = None
    ui_client_id: str | None = None
    verify_ssl: bool = True
    ca_cert_path: str = ""
    audience: str | None = None
    issuer: str | None = None
    jwks_cache_lifespan_seconds: int = Field(default=300, gt=0)
    jwks_request_timeout_seconds: float = Field(default=10, gt=0, le=_LONGEST_WAIT_SECONDS)

    @field_validator("auth_discovery_url")
    @classmethod
    def _a_url(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().startswith(("https://", "http://")):
            raise ValueError("must be a URL that begins with https:// or http://")
        return value


class OidcClientAuthConfig(OidcAuthConfig):
    """As a client: where the token comes from that is sent. Without any of these, the environment variable
    ``FEAST_OIDC_TOKEN``, or the pod's service account.

    Args:
        token: the token itself.
        token_env_var: the environment variable that holds it.
        client_secret: with ``client_id``, to ask the provider for a token (client credentials).
        username, password: with ``client_secret``, to ask for the token of a user.
        token_refresh_margin_seconds: a token is not used in its last seconds.
    """

    auth_discovery_url: str | None = None  # type: ignore[assignment]
    client_secret: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    token_env_var: Annotated[str | None, BeforeValidator(_variable)] = None
    token_refresh_margin_seconds: float = Field(default=30, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> OidcClientAuthConfig:
        asks: tuple[object, ...] = (self.client_secret, self.auth_discovery_url, self.client_id)
        if self.username or self.password:
            asks += (self.username, self.password)
        # A server's settings have the last two of the first three as well.
        if (self.client_secret or self.username or self.password) and not all(asks):
            raise ValueError(
                "to ask the provider for a token, give client_secret, auth_discovery_url and client_id, and for that "
                "of a user also username and password"
            )
        given = [
            name
            for name, is_given in (
                ("token", self.token),
                ("token_env_var", self.token_env_var),
                ("client_secret", self.client_secret),
            )
            if is_given
        ]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}")
        return self


class KubernetesAuthConfig(AuthConfig):
    """Callers send the token of a Kubernetes service account or user.

    Args:
        user_token: as a client: the token to send; left out, that of the pod's service account, or the environment
            variable ``LOCAL_K8S_TOKEN``.
    """

    type: Literal["kubernetes"] = "kubernetes"
    user_token: SecretStr | None = None


def auth_model(values: Mapping[str, Any]) -> type[AuthConfig]:
    """Returns the class of the settings that a section has.

    Raises:
        ValueError: it names no known type.
    """
    kind = values.get("type", "no_auth")
    if kind == "no_auth":
        return NoAuthConfig
    if kind == "kubernetes":
        return KubernetesAuthConfig
    if kind == "oidc":
        is_client = any(values.get(key) for key in _CLIENT_KEYS) or not values.get("auth_discovery_url")
        return OidcClientAuthConfig if is_client else OidcAuthConfig
    raise ValueError(f"auth.type must be one of {', '.join(AUTH_TYPES)}")
