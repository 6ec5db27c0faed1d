"""Serving from a Redis server: shared round trips, and a server that stops and comes back."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from served_project import DRIVERS, READ, asked, made
from servers import ask

from feast_assets import FeatureStore
from feast_assets.serving.http.app import FeatureServer


def at(server: tuple[str, int]) -> str:
    return f'{{type: redis, connection_string: "{server[0]}:{server[1]}"}}'


async def test_requests_that_come_together_share_a_round_trip_and_get_their_own_features(
    redis_server: tuple[str, int], tmp_path: Path
) -> None:
    repository = made(tmp_path / "repository", online_store=at(redis_server))
    app = FeatureServer(FeatureStore(repository))
    await app.open()
    client = redis.Redis(*redis_server)
    try:
        await ask(app, "POST", READ, asked(0))
        before = client.info("commandstats")["cmdstat_mget"]["calls"]
        drivers = random.Random(1).sample(range(DRIVERS), 60)
        answers = await asyncio.gather(*(ask(app, "POST", READ, asked(driver)) for driver in drivers))
        assert [answer.json()["results"][1]["values"] for answer in answers] == [[driver] for driver in drivers]
        assert client.info("commandstats")["cmdstat_mget"]["calls"] - before == 1
    finally:
        client.close()
        await app.close()


class OwnRedis:
    """A Redis server that a test may stop and start again; its rows are in a file then."""

    def __init__(self, directory: Path):
        self.directory = directory
        with socket.socket() as probe:
            # Not a port that the system gives to outgoing connections while the server is stopped.
            for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                self.port = port
                break
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        self.process = subprocess.Popen([*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        while True:
            try:
                if client.ping():
                    break
            except redis.exceptions.RedisError:
                assert self.process.poll() is None, "redis-server did not start"
        client.close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_a_redis_that_stops_under_load_is_503_and_is_served_again_when_it_is_back(
    own_redis: OwnRedis, tmp_path: Path
) -> None:
    repository = made(tmp_path / "repository", online_store=at(("127.0.0.1", own_redis.port)))
    app = FeatureServer(FeatureStore(repository))
    await app.open()
    statuses: list[int] = []
    loading = True

    async def load(worker: int) -> None:
        number = worker
        while loading:
            answer = await ask(app, "POST", READ, asked(number % DRIVERS))
            statuses.append(answer.status)
            if answer.status == 200:
                assert answer.json()["results"][1]["values"] == [number % DRIVERS], "one's own features"
            else:
                assert answer.status == 503
                assert answer.headers["retry-after"] == "1"
            number += 8

    async def until(status: int) -> None:
        seen = len(statuses)
        while status not in statuses[seen:]:
            await asyncio.sleep(0.01)

    workers = [asyncio.create_task(load(worker)) for worker in range(8)]
    try:
        await until(200)
        await asyncio.to_thread(own_redis.stop)
        await until(503)
        ready = await ask(app, "GET", "/ready")
        while ready.status == 200:  # a look at the store is remembered for a moment
            ready = await ask(app, "GET", "/ready")
            await asyncio.sleep(0.05)
        assert ready.json()["online_store"]["state"] == "unavailable"
        await asyncio.to_thread(own_redis.start)
        await until(200)
        while (await ask(app, "GET", "/ready")).status != 200:
            await asyncio.sleep(0.05)
    finally:
        loading = False
        await asyncio.gather(*workers)
        await app.close()
    assert set(statuses) == {200, 503}
