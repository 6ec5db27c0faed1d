"""A project whose views read topics of a real broker."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rides import RidesProject


@pytest.fixture
def topic(kafka_broker) -> Iterator[Callable[..., str]]:
    """Makes topics of names of their own."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka_broker.address})

    def make(partitions: int = 1, name: str = "") -> str:
        name = name or f"rides-{uuid.uuid4().hex[:12]}"
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        return name

    return make


@pytest.fixture
def rides(tmp_path: Path, kafka_broker, topic) -> Iterator[RidesProject]:
    project = RidesProject(tmp_path, kafka_broker.address, topic(2))
    yield project
    project.close()
