"""Helper modules of these tests, and a store that several of them share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def postgres_store(postgres_server):
    """An offline store on the database ``postgres`` of the session's server, which all tests share."""
    from feast_assets.offline_stores.postgres.config import PostgresOfflineStoreConfig
    from feast_assets.offline_stores.postgres.store import PostgresOfflineStore
    from feast_assets.settings.server_url import parse_server_url

    url = parse_server_url(postgres_server)
    config = PostgresOfflineStoreConfig(
        host=url.host, port=url.port, database="postgres", user=url.username, password=url.password, sslmode="disable"
    )
    return PostgresOfflineStore(config, Path.cwd())
