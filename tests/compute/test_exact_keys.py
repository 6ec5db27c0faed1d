"""Keys that would be rounded are refused wherever they are handed in, and change nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feast_assets import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Int64,
    PushMode,
    PushSource,
    UnixTimestamp,
)
from feast_assets.errors import FeastAssetsError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2024, 1, 2, tzinfo=UTC)


def store_of(tmp_path, keys, dtype=Int64):
    rows = pa.table({"id": keys, "ts": pa.array([NOON] * len(keys)), "v": list(range(10, 10 + len(keys)))})
    pq.write_table(rows, tmp_path / "s.parquet")
    (tmp_path / "feature_store.yaml").write_text("project: p\nregistry: registry.db\nonline_store: sqlite\n")
    store = FeatureStore(tmp_path)
    entity = Entity(name="e", join_keys=["id"])
    source = FileSource(name="s", path="s.parquet", timestamp_field="ts")
    view = FeatureView(
        name="v",
        entities=[entity],
        schema=[Field(name="id", dtype=dtype), Field(name="v", dtype=Int64)],
        source=PushSource(name="live", batch_source=source),
    )
    store.apply([entity, view])
    return store


def online(store, *keys):
    return store.get_online_features(["v:v"], [{"id": key} for key in keys]).to_dict()["v"]


def history(store, keys):
    entities = pd.DataFrame({"id": keys, "event_timestamp": [LATER] * len(keys)})
    return store.get_historical_features(entities, ["v:v"]).to_arrow().column("v").to_pylist()


def test_whole_decimals_of_a_warehouse_are_integer_keys(tmp_path):
    store = store_of(tmp_path, pa.array([Decimal("1.00"), Decimal("2.00")], pa.decimal128(10, 2)))
    store.materialize_incremental(LATER)
    assert online(store, 1, 2) == [10, 11] == history(store, [1, 2])


def test_epoch_seconds_are_timestamp_keys_online_and_in_history(tmp_path):
    store = store_of(tmp_path, pa.array([0, 86400]), UnixTimestamp)
    store.materialize_incremental(LATER)
    days = [datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC)]
    assert online(store, *days) == [10, 11] == history(store, days)


ROUNDED = [2.0**53, 2.5, True, Decimal("2.5"), 2**63, np.float32(2**24), "2.5", b"2"]


@pytest.mark.parametrize("key", ROUNDED, ids=repr)
def test_a_key_that_would_be_rounded_is_refused_in_requests_and_pushes(tmp_path, key):
    store = store_of(tmp_path, pa.array([2**53, 2]))
    store.materialize_incremental(LATER)
    before = (tmp_path / "s.parquet").read_bytes()
    calls = [
        lambda: online(store, key),
        lambda: store.get_online_features(["v:v"], {"id": [key]}),
        lambda: history(store, [key]),
        lambda: store.push("live", {"id": [key], "v": [1], "ts": [LATER]}),
        lambda: store.push("live", {"id": [key], "v": [1], "ts": [LATER]}, to=PushMode.OFFLINE),
    ]
    for call in calls:
        with pytest.raises(FeastAssetsError, match="id"):
            call()
    assert online(store, 2, 2**53) == [11, 10]
    assert (tmp_path / "s.parquet").read_bytes() == before


def test_ids_that_pandas_has_rounded_beside_a_missing_one_are_refused(tmp_path):
    store = store_of(tmp_path, pa.array([2**53, 2]))
    with pytest.raises(FeastAssetsError, match="several integers"):
        history(store, [2**53 + 1, None])


@pytest.mark.parametrize(
    "key", [np.datetime64("2024-01-01T00:00:00.000000001"), pd.Timestamp(1), 0.5, "2024-01-01T00:00:00.0000001Z"]
)
def test_a_moment_finer_than_microseconds_is_no_timestamp_key(tmp_path, key):
    store = store_of(tmp_path, pa.array([NOON]), UnixTimestamp)
    with pytest.raises(FeastAssetsError, match="id"):
        online(store, key)
    with pytest.raises(FeastAssetsError, match="id"):
        history(store, [key])


@pytest.mark.parametrize("text", ["2.5", "1e3", "9223372036854775808", "true"])
def test_the_command_line_takes_no_rounded_keys(tmp_path, text):
    from feast_assets.cli.main import cli

    store_of(tmp_path, pa.array([1, 2]))
    found = CliRunner().invoke(cli, ["-c", str(tmp_path), "get-online-features", "-f", "v:v", "-e", f"id={text}"])
    assert found.exit_code == 1
    assert "id" in found.output
