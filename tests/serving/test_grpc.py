"""The services of gRPC, over a channel to this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_clients import GET, PUSH, WRITE, asked, opened, read, row
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from served_project import DRIVERS, EVENT_MICROS, made

from feast_assets import FeatureStore
from feast_assets.errors import StoreUnavailableError
from feast_assets.serving.grpc import messages
from feast_assets.serving.grpc.service import Call, GrpcServices

SERVICE_GET = f"/{messages.SERVING_SERVICE}/GetOnlineFeatures"
MOMENT = "2024-06-01T00:00:00"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("served") / "repository")


class Gate:
    """Holds back the store's answers until it is opened."""

    def __init__(self, service: GrpcServices):
        self.opened = asyncio.Event()
        self.reached = 0
        store = service.api.store.online_store
        self._read: Callable[..., Awaitable[Any]] = store.get_many_async
        store.get_many_async = self._gated  # type: ignore[method-assign]

    async def _gated(self, reads: Any) -> Any:
        self.reached += 1
        await self.opened.wait()
        return await self._read(reads)

    async def has_reached(self, count: int) -> None:
        while self.reached < count:
            await asyncio.sleep(0.001)


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Returns how a call failed: its status, details and trailing metadata."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return error.code(), str(error.details()), {str(k): str(v) for k, v in error.trailing_metadata() or ()}


@pytest.mark.parametrize("path", [GET, SERVICE_GET])
async def test_both_services_answer_what_the_library_returns(repository: Path, path: str) -> None:
    async with opened(repository) as (service, channel):
        store = service.api.store
        for drivers in ([1], [3, DRIVERS + 5, 3], list(range(150)), []):
            for names in (
                ["stats:trips", "stats:rate", "stats:city"],
                ["totals:total", "stats:city"],
                ["totals:total"],
            ):
                bonus = [0.5] * len(drivers)
                answer = await read(channel, asked(*names, driver_id=list(drivers), bonus=bonus), path)
                expected = store.get_online_features(names, {"driver_id": drivers, "bonus": bonus})
                assert answer.values == expected.to_dict()
                assert answer.statuses == expected.statuses()


