"""The examples of docs/serving.md serve features. `tests/test_docs.py` runs the page's code too, without asking it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from click.testing import CliRunner
from servers import ask

from feast_assets import FeatureStore
from feast_assets.cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("examples") / "my_project"
    repository = target / "feature_repo"
    for words in (
        ["init", "my_project", "--repo-path", str(target)],
        ["-c", str(repository), "apply"],
        ["-c", str(repository), "materialize-incremental", "2030-01-01"],
    ):
        done = CliRunner().invoke(cli, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    return repository


def code(section: str) -> str:
    found = re.search(rf"^### {section}\n.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def example(section: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(project)
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(code(section), section, "exec", dont_inherit=True), namespace)
    return namespace


@pytest.fixture
def expected(project: Path) -> int:
    store = FeatureStore(project)
    trips = store.get_online_features(["driver_stats:trips_today"], {"driver_id": [1001]}).to_dict()["trips_today"][0]
    store.close()
    assert isinstance(trips, int)
    return trips


async def test_the_fastapi_service(project: Path, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    app = example("FastAPI", project, monkeypatch)["fastapi_app"]
    async with app.router.lifespan_context(app):
        answer = await ask(app, "GET", "/drivers/1001/trips")
        assert (answer.status, answer.json()) == (200, {"trips": expected})
        assert (await ask(app, "GET", "/drivers/1/trips")).json() == {"trips": None}


def test_the_flask_service(project: Path, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    app = example("Flask", project, monkeypatch)["create_app"]()
    with app.test_client() as client:
        assert client.get("/drivers/1001/trips").get_json() == {"trips": expected}
        assert client.get("/drivers/1/trips").get_json() == {"trips": None}


async def test_the_grpc_service(project: Path, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    server, port = await example("gRPC", project, monkeypatch)["serve_grpc"]("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        get = channel.unary_unary("/drivers.Trips/Get", lambda value: json.dumps(value).encode(), json.loads)
        assert await get({"drivers": [1001, 1]}) == {"trips": [expected, None]}
    await server.stop(None)


def test_serving_in_process_loads_neither_dagster_nor_pandas(project: Path) -> None:
    probe = """
    import asyncio, sys
    from feast_assets import FeatureStore

    async def main():
        store = FeatureStore(".")
        await store.initialize()
        store.keep_registry_fresh()
        response = await store.get_online_features_async(["driver_stats:trips_today"], {"driver_id": [1001]})
        assert response.to_dict()["trips_today"][0] is not None
        await store.close()

    asyncio.run(main())
    print("LOADED", sorted({"dagster", "pandas", "duckdb", "pyarrow"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(probe)], cwd=project, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "LOADED []\n", done.stdout + done.stderr


def test_a_feature_server_loads_neither_dagster_nor_pandas_nor_engines(project: Path) -> None:
    probe = """
    import asyncio, json, sys
    from feast_assets import FeatureStore
    from feast_assets.serving.http.app import FeatureServer

    async def main():
        app = FeatureServer(FeatureStore("."))
        await app.open()
        body = {"features": ["driver_stats:trips_today"], "entities": {"driver_id": [1001]}}
        scope = {"type": "http", "method": "POST", "path": "/get-online-features", "headers": [], "client": None}

        async def receive():
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        async def send(message):
            print(message.get("status", ""))

        await app(scope, receive, send)
        await app.close()

    asyncio.run(main())
    print("LOADED", sorted({"dagster", "pandas", "numpy", "duckdb", "pyarrow", "starlette"} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(probe)], cwd=project, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["200", "LOADED", "[]"], done.stdout + done.stderr


FORKED = """
import os, sys, threading
from feast_assets import FeatureStore

store = FeatureStore(".")
watch = store.keep_registry_fresh(3600)
read = lambda: store.get_online_features(["driver_stats:trips_today"], {"driver_id": [1001]}).to_dict()["trips_today"]
before = read()
for _ in range(3):
    store._completing.acquire()  # as a thread that completes pushes does
    child = os.fork()
    if child:
        store._completing.release()
    else:
        assert store._completing.acquire(blocking=False)
        store._completing.release()
        names = [thread.name for thread in threading.enumerate()]
        assert "feast-assets-registry-watch" in names, names
        results = []
        readers = [threading.Thread(target=lambda: results.append(read())) for _ in range(4)]
        [reader.start() for reader in readers]
        [reader.join() for reader in readers]
        assert results == [before] * 4
        store.refresh_registry()
        assert watch.look().is_current
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
assert read() == before
store.close()
print("DONE")
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system does not fork")
def test_a_store_that_is_made_before_a_fork_serves_in_the_children(project: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.stdout == "DONE\n", done.stderr
