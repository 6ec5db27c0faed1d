"""Run with Feast's own Python: uses Feast's SDK with the online store ``remote``, and prints what it gets as JSON."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main(folder: str, url: str) -> None:
    root = Path(folder)
    (root / "feature_store.yaml").write_text(
        "project: pairs\nprovider: local\nregistry: registry.db\n"
        f"online_store: {{type: remote, path: '{url}'}}\nentity_key_serialization_version: 3\n"
    )
    (root / "definitions.py").write_text((HERE / "pairs_repository.py").read_text().replace("FEAST", "feast"))
    import pandas as pd
    from feast import FeatureStore
    from feast.data_source import PushMode
    from feast.repo_config import load_repo_config
    from feast.repo_operations import apply_total
    from pairs import OTHER_ROWS, ROWS

    for name, rows in (("stats", ROWS), ("other", OTHER_ROWS)):
        frame = pd.DataFrame(rows)
        frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
        frame.to_parquet(root / f"{name}.parquet")
    os.chdir(root)
    sys.path.insert(0, str(root))
    apply_total(load_repo_config(root, root / "feature_store.yaml"), root, True)
    store = FeatureStore(str(root))
    told: dict[str, Any] = {}

    def read(features: Any, drivers: list[int], **request: Any) -> Any:
        rows = [{"driver_id": driver, **request} for driver in drivers]
        return store.get_online_features(features=features, entity_rows=rows).to_dict()

    def raised(verb: Any) -> str:
        try:
            verb()
        except Exception as error:  # noqa: BLE001 - its class is what is told
            return f"{type(error).__module__}.{type(error).__name__}"
        return ""

    frame = pd.DataFrame(ROWS)
    frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
    store.write_to_online_store("stats", frame)
    names = ["trips", "few", "rate", "exact", "city", "active", "since", "marks", "shares", "words"]
    told["written and read"] = read([f"stats:{name}" for name in names], [1, 2, 3, 99])
    newer = frame.iloc[[0]].assign(trips=77, event_timestamp=datetime(2025, 1, 1, tzinfo=UTC))
    store.push("live", newer, to=PushMode.ONLINE)
    older = frame.iloc[[0]].assign(trips=66, event_timestamp=datetime(2023, 1, 1, tzinfo=UTC))
    store.push("live", older, to=PushMode.ONLINE)
    told["pushed"] = read(["stats:trips"], [1])
    told["service"] = read(store.get_feature_service("service"), [1], bonus=0.5)
    told["materialized"] = raised(
        lambda: store.materialize(datetime(2023, 1, 1), datetime(2024, 6, 1), feature_views=["other"])
    )
    told["other"] = read(["other:trips"], [1])
    told["incremental"] = raised(lambda: store.materialize_incremental(datetime(2024, 6, 1), feature_views=["other"]))

    # What the server does not know, although this client's registry does.
    from feast import Entity, FeatureService, FeatureView, Field, FileSource
    from feast.types import Int64

    driver = Entity(name="driver", join_keys=["driver_id"])
    source = FileSource(name="new_file", path=str(root / "other.parquet"), timestamp_field="event_timestamp")
    view = FeatureView(
        name="new",
        entities=[driver],
        source=source,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
    )
    store.apply([driver, view, FeatureService(name="new_service", features=[view])])
    told["errors"] = {
        "view": raised(lambda: read(["new:trips"], [1])),
        "service": raised(lambda: read(store.get_feature_service("new_service"), [1])),
        "key": raised(lambda: store.get_online_features(features=["stats:trips"], entity_rows=[{"nope": 1}])),
        "collision": raised(lambda: read(["stats:trips", "other:trips"], [1])),
    }
    print("TOLD " + json.dumps(told, default=str))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(*sys.argv[1:])
