"""A feature store whose offline store is an offline server's: what a client may name, functions, and TLS."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast_assets.permissions.permission import Permission
from feast_assets.permissions.policy import RoleBasedPolicy

from feast_assets import FeatureStore, FileSource
from feast_assets.auth.authentication import Authenticator
from feast_assets.auth.identity import Identity
from feast_assets.auth.verifier import TokenVerifier, VerifiedIdentity
from feast_assets.definitions.window import ALWAYS
from feast_assets.errors import InputError, StoreUnavailableError, UnauthenticatedError
from feast_assets.feast_errors import FeastPermissionError
from feast_assets.offline_stores.base import computation_of, history_of
from feast_assets.offline_stores.remote.config import RemoteOfflineStoreConfig
from feast_assets.offline_stores.remote.store import RemoteOfflineStore
from feast_assets.serving.flight.options import OfflineServerOptions
from feast_assets.serving.flight.server import OfflineServer

sys.path.insert(0, str(Path(__file__).parents[2]))

from self_signed import self_signed

DEFINITIONS = """
from datetime import timedelta

from feast_assets import *
from feast_assets.transformation import Transformation

driver = Entity(name="driver", join_keys=["driver_id"])
rides = FileSource(name="rides", path="rides.parquet", timestamp_field="ts")
stats = FeatureView(name="stats", entities=[driver], source=rides, schema=[Field(name="fare", dtype=Float64)])


def doubled(rows):
    return {**rows, "double": [FACTOR * fare for fare in rows["fare"]]}


