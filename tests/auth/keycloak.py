"""Keycloak, as a process of the test session."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

VERSION = "26.7.3"
REALM = Path(__file__).parent / "keycloak_realm.json"
CLIENT, SECRET = "feature-store", "the secret of the service"
USER, PASSWORD = "ann", "ann's password"
_SECONDS_TO_START = 300


class Keycloak:
    """A server with the realm of the tests, in a copy of the database that scripts/install-test-servers has made.

    Attributes:
        url: where it is; "" until it has started.
    """

    def __init__(self, directory: Path):
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = Path(os.environ.get("FEAST_ASSETS_TEST_SERVERS") or Path(cache) / "feast-assets-test-servers")
        self._home = folder / f"keycloak-{VERSION}-{hashlib.sha256(REALM.read_bytes()).hexdigest()[:12]}"
        if shutil.which("java") is None or not self._home.is_dir():
            pytest.skip("keycloak is not installed")
        self._directory = directory
        self._server: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def discovery_url(self) -> str:
        return f"{self.url}/realms/features/.well-known/openid-configuration"

    def settings(self, **more: Any) -> dict[str, Any]:
        """Returns the section auth of a server."""
        return {
            "type": "oidc",
            "auth_discovery_url": self.discovery_url,
            "client_id": CLIENT,
            "audience": CLIENT,
            **more,
        }

    def start(self) -> None:
        shutil.copy(self._home / "realm.mv.db", self._directory / "realm.mv.db")
        log = self._directory / "log"
        environment = {
            **os.environ,
            "KC_DB_URL": f"jdbc:h2:file:{self._directory / 'realm'};NON_KEYWORDS=VALUE",
            "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        }
        script = self._home / f"keycloak-{VERSION}" / "bin" / "kc.sh"
        options = ["--optimized", "--http-enabled=true", "--http-host=127.0.0.1", "--http-port=0"]
        command = ["sh", str(script), "start", *options, "--hostname-strict=false"]
        with log.open("wb") as output:
            self._server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        deadline = time.monotonic() + _SECONDS_TO_START
        while not (listening := re.search(r"Listening on: (http://127\.0\.0\.1:[1-9]\d*)", log.read_text())):
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"Keycloak did not start: {log.read_text()[-4000:]}")
            time.sleep(0.1)
        self.url = listening[1]

    def stop(self) -> None:
        """Ends the server; its script passes the signal on, and waits for it."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(60)
