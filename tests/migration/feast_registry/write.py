"""Writes registries with Feast itself: a file, and a SQL registry in SQLite. A Python that has Feast runs it.

Pickled functions in them are replaced by bytes that make a file when they are unpickled, as somebody's might.
"""

import os
import pickle
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from feast import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Project,
    PushSource,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.labeling.label_view import LabelView
from feast.on_demand_feature_view import on_demand_feature_view
from feast.permissions.action import AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import CombinedGroupNamespacePolicy, RoleBasedPolicy
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.saved_dataset import SavedDataset
from feast.types import Array, Float32, Float64, Int64, String

HERE = Path(__file__).parent
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


class MakesFile:
    def __reduce__(self):
        return os.system, ("touch unpickled",)


def definitions(folder):
    pd.DataFrame(
        {
            "driver_id": [1, 2],
            "city": ["Bern", "Rome"],
            "at": [NOON, NOON],
            "known_at": [NOON, NOON],
            "fare_in_dollars": [1.0, 2.0],
            "rides": [3, 4],
            "vector": [[1.0], [2.0]],
        }
    ).to_parquet(folder / "stats.parquet")
    driver = Entity(
        name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="Who drives.", tags={"a": "b"}
    )
    city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING, owner="team")
    rides = FileSource(
        name="rides",
        path="stats.parquet",
        timestamp_field="at",
        created_timestamp_column="known_at",
        field_mapping={"fare_in_dollars": "fare"},
        description="Finished rides.",
        tags={"tier": "gold"},
        owner="ops",
    )
    stats = FeatureView(
        name="stats",
        entities=[driver, city],
        source=rides,
        ttl=timedelta(days=3, microseconds=5),
        schema=[
            Field(name="driver_id", dtype=Int64),
            Field(name="city", dtype=String),
            Field(name="fare", dtype=Float64, description="Dollars.", tags={"unit": "usd"}),
            Field(name="rides", dtype=Int64),
            Field(name="vector", dtype=Array(Float32), vector_index=True, vector_length=1, vector_search_metric="L2"),
        ],
        description="Rides by driver.",
        tags={"domain": "rides"},
        owner="team",
    )
    live = FeatureView(
        name="live",
        entities=[driver],
        source=PushSource(
            name="pushed", batch_source=FileSource(name="pushed_history", path="stats.parquet", timestamp_field="at")
        ),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="rides", dtype=Int64)],
        online=True,
    )
    everywhere = FeatureView(
        name="everywhere",
        entities=[],
        source=FileSource(name="plain", path="stats.parquet", timestamp_field="at"),
        schema=[Field(name="rides", dtype=Int64)],
        online=False,
    )

    @on_demand_feature_view(
        sources=[stats, RequestSource(name="asked", schema=[Field(name="tip", dtype=Float64)])],
        schema=[Field(name="total", dtype=Float64)],
    )
    def totals(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"total": inputs["fare"] + inputs["tip"]})

    transformed = BatchFeatureView(
        name="transformed",
        entities=[driver],
        source=rides,
        mode="pandas",
        udf=lambda frame: frame,
        udf_string="lambda frame: frame",
        schema=[Field(name="driver_id", dtype=Int64), Field(name="fare", dtype=Float64)],
        online=True,
    )
    model = FeatureService(
        name="model",
        features=[
            stats[["fare", "vector"]],
            live.with_name("now").with_join_key_map({"driver_id": "rider_id"}),
        ],
        description="What the model reads.",
        tags={"stage": "prod"},
        owner="ml",
        logging_config=LoggingConfig(destination=FileLoggingDestination(path="logs"), sample_rate=0.25),
    )
    whole = FeatureService(name="whole", features=[stats, totals])
    readers = Permission(
        name="readers",
        types=[FeatureView, LabelView],
        name_patterns=["st.*"],
        actions=[AuthzedAction.DESCRIBE, AuthzedAction.READ_ONLINE],
        policy=CombinedGroupNamespacePolicy(groups=["team"], namespaces=["prod"]),
        required_tags={"domain": "rides"},
    )
    everything = Permission(name="everything", policy=RoleBasedPolicy(roles=["admin"]), tags={"by": "ops"})
    return [readers, everything, driver, city, rides, stats, live, everywhere, totals, transformed, model, whole]


def write(folder, registry):
    config = RepoConfig(
        project="shop",
        project_description="A shop.",
        provider="local",
        registry=registry,
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    store = FeatureStore(config=config)
    store.apply([Project(name="shop", description="A shop.", owner="us"), *definitions(folder)])
    view = store.get_feature_view("stats")
    for start, end in ((1, 2), (2, 3), (5, 6)):
        store.registry.apply_materialization(
            view, "shop", datetime(2024, 1, start, tzinfo=UTC), datetime(2024, 1, end, tzinfo=UTC)
        )
    store.registry.apply_saved_dataset(
        SavedDataset(
            name="training",
            features=["stats:fare"],
            join_keys=["driver_id"],
            storage=SavedDatasetFileStorage(path="training.parquet"),
            tags={"x": "y"},
        ),
        "shop",
    )
    other = FeatureStore(config=config.model_copy(update={"project": "other"}))
    other.apply([Entity(name="foreign", join_keys=["foreign_id"])])


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    os.chdir(folder)
    write(folder, {"registry_type": "file", "path": str(folder / "registry.db")})
    message = Registry.FromString((folder / "registry.db").read_bytes())
    for view in message.on_demand_feature_views:
        view.spec.feature_transformation.user_defined_function.body = pickle.dumps(MakesFile())
        if view.spec.HasField("user_defined_function"):
            view.spec.user_defined_function.body = pickle.dumps(MakesFile())
    for view in message.feature_views:
        if view.spec.HasField("feature_transformation"):
            view.spec.feature_transformation.user_defined_function.body = pickle.dumps(MakesFile())
    message.ClearField("infra")  # it names a folder of this machine
    (HERE / "registry.pb").write_bytes(message.SerializeToString())
    for file in folder.glob("*.db"):
        file.unlink()
    write(folder, {"registry_type": "sql", "path": f"sqlite:///{folder}/sql.db"})
    connection = sqlite3.connect(folder / "sql.db")
    connection.execute("DELETE FROM managed_infra")
    connection.commit()
    connection.execute("PRAGMA page_size=512")
    connection.execute("VACUUM")
    connection.close()
    shutil.copy(folder / "sql.db", HERE / "sql_registry.sqlite")
    os.chdir(HERE)