FACTOR = 2
view = BatchFeatureView(
    name="doubles",
    entities=[driver],
    source=rides,
    schema=[Field(name="double", dtype=Float64)],
    mode="python",
    udf=doubled,
    online=True,
    offline=OFFLINE,
    SINK
)
"""
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def _write(folder: Path, rest: str = "", definitions: str = DEFINITIONS, *, keeps: bool = True) -> Path:
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(f"project: shop\n{rest}")
    sink = 'sink_source=FileSource(name="kept", path="kept", timestamp_field="ts"),' if keeps else ""
    definitions = definitions.replace("OFFLINE", str(keeps)).replace("SINK", sink)
    (folder / "definitions.py").write_text(definitions)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = _write(tmp_path / "served")
    rows = {"driver_id": [1, 2, 2], "fare": [1.0, 2.0, 3.0], "ts": [FIRST, FIRST, datetime(2024, 1, 2, tzinfo=UTC)]}
    pq.write_table(pa.table(rows), folder / "rides.parquet")
    store = FeatureStore(folder)
    store.apply_repository()
    store.close()
    return folder


@pytest.fixture
def server(root: Path) -> Iterator[OfflineServer]:
    store = FeatureStore(root)
    server = OfflineServer(store, OfflineServerOptions(port=0))
    yield server
    server.shutdown()
    store.close()


def _client(folder: Path, root: Path, server: OfflineServer, definitions: str = DEFINITIONS) -> FeatureStore:
    rest = (
        f"registry: {root / 'data' / 'registry.db'}\nonline_store: {{type: sqlite, path: {root / 'online.db'}}}\n"
        f"offline_store: {{type: remote, host: 127.0.0.1, port: {server.port}}}\n"
    )
    return FeatureStore(_write(folder, rest, definitions))


def test_functions_run_in_the_server_and_their_results_are_kept_there(
    root: Path, server: OfflineServer, tmp_path: Path
) -> None:
    # The client's function would give other values, if it ran.
    client = _client(tmp_path / "client", root, server, DEFINITIONS.replace("FACTOR = 2", "FACTOR = 1000"))
    client.materialize_incremental(datetime(2024, 1, 3, tzinfo=UTC))
    read = client.get_online_features(["doubles:double"], {"driver_id": [1, 2]}).to_dict()
    assert read["double"] == [2.0, 6.0]
    assert list((root / "kept").rglob("*.parquet"))
    spine = pd.DataFrame({"driver_id": [2], "event_timestamp": [datetime(2024, 1, 1, 12, tzinfo=UTC)]})
    history = client.get_historical_features(spine, ["doubles:double", "stats:fare"]).to_df()
    assert (history["double"].tolist(), history["fare"].tolist()) == ([4.0], [2.0])
    client.close()


def test_columns_that_came_over_the_wire_lie_where_joins_of_arrow_want_them(
    root: Path, server: OfflineServer, tmp_path: Path
) -> None:
    client = _client(tmp_path / "client", root, server)
    rows = client.offline_store.scan(history_of(client.snapshot().feature_view("stats")), ALWAYS).read_all()
    values = [buffer for column in rows.columns for chunk in column.chunks for buffer in chunk.buffers()[1:] if buffer]
    assert values and [buffer.address % 8 for buffer in values] == [0] * len(values)
    client.close()


def test_a_transformation_other_than_the_servers_is_refused(root: Path, server: OfflineServer, tmp_path: Path) -> None:
    client = _client(tmp_path / "client", root, server)
    view = client.with_function(client.snapshot().feature_view("doubles"))
    computation = computation_of(view)  # type: ignore[arg-type]
    store = client.offline_store
    assert store.scan(computation, ALWAYS).read_all()["double"].to_pylist() == [2.0, 4.0, 6.0]
    assert computation.transformation is not None
    evil = type(computation.transformation).from_spec(
        {**computation.transformation.to_spec(), "udf_string": "def doubled(rows):\n    import os\n"}
    )
    with pytest.raises(InputError, match="has another transformation on the server"):
        store.scan(replace(computation, transformation=evil), ALWAYS)
    client.close()


def test_only_registered_sources_are_read_and_written(root: Path, server: OfflineServer, tmp_path: Path) -> None:
    client = _client(tmp_path / "client", root, server)
    store = client.offline_store
    assert isinstance(store, RemoteOfflineStore)
    history = history_of(client.snapshot().feature_view("stats"))
    assert store.scan(history, ALWAYS).read_all().num_rows == 3
    (secret,) = (FileSource(name="rides", path=path, timestamp_field="ts") for path in ["online.db"])
    stolen = replace(history, sources=(secret,))
    table = pa.table({"driver_id": [1], "fare": [1.0], "ts": [FIRST]})
    for use in (
        lambda: store.schema(secret),
        lambda: store.scan(stolen, ALWAYS),
        lambda: store.latest(stolen, [ALWAYS]),
        lambda: store.statistics(stolen, [ALWAYS]),
        lambda: store.survey(stolen, [ALWAYS]),
        lambda: store.oldest_event(stolen),
        lambda: store.profile(stolen, [ALWAYS]),
        lambda: store.parts(secret),
        lambda: store.row_parts(secret),
        lambda: store.read_alone(history, secret, []),
        lambda: store.read_together(stolen, history.sources[0], []),
        lambda: store.summarize_parts(stolen, secret, [], [], None),
        lambda: store.check_texts(secret, {}),
        lambda: store.write(secret, table),
        lambda: store.check_write(secret, table),
        lambda: store.write_once(secret, table, "k"),
        lambda: store.has_written(secret, table, "k"),
        lambda: store.replace(secret, history, [ALWAYS], store.scan(history, ALWAYS)),
    ):
        with pytest.raises(InputError, match="'rides' is not registered in project 'shop' as this client names it"):
            use()
    # A client that applies a new source is told; the same source works once it is registered.
    new = DEFINITIONS.replace('path="rides.parquet"', 'path="./rides.parquet"')
    (tmp_path / "client" / "definitions.py").write_text(new.replace("OFFLINE", "False").replace("SINK", ""))
    with pytest.raises(InputError, match="--unregistered-sources"):
        client.apply_repository()
    client.close()


def test_tls_and_certificates_of_clients(root: Path, tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    store = FeatureStore(root)
    options = OfflineServerOptions(
        port=0, tls_key_path=str(key), tls_cert_path=str(certificate), client_ca_path=str(certificate)
    )
    server = OfflineServer(store, options)
    assert server.url.startswith("grpc+tls://127.0.0.1:")
    source = store.get_data_source("rides")

    def client(**settings: str) -> RemoteOfflineStore:
        config = RemoteOfflineStoreConfig(
            host="127.0.0.1", port=server.port, scheme="https", connection_retries=0, timeout_seconds=30, **settings
        )
        return RemoteOfflineStore(config, tmp_path)

    mutual = client(cert=str(certificate), client_cert=str(certificate), client_key=str(key))
    assert mutual.schema(source).names == ["driver_id", "fare", "ts"]
    for refused in (client(cert=str(certificate)), client()):
        with pytest.raises(StoreUnavailableError, match="cannot be used"):
            refused.schema(source)
        refused.close()
    mutual.close()
    server.shutdown()
    store.close()


class Tokens:
    """Gives one token."""

    def __init__(self, token: str):
        self._token = token

    def token(self) -> str:
        return self._token

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def refused(self, token: str) -> bool:
        return False


class KnownToken(TokenVerifier):
    """Knows one token: that of somebody without any right."""

    def verify(self, token: str) -> VerifiedIdentity:
        if token != "good":
            raise UnauthenticatedError("Invalid or expired access token")
        return VerifiedIdentity(Identity("ann"), 60)


def test_calls_act_for_who_sends_their_token(root: Path, server: OfflineServer, tmp_path: Path) -> None:
    server._authenticator = Authenticator(KnownToken())
    owner = FeatureStore(root)
    source = owner.get_data_source("rides")

    def client(token: str = "") -> RemoteOfflineStore:
        store = RemoteOfflineStore(RemoteOfflineStoreConfig(host="127.0.0.1", port=server.port), tmp_path)
        if token:
            store.send_tokens(Tokens(token))  # type: ignore[arg-type]
        return store

    clients = [client("good"), client("bad"), client()]
    good, bad, nobody = clients
    assert good.schema(source).names == ["driver_id", "fare", "ts"], "as nobody has declared permissions"
    for refused in (bad, nobody):
        with pytest.raises(UnauthenticatedError):
            refused.schema(source)
        with pytest.raises(UnauthenticatedError):
            refused.scan(history_of(owner.snapshot().feature_view("stats")), ALWAYS)
    owner.apply(Permission(name="some", name_patterns=["stats"], policy=RoleBasedPolicy(roles=["reader"])))
    server._feast._store.refresh_registry()
    with pytest.raises(FeastPermissionError, match="'ann' may not READ_OFFLINE"):
        good.schema(source)
    for each in clients:
        each.close()
    owner.close()
