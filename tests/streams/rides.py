"""A project whose view reads rides from a topic, and a brute force in plain Python that says what it should serve."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds

from feast_assets import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    Float64,
    Int64,
    JsonFormat,
    KafkaSource,
    Partitions,
    String,
)

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
SCHEMA = [
    Field(name="driver_id", dtype=Int64),
    Field(name="fare", dtype=Float64),
    Field(name="trips", dtype=Int64),
    Field(name="city", dtype=String),
]


def ride(driver: int, minute: float, fare: float | None = 1.0, **more: Any) -> dict[str, Any]:
    at = (NOON + timedelta(minutes=minute)).isoformat()
    return {"driver_id": driver, "at": at, "fare": fare, "trips": int(minute), "city": f"c{driver}", **more}


class RidesProject:
    """A feature repository over one topic.

    Attributes:
        producer: of messages.
    """

    def __init__(self, root: Path, address: str, topic: str, *, online_store: Any = "sqlite", registry: str = ""):
        from confluent_kafka import Producer

        self.root, self.address, self.topic = root, address, topic
        (root / "feature_store.yaml").write_text(
            json.dumps(
                {
                    "project": "rides",
                    "registry": registry or "registry.db",
                    "online_store": online_store,
                    "provider": "local",
                }
            )
        )
        self.store = FeatureStore(root)
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 0})

    @property
    def history_source(self) -> FileSource:
        return FileSource(name="history", path="rides", timestamp_field="at")

    def source(self, **changes: Any) -> KafkaSource:
        given = {
            "name": "live",
            "timestamp_field": "at",
            "message_format": JsonFormat("driver_id bigint, at timestamp, fare double, trips bigint, city string"),
            "kafka_bootstrap_servers": self.address,
            "topic": self.topic,
            "batch_source": self.history_source,
        }
        return KafkaSource(**{**given, **changes})

    def view(self, source: Any = None, **changes: Any) -> FeatureView:
        given = {
            "name": "latest",
            "entities": [DRIVER],
            "source": source or self.source(),
            "schema": SCHEMA,
            "partitions": Partitions("daily", datetime(2024, 6, 1, tzinfo=UTC)),
        }
        return FeatureView(**{**given, **changes})

    def apply(self, *views: Any) -> None:
        self.store.apply([DRIVER, *(views or [self.view()])])

    def send(self, *messages: Any, partition: int = 0, time: int = 0, key: bytes | None = None) -> None:
        """Writes messages; a dict is written as JSON. Returns when the broker has them."""
        for message in messages:
            value = json.dumps(message).encode() if isinstance(message, dict) else message
            more = {"timestamp": time} if time else {}
            self.producer.produce(self.topic, value, key, partition, on_delivery=_delivered, **more)
            self.producer.poll(0)
        assert self.producer.flush(30) == 0

    def consume(self, *views: str, **options: Any) -> Any:
        """Consumes what is there."""
        (progress,) = self.store.consume(list(views) or None, stop_at_end=True, **options)
        return progress

    def served(self, drivers: Iterable[int], view: str = "latest") -> list[tuple[Any, ...]]:
        names = ["fare", "trips", "city"]
        listed = list(drivers)
        read = self.store.get_online_features([f"{view}:{n}" for n in names], {"driver_id": listed}).to_dict()
        return list(zip(*(read[name] for name in names), strict=True))

    def history(self) -> list[dict[str, Any]]:
        """Returns the rows of the batch source, sorted."""
        if not (self.root / "rides").exists():
            return []
        rows = ds.dataset(self.root / "rides").to_table().to_pylist()
        return sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))

    def point_in_time(self, drivers: Sequence[int], at: datetime, view: str = "latest") -> list[Any]:
        entities = pd.DataFrame({"driver_id": list(drivers), "event_timestamp": [at] * len(drivers)})
        return self.store.get_historical_features(entities, [f"{view}:fare"]).to_df()["fare"].to_list()

    def close(self) -> None:
        self.store.close()


def _delivered(error: Any, _: Any) -> None:
    assert error is None, error


def newest(rides: Iterable[dict[str, Any]], drivers: Iterable[int]) -> list[tuple[Any, ...]]:
    """Returns what should be served of some drivers: of each the ride of the latest time; no two have the same."""
    best: dict[int, dict[str, Any]] = {}
    for each in rides:
        driver = each["driver_id"]
        if driver not in best or datetime.fromisoformat(each["at"]) > datetime.fromisoformat(best[driver]["at"]):
            best[driver] = each
    nothing = {"fare": None, "trips": None, "city": None}
    return [tuple(best.get(driver, nothing)[name] for name in ("fare", "trips", "city")) for driver in drivers]


def as_history(rides: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns rides as the batch source should hold them, sorted as `RidesProject.history` does."""
    rows = [{**each, "at": datetime.fromisoformat(each["at"])} for each in rides]
    return sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))
