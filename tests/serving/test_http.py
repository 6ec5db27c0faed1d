"""The application, asked as an ASGI server asks it."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served_project import DRIVERS, EVENT_MICROS, READ, asked, made
from servers import Answered, ask

from feast_assets import FeatureStore
from feast_assets.errors import StoreUnavailableError
from feast_assets.serving.http.access_log import _LINES_AT_ONCE as LINES_AT_ONCE
from feast_assets.serving.http.access_log import AccessLog
from feast_assets.serving.http.app import _TICK_SECONDS as TICK_SECONDS
from feast_assets.serving.http.app import FeatureServer
from feast_assets.serving.http.options import ServerOptions

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("served") / "repository")


@asynccontextmanager
async def opened(repository: Path, **options: Any) -> AsyncIterator[FeatureServer]:
    app = FeatureServer(FeatureStore(repository), ServerOptions(**options))
    await app.open()
    try:
        yield app
    finally:
        await app.close()


def values(answer: Answered) -> dict[str, list[Any]]:
    assert answer.status == 200, answer.body
    body = answer.json()
    return dict(zip(body["metadata"]["feature_names"], [r["values"] for r in body["results"]], strict=True))


class Gate:
    """Holds back the store's answers until it is opened."""

    def __init__(self, app: FeatureServer):
        self.opened = asyncio.Event()
        self.reached = 0
        store = app.api.store.online_store
        self._read: Callable[..., Awaitable[Any]] = store.get_many_async
        store.get_many_async = self._gated  # type: ignore[method-assign]

    async def _gated(self, reads: Any) -> Any:
        self.reached += 1
        await self.opened.wait()
        return await self._read(reads)

    async def has_reached(self, count: int) -> None:
        while self.reached < count:
            await asyncio.sleep(0)


async def test_the_body_says_what_the_library_returns(repository: Path) -> None:
    async with opened(repository) as app:
        store = app.api.store
        for drivers in ([1], [3, DRIVERS + 5, 3], list(range(50)), []):
            for names in (
                ["stats:trips", "stats:rate", "stats:city"],
                ["totals:total", "stats:city"],
                ["totals:total"],
            ):
                entities = {"driver_id": drivers, "bonus": [0.5] * len(drivers)}
                answer = await ask(app, "POST", READ, {"features": names, "entities": entities})
                assert answer.json() == store.get_online_features(names, entities).to_json()
        answer = await ask(
            app, "POST", READ, {"feature_service": "service", "entities": {"driver_id": [4], "bonus": [1]}}
        )
        assert values(answer) == {"driver_id": [4], "trips": [4], "rate": [2.0], "total": [3.0]}


async def test_arrow_is_sent_to_those_who_accept_it(repository: Path) -> None:
    async with opened(repository) as app:
        body = asked(2, DRIVERS + 1, features=("trips", "city"))
        answer = await ask(app, "POST", READ, body, headers={"Accept": ARROW})
        assert answer.headers["content-type"] == ARROW
        table = pa.ipc.open_stream(answer.body).read_all()
        assert table.select(["driver_id", "trips", "city"]).to_pydict() == {
            "driver_id": [2, DRIVERS + 1],
            "trips": [2, None],
            "city": ["city 2", None],
        }
        assert table["trips__status"].to_pylist() == ["PRESENT", "NOT_FOUND"]
        assert table["trips__ts"].cast(pa.int64()).to_pylist() == [EVENT_MICROS + 2_000_000, None]
        assert table["driver_id__ts"].null_count == 2
        for accept in ("*/*", "application/json", f"application/json, {ARROW};q=0.1", f"{ARROW};q=0", "nonsense;q=x"):
            as_json = await ask(app, "POST", READ, body, headers={"Accept": accept})
            assert as_json.headers["content-type"] == "application/json", accept


BAD_BODIES = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b'{"entities": }',
    b'{"entities": {"driver_id": [1}}',
    b"\xff\xfe{}",
    b'{"entities": {"driver_id": "1"}}',
    b'{"entities": [1]}',
    b'{"entities": {"driver_id": [1]}, "features": "stats:trips"}',
    b'{"entities": {"driver_id": [1]}, "features": [1]}',
    b'{"entities": {"driver_id": [1]}, "features": ["stats:trips"], "full_feature_names": "maybe"}',
    b"[" * 100_000,
    b'{"entities": {"driver_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
]


