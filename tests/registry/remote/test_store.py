"""The remote registry, against a registry server over SQLite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_assets import FeatureStore
from feast_assets.config import load_repo_config
from feast_assets.errors import (
    ConcurrentApplyError,
    FeastObjectNotFoundException,
    NotSupportedError,
    StoreUnavailableError,
)
from feast_assets.registry.base import Changes, Registry
from feast_assets.registry.remote.config import RemoteRegistryConfig
from feast_assets.registry.remote.ledger_message import columns_of, message_of
from feast_assets.registry.remote.store import RemoteRegistry
from feast_assets.registry.sql.config import SqlRegistryConfig
from feast_assets.registry.sql.store import SqlRegistry
from feast_assets.serving.registry.server import RegistryServer
from feast_assets.testing import (
    KeepsMarksConformance,
    KeepsPartStatisticsConformance,
    NotesPushesConformance,
    RegistryConformance,
)
from feast_assets.testing.registry import DAY, FIRST, RegistryFactory, commit, entity, entry, record, view
from feast_assets.types import Float64, Int64

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "remote"))

from failing_proxy import FailingProxy
from scripted_server import answer, scripted
from served_apps import serving

DEFINITIONS = """
from feast_assets import *

driver = Entity(name="driver", join_keys=["driver_id"])
stats = FeatureView(
    name="stats",
    entities=[driver],
    source=FileSource(path="stats.parquet", timestamp_field="ts"),
    schema=[Field(name="trips", dtype=Int64)],
)
"""


class Served(RegistryServer):
    """A registry server of this process whose registry each test chooses."""

    folder = Path()
    url = ""

    def begin(self, folder: Path) -> None:
        self.registry.close()
        self.registry._held.clear()
        self.folder = folder

    def _make_registry(self, project: str) -> Registry:
        return SqlRegistry(SqlRegistryConfig(path="data/registry.db"), self.folder, project)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "feature_store.yaml").write_text("project: shop\n")
    app = Served(FeatureStore(folder))
    with serving(app) as app.url:
        yield app
    app.registry.close()
    app._threads.shutdown()
    app.api.close()


@pytest.fixture
def served(server: Served, tmp_path: Path) -> Served:
    server.begin(tmp_path)
    return server


def _config(url: str, **settings: Any) -> RemoteRegistryConfig:
    return RemoteRegistryConfig(path=url, **settings)


class TestRemote(RegistryConformance, KeepsMarksConformance, KeepsPartStatisticsConformance, NotesPushesConformance):
    @pytest.fixture
    def registry_factory(self, served: Served, tmp_path: Path) -> RegistryFactory:
        return partial(RemoteRegistry, _config(served.url), tmp_path)


@pytest.fixture
def registry(served: Served) -> Iterator[RemoteRegistry]:
    registry = RemoteRegistry(_config(served.url), Path(), "shop")
    yield registry
    registry.close()


def test_a_refresh_brings_what_has_changed_and_shares_the_rest(registry: RemoteRegistry, served: Served) -> None:
    commit(registry, entity("driver"), view("trips"), entity("gone"))
    old = registry.snapshot()
    old.feature_view("trips")
    assert registry.refreshed(old) is old
    commit(registry, entity("rider"), entity("driver", "changed"), deletes=[("entity", "gone")])
    answers = _counted(registry)
    new = registry.refreshed(old)
    assert (new.revision, [e.name for e in new.entities]) == (2, ["driver", "rider"])
    assert new.entity("driver").description == "changed"
    assert new.stored("feature_view", "trips") is old.stored("feature_view", "trips"), "it is shared"
    assert answers == [2]
    direct = served.registry.registry("shop").snapshot()
    assert new.objects() == direct.objects()
    assert [o.created_timestamp for o in new.objects()] == [o.created_timestamp for o in direct.objects()]
    # A state that the server has forgotten, or that is another project's, brings everything.
    served.registry._held["shop"].snapshots.clear()
    assert registry.refreshed(old).objects() == direct.objects()
    registry.teardown()
    commit(registry, entity("anew"))
    assert [o.name for o in registry.refreshed(new).objects()] == [o.name for o in registry.snapshot().objects()]


def _counted(registry: RemoteRegistry) -> list[int]:
    """Returns a list that gets the number of objects of each answer from now on."""
    counts: list[int] = []
    call = registry._call

    def counting(method: str, message: object, answer: Any, *, repeatable: bool = True) -> Any:
        got = call(method, message, answer, repeatable=repeatable)
        if method == "refreshed":
            counts.append(len(got.objects))
        return got

    registry._call = counting  # type: ignore[method-assign]
    return counts


def test_the_lists_of_features_that_a_view_has_had_come_back(registry: RemoteRegistry, served: Served) -> None:
    commit(registry, view("trips", [("fare", Float64)]))
    commit(registry, view("trips", [("fare", Float64), ("count", Int64)]))
    direct = served.registry.registry("shop").snapshot().feature_lists("trips")
    assert registry.snapshot().feature_lists("trips") == direct
    assert [[field.name for field in fields] for fields in direct] == [["fare", "count"], ["fare"]]


def test_a_commit_whose_answer_is_lost_says_so_and_is_not_sent_again(served: Served) -> None:
    proxy = FailingProxy(served.url)
    registry = RemoteRegistry(_config(proxy.url), Path(), "shop")
    commit(registry, entity("driver"))
    server_side = served.registry.registry("shop")
    commits: list[int] = []

    def break_after(changes: Changes, **arguments: Any) -> int:
        number = SqlRegistry.commit(server_side, changes, **arguments)  # type: ignore[arg-type]
        commits.append(number)
        proxy.break_all()
        return number

    server_side.commit = break_after  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError, match="not known whether the request took effect"):
        registry.commit(Changes([entity("rider")]), based_on=1)
    assert commits == [2]
    # Whoever works it out again from what is there now sees it, or is refused.
    with pytest.raises(ConcurrentApplyError):
        registry.commit(Changes([entity("late")]), based_on=1)
    assert [e.name for e in registry.snapshot().entities] == ["driver", "rider"]
    proxy.is_down = True
    proxy.break_all()
    with pytest.raises(StoreUnavailableError):
        registry.revision()
    proxy.is_down = False
    assert registry.revision() == 2
    registry.close()
    proxy.close()


def test_errors_have_their_own_classes(registry: RemoteRegistry, served: Served) -> None:
    commit(registry, entity("driver"))
    with pytest.raises(FeastObjectNotFoundException, match="revision"):
        registry.snapshot(7)
    with scripted([answer(b'{"detail":"Not Found"}', 404)]) as other:
        elsewhere = RemoteRegistry(_config(other.url), Path(), "shop")
        with pytest.raises(NotSupportedError, match="no feast_assets server with a registry"):
            elsewhere.revision()
        elsewhere.close()


def test_names_of_projects_that_are_not_there_do_not_use_the_server_up(
    registry: RemoteRegistry, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.serving.registry.methods._MOST_PROJECTS", 2)
    commit(registry, entity("driver"))
    for number in range(4):
        another = RemoteRegistry(_config(served.url), Path(), f"made_up_{number}")
        assert another.revision() == 0
        another.close()
    assert [each.name for each in registry.snapshot().entities] == ["driver"]
    commit(registry, entity("driver"), entity("rider"))
    assert registry.revision() == 2


def test_a_ledger_that_was_damaged_on_the_way_is_refused(registry: RemoteRegistry) -> None:
    record(registry, entry("trips", FIRST, FIRST + DAY), entry("trips", FIRST + DAY, FIRST + 2 * DAY, "g"))
    columns = registry.ledger_columns("trips")
    message = message_of(columns)
    assert columns_of("trips", message).entries() == columns.entries()
    for change in (
        {"numbers": message.numbers[:-1]},
        {"numbers": [*message.numbers[:-1], message.numbers[-1][:8]]},
        {"numbers": [*message.numbers[:-1], message.numbers[-1][:-3]]},
        {"fingerprints": message.fingerprints[:1]},
        {"claims": msgspec.structs.replace(message.claims, texts=[])},
        {"runs": msgspec.structs.replace(message.runs, codes=b"\xff" * 8)},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - what numpy says counts too
            columns_of("trips", msgspec.structs.replace(message, **change))


def test_feature_stores_apply_and_materialize_through_the_server(served: Served, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
        settings = f"project: shop\nregistry: {{registry_type: remote, path: '{served.url}'}}\n"
        (folder / "feature_store.yaml").write_text(settings)
        (folder / "definitions.py").write_text(DEFINITIONS)
        rows = {"driver_id": [1, 2], "trips": [3, 4], "ts": [FIRST, FIRST + DAY]}
        pq.write_table(pa.table(rows), folder / "stats.parquet")
    one, two = (FeatureStore(folder) for folder in folders)
    assert one.apply_repository()
    one.materialize_incremental(FIRST + 400 * DAY)
    assert [v.name for v in two.list_feature_views()] == ["stats"]
    assert two.registry.materialization_intervals("stats") == one.registry.materialization_intervals("stats") != []
    plan = two.plan_repository()
    one.apply(entity("rider"))
    with pytest.raises(ConcurrentApplyError, match="apply again"):
        two.apply_plan(plan)
    two.apply_repository()
    assert one.list_entities(allow_cache=False)[0].name == "driver"
    one.close()
    two.close()


def test_settings(tmp_path: Path) -> None:
    def registry(section: str) -> RemoteRegistryConfig:
        (tmp_path / "feature_store.yaml").write_text(f"project: shop\nregistry: {section}\n")
        config = load_repo_config(tmp_path).registry
        assert isinstance(config, RemoteRegistryConfig)
        return config

    assert str(registry("{registry_type: remote, path: 'localhost:6570'}").address) == "http://localhost:6570"
    assert str(registry("{registry_type: remote, path: 'h:1', is_tls: true}").address) == "https://h:1"
    assert registry("{registry_type: remote, path: 'https://h/r', cache_ttl_seconds: 5}").cache_ttl_seconds == 5
