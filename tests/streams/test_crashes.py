"""kill -9 of consumers under load, whatever arrives: what is served and history equal a brute force over the log."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dying_consumer
import pytest
from rides import NOON, RidesProject, as_history, ride

KILLS = int(os.environ.get("STREAM_KILLS", "6"))
DRIVERS = range(8)
_POISON = (b"", b"{", b"[1]", b'{"driver_id": 1}', b'{"at": "2024-06-01"}', b'{"driver_id": "x", "at": 5}', None)


def messages(random_: random.Random, minute: int) -> list[Any]:
    """Returns some messages: duplicates, out of order, from 1970 and from the future, of other schemas, poisoned."""
    made: list[Any] = []
    for _ in range(random_.randint(1, 25)):
        kind = random_.random()
        driver = random_.choice(DRIVERS)
        at = minute + random_.randint(-50, 5) + random_.random()
        if kind < 0.7:
            made.append(ride(driver, at, fare=random_.random()))
        elif kind < 0.75:
            made.append(
                {**ride(driver, at), "at": (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=at + 99)).isoformat()}
            )
        elif kind < 0.8 and driver == 7:
            made.append({**ride(driver, at), "at": (NOON + timedelta(days=9000, minutes=at)).isoformat()})
        elif kind < 0.9:
            made.append({**ride(driver, at), "added": {"later": [1]}, "fare": 3})
        else:
            made.append(random_.choice(_POISON))
        if random_.random() < 0.2:
            made.append(made[-1])
    return made


def taken(log: list[tuple[Any, int]]) -> list[tuple[dict[str, Any], int]]:
    """Returns those messages of the log that are rides, as rows of the source."""
    names = ("driver_id", "at", "fare", "trips", "city")
    return [({name: message[name] for name in names}, time) for message, time in log if isinstance(message, dict)]


def brute_force(log: list[tuple[Any, int]]) -> list[Any]:
    """Returns the fare that is to be served of each driver: of the latest ride; of equal ones the later message's."""
    best: dict[int, tuple[Any, ...]] = {}
    for row, time in taken(log):
        known = (datetime.fromisoformat(row["at"]), time, row["fare"])
        best[row["driver_id"]] = max(best.get(row["driver_id"], known), known)
    return [best[driver][2] if driver in best else None for driver in DRIVERS]


class Crashing:
    """Consumers of a project in processes that die.

    Attributes:
        kills: how many have died.
    """

    def __init__(self, root: Path):
        self._root = root
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["dying_consumer", "pyarrow.json", "duckdb", "confluent_kafka.admin"])
        self.kills = 0

    def start(self, last: int, **options: Any) -> Any:
        process = self._context.Process(target=dying_consumer.consume, args=(str(self._root), last, options))
        process.start()
        return process

    def wait(self, process: Any) -> None:
        process.join(240)
        assert process.exitcode in (0, -9), process.exitcode
        self.kills += process.exitcode == -9


@pytest.mark.parametrize("seed", [1])
def test_killed_consumers_lose_nothing_and_double_nothing(rides: RidesProject, seed: int) -> None:
    random_ = random.Random(seed)
    settings = json.loads((rides.root / "feature_store.yaml").read_text())
    settings["streams"] = {"kafka": {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}}
    (rides.root / "feature_store.yaml").write_text(json.dumps(settings))
    rides.apply()
    consumers = Crashing(rides.root)
    log: list[tuple[Any, int]] = []
    round_ = 0
    while consumers.kills < KILLS:
        round_ += 1
        for _ in range(random_.randint(1, 4)):
            time, partition = 1_700_000_000_000 + random_.randint(0, 10**9), random_.randint(0, 1)
            made = messages(random_, round_)
            log += [(message, time) for message in made]
            rides.send(*made, time=time, partition=partition)
        options: dict[str, Any] = {"flush_bytes": random_.choice([1, 20_000, 10**6])}
        if random_.random() < 0.2:
            options["start"] = "beginning"
        # A group of its own takes partitions that another consumer, perhaps a dead one, still has.
        group = random_.choice(["shared", f"own-{round_}"])
        count = 1 if group == "shared" else random_.choice([1, 2])
        started = [
            consumers.start(random_.randint(1, 40), group=group if i == 0 else f"{group}-{i}", **options)
            for i in range(count)
        ]
        for process in started:
            consumers.wait(process)
    consumers.wait(consumers.start(0, group="last"))
    assert consumers.kills >= KILLS
    assert [fare for fare, *_ in rides.served(DRIVERS)] == brute_force(log)
    rows = [row for row, _ in taken(log)]
    assert rides.history() == as_history(rows)
    letters = rides.store.list_dead_letters("live")
    assert len(letters) == len(log) - len(rows)
    consumers.wait(consumers.start(0, group="replay", start="beginning"))
    assert [fare for fare, *_ in rides.served(DRIVERS)] == brute_force(log)
    assert rides.history() == as_history(rows)
    assert len(rides.store.list_dead_letters("live")) == len(letters)
