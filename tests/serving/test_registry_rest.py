"""Feast's REST API of the registry: answers are compared with recorded ones of Feast's server."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pairs import OTHER_ROWS, ROWS
from record_feast_registry import without
from servers import Answered, ask

from feast_assets import FeatureStore
from feast_assets.auth.identity import Identity, acting_as
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.serving.registry.server import RegistryServer

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "feast_registry_answers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rest")
    (root / "feature_store.yaml").write_text("project: pairs\nregistry: registry.db\nonline_store: sqlite\n")
    definitions = (HERE / "pairs_repository.py").read_text(encoding="utf-8").replace("FEAST", "feast_assets")
    (root / "definitions.py").write_text(definitions, encoding="utf-8")
    for name, rows in (("stats", ROWS), ("other", OTHER_ROWS)):
        frame = pd.DataFrame(rows)
        frame["event_timestamp"] = pd.to_datetime(frame["event_timestamp"], format="ISO8601", utc=True)
        frame.to_parquet(root / f"{name}.parquet")
    store = FeatureStore(root)
    store.apply_repository()
    store.close()
    return root


@pytest.fixture
async def app(repository: Path) -> AsyncIterator[RegistryServer]:
    app = RegistryServer(FeatureStore(repository))
    await app.open()
    yield app
    await app.close()


async def get(app: RegistryServer, path: str) -> Answered:
    return await ask(app, "GET", f"/api/v1/{path}")


def _comparable(value: Any) -> Any:
    """Returns an answer without what is listed as a difference: the stand-in entity, request sources among the data
    sources, the sources of an entity, and the order of lists, which here is by name."""
    value = without(value)
    if isinstance(value, list):
        return [_comparable(each) for each in value]
    if isinstance(value, dict):
        value = {key: _comparable(inner) for key, inner in value.items() if key != "meta"}
        if "joinKey" in value.get("spec", {}):
            value.pop("dataSources", None)
        for key in ("entities", "dataSources", "featureViews"):
            if isinstance(value.get(key), list) and "pagination" in value:
                kept = [
                    each
                    for each in value[key]
                    if each.get("spec", {}).get("name") != "__dummy" and each.get("type") != "REQUEST_SOURCE"
                ]
                value[key] = sorted(kept, key=lambda each: each.get("name") or each["spec"]["name"])
                value["pagination"].pop("totalCount", None)
    return value


@pytest.mark.parametrize("path", [path for path in RECORDED if path != "entities/nope?project=pairs"])
async def test_answers_are_those_of_feasts_server(app: RegistryServer, path: str) -> None:
    status, body = RECORDED[path]
    answer = await get(app, path)
    assert answer.status == status
    assert _comparable(answer.json()) == _comparable(body)


async def test_times_are_those_of_the_registry(app: RegistryServer) -> None:
    (entity,) = (await get(app, "entities?project=pairs")).json()["entities"]
    stored = app.api.store.get_entity("driver").created_timestamp
    assert pd.Timestamp(entity["meta"]["createdTimestamp"]) == pd.Timestamp(stored)


async def test_pages_orders_and_filters(app: RegistryServer) -> None:
    names = ["other", "stats", "totals"]

    async def listed(query: str) -> tuple[list[str], dict[str, Any]]:
        answer = (await get(app, f"feature_views?project=pairs&{query}")).json()
        return [view["spec"]["name"] for view in answer["featureViews"]], answer["pagination"]

    assert await listed("page=1&limit=2") == (
        names[:2],
        {"page": 1, "limit": 2, "totalCount": 3, "totalPages": 2, "hasNext": True},
    )
    assert await listed("page=2&limit=2") == (
        names[2:],
        {"page": 2, "limit": 2, "totalCount": 3, "totalPages": 2, "hasPrevious": True},
    )
    assert (await listed("sort_by=name&sort_order=desc"))[0] == names[::-1]
    for query, chosen in (
        ("entity=driver", ["other", "stats"]),
        ("feature=city", ["stats"]),
        ("feature_service=service", ["stats", "totals"]),
        ("data_source=live", ["stats"]),
        ("data_source=other_file", ["other"]),
        ("updated_since=2999-01-01", []),
        ("tags=team:none", []),
    ):
        assert (await listed(query))[0] == chosen, query
    features = (await get(app, "features?project=pairs&limit=3&page=1")).json()
    assert features["pagination"]["totalCount"] == 12
    related = (await get(app, "entities/driver?project=pairs&include_relationships=true")).json()["relationships"]
    driver = {"type": "entity", "name": "driver"}
    for kind, name in (("featureView", "stats"), ("featureView", "other"), ("featureService", "service")):
        assert {"source": driver, "target": {"type": kind, "name": name}} in related
    lineage = (await get(app, "lineage/registry?project=pairs")).json()
    totals = {"type": "featureView", "name": "totals"}
    assert {"source": {"type": "featureView", "name": "stats"}, "target": totals} in lineage["relationships"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("entities/nope?project=pairs", 404, "There is no entity 'nope' in project 'pairs'"),
        ("features/stats/nope?project=pairs", 404, "nope"),
        ("projects/nope", 404, "There is no project 'nope'"),
        ("entities", 422, "'project' is required"),
        ("entities?project=pairs&limit=500", 422, "'limit' must be from 1 to 100"),
        ("entities?project=pairs&page=x", 422, "'page' must be from 1 to 999999999"),
        ("entities?project=pairs&sort_order=up", 422, "asc or desc"),
        ("entities?project=pairs&allow_cache=maybe", 422, "true or false"),
        ("feature_views?project=pairs&updated_since=soon", 400, "ISO-8601"),
        ("feature_views?project=pairs&feature_service=nope", 404, "There is no feature service 'nope'"),
        ("nothing", 404, "Not Found"),
        ("entities/a/b?project=pairs", 404, "Not Found"),
        ("", 404, "Not Found"),
    ],
)
async def test_wrong_requests_are_told_in_feasts_form(app: RegistryServer, path: str, status: int, said: str) -> None:
    answer = await get(app, path)
    assert answer.status == status
    body = answer.json()
    assert body["status_code"] == status and said in body["detail"] and body["error_type"]


async def test_entities_are_registered_and_objects_removed_as_apply_does(app: RegistryServer) -> None:
    body = {"name": "rider", "project": "pairs", "join_key": "rider_id", "description": "who rides"}
    made = await ask(app, "POST", "/api/v1/entities", body)
    assert (made.status, made.json()) == (201, {"name": "rider", "project": "pairs", "status": "applied"})
    entity = (await get(app, "entities/rider?project=pairs")).json()
    assert entity["spec"] == {"name": "rider", "joinKey": "rider_id", "description": "who rides"}
    for wrong in ({"name": "x"}, b"no json", {**body, "join_keys": []}):
        assert (await ask(app, "POST", "/api/v1/entities", wrong)).status == 422
    assert (await ask(app, "POST", "/api/v1/entities", {**body, "project": "elsewhere"})).status == 404
    refused = await ask(app, "POST", "/api/v1/feature_views", {})
    assert (refused.status, refused.headers["allow"]) == (405, "GET")
    # It is still used.
    used = await ask(app, "DELETE", "/api/v1/data_sources/stats_file?project=pairs")
    assert used.status == 400, used.body
    gone = await ask(app, "DELETE", "/api/v1/entities/rider?project=pairs")
    assert gone.json() == {"name": "rider", "project": "pairs", "status": "deleted"}
    assert (await get(app, "entities/rider?project=pairs")).status == 404
    assert (await ask(app, "POST", "/api/v1/registry/refresh")).status == 200


async def test_callers_see_what_they_may(app: RegistryServer, repository: Path) -> None:
    with acting_as(Identity("eve")):
        everything = (await get(app, "entities?project=pairs")).json()
    # Without permissions, everybody who is known may do everything, as in Feast.
    assert [each["spec"]["name"] for each in everything["entities"]] == ["driver"]


async def test_neither_relationships_nor_filters_nor_errors_name_what_a_caller_may_not_see(
    repository: Path, tmp_path: Path
) -> None:
    root = tmp_path / "guarded"
    shutil.copytree(repository, root)
    store = FeatureStore(root)
    store.apply([Permission(name="some", name_patterns=["stats", "driver"], actions=AuthzedAction.DESCRIBE)])
    store.close()
    app = RegistryServer(FeatureStore(root))
    await app.open()
    with acting_as(Identity("eve")):
        one = await get(app, "feature_views/stats?project=pairs&include_relationships=true")
        related = {each["source"]["name"] for each in one.json()["relationships"]}
        related |= {each["target"]["name"] for each in one.json()["relationships"]}
        assert {"stats", "driver", "trips"} <= related
        assert related.isdisjoint({"service", "totals", "stats_file", "live"})
        assert (await get(app, "feature_views?project=pairs&feature_service=service")).status == 403
        missing = await get(app, "feature_services/servise?project=pairs")
        assert missing.status == 404 and "'service'" not in missing.json()["detail"]
    await app.close()


async def test_probes_need_no_token(repository: Path, tmp_path: Path) -> None:
    root = tmp_path / "guarded"
    shutil.copytree(repository, root)
    with (root / "feature_store.yaml").open("a") as settings:
        settings.write("auth: {type: oidc, auth_discovery_url: 'http://127.0.0.1:1/.well-known/openid-configuration'}")
    app = RegistryServer(FeatureStore(root))
    await app.open()
    for path in ("/health", "/ready", "/metrics", "/openapi.json"):
        assert (await ask(app, "GET", path)).status == 200
    assert (await get(app, "entities?project=pairs")).status == 401
    await app.close()


async def test_the_openapi_document_has_every_kind(app: RegistryServer) -> None:
    document = (await ask(app, "GET", "/openapi.json")).json()
    for path in document["paths"]:
        concrete = path.replace("{name}", "x").replace("{feature_view}", "y")
        method = "POST" if path.endswith("refresh") else "GET"
        answer = await ask(app, method, f"{concrete}?project=pairs")
        assert answer.status in (200, 404) and answer.body != b'{"detail":"Not Found"}', path
    assert (await ask(app, "GET", "/ready")).json()["ready"] is True
    assert (await ask(app, "POST", "/get-online-features", {})).status == 404