async def test_where_values_come_from_is_told_to_those_who_ask(repository: Path) -> None:
    async with opened(repository) as app:
        body = {"features": ["stats:trips"], "entities": {"driver_id": [1, DRIVERS + 5]}}
        plain = await ask(app, "POST", READ, body)
        assert "row_origins" not in plain.json()["metadata"]
        answer = await ask(app, "POST", READ, {**body, "include_row_origins": True})
        assert answer.json()["results"] == plain.json()["results"]
        response = app.api.store.get_online_features(body["features"], body["entities"])
        expected = [origin.to_json() for origin in app.api.store.get_row_origins(response)]
        assert answer.json()["metadata"]["row_origins"] == expected
        assert [(origin["feature_view"], origin["row"]) for origin in expected] == [("stats", 0)]
        arrow = await ask(app, "POST", READ, {**body, "include_row_origins": True}, headers={"Accept": ARROW})
        metadata = pa.ipc.open_stream(arrow.body).schema.metadata
        assert json.loads(metadata[b"row_origins"]) == expected


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_a_malformed_body_is_422_and_says_where(repository: Path, body: bytes) -> None:
    async with opened(repository) as app:
        answer = await ask(app, "POST", READ, body)
        assert answer.status == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"][0] == "body"
        assert problem["msg"]
        assert values(await ask(app, "POST", READ, asked(1)))["trips"] == [1], "the next request is answered"


@pytest.mark.parametrize(
    "key", [b"1e400", b"NaN", b"9" * 400, b"true", b"null", b"{}", b"[1]", b'"x"', b'"\\ud800"', b"1.5"]
)
async def test_keys_that_are_none_are_refused(repository: Path, key: bytes) -> None:
    async with opened(repository) as app:
        body = b'{"features": ["stats:trips"], "entities": {"driver_id": [%b]}}' % key
        answer = await ask(app, "POST", READ, body)
        assert answer.status in (400, 422), answer.body


async def test_bodies_that_are_too_large_are_413(repository: Path) -> None:
    async with opened(repository, body_bytes=200) as app:
        large = asked(*range(100))
        whole = await ask(app, "POST", READ, large)
        pieces = await ask(app, "POST", READ, pieces=[b" " * 150] * 3)
        declared = await ask(
            app, "POST", READ, pieces=[b"", b"never read"], headers={"Content-Length": "1000000000000"}
        )
        for answer in (whole, pieces, declared):
            assert answer.status == 413
            assert answer.headers["connection"] == "close"
        assert values(await ask(app, "POST", READ, asked(1)))["trips"] == [1]


async def test_a_body_that_comes_in_pieces_is_read_whole(repository: Path) -> None:
    async with opened(repository) as app:
        whole = json.dumps(asked(1, 2)).encode()
        assert values(await ask(app, "POST", READ, pieces=[whole[:10], whole[10:20], b"", whole[20:]])) == {
            "driver_id": [1, 2],
            "trips": [1, 2],
        }


async def test_a_client_that_goes_away_is_408(repository: Path) -> None:
    async with opened(repository) as app:
        gone = await ask(app, "POST", READ, pieces=[b"{", None])  # type: ignore[list-item]
        assert gone.status == 408


