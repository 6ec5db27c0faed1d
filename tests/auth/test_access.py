"""What each verb of a feature store demands of the identity on whose behalf it is called."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from guarded_project import END, PUSHED, START, definitions, entities, made

from feast_assets import (
    DataSource,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    RepoConfig,
    SavedDatasetFileStorage,
    ValidationReference,
)
from feast_assets.auth.access import resource_of
from feast_assets.auth.decision import Resource
from feast_assets.auth.identity import ANONYMOUS, Identity, acting_as, acting_identity, own_work
from feast_assets.definitions.authorized_action import ALL_ACTIONS, AuthzedAction
from feast_assets.definitions.feature_view_state import FeatureViewState
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import RoleBasedPolicy
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.definitions.view_version import ViewVersion
from feast_assets.errors import FeastAssetsError
from feast_assets.feast_errors import FeastPermissionError
from feast_assets.registry.snapshot import RegistrySnapshot
from feast_assets.repository.loading import load_repository

A = AuthzedAction
ANN = Identity("ann", roles=["reader"])
KEYS = {"id": [1]}


def changed_view() -> FeatureView:
    view = next(d for d in definitions() if d.name == "rides")
    assert isinstance(view, FeatureView)
    view.description = "changed"
    return view


def of_class(cls: type, name: str, **more: Any) -> Any:
    return next(d for d in definitions() if isinstance(d, cls) and d.name == name)


def asynchronously(call: Callable[[FeatureStore], Any]) -> Callable[[FeatureStore], Any]:
    return lambda store: asyncio.run(call(store))


VERBS: dict[str, tuple[Callable[[FeatureStore], Any], set[AuthzedAction]]] = {
    "get_project": (lambda s: s.get_project(), {A.DESCRIBE}),
    "get_entity": (lambda s: s.get_entity("rider"), {A.DESCRIBE}),
    "get_data_source": (lambda s: s.get_data_source("history"), {A.DESCRIBE}),
    "get_feature_view": (lambda s: s.get_feature_view("rides"), {A.DESCRIBE}),
    "get_feature_view from the cache": (lambda s: s.get_feature_view("rides", True), {A.DESCRIBE}),
    "get_label_view": (lambda s: s.get_label_view("reviews"), {A.DESCRIBE}),
    "get_on_demand_feature_view": (lambda s: s.get_on_demand_feature_view("double"), {A.DESCRIBE}),
    "get_feature_service": (lambda s: s.get_feature_service("both"), {A.DESCRIBE}),
    "get_saved_dataset": (lambda s: s.get_saved_dataset("training"), {A.DESCRIBE}),
    "get_permission": (lambda s: s.get_permission("given"), {A.DESCRIBE}),
    "get_any_feature_view": (lambda s: s.get_any_feature_view("double"), {A.DESCRIBE}),
    "registered": (lambda s: s.registered(True), {A.DESCRIBE}),
    "plan_repository": (lambda s: s.plan_repository(), {A.DELETE}),
    "plan": (lambda s: s.plan(load_repository(s.repo_path)), {A.DELETE}),
    "precompute_feature_service": (lambda s: s.precompute_feature_service("both"), {A.DESCRIBE}),
    "feature_logger": (lambda s: s.feature_logger(s.snapshot().feature_service("logged")), {A.READ_ONLINE}),
    "write_logged_features": (
        lambda s: s.write_logged_features(pa.table({}), s.snapshot().feature_service("logged")),
        {A.WRITE_OFFLINE},
    ),
    "validate_logged_features": (
        lambda s: s.validate_logged_features(
            s.snapshot().feature_service("logged"), START, END, ValidationReference("r", "training")
        ),
        {A.READ_OFFLINE},
    ),
    "enable_feature_view": (lambda s: s.enable_feature_view("off"), {A.DESCRIBE, A.UPDATE}),
    "list_feature_view_versions": (lambda s: s.list_feature_view_versions("rides"), {A.DESCRIBE}),
    "materialization_intervals": (lambda s: s.materialization_intervals("rides"), {A.DESCRIBE}),
    "stale_windows": (lambda s: s.stale_windows("rides", END), {A.DESCRIBE}),
    "change_tokens": (lambda s: s.change_tokens(["rides"]), {A.DESCRIBE}),
    "list_unfinished_pushes": (lambda s: s.list_unfinished_pushes(), {A.DESCRIBE}),
    "drop_unfinished_push": (lambda s: s.drop_unfinished_push("x"), {A.DESCRIBE, A.UPDATE}),
    "get_online_features": (lambda s: s.get_online_features(["rides:fare"], KEYS), {A.READ_ONLINE}),
    "get_online_features of a service": (
        lambda s: s.get_online_features(of_class(FeatureService, "both"), KEYS, True),
        {A.READ_ONLINE},
    ),
    "get_online_features of an on-demand view": (
        lambda s: s.get_online_features(["double:double"], KEYS),
        {A.READ_ONLINE},
    ),
    "get_online_features_async": (
        asynchronously(lambda s: s.get_online_features_async(["rides:fare"], KEYS)),
        {A.READ_ONLINE},
    ),
    "get_row_origins": (
        lambda s: s.get_row_origins(s.get_online_features(["rides:fare"], KEYS)),
        {A.READ_ONLINE, A.DESCRIBE},
    ),
    "get_historical_features": (
        lambda s: s.get_historical_features(entities(), ["rides:fare"]).to_df(),
        {A.READ_OFFLINE},
    ),
    "get_historical_features of a service": (
        lambda s: s.get_historical_features(entities(), of_class(FeatureService, "both"), True).to_df(),
        {A.READ_OFFLINE},
    ),
    "retrieve_dataset_data": (lambda s: s.retrieve_dataset_data("training"), {A.READ_OFFLINE}),
    "the rows of a saved dataset": (lambda s: s.get_saved_dataset("training").to_df(), {A.DESCRIBE, A.READ_OFFLINE}),
    "create_dataset_from_retrieval": (
        lambda s: s.create_dataset_from_retrieval(
            "more", entities(), ["rides:fare"], SavedDatasetFileStorage("more.parquet"), allow_overwrite=True
        ),
        {A.READ_OFFLINE, A.CREATE, A.WRITE_OFFLINE},
    ),
    "a saved dataset of a name that is taken": (
        lambda s: s.create_dataset_from_retrieval(
            "training", entities(), ["rides:fare"], SavedDatasetFileStorage("training.parquet"), allow_overwrite=True
        ),
        {A.READ_OFFLINE, A.DESCRIBE, A.UPDATE, A.WRITE_OFFLINE},
    ),
    "audit": (lambda s: s.audit(["rides"]), {A.READ_ONLINE, A.READ_OFFLINE}),
    "push": (lambda s: s.push("live", PUSHED), {A.WRITE_ONLINE}),
    "push_async": (asynchronously(lambda s: s.push_async("live", PUSHED)), {A.WRITE_ONLINE}),
    "push to history": (lambda s: s.push("live", PUSHED, to=PushMode.OFFLINE), {A.WRITE_OFFLINE}),
    "push to both": (
        lambda s: s.push("live", PUSHED, to=PushMode.ONLINE_AND_OFFLINE),
        {A.WRITE_ONLINE, A.WRITE_OFFLINE},
    ),
    "write_to_online_store": (lambda s: s.write_to_online_store("rides", PUSHED), {A.WRITE_ONLINE}),
    "write_to_online_store_async": (
        asynchronously(lambda s: s.write_to_online_store_async("rides", PUSHED)),
        {A.WRITE_ONLINE},
    ),
    "write_to_offline_store": (lambda s: s.write_to_offline_store("rides", PUSHED), {A.WRITE_OFFLINE}),
    "materialize": (lambda s: s.materialize(START, END, ["rides"]), {A.WRITE_ONLINE}),
    "materialize_incremental": (lambda s: s.materialize_incremental(END, ["rides"]), {A.WRITE_ONLINE}),
    "materialize_windows": (lambda s: s.materialize_windows("rides", []), {A.WRITE_ONLINE}),
    "views_to_materialize": (lambda s: s.views_to_materialize(None), {A.WRITE_ONLINE}),
    "apply of something new": (lambda s: s.apply(Entity(name="new")), {A.CREATE}),
    "apply of something changed": (lambda s: s.apply(changed_view()), {A.DESCRIBE, A.UPDATE}),
    "apply of a new permission": (lambda s: s.apply(Permission("mine")), {A.CREATE}),
    "apply of a changed permission": (lambda s: s.apply(Permission("given")), {A.DESCRIBE, A.UPDATE}),
    "apply that deletes": (
        lambda s: s.apply([], [of_class(FeatureService, "both")], partial=False),
        {A.DELETE},
    ),
    "delete_feature_view": (lambda s: s.delete_feature_view("reviews"), {A.DELETE}),
    "delete_feature_service": (lambda s: s.delete_feature_service("both"), {A.DELETE}),
    "disable_feature_view": (lambda s: s.disable_feature_view("rides"), {A.DESCRIBE, A.UPDATE}),
    "set_feature_view_state": (
        lambda s: s.set_feature_view_state("rides", FeatureViewState.CREATED),
        {A.DESCRIBE, A.UPDATE},
    ),
    "teardown": (lambda s: s.teardown(), {A.DELETE}),
    "delete_project": (lambda s: s.delete_project("guarded"), {A.DESCRIBE, A.DELETE}),
}


def only(*actions: AuthzedAction) -> list[Permission]:
    return [Permission("given", actions=list(actions), policy=RoleBasedPolicy(["reader"]))]


def outcome(store: FeatureStore, call: Callable[[FeatureStore], Any]) -> str:
    """Returns whether a call was denied; other errors mean that it was let through."""
    try:
        call(store)
    except FeastPermissionError:
        return "denied"
    except FeastAssetsError:
        return "let through"
    return "let through"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guarded")
    made(folder).close()
    return folder


@pytest.fixture
def store_with(template: Path, tmp_path: Path) -> Iterator[Callable[..., FeatureStore]]:
    """Gives a fresh copy of the project with some permissions."""
    stores: list[FeatureStore] = []

    def make(*permissions: Permission) -> FeatureStore:
        folder = tmp_path / str(len(stores))
        shutil.copytree(template, folder)
        config = RepoConfig(
            project="guarded", registry="registry.db", online_store={"type": "sqlite", "path": "online.db"}
        )
        store = FeatureStore(folder, config)
        stores.append(store)
        store.apply(definitions())  # Changes nothing; now it has their functions.
        if permissions:
            store.apply(permissions)
        return store

    yield make
    for store in stores:
        store.close()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_demands_just_the_actions_that_it_should(verb: str, store_with: Callable[..., FeatureStore]) -> None:
    call, needed = VERBS[verb]
    # What is denied changes nothing, so that one store serves for all of these.
    lacking = [
        Permission(
            f"all but {action.value}",
            actions=[each for each in ALL_ACTIONS if each is not action],
            policy=RoleBasedPolicy([action.value]),
        )
        for action in needed
    ]
    store = store_with(*lacking, *only(*needed))
    for action in needed:
        with acting_as(Identity("bob", roles=[action.value])):
            assert outcome(store, call) == "denied", f"without {action.name}"
    with acting_as(ANONYMOUS):
        assert outcome(store, call) == "denied"
    with acting_as(ANN):
        assert outcome(store, call) == "let through"


NEEDS_NOTHING = {
    # what the process has, and what servers do for themselves
    *("access", "compute_engine", "offline_store", "online_store", "registry", "project", "snapshot", "serve", "close"),
    *("initialize", "keep_registry_fresh", "refresh_registry", "set_current_project", "reset_current_project"),
    *("in_project", "run_window_task"),
    # which no store supports
    "update_online_store",
    # which serve, and ask for tokens; which attaches code of the repository to what the caller has
    *("serve_offline", "serve_registry", "with_function"),
}
ELSEWHERE = {
    # by the verbs that they call: apply, create_dataset_from_retrieval, get_entity and so on for other kinds
    *("apply_plan", "apply_repository", "create_saved_dataset", "get_stream_feature_view", "get_validation_reference"),
    # of streams, which this project has none of
    *("consume", "stream_lags", "list_dead_letters", "replay_dead_letters", "drop_dead_letters"),
}


def test_every_verb_is_tested_here_or_needs_nothing() -> None:
    tested = {verb.split()[0] for verb in VERBS} | {f"list_{kind}" for kind in LISTS}
    tested |= {"apply", "delete_project", "list_stream_feature_views", "list_validation_references"}
    public = {name for name, _ in inspect.getmembers(FeatureStore) if not name.startswith("_")}
    assert public - tested - NEEDS_NOTHING - ELSEWHERE == set()


@pytest.mark.parametrize("verb", ["get_entity", "get_online_features", "get_historical_features", "push", "teardown"])
def test_without_permissions_everybody_who_is_known_may_do_everything(
    verb: str, store_with: Callable[..., FeatureStore]
) -> None:
    store = store_with()
    with acting_as(ANONYMOUS):
        assert outcome(store, VERBS[verb][0]) == "denied"
    with acting_as(Identity("eve")):
        assert outcome(store, VERBS[verb][0]) == "let through"


def test_nothing_is_checked_where_nobody_acts_unless_that_is_required(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(*only(A.CREATE))
    assert store.get_entity("rider").name == "rider"
    store.access.require_identity()
    with pytest.raises(FeastPermissionError, match="a caller without a name may not DESCRIBE entity 'rider'"):
        store.get_entity("rider")
    assert store.list_entities() == []
    with own_work():
        assert store.get_entity("rider").name == "rider"


LISTS: dict[str, Callable[[FeatureStore], Any]] = {
    "projects": lambda s: s.list_projects(),
    "entities": lambda s: s.list_entities(),
    "data_sources": lambda s: s.list_data_sources(),
    "feature_views": lambda s: s.list_feature_views(),
    "batch_feature_views": lambda s: s.list_batch_feature_views(),
    "all_feature_views": lambda s: s.list_all_feature_views(),
    "label_views": lambda s: s.list_label_views(),
    "on_demand_feature_views": lambda s: s.list_on_demand_feature_views(),
    "feature_services": lambda s: s.list_feature_services(),
    "saved_datasets": lambda s: s.list_saved_datasets(),
    "permissions": lambda s: s.list_permissions(),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_leaves_out_what_the_identity_may_not_see(kind: str, store_with: Callable[..., FeatureStore]) -> None:
    patterns = ["r.*", "guarded", "double", "history", "both", "training", "given"]
    given = Permission("given", name_patterns=patterns, actions=A.DESCRIBE, policy=RoleBasedPolicy(["reader"]))
    store = store_with(given, Permission("other", actions=A.CREATE))
    everything = [thing.name for thing in LISTS[kind](store)]
    with acting_as(ANN):
        visible = [thing.name for thing in LISTS[kind](store)]
    assert visible == [
        name for name in everything if any(name == p or (p == "r.*" and name[0] == "r") for p in patterns)
    ]
    assert visible
    with acting_as(Identity("eve")):
        assert LISTS[kind](store) == []


def test_permission_for_a_service_is_enough_to_read_it_online_but_not_its_views(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(Permission("p", types=FeatureService, actions=A.READ_ONLINE))
    with acting_as(ANN):
        answer = store.get_online_features(store.snapshot().feature_service("both"), KEYS, full_feature_names=True)
        assert answer.to_dict()["rides__fare"] == [1.5]
        with pytest.raises(FeastPermissionError, match="'ann' may not READ_ONLINE feature view 'rides': no permission"):
            store.get_online_features(["rides:fare"], KEYS)


def test_only_short_requests_are_remembered_as_permitted(
    store_with: Callable[..., FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_assets import retrieving
    from feast_assets.auth import access

    store = store_with(*only(A.READ_ONLINE))
    decided: list[object] = []
    decide = access.decide
    monkeypatch.setattr(access, "decide", lambda *given: (decided.append(given), decide(*given))[1])
    monkeypatch.setattr(retrieving, "_NAMES_REMEMBERED", 1)
    with acting_as(ANN):
        for _ in range(3):
            store.get_online_features(["rides:fare"], KEYS)
        assert len(decided) == 1
        for _ in range(3):
            store.get_online_features(["rides:fare", "double:double"], KEYS)
        assert len(decided) == 1 + 3 * 2


def test_who_may_only_read_a_service_learns_nothing_of_the_runs_of_its_views(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(Permission("p", types=FeatureService, actions=list(ALL_ACTIONS)))
    with acting_as(ANN):
        answer = store.get_online_features(store.snapshot().feature_service("both"), KEYS, full_feature_names=True)
        with pytest.raises(FeastPermissionError, match="'ann' may not DESCRIBE feature view"):
            store.get_row_origins(answer)


def test_the_permissions_of_another_project_decide_whether_it_may_be_deleted(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with()  # without permissions, ann may do everything here
    with store.in_project("theirs"):
        store.apply([of_class(Entity, "rider"), Permission("p", actions=A.CREATE, policy=RoleBasedPolicy(["owner"]))])
    with acting_as(ANN), pytest.raises(FeastPermissionError, match="'ann' may not DELETE project 'theirs'"):
        store.delete_project("theirs")
    with store.in_project("theirs"):
        assert store.get_entity("rider").name == "rider"
    store.delete_project("theirs")
    assert [project.name for project in store.list_projects()] == ["guarded"]


def test_a_service_of_a_permitted_name_gives_no_other_features_than_the_registered_one(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(Permission("p", types=FeatureService, actions=A.READ_ONLINE))
    forged = FeatureService(name="both", features=[of_class(FeatureView, "reviews")])
    with acting_as(ANN), pytest.warns(UserWarning, match="differs from the registry's"):
        answer = store.get_online_features(forged, KEYS, full_feature_names=True).to_dict()
    assert set(answer) == {"id", "rides__fare", "users__fare"}


def test_an_on_demand_view_needs_permission_for_the_views_that_it_reads_too(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(Permission("p", name_patterns="double", actions=[A.READ_ONLINE, A.READ_OFFLINE]))
    with acting_as(ANN):
        with pytest.raises(FeastPermissionError, match="feature view 'rides'"):
            store.get_online_features(["double:double"], KEYS)
        with pytest.raises(FeastPermissionError, match="feature view 'rides'"):
            store.get_historical_features(entities(), ["double:double"])


def test_entity_rows_of_a_query_need_permission_for_every_source(store_with: Callable[..., FeatureStore]) -> None:
    query = "SELECT id, TIMESTAMP '2024-01-03' AS event_timestamp FROM history"
    store = store_with(Permission("p", types=FeatureView, actions=A.READ_OFFLINE))
    with acting_as(ANN), pytest.raises(FeastPermissionError, match="data source 'history'"):
        store.get_historical_features(query, ["rides:fare"])
    store.apply(Permission("q", types=DataSource, actions=A.READ_OFFLINE))
    with acting_as(ANN):
        store.get_historical_features(query, ["rides:fare"])


def test_an_old_version_of_a_view_is_the_view_with_its_present_tags() -> None:
    old, present = of_class(FeatureView, "rides"), of_class(FeatureView, "rides")
    old.tags, present.tags = {"team": "pricing"}, {"team": "fraud"}
    present.current_version_number = 1
    version = ViewVersion.of(old, 0, None)
    snapshot = RegistrySnapshot.of("p", [present, version])
    for thing in (snapshot.view("rides@v0"), version):
        assert resource_of(thing, snapshot) == Resource(
            "feature view", "rides", frozenset(["FeatureView"]), {"team": "fraud"}
        )


def test_an_object_cannot_be_moved_into_reach_by_changing_its_tags(store_with: Callable[..., FeatureStore]) -> None:
    store = store_with(Permission("p", required_tags={"team": "pricing"}, actions=[A.DESCRIBE, A.UPDATE]))
    users = of_class(FeatureView, "users")
    users.tags = {"team": "pricing"}
    with acting_as(ANN), pytest.raises(FeastPermissionError, match="feature view 'users'"):
        store.apply(users)
    rides = of_class(FeatureView, "rides")
    rides.tags = {"team": "fraud"}
    with acting_as(ANN), pytest.raises(FeastPermissionError, match="feature view 'rides'"):
        store.apply(rides)
    assert store.get_feature_view("users").tags == {"team": "fraud"}


def test_a_plan_is_checked_again_when_it_is_carried_out(store_with: Callable[..., FeatureStore]) -> None:
    store = store_with(*only(A.CREATE))
    with acting_as(ANN):
        plan = store._plan([Entity(name="new")], [], whole=False)
    with acting_as(Identity("eve")), pytest.raises(FeastPermissionError):
        store.apply_plan(plan)


def test_what_was_permitted_is_decided_anew_when_the_registry_changes(store_with: Callable[..., FeatureStore]) -> None:
    store = store_with(*only(A.READ_ONLINE))
    with acting_as(ANN):
        for _ in range(3):
            store.get_online_features(["rides:fare"], KEYS)
    store.apply(only(A.READ_OFFLINE))
    with acting_as(ANN), pytest.raises(FeastPermissionError):
        store.get_online_features(["rides:fare"], KEYS)
    store.apply(only(A.READ_ONLINE))
    with acting_as(ANN):
        store.get_online_features(["rides:fare"], KEYS)
    with acting_as(Identity("ann")), pytest.raises(FeastPermissionError):
        store.get_online_features(["rides:fare"], KEYS)


def test_an_identity_acts_in_its_own_thread_alone() -> None:
    seen: list[Identity | None] = []
    with acting_as(ANN):
        thread = threading.Thread(target=lambda: seen.append(acting_identity()))
        thread.start()
        thread.join()
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: seen.append(context.run(acting_identity)))
        thread.start()
        thread.join()
    assert seen == [None, ANN]
    assert acting_identity() is None


async def test_tasks_act_for_those_who_began_them() -> None:
    async def task() -> Identity | None:
        await asyncio.sleep(0)
        return acting_identity()

    with acting_as(ANN):
        anns = asyncio.create_task(task())
    with acting_as(Identity("bob")):
        bobs = asyncio.create_task(task())
    assert [await anns, await bobs] == [ANN, Identity("bob")]


def test_who_materializes_a_view_need_not_be_allowed_to_change_its_state(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(*only(A.WRITE_ONLINE))
    store.set_feature_view_state("rides", FeatureViewState.CREATED)
    store.set_feature_view_state("rides", FeatureViewState.GENERATED)
    with acting_as(ANN):
        store.materialize(START, END, ["rides"])
    assert store.get_feature_view("rides").state is FeatureViewState.AVAILABLE_ONLINE


def test_an_identity_never_changes() -> None:
    with pytest.raises(AttributeError, match="never changes"):
        ANN.username = "eve"
    with pytest.raises(AttributeError):
        ANN.roles.add("x")  # type: ignore[attr-defined]
    assert Identity("a", ["b"]) == Identity("a", ["b", "b"]) != Identity("a", groups=["b"])
    assert len({Identity("a", ["b"]), Identity("a", ("b",))}) == 1


def test_permissions_are_applied_listed_changed_and_deleted_like_other_objects(
    store_with: Callable[..., FeatureStore],
) -> None:
    store = store_with(Permission("p", tags={"a": "b"}), Permission("q"))
    assert [p.name for p in store.list_permissions()] == ["p", "q"]
    assert [p.name for p in store.list_permissions(tags={"a": "b"})] == ["p"]
    assert store.get_permission("p").created_timestamp is not None
    plan = store._plan([Permission("p", name_patterns="x", tags={"a": "b"})], [], whole=False)
    assert str(plan.registry_diff) == 'Updated permission p\n\tname_patterns: (none) -> ["x"]'
    store.apply_plan(plan)
    assert store.get_permission("p").name_patterns == ["x"]
    store.apply([], [Permission("q")], partial=False)
    assert [p.name for p in store.list_permissions()] == ["p"]


def test_a_permission_that_is_not_there_is_feasts_error(store_with: Callable[..., FeatureStore]) -> None:
    from feast_assets.feast_errors import PermissionObjectNotFoundException

    store = store_with(Permission("readers"))
    with pytest.raises(PermissionObjectNotFoundException, match="Did you mean 'readers'"):
        store.get_permission("reader")
    with pytest.raises(PermissionObjectNotFoundException):
        store.apply([], [Permission("q")], partial=False)


def test_a_repository_declares_permissions_and_removes_them(tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text("project: p\n")
    file = tmp_path / "permissions.py"
    file.write_text(
        "from feast_assets import FeatureView\n"
        "from feast_assets.permissions.action import READ\n"
        "from feast_assets.permissions.permission import Permission\n"
        "from feast_assets.permissions.policy import RoleBasedPolicy\n"
        "readers = Permission(name='readers', types=FeatureView, actions=READ, policy=RoleBasedPolicy(roles=['r']))\n"
    )
    store = FeatureStore(tmp_path)
    assert "Created permission readers" in str(store.apply_repository())
    assert store.get_permission("readers").types == [FeatureView]
    assert str(store.apply_repository()) == "No changes to registry"
    file.unlink()
    assert "Deleted permission readers" in str(store.apply_repository())
    assert store.list_permissions() == []
    store.close()
