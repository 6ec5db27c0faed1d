"""Settings of the remote online store."""

from __future__ import annotations

from typing import Literal

from feast_assets.remote.settings import HttpClientSettings


class RemoteOnlineStoreConfig(HttpClientSettings):
    """The ``online_store`` section of ``feature_store.yaml`` for a store that a feature server has.

    Attributes:
        path: the address of the feature server, which serves the same project.
    """

    type: Literal["remote"] = "remote"
    path: str = "http://localhost:6566"
