"""Run with Feast's own Python: uses Feast's SDK with the online store ``remote`` and a token, and prints what it gets.

    python feast_client.py FOLDER URL AUTH [TOKEN...]

AUTH is the section ``auth`` as JSON; each TOKEN is put into the environment in turn.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource
from feast.data_source import PushMode
from feast.types import Float64, Int64


def main(folder: str, url: str, auth: str, *tokens: str) -> None:
    root = Path(folder)
    settings = "project: guarded\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
    (root / "feature_store.yaml").write_text(settings)
    rider = Entity(name="rider", join_keys=["id"])
    rows = pd.DataFrame({"id": [7], "fare": [7.5], "at": pd.to_datetime(["2024-01-02"], utc=True)})
    rows.to_parquet(root / "history.parquet")
    history = FileSource(name="history", path=str(root / "history.parquet"), timestamp_field="at")
    schema = [Field(name="id", dtype=Int64), Field(name="fare", dtype=Float64)]
    live = PushSource(name="live", batch_source=history)
    rides = FeatureView(name="rides", source=live, schema=schema, entities=[rider])
    users = FeatureView(name="users", source=history, schema=schema, entities=[rider])
    # With the local store first: applying with a remote registry's rights is another matter.
    FeatureStore(str(root)).apply([rider, history, live, rides, users])
    (root / "feature_store.yaml").write_text(
        f"{settings}online_store: {{type: remote, path: '{url}'}}\nauth: {json.dumps(json.loads(auth))}\n"
    )
    told = []
    for token in tokens or ("",):
        if token:
            os.environ["FEAST_OIDC_TOKEN"] = token
        store = FeatureStore(str(root))
        outcomes = {}
        for name, verb in {
            "rides": lambda store=store: store.get_online_features(["rides:fare"], [{"id": 1}]).to_dict()["fare"],
            "users": lambda store=store: store.get_online_features(["users:fare"], [{"id": 1}]).to_dict()["fare"],
            "push": lambda store=store: store.push("live", rows, to=PushMode.ONLINE),
        }.items():
            try:
                outcomes[name] = verb()
            except Exception as error:  # noqa: BLE001 - its class is what is told
                outcomes[name] = type(error).__name__
        told.append(outcomes)
    print("TOLD " + json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