async def test_a_service_and_values_of_the_request_context_are_understood(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        answer = await read(channel, asked(service="service", driver_id=[4], context={"bonus": [1.0]}))
        assert answer.values == {"driver_id": [4], "trips": [4], "rate": [2.0], "total": [3.0]}
        assert answer.seconds["trips"] == [EVENT_MICROS / 1e6 + 4]
        assert answer.seconds["driver_id"] == [0]
        twice = asked(service="service", driver_id=[4], bonus=[1.0], context={"bonus": [1.0]})
        code, details, _ = await refused(channel.unary_unary(GET)(twice))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "'bonus' is among the entities and in the request context" in details


async def test_versions_of_views_are_told_if_they_are_asked_for(repository: Path) -> None:
    async with opened(repository) as (service, channel):
        request = messages.GetOnlineFeaturesRequest.FromString(asked("stats:trips", driver_id=[4]))
        for wanted in (True, False):
            request.include_feature_view_version_metadata = wanted
            body = await channel.unary_unary(GET)(request.SerializeToString())
            metadata = messages.GetOnlineFeaturesResponse.FromString(body).metadata
            answer = service.api.store.get_online_features(
                ["stats:trips"], {"driver_id": [4]}, include_feature_view_version_metadata=wanted
            )
            told = [{"name": view.name, "version": view.version} for view in metadata.feature_view_metadata]
            assert told == answer.feature_view_metadata
            assert bool(told) == wanted


@pytest.mark.parametrize(
    ("request_bytes", "status", "error_class"),
    [
        (asked("nope:trips", driver_id=[1]), "NOT_FOUND", "FeatureViewNotFoundException"),
        (asked(service="nope", driver_id=[1]), "NOT_FOUND", "FeatureServiceNotFoundException"),
        (asked("stats:trips", rider=[1]), "INVALID_ARGUMENT", "FeastError"),
        (asked("stats:trips", driver_id=["x"]), "INVALID_ARGUMENT", "FeastError"),
        (asked("stats:trips", driver_id=[1], other=[1, 2]), "INVALID_ARGUMENT", "FeastError"),
        (asked(driver_id=[1]), "INVALID_ARGUMENT", "FeastError"),
    ],
    ids=["view", "service", "missing key", "wrong type", "unequal lengths", "no features"],
)
async def test_a_mistake_of_the_caller_has_the_status_that_says_so(
    repository: Path, request_bytes: bytes, status: str, error_class: str
) -> None:
    async with opened(repository) as (_, channel):
        code, details, metadata = await refused(channel.unary_unary(GET)(request_bytes))
        assert (code.name, metadata["feast-error-class"]) == (status, error_class)
        assert details


async def test_what_is_no_message_is_refused_and_the_server_goes_on(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        code, details, _ = await refused(channel.unary_unary(GET)(b"\xff\xff\xff"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details == "The request is no message of the type GetOnlineFeaturesRequest."
        code, _, _ = await refused(channel.unary_unary("/GrpcFeatureServer/Nope")(b""))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert (await read(channel, asked("stats:trips", driver_id=[5]))).values["trips"] == [5]


async def test_a_long_message_is_cut_so_that_it_is_told(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        names = [f"stats:{'ü' * 50}{i}" for i in range(200)]
        code, details, _ = await refused(channel.unary_unary(GET)(asked(*names, driver_id=[1])))
        assert code is grpc.StatusCode.NOT_FOUND
        assert len(details) <= 2_000


async def test_ten_thousand_entities_are_answered_in_their_order(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        drivers = [(7 * i) % DRIVERS for i in range(10_000)]
        assert (await read(channel, asked("stats:trips", driver_id=list(drivers)))).values["trips"] == drivers


async def test_a_message_that_is_too_large_is_refused(repository: Path) -> None:
    async with opened(repository, message_bytes=1_000) as (_, channel):
        code, _, _ = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=list(range(1_000)))))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await read(channel, asked("stats:trips", driver_id=[5]))).values["trips"] == [5]


async def test_what_is_too_much_is_unavailable_and_the_rest_is_finished(repository: Path) -> None:
    async with opened(repository, calls_in_hand=2) as (service, channel):
        gate = Gate(service)
        waiting = [asyncio.create_task(read(channel, asked("stats:trips", driver_id=[n]))) for n in (1, 2)]
        await gate.has_reached(2)
        code, details, metadata = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=[3])))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "try again" in details
        assert metadata["grpc-retry-pushback-ms"] == "1000"
        gate.opened.set()
        assert [(await each).values["trips"] for each in waiting] == [[1], [2]]
        assert (await read(channel, asked("stats:trips", driver_id=[3]))).values["trips"] == [3]


async def test_calls_that_may_not_run_yet_wait(repository: Path) -> None:
    async with opened(repository, running_calls=1) as (service, channel):
        gate = Gate(service)
        calls = [asyncio.create_task(read(channel, asked("stats:trips", driver_id=[n]))) for n in range(5)]
        await gate.has_reached(1)
        while service._in_hand < 5:
            await asyncio.sleep(0.001)
        assert gate.reached == 1
        gate.opened.set()
        assert [(await each).values["trips"] for each in calls] == [[n] for n in range(5)]


async def test_a_store_that_does_not_answer_is_told_in_time_and_the_server_recovers(repository: Path) -> None:
    async with opened(repository, request_seconds=0.05) as (service, channel):
        gate = Gate(service)
        code, details, _ = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=[1])))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert details == "The stores did not answer in time."
        gate.opened.set()
        service.api.store.online_store.get_many_async = gate._read  # type: ignore[method-assign]
        service.options = type(service.options)(address="127.0.0.1:0")
        assert (await read(channel, asked("stats:trips", driver_id=[1]))).values["trips"] == [1]


async def test_a_client_that_waits_no_longer_leaves_nothing_in_hand(repository: Path) -> None:
    async with opened(repository) as (service, channel):
        gate = Gate(service)
        code, _, _ = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=[1]), timeout=0.2))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        while service._in_hand:
            await asyncio.sleep(0.001)
        gate.opened.set()
        assert (await read(channel, asked("stats:trips", driver_id=[1]))).values["trips"] == [1]


async def test_a_store_that_cannot_be_reached_is_unavailable(repository: Path) -> None:
    async with opened(repository) as (service, channel):

        async def fail(reads: Any) -> Any:
            raise StoreUnavailableError("The store is away.")

        service.api.store.online_store.get_many_async = fail  # type: ignore[method-assign]
        code, details, metadata = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=[1])))
        assert (code, details) == (grpc.StatusCode.UNAVAILABLE, "The store is away.")
        assert "grpc-retry-pushback-ms" in metadata


