"""Run with Feast's own Python: uses Feast's SDK with the offline store ``remote``, and prints what it gets as JSON."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main(folder: str, port: str) -> None:
    root = Path(folder)
    (root / "feature_store.yaml").write_text(
        "project: pairs\nprovider: local\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
        f"offline_store: {{type: remote, host: 127.0.0.1, port: {port}}}\nentity_key_serialization_version: 3\n"
    )
    (root / "definitions.py").write_text((HERE / "pairs_repository.py").read_text().replace("FEAST", "feast"))
    import pandas as pd
    from feast import FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import load_repo_config
    from feast.repo_operations import apply_total
    from feast.types import Int64

    os.chdir(root)
    sys.path.insert(0, str(root))
    # Its sources are not on this machine: the server looks at them.
    apply_total(load_repo_config(root, root / "feature_store.yaml"), root, False)
    store = FeatureStore(str(root))
    told: dict[str, Any] = {}

    def raised(verb: Any) -> str:
        try:
            verb()
        except Exception as error:  # noqa: BLE001 - its class is what is told
            return f"{type(error).__module__}.{type(error).__name__}: {str(error)[:300]}"
        return ""

    def plain(frame: Any) -> Any:
        return {name: [_plain(value) for value in values] for name, values in frame.to_dict("list").items()}

    moment = datetime(2024, 1, 3, tzinfo=UTC)
    entities = pd.DataFrame(
        {"driver_id": [1, 3, 2, 99], "event_timestamp": [moment, moment, datetime(2024, 1, 1, tzinfo=UTC), moment]}
    )
    entities["bonus"] = 0.5
    names = ["trips", "few", "rate", "exact", "city", "active", "since", "marks", "shares", "words"]
    told["history"] = plain(store.get_historical_features(entities, [f"stats:{name}" for name in names]).to_df())
    told["names"] = plain(
        store.get_historical_features(entities, ["stats:trips", "other:trips"], full_feature_names=True).to_df()
    )
    service = store.get_feature_service("service")
    told["service"] = plain(store.get_historical_features(entities, service).to_df())
    query = "SELECT 1 AS driver_id, TIMESTAMPTZ '2024-01-03 00:00:00+00' AS event_timestamp"
    told["query"] = plain(store.get_historical_features(query, ["stats:trips"]).to_df())
    store.materialize(datetime(2023, 1, 1), datetime(2024, 1, 2, 12), feature_views=["stats"])
    rows = [{"driver_id": driver} for driver in (1, 2, 3)]
    told["materialized"] = store.get_online_features(["stats:trips", "stats:city"], rows).to_dict()
    later = datetime(2024, 2, 1, tzinfo=UTC)
    pushed = pd.DataFrame({"driver_id": [1], "trips": [555], "event_timestamp": [later]})
    store.write_to_offline_store("other", pushed)
    after = pd.DataFrame({"driver_id": [1], "event_timestamp": [datetime(2024, 3, 1, tzinfo=UTC)]})
    told["written"] = plain(store.get_historical_features(after, ["other:trips"]).to_df())
    columns = store._provider.get_table_column_names_and_types_from_data_source(
        store.config, store.get_data_source("other_file")
    )
    told["columns"] = sorted(columns)
    unknown = FileSource(name="unknown_file", path="/etc/hostname", timestamp_field="event_timestamp")
    view = FeatureView(
        name="unknown", entities=[store.get_entity("driver")], source=unknown, schema=[Field(name="x", dtype=Int64)]
    )
    told["unknown source"] = raised(lambda: store._provider.validate_data_source(store.config, unknown))
    told["unknown view"] = raised(
        lambda: store._provider.offline_store.offline_write_batch(store.config, view, after_table(after), None)
    )
    told["wrong rows"] = raised(
        lambda: store.get_historical_features(entities[["event_timestamp"]], ["stats:trips"]).to_df()
    )
    told["bad query"] = raised(lambda: store.get_historical_features("SELECT * FROM nope", ["stats:trips"]).to_df())
    print("TOLD " + json.dumps(told, default=str))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return None if value is None or value != value else value


def after_table(frame: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(*sys.argv[1:])