@pytest.mark.parametrize("pieces", [0, 1])
async def test_a_client_that_is_too_slow_with_its_body_is_408(repository: Path, pieces: int) -> None:
    left = pieces

    async def receive() -> dict[str, Any]:
        nonlocal left
        if not left:
            await asyncio.Event().wait()
        left -= 1
        return {"type": "http.request", "body": b"{", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": READ, "headers": [], "query_string": b"", "client": None}
    async with opened(repository, receive_seconds=0.05) as app:
        await app(scope, receive, send)
        assert sent[0]["status"] == 408
        assert app._in_hand == 0


async def test_ten_thousand_entities_are_answered_in_their_order(repository: Path) -> None:
    async with opened(repository) as app:
        drivers = [(7 * number) % (DRIVERS + 100) for number in range(DRIVERS)]
        answer = values(await ask(app, "POST", READ, asked(*drivers, features=("trips", "rate"))))
        assert answer["trips"] == [driver if driver < DRIVERS else None for driver in drivers]
        assert answer["rate"] == [driver / 2 if driver < DRIVERS else None for driver in drivers]


async def test_what_is_too_much_is_503_with_retry_after_and_the_rest_is_finished(repository: Path) -> None:
    async with opened(repository, worker_connections=3) as app:
        gate = Gate(app)
        in_hand = [asyncio.create_task(ask(app, "POST", READ, asked(number))) for number in range(3)]
        await gate.has_reached(3)
        refused = await ask(app, "POST", READ, asked(9))
        assert refused.status == 503
        assert refused.headers["retry-after"] == "1"
        assert (await ask(app, "GET", "/health")).status == 200, "probes are answered"
        gate.opened.set()
        answers = await asyncio.gather(*in_hand)
        assert [values(answer)["trips"] for answer in answers] == [[0], [1], [2]]
        assert values(await ask(app, "POST", READ, asked(9)))["trips"] == [9]


async def test_a_store_that_does_not_answer_is_504_and_the_server_recovers(repository: Path) -> None:
    async with opened(repository, request_seconds=0.05) as app:
        gate = Gate(app)
        answer = await ask(app, "POST", READ, asked(1))
        assert answer.status == 504
        assert answer.error["class"] == "FeastError"
        gate.opened.set()
        assert app._in_hand == 0
        app.options = ServerOptions()
        assert values(await ask(app, "POST", READ, asked(1)))["trips"] == [1]


async def test_a_request_that_its_server_cancels_is_cancelled(repository: Path) -> None:
    async with opened(repository) as app:
        gate = Gate(app)
        task = asyncio.create_task(ask(app, "POST", READ, asked(1)))
        await gate.has_reached(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert app._in_hand == 0


async def test_a_page_of_another_site_cannot_use_the_server(repository: Path) -> None:
    async with opened(repository) as app:
        for path in (READ, "/push", "/materialize"):
            answer = await ask(app, "POST", path, asked(1), headers={"Sec-Fetch-Site": "cross-site"})
            assert (answer.status, answer.headers["connection"]) == (403, "close")
        assert values(await ask(app, "POST", READ, asked(1), headers={"Sec-Fetch-Site": "same-site"}))["trips"] == [1]


async def test_unknown_paths_and_methods_are_told(repository: Path) -> None:
    async with opened(repository) as app:
        assert (await ask(app, "GET", "/nope")).status == 404
        assert (await ask(app, "POST", "/v1/vector_stores/a/b")).status == 404
        wrong = await ask(app, "GET", READ)
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
        also_wrong = await ask(app, "DELETE", "/v1/vector_stores/a")
        assert (also_wrong.status, also_wrong.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/search"),
        ("POST", "/retrieve-online-documents"),
        ("GET", "/v1/vector_stores"),
        ("GET", "/v1/vector_stores/wiki"),
        ("POST", "/v1/vector_stores/wiki/search"),
    ],
)
async def test_vector_search_is_501_with_a_remedy(repository: Path, method: str, path: str) -> None:
    async with opened(repository) as app:
        answer = await ask(app, method, path, {})
        assert answer.status == 501
        assert "/get-online-features" in answer.error["message"]


async def test_the_openapi_document_has_every_route_and_no_other(repository: Path) -> None:
    async with opened(repository) as app:
        document = (await ask(app, "GET", "/openapi.json")).json()
        declared = {(method.upper(), path) for path, of_path in document["paths"].items() for method in of_path}
        # What only clients of this package ask has no JSON to be described.
        unlisted = ("/openapi.json", "/feast-assets/")
        routed = {route for route in app._routes if not route[1].startswith(unlisted)}
        refused = {("POST", "/search"), ("POST", "/retrieve-online-documents"), ("GET", "/v1/vector_stores")}
        assert declared == routed - refused
        schema = document["components"]["schemas"]["OnlineFeaturesRequest"]
        assert schema["required"] == ["entities"]


async def test_pushes_are_stored_once_and_the_newest_wins(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository) as app:

        async def push(trips: int, hour: int, to: str) -> Answered:
            rows = {
                "driver_id": [1],
                "trips": [trips],
                "rate": [None],
                "city": ["pushed"],
                "ts": [f"2024-06-01T{hour:02}:00:00"],
            }
            return await ask(app, "POST", "/push", {"push_source_name": "live", "df": rows, "to": to})

        for _ in range(2):
            answer = await push(100, 12, "online_and_offline")
            assert (answer.status, answer.body) == (200, b""), answer.body
        assert (await push(50, 11, "online")).status == 200
        assert values(await ask(app, "POST", READ, asked(1)))["trips"] == [100]
        assert (await push(200, 13, "offline")).status == 200
        assert values(await ask(app, "POST", READ, asked(1)))["trips"] == [100]
        store = app.api.store
        rows = store.get_historical_features(
            pa.table(
                {"driver_id": [1, 1], "event_timestamp": [datetime(2024, 6, 1, 12, 30), datetime(2024, 6, 1, 14)]}
            ),
            ["stats:trips"],
        ).to_df()
        assert rows["trips"].tolist() == [100, 200]
        written = sum(len(pq.read_table(file)) for file in (repository / "history").glob("**/*.parquet"))
        assert written == DRIVERS + 2, "each pushed row is in history once"


async def test_rows_of_a_wrong_type_are_the_callers_mistake(repository: Path) -> None:
    async with opened(repository) as app:
        row = {"driver_id": ["x"], "trips": [1], "rate": [1.0], "city": ["x"], "ts": ["2024-06-01"]}
        for rows in (row, {**row, "driver_id": [1], "trips": ["x"]}, {**row, "driver_id": [1], "ts": ["then"]}):
            for to in ("online", "online_and_offline"):
                answer = await ask(app, "POST", "/push", {"push_source_name": "live", "df": rows, "to": to})
                assert answer.status == 400, answer.body
            answer = await ask(app, "POST", "/write-to-online-store", {"feature_view_name": "stats", "df": rows})
            assert answer.status == 400, answer.body


@pytest.mark.parametrize("rows", [1, 100])
@pytest.mark.parametrize("to", ["online", "offline"])
@pytest.mark.parametrize("far", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
async def test_a_row_whose_time_nobody_could_read_is_refused(repository: Path, far: str, to: str, rows: int) -> None:
    """No later row could take its place: it would be the newest of its entity for ever."""
    df = {"driver_id": [1] * rows, "trips": [1] * rows, "rate": [1.0] * rows, "city": ["x"] * rows, "ts": [far] * rows}
    async with opened(repository) as app:
        answer = await ask(app, "POST", "/push", {"push_source_name": "live", "df": df, "to": to})
        assert answer.status == 400, answer.body
        assert values(await ask(app, "POST", READ, asked(1))) == {"driver_id": [1], "trips": [1]}


async def test_materializations_run_here_or_in_the_background_but_not_the_same_twice(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository) as app:
        window = {"start_ts": "2024-01-01T00:00:00", "end_ts": "2024-01-02T00:00:00Z", "feature_views": ["stats"]}
        answer = await ask(app, "POST", "/materialize", window)
        assert (answer.status, answer.body) == (200, b"null")
        begun, may_end = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        store = app.api.store
        run = store.materialize_incremental

        def held(*args: Any, **keywords: Any) -> Any:
            loop.call_soon_threadsafe(begun.set)
            assert may_end.wait(60)
            return run(*args, **keywords)

        store.materialize_incremental = held  # type: ignore[method-assign]
        incremental = {"end_ts": "2024-02-01T00:00:00"}
        accepted = await ask(app, "POST", "/materialize-incremental?async=true", incremental)
        assert accepted.status == 202
        assert accepted.json() == {"status": "accepted", "feature_views": ["stats"]}
        await begun.wait()
        conflict = await ask(app, "POST", "/materialize-incremental?async=true", incremental)
        assert conflict.status == 409
        assert conflict.json()["feature_views"] == ["stats"]
        forced = await ask(app, "POST", "/materialize-incremental?async=true&force=true", incremental)
        assert forced.status == 202
        may_end.set()
        while app.api._running_views:
            await asyncio.sleep(0.01)
        assert (await ask(app, "POST", "/materialize?async=perhaps", window)).status == 422
        text = (await ask(app, "GET", "/metrics")).body.decode()
        assert 'feast_materialization_result_total{feature_view="stats",status="success"} 3.0' in text


async def test_metrics_count_requests_entities_and_statuses_under_feasts_names(repository: Path) -> None:
    async with opened(repository) as app:
        await ask(app, "POST", READ, asked(1, 2, DRIVERS + 1, features=("trips", "rate")))
        await ask(app, "POST", READ, asked(1))
        await ask(app, "POST", READ, b"{")
        text = (await ask(app, "GET", "/metrics")).body.decode()
        for line in (
            'feast_feature_server_request_total{endpoint="/get-online-features",status="success"} 2.0',
            'feast_feature_server_request_total{endpoint="/get-online-features",status="error"} 1.0',
            "feast_online_features_request_total 2.0",
            'feast_online_features_entity_count_bucket{le="1.0"} 1.0',
            "feast_online_features_entity_count_sum 4.0",
            'feast_online_features_status_total{feature_view="stats",status="present"} 5.0',
            'feast_online_features_status_total{feature_view="stats",status="not_found"} 2.0',
            "feast_assets_server_requests_in_hand 0.0",
        ):
            assert line in text.splitlines()
        counted = 'feast_feature_server_request_latency_seconds_count{endpoint="/get-online-features"'
        assert f'{counted},feature_count="1-10",feature_view_count="1"}} 2.0' in text


async def test_metrics_are_there_while_a_store_holds_all_threads(repository: Path) -> None:
    may_end = threading.Event()
    async with opened(repository) as app:
        loop = asyncio.get_running_loop()
        held = [loop.run_in_executor(None, may_end.wait, 60) for _ in range(100)]
        try:
            assert (await asyncio.wait_for(ask(app, "GET", "/metrics"), 30)).status == 200
        finally:
            may_end.set()
        await asyncio.gather(*held)


async def test_the_access_log_is_json_without_what_was_asked(repository: Path) -> None:
    stream = io.BytesIO()
    async with opened(repository) as app:
        app._log = AccessLog(stream)
        await ask(app, "POST", f"{READ}?token=secret", asked(4242))
        await ask(app, "GET", "/nope")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["method"], first["path"], first["status"]) == ("POST", READ, 200)
    assert first["seconds"] > 0
    assert second["status"] == 404
    assert b"secret" not in stream.getvalue()
    assert b"4242" not in stream.getvalue()


async def test_the_server_goes_on_when_standard_output_is_closed(repository: Path) -> None:
    stream = io.BytesIO()
    stream.close()
    async with opened(repository, request_seconds=0.05) as app:
        app._log = AccessLog(stream)
        await ask(app, "GET", "/health")
        await asyncio.sleep(2 * TICK_SECONDS)  # it tries to write
        assert app._ticker is not None
        assert not app._ticker.done()
        Gate(app)
        assert (await ask(app, "POST", READ, asked(1))).status == 504, "requests still have to end in time"
        for _ in range(2 * LINES_AT_ONCE):
            assert (await ask(app, "GET", "/health")).status == 200


async def test_the_application_can_be_mounted_under_a_path(repository: Path) -> None:
    async with opened(repository) as app:

        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "root_path": "/features"}, receive, send)

        assert values(await ask(mounted, "POST", f"/features{READ}", asked(1)))["trips"] == [1]  # type: ignore[arg-type]
        assert (await ask(mounted, "GET", f"/features{READ}")).status == 405  # type: ignore[arg-type]


