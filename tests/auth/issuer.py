"""An OpenID Connect provider whose keys and answers a test decides, to forge what no real one would give.

A real one, Keycloak, is in ``test_keycloak.py``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "feature-store"
RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]


class Key:
    """A pair of keys; the public one may be published.

    Attributes:
        key_id: ``kid``.
        algorithm: that tokens are signed with.
    """

    def __init__(self, key_id: str, private: Any, algorithm: str = "RS256"):
        self.key_id, self.private, self.algorithm = key_id, private, algorithm

    @classmethod
    def rsa(cls, key_id: str, number: int = 0) -> Key:
        return cls(key_id, RSA_KEYS[number])

    @classmethod
    def curve(cls, key_id: str, curve: ec.EllipticCurve, algorithm: str) -> Key:
        return cls(key_id, ec.generate_private_key(curve), algorithm)

    @classmethod
    def edwards(cls, key_id: str) -> Key:
        return cls(key_id, ed25519.Ed25519PrivateKey.generate(), "EdDSA")

    @property
    def public(self) -> dict[str, Any]:
        """The public key as a set of keys has it."""
        if self.algorithm.startswith(("RS", "PS")):
            described = jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key())
        elif self.algorithm == "EdDSA":
            described = jwt.algorithms.OKPAlgorithm.to_jwk(self.private.public_key())
        else:
            described = jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key())
        return {**json.loads(described), "kid": self.key_id, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key as anybody can make it of the published one."""
        pem: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem


class Issuer:
    """The provider.

    Attributes:
        keys: what it publishes.
        published: the set of keys instead, as it is.
        requests: the paths that it was asked for.
        forms: what was sent to its token endpoint.
        answers: path -> (status, body) instead of what it would answer.
        released: while not set, nothing is answered.
    """

    def __init__(self) -> None:
        self.keys = [Key.rsa("first")]
        self.published: Any = None
        self.requests: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.released = threading.Event()
        self.released.set()
        self.token_seconds = 300
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer._answer(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def discovery_url(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def settings(self, **more: Any) -> dict[str, Any]:
        """Returns the section auth of a server."""
        return {
            "type": "oidc",
            "auth_discovery_url": self.discovery_url,
            "client_id": AUDIENCE,
            "audience": AUDIENCE,
            **more,
        }

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Returns the claims of a valid token; None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": [AUDIENCE, "account"],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "sub": "1234",
            "preferred_username": "ann",
            "resource_access": {AUDIENCE: {"roles": ["reader"]}, "other": {"roles": ["admin"]}},
            "groups": ["pricing"],
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key: Key | None = None, headers: dict[str, Any] | None = None, **changed: Any) -> str:
        """Returns a token that a key, left out the first one, has signed."""
        key = key or self.keys[0]
        return jwt.encode(
            self.claims(**changed), key.private, algorithm=key.algorithm, headers={"kid": key.key_id, **(headers or {})}
        )

    def count(self, path: str) -> int:
        return self.requests.count(path)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(request.path)
        form = request.rfile.read(int(request.headers.get("content-length", 0))).decode()
        if form:
            self.forms.append({name: values[0] for name, values in parse_qs(form).items()})
        self.released.wait(60)
        status, body = self.answers.get(request.path) or (200, json.dumps(self._document(request.path)).encode())
        try:
            request.send_response(status)
            if status in (301, 302, 307, 308):
                request.send_header("location", body.decode())
                body = b""
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # The client did not wait.

    def _document(self, path: str) -> Any:
        if path == "/keys":
            return self.published if self.published is not None else {"keys": [key.public for key in self.keys]}
        if path == "/token":
            token = self.token(exp=int(time.time()) + self.token_seconds, jti=str(len(self.forms)))
            return {"access_token": token, "expires_in": self.token_seconds, "token_type": "Bearer"}
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "token_endpoint": f"{self.url}/token"}


def part(value: dict[str, Any]) -> str:
    """Returns a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """Returns a token that PyJWT would not make: signed with a secret by HS256, or not at all."""
    signed = f"{part(header)}.{part(claims)}"
    if secret is None:
        return f"{signed}."
    signature = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
