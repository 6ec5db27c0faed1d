"""A stream of a view with aggregations: consumed into history, computed by materialization."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from feast_assets import (
    Aggregation,
    Entity,
    FeatureStore,
    Field,
    FileSource,
    FileStreamSource,
    Float64,
    Int64,
    JsonFormat,
    PushMode,
    RepoConfig,
    StreamFeatureView,
)
from feast_assets.errors import InputError


def test_messages_become_history_and_windows_are_computed_of_it(tmp_path):
    now = datetime.now(UTC)
    stream = FileStreamSource(
        name="live",
        path="stream",
        timestamp_field="at",
        message_format=JsonFormat("user_id bigint, at timestamp, amount double"),
        batch_source=FileSource(name="purchases", path="purchases", timestamp_field="at"),
    )
    user = Entity(name="user", join_keys=["user_id"])
    view = StreamFeatureView(
        name="spending",
        entities=[user],
        source=stream,
        schema=[Field(name="user_id", dtype=Int64), Field(name="amount", dtype=Float64)],
        aggregations=[
            Aggregation("amount", "sum", timedelta(hours=1)),
            Aggregation("amount", "max", timedelta(days=1)),
        ],
        timestamp_field="at",
    )
    store = FeatureStore(tmp_path, RepoConfig(project="s", registry="r.db", provider="local", online_store="sqlite"))
    (tmp_path / "stream").mkdir()
    sent = [(1, 10, 2.0), (1, 300, 9.0), (2, 20, 4.0)]
    lines = [
        json.dumps({"user_id": u, "at": (now - timedelta(minutes=m)).isoformat(), "amount": a}) for u, m, a in sent
    ]
    (tmp_path / "stream" / "a.jsonl").write_text("\n".join(lines) + "\n")
    store.apply([user, view])
    with pytest.raises(InputError, match="has aggregations, are computed of history"):
        store.consume(["spending"], to=PushMode.ONLINE, stop_at_end=True)
    store.consume(["spending"], to=PushMode.ONLINE_AND_OFFLINE, stop_at_end=True)
    store.materialize_incremental(now)
    features = ["spending:sum_amount_3600s", "spending:max_amount_86400s"]
    assert store.get_online_features(features, {"user_id": [1, 2]}).to_dict() == {
        "user_id": [1, 2],
        "sum_amount_3600s": [2.0, 4.0],
        "max_amount_86400s": [9.0, 4.0],
    }
    with pytest.raises(InputError, match="has aggregations"):
        store.write_to_online_store("spending", {"user_id": [1], "at": [now], "amount": [1.0]})
    store.close()