async def test_the_name_of_a_service_is_no_list_of_features(repository: Path) -> None:
    async with opened(repository) as app:
        entities = {"driver_id": [1], "bonus": [1.0]}
        assert (await ask(app, "POST", READ, {"feature_service": "service", "entities": entities})).status == 200
        # This is not how the answer to the request above is remembered.
        assert (await ask(app, "POST", READ, {"features": ["service", "service"], "entities": entities})).status == 400


async def test_unexpected_errors_are_500_without_their_text(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(repository) as app:

        async def broken(reads: Any) -> Any:
            raise RuntimeError("password=hunter2")

        app.api.store.online_store.get_many_async = broken  # type: ignore[method-assign]
        answer = await ask(app, "POST", READ, asked(1))
        assert answer.status == 500
        assert b"hunter2" not in answer.body
        assert "unexpectedly" in answer.error["message"]
    assert any(record.exc_info for record in caplog.records), "the log says how"


async def test_the_registry_may_fail_and_readiness_says_so(repository: Path) -> None:
    async with opened(repository, registry_seconds=3600) as app:
        watch = app._watch
        assert watch is not None
        registry = app.api.store.registry

        def down(known: Any) -> Any:
            raise StoreUnavailableError("The registry cannot be reached.")

        working, registry.refreshed = registry.refreshed, down  # type: ignore[method-assign]
        watch.look()
        ready = await ask(app, "GET", "/ready")
        assert (ready.status, ready.json()["ready"]) == (200, True)
        assert ready.json()["registry"]["state"] == "stale"
        assert ready.json()["registry"]["error"] == "The registry cannot be reached."
        assert values(await ask(app, "POST", READ, asked(3)))["trips"] == [3]
        registry.refreshed = working  # type: ignore[method-assign]
        watch.look()
        assert (await ask(app, "GET", "/ready")).json()["registry"]["state"] == "current"


async def test_a_server_whose_registry_is_empty_is_not_ready(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository, registry_seconds=3600) as app:
        assert (await ask(app, "GET", "/ready")).status == 200
        FeatureStore(repository).teardown()
        assert app._watch is not None
        await asyncio.to_thread(app._watch.look)
        ready = await ask(app, "GET", "/ready")
        assert (ready.status, ready.json()["registry"]["state"]) == (503, "empty")


async def test_a_registry_that_fails_in_an_unknown_way_is_looked_at_again(repository: Path) -> None:
    async with opened(repository, registry_seconds=0.01) as app:
        watch = app._watch
        assert watch is not None
        registry, failed = app.api.store.registry, threading.Event()

        def broken(known: Any) -> Any:
            failed.set()
            raise RuntimeError("password=hunter2")

        working, registry.refreshed = registry.refreshed, broken  # type: ignore[method-assign]
        assert await asyncio.to_thread(failed.wait, 60)
        while watch.state.is_current:
            await asyncio.sleep(0.01)
        ready = await ask(app, "GET", "/ready")
        assert ready.json()["registry"]["state"] == "stale"
        assert b"hunter2" not in ready.body
        registry.refreshed = working  # type: ignore[method-assign]
        while not watch.state.is_current:
            await asyncio.sleep(0.01)


async def test_a_new_definition_is_served_once_the_registry_was_read(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository, registry_seconds=3600) as app:
        definitions = (repository / "definitions.py").read_text()
        (repository / "definitions.py").write_text(
            definitions + '\nagain = FeatureService(name="again", features=[stats[["city"]]])\n'
        )
        elsewhere = FeatureStore(repository)
        elsewhere.apply_repository()
        elsewhere.close()
        body = {"feature_service": "again", "entities": {"driver_id": [1]}}
        assert (await ask(app, "POST", READ, body)).status == 404, "no request reads the registry"
        assert app._watch is not None
        app._watch.look()
        assert values(await ask(app, "POST", READ, body))["city"] == ["city 1"]


async def test_a_change_of_the_registry_under_load_drops_no_request(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository, registry_seconds=3600) as app:
        loading, seen = True, 0

        async def load(worker: int) -> None:
            nonlocal seen
            driver = worker
            while loading:
                answer = values(await ask(app, "POST", READ, asked(driver % DRIVERS, features=("trips", "city"))))
                assert answer["trips"] == [driver % DRIVERS]
                driver += 8
                seen += 1

        async def go_on() -> None:
            enough = seen + 50
            while seen < enough:
                await asyncio.sleep(0)
                for worker in workers:
                    if worker.done():
                        worker.result()

        def change() -> None:
            """Adds a feature, and writes all rows anew: rows that the server's definitions do not know yet."""
            file = repository / "definitions.py"
            added = 'Field(name="city", dtype=String),\n        Field(name="rate2", dtype=Float64),'
            file.write_text(file.read_text().replace('Field(name="city", dtype=String),', added))
            rows = pq.read_table(repository / "history" / "first.parquet")
            pq.write_table(rows.append_column("rate2", rows["rate"]), repository / "history" / "first.parquet")
            elsewhere = FeatureStore(repository)
            elsewhere.apply_repository()
            elsewhere.materialize(datetime(2023, 1, 1), datetime(2025, 1, 1))
            elsewhere.close()

        workers = [asyncio.create_task(load(worker)) for worker in range(8)]
        await go_on()
        await asyncio.to_thread(change)
        await go_on()
        assert app._watch is not None
        await asyncio.to_thread(app._watch.look)
        await go_on()
        loading = False
        await asyncio.gather(*workers)
        added = await ask(app, "POST", READ, asked(8, features=("rate2",)))
        assert values(added)["rate2"] == [4.0]