async def test_unexpected_errors_are_internal_without_their_text(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(repository) as (service, channel):

        async def fail(reads: Any) -> Any:
            raise ZeroDivisionError("s3cret")

        service.api.store.online_store.get_many_async = fail  # type: ignore[method-assign]
        code, details, _ = await refused(channel.unary_unary(GET)(asked("stats:trips", driver_id=[1])))
        assert code is grpc.StatusCode.INTERNAL
        assert "s3cret" not in details
        assert "s3cret" in caplog.text


async def pushed(channel: Any, **about: Any) -> bool:
    message = messages.PushMessage(**{"stream_feature_view": "live", "allow_registry_cache": True, **about})
    return messages.PushResponse.FromString(await channel.unary_unary(PUSH)(message.SerializeToString())).status


async def test_rows_are_pushed_typed_or_as_text_and_the_newest_wins(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository) as (_, channel):
        typed = row(driver_id=1, trips=100, rate=0.5, city="x", ts=MOMENT)
        assert await pushed(channel, to="online_and_offline", typed_features=typed)
        assert await pushed(channel, to="online_and_offline", typed_features=typed)
        texts = {"driver_id": "2", "trips": "-200", "rate": "0.25", "city": "7", "ts": MOMENT}
        assert await pushed(channel, to="online", features=texts)
        older = row(driver_id=1, trips=1, rate=0.5, city="x", ts="2024-05-01T00:00:00")
        assert await pushed(channel, to="online", typed_features=older)
        seconds = messages.Value(unix_timestamp_val=1_717_200_000)
        assert await pushed(
            channel, to="online", typed_features={**row(driver_id=3, trips=300, rate=None, city=None), "ts": seconds}
        )
        answer = await read(channel, asked("stats:trips", "stats:rate", "stats:city", driver_id=[1, 2, 3]))
        assert answer.values["trips"] == [100, -200, 300]
        assert answer.values["rate"] == [0.5, 0.25, None]
        assert answer.values["city"] == ["x", "7", None]
        assert answer.statuses["city"] == ["PRESENT", "PRESENT", "NULL_VALUE"]
        assert answer.seconds["trips"] == [1_717_200_000] * 3
    store = FeatureStore(repository)
    from datetime import UTC, datetime

    history = store.get_historical_features(
        None,
        ["stats:trips"],
        start_date=datetime(2024, 5, 31, tzinfo=UTC),
        end_date=datetime(2024, 6, 2, tzinfo=UTC),
    ).to_df()
    assert history["trips"].tolist() == [100]
    store.close()


@pytest.mark.parametrize(
    ("about", "status", "told"),
    [
        ({"to": "nowhere", "features": {"driver_id": "1"}}, "INVALID_ARGUMENT", "'nowhere' is not a supported push"),
        ({"to": "online", "stream_feature_view": "nope"}, "NOT_FOUND", "push source 'nope'"),
        (
            {"to": "online", "features": {"driver_id": "x", "ts": MOMENT}},
            "INVALID_ARGUMENT",
            "Column 'driver_id' is Int64, which ['x'] is not",
        ),
        (
            {"to": "online", "features": {"driver_id": "1"}, "typed_features": row(driver_id=1)},
            "INVALID_ARGUMENT",
            "Only one of features or typed_features",
        ),
        ({"to": "online"}, "INVALID_ARGUMENT", ""),
    ],
)
async def test_rows_that_cannot_be_pushed_are_refused_and_nothing_changes(
    repository: Path, about: dict[str, Any], status: str, told: str
) -> None:
    async with opened(repository) as (_, channel):
        code, details, _ = await refused(pushed(channel, **about))
        assert code.name == status
        assert told in details
        assert (await read(channel, asked("stats:trips", driver_id=[1]))).values["trips"] == [1]


async def test_rows_are_written_to_a_view(tmp_path: Path) -> None:
    async with opened(made(tmp_path / "repository")) as (_, channel):
        written = messages.WriteMessage(
            feature_view_name="stats",
            features={"driver_id": "9", "trips": "9", "rate": "1", "city": "", "event_timestamp": MOMENT},
        )
        answer = await channel.unary_unary(WRITE)(written.SerializeToString())
        assert messages.WriteToOnlineStoreResponse.FromString(answer).status
        typed_row = row(driver_id=8, trips=88, rate=None, city=None, ts=MOMENT)
        typed = messages.WriteMessage(feature_view_name="stats", typed_features=typed_row)
        await channel.unary_unary(WRITE)(typed.SerializeToString())
        assert (await read(channel, asked("stats:trips", driver_id=[9, 8]))).values["trips"] == [9, 88]
        unknown = messages.WriteMessage(feature_view_name="nope", features={"driver_id": "9"})
        code, _, _ = await refused(channel.unary_unary(WRITE)(unknown.SerializeToString()))
        assert code is grpc.StatusCode.NOT_FOUND


async def test_the_server_says_its_version(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        answer = await channel.unary_unary(f"/{messages.SERVING_SERVICE}/GetFeastServingInfo")(b"")
        assert messages.GetFeastServingInfoResponse.FromString(answer).version


async def test_health_is_whether_features_can_be_served(repository: Path, tmp_path: Path) -> None:
    serving = health_pb2.HealthCheckResponse.SERVING
    async with opened(repository) as (service, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", messages.FEATURE_SERVER, messages.SERVING_SERVICE):
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == serving

        async def fail(reads: Any) -> Any:
            raise StoreUnavailableError("The store is away.")

        service.api.store.online_store.get_many_async = fail  # type: ignore[method-assign]
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=messages.FEATURE_SERVER)):
            if answer.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
    (tmp_path / "feature_store.yaml").write_text("project: served\nregistry: registry.db\nonline_store: sqlite\n")
    FeatureStore(tmp_path).close()
    async with opened(tmp_path) as (_, channel):
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING, "nothing was applied"


async def test_reflection_describes_every_service_and_message(repository: Path) -> None:
    async with opened(repository) as (_, channel):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        names = [messages.FEATURE_SERVER, messages.SERVING_SERVICE, "grpc.health.v1.Health"]
        asked_for = [reflection_pb2.ServerReflectionRequest(list_services="")]
        asked_for += [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names]
        answers = [answer async for answer in stub.ServerReflectionInfo(iter(asked_for))]
        assert {service.name for service in answers[0].list_services_response.service} >= set(names)
        for answer in answers[1:]:
            assert answer.file_descriptor_response.file_descriptor_proto, answer


async def test_metrics_count_calls_entities_and_statuses_under_feasts_names(repository: Path) -> None:
    async with opened(repository) as (service, channel):
        await read(channel, asked("stats:trips", driver_id=[1, DRIVERS + 1]))
        await refused(channel.unary_unary(GET)(asked("nope:trips", driver_id=[1])))
        service.metrics.flush()
        text = service.metrics.text().decode()
    for line in (
        'feast_feature_server_request_total{endpoint="GetOnlineFeatures",status="success"} 1.0',
        'feast_feature_server_request_total{endpoint="GetOnlineFeatures",status="error"} 1.0',
        "feast_online_features_entity_count_sum 2.0",
        'feast_online_features_status_total{feature_view="stats",status="not_found"} 1.0',
    ):
        assert line in text, text


async def test_what_a_client_sends_along_can_be_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = []
    run = GrpcServices._run

    async def noting(self: Any, handler: Any, request: Any, call: Call) -> bytes:
        headers.append((call.header("authorization"), call.header("nope")))
        return await run(self, handler, request, call)

    monkeypatch.setattr(GrpcServices, "_run", noting)
    async with opened(repository) as (_, channel):
        await channel.unary_unary(GET)(
            asked("stats:trips", driver_id=[1]), metadata=(("authorization", "Bearer t0ken"),)
        )
    assert headers == [("Bearer t0ken", "")]


async def test_a_new_definition_is_served_once_the_registry_was_read(tmp_path: Path) -> None:
    repository = made(tmp_path / "repository")
    async with opened(repository, registry_seconds=0.02) as (_, channel):
        request = asked("renamed:trips", driver_id=[1])
        code, _, _ = await refused(channel.unary_unary(GET)(request))
        assert code is grpc.StatusCode.NOT_FOUND
        text = (repository / "definitions.py").read_text().replace('name="stats"', 'name="renamed"')
        (repository / "definitions.py").write_text(text)
        store = FeatureStore(repository)
        await asyncio.to_thread(store.apply_repository)
        store.close()
        while True:
            try:
                answer = await read(channel, request)
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                await asyncio.sleep(0.02)
        assert answer.statuses["trips"] == ["NOT_FOUND"]
