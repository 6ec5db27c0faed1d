"""Helpers of this folder can be imported, and a provider of tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from issuer import Issuer
from keycloak import Keycloak


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An OpenID Connect provider whose keys and answers the test decides."""
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    """Keycloak, with the realm of ``keycloak_realm.json``."""
    server = Keycloak(tmp_path_factory.mktemp("keycloak"))
    server.start()
    yield server
    server.stop()
