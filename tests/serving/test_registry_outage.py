"""A registry whose server goes away: features are served on, and readiness says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from served_project import DRIVERS, READ, asked, made
from servers import ask

from feast_assets import FeatureStore
from feast_assets.serving.http.app import FeatureServer
from feast_assets.serving.http.options import ServerOptions


async def test_a_registry_server_that_stops_is_not_needed_to_serve(own_postgres_server: Any, tmp_path: Path) -> None:
    repository = made(tmp_path / "repository", registry=f"{{registry_type: sql, path: '{own_postgres_server.url}'}}")
    app = FeatureServer(FeatureStore(repository), ServerOptions(registry_seconds=3600))
    await app.open()
    try:
        watch = app._watch
        assert watch is not None
        assert (await ask(app, "GET", "/ready")).json()["registry"]["state"] == "current"
        await asyncio.to_thread(own_postgres_server.stop)
        await asyncio.to_thread(watch.look)
        ready = await ask(app, "GET", "/ready")
        assert ready.status == 200
        assert ready.json()["registry"]["state"] == "stale"
        assert own_postgres_server.password not in ready.body.decode()
        for driver in range(20):
            answer = await ask(app, "POST", READ, asked(driver, features=("trips", "rate")))
            assert answer.json()["results"][1]["values"] == [driver]
        # What was never asked for before is planned from the definitions in memory.
        service = {"feature_service": "service", "entities": {"driver_id": [DRIVERS - 1], "bonus": [1.0]}}
        assert (await ask(app, "POST", READ, service)).status == 200
        # What needs the registry says so, and does not hang.
        write = {"feature_view_name": "stats", "df": {"driver_id": [1]}, "allow_registry_cache": False}
        refused = await ask(app, "POST", "/write-to-online-store", write)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        await asyncio.to_thread(own_postgres_server.start)
        await asyncio.to_thread(watch.look)
        assert (await ask(app, "GET", "/ready")).json()["registry"]["state"] == "current"
    finally:
        await app.close()
