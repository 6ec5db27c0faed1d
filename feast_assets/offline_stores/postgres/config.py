"""Settings of the Postgres offline store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from feast_assets.settings.model import PlainPath, Settings


class PostgresOfflineStoreConfig(Settings):
    """The ``offline_store`` section of ``feature_store.yaml`` for Postgres.

    Attributes:
        host: a name or an address; a path is the folder of a socket.
        db_schema: where tables without a schema are looked for, and made.
        sslmode: as libpq has it: "disable", "allow", "prefer", "require", "verify-ca" or "verify-full".
        sslkey_path, sslcert_path, sslrootcert_path: the client's key and certificate, and the server's authority.
        keepalives_idle: seconds without traffic until the connection is checked.
        max_conn: connections that are kept for the next call.
        entity_query_timeout_seconds: how long a query that a caller gives as ``entity_df`` may run.
        entity_query_role: a role that such a query runs as, which the user must be a member of. Left out, the user.
        readable_tables: tables that such a query may read beside those of the project's data sources, as ``table`` or
            ``schema.table``.
    """

    feast_keys: ClassVar[Mapping[str, object]] = {
        "min_conn": 1,
        "conn_type": "singleton",
        "entity_select_mode": "temp_table",
    }

    type: Literal["postgres"] = "postgres"
    host: str
    port: int = Field(default=5432, gt=0, lt=65536)
    database: str
    db_schema: str = Field(default="public", min_length=1)
    user: str
    password: SecretStr = SecretStr("")
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "require"
    sslkey_path: PlainPath | None = None
    sslcert_path: PlainPath | None = None
    sslrootcert_path: PlainPath | None = None
    keepalives_idle: int | None = Field(default=None, gt=0)
    max_conn: int = Field(default=10, gt=0)
    entity_query_timeout_seconds: float = Field(default=300, gt=0)
    entity_query_role: str | None = None
    readable_tables: list[str] = []

    def uri(self) -> str:
        """Returns what libpq connects with, the password included."""
        options = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user,
            "password": self.password.get_secret_value() or None,
            "sslmode": self.sslmode,
            "sslkey": self.sslkey_path,
            "sslcert": self.sslcert_path,
            "sslrootcert": self.sslrootcert_path,
            "keepalives_idle": self.keepalives_idle,
            "connect_timeout": 10,
            "application_name": "feast-assets",
        }
        given = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in options.items() if value is not None)
        return f"postgresql:///?{given}"
