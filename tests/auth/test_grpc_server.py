"""The gRPC server in front of callers who have to say who they are."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from guarded_project import MOMENT, made
from issuer import Issuer

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from grpc_clients import GET, PUSH, WRITE, Answered, asked, row

from feast_assets import FeatureStore, RepoConfig
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import RoleBasedPolicy
from feast_assets.serving.grpc import messages
from feast_assets.serving.grpc.options import GrpcOptions
from feast_assets.serving.grpc.server import made_server
from feast_assets.serving.grpc.service import GrpcServices

READERS = Permission(
    "readers",
    name_patterns="rides",
    actions=AuthzedAction.READ_ONLINE,
    policy=RoleBasedPolicy(["reader"]),
)
INFO = f"/{messages.SERVING_SERVICE}/GetFeastServingInfo"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("guarded")
    made(root, [READERS]).close()
    return root


@asynccontextmanager
async def opened(root: Path, auth: dict[str, Any]) -> AsyncIterator[Any]:
    online = {"type": "sqlite", "path": "online.db"}
    store = FeatureStore(root, RepoConfig(project="guarded", registry="registry.db", online_store=online, auth=auth))
    service = GrpcServices(store, GrpcOptions(address="127.0.0.1:0"))
    await service.open()
    server, port = made_server(service, 0)
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_retries", 0)])
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(None)
        await service.close()


async def status(channel: Any, path: str, request: bytes, token: str | None) -> tuple[Any, str]:
    metadata = [] if token is None else [("authorization", f"Bearer {token}")]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await channel.unary_unary(path)(request, metadata=metadata)
    return refused.value.code(), str(refused.value.details())


async def test_every_method_wants_a_token_and_a_permission(issuer: Issuer, project: Path) -> None:
    typed = row(id=3, fare=3.5, at=MOMENT.isoformat())
    push = messages.PushMessage(stream_feature_view="live", typed_features=typed, to="online").SerializeToString()
    write = messages.WriteMessage(feature_view_name="rides", typed_features=typed).SerializeToString()
    async with opened(project, issuer.settings()) as channel:
        for path, request in ((GET, asked("rides:fare", id=[1])), (PUSH, push), (WRITE, write), (INFO, b"")):
            code, details = await status(channel, path, request, None)
            assert (code, details) == (grpc.StatusCode.UNAUTHENTICATED, "Missing authentication token"), path
            expired = issuer.token(exp=1)
            assert (await status(channel, path, request, expired))[0] is grpc.StatusCode.UNAUTHENTICATED, path
        token = issuer.token()
        metadata = [("authorization", f"Bearer {token}")]
        answer = Answered.of(await channel.unary_unary(GET)(asked("rides:fare", id=[1]), metadata=metadata))
        assert answer.values["fare"] == [1.5]
        for path, request in ((GET, asked("users:fare", id=[1])), (PUSH, push), (WRITE, write)):
            code, details = await status(channel, path, request, token)
            assert code is grpc.StatusCode.PERMISSION_DENIED, (path, details)
            assert "'ann' may not" in details


async def test_a_provider_that_is_down_is_no_refusal(issuer: Issuer, project: Path) -> None:
    issuer.answers["/keys"] = (500, b"")
    async with opened(project, issuer.settings()) as channel:
        code, _ = await status(channel, GET, asked("rides:fare", id=[1]), issuer.token())
        assert code is grpc.StatusCode.UNAVAILABLE


async def test_without_authorization_in_the_settings_nobody_is_asked(project: Path) -> None:
    async with opened(project, {"type": "no_auth"}) as channel:
        answer = Answered.of(await channel.unary_unary(GET)(asked("users:fare", id=[1])))
        assert answer.values["fare"] == [1.5]
