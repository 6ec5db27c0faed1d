"""Versions of views: made by changes of schema or function, put back, kept beside, and read side by side."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from feast_assets import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    FeatureViewState,
    Field,
    FileSource,
    Float64,
    Int64,
    OnDemandFeatureView,
    RepoConfig,
)
from feast_assets.errors import (
    DefinitionError,
    FeatureNameCollisionError,
    FeatureViewNotFoundException,
    FeatureViewPinConflict,
    FeatureViewVersionNotFound,
    InputError,
)

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"])
KEY = Field(name="driver_id", dtype=Int64)
SOURCE = FileSource(name="file", path="stats.parquet", timestamp_field="ts")


def stats(*features, **changes):
    schema = [KEY, *(Field(name=f, dtype=Float64) for f in features)]
    return FeatureView(**{"name": "stats", "entities": [DRIVER], "source": SOURCE, "schema": schema, **changes})


def make_store(path, online_store, versions):
    registry = {"path": "registry.db", "enable_online_feature_view_versioning": versions}
    return FeatureStore(path, RepoConfig(project="p", registry=registry, provider="local", online_store=online_store))


@pytest.fixture
def root(tmp_path):
    pd.DataFrame({"driver_id": [1], "x": [1.0], "y": [10.0], "ts": [NOON - DAY]}).to_parquet(tmp_path / "stats.parquet")
    return tmp_path


@pytest.fixture
def shared(root):
    """A store whose versions share their views' tables, as they do unless said otherwise."""
    store = make_store(root, "sqlite", False)
    store.apply([DRIVER, stats("x")])
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def store(root, request):
    """A store whose versions have tables of their own, on every online store."""
    online_store = request.param
    if online_store == "redis":
        host, port = request.getfixturevalue("redis_server")
        online_store = {"type": "redis", "connection_string": f"{host}:{port}"}
    if online_store == "postgres":
        online_store = {"type": "postgres", "connection_string": request.getfixturevalue("postgres_url")}
    made = make_store(root, online_store, True)
    made.apply([DRIVER, stats("x")])
    made.materialize(NOON - 3 * DAY, NOON)
    yield made
    made.teardown()
    made.close()


def read(store, *references, **options):
    return store.get_online_features(list(references), {"driver_id": [1]}, **options).to_dict()


def numbers(store, name="stats"):
    return [version["version_number"] for version in store.list_feature_view_versions(name)]


def in_use(store):
    view = store.get_feature_view("stats")
    return view.current_version_number, view.version, [f.name for f in view.features]


def test_a_change_of_the_schema_makes_a_version_and_other_changes_do_not(shared):
    assert (numbers(shared), in_use(shared)) == ([0], (0, "latest", ["x"]))
    shared.apply([stats("x", "y")])
    assert (numbers(shared), in_use(shared)) == ([0, 1], (1, "latest", ["x", "y"]))
    shared.apply([stats("x", "y", description="new", ttl=5 * DAY, tags={"a": "b"})])
    shared.apply([stats("x", "y", description="new", ttl=5 * DAY, tags={"a": "b"})])
    assert (numbers(shared), in_use(shared)) == ([0, 1], (1, "latest", ["x", "y"]))
    assert shared.get_feature_view("stats").ttl == 5 * DAY
    for version in shared.list_feature_view_versions("stats"):
        assert set(version) == {"version", "version_number", "feature_view_type", "created_timestamp", "version_id"}
        assert (version["feature_view_type"], version["created_timestamp"].tzinfo) == ("feature_view", UTC)


def test_rows_stay_readable_where_versions_share_a_table(shared):
    shared.materialize(NOON - 3 * DAY, NOON)
    shared.apply([stats("x", "y")])
    assert read(shared, "stats:x", "stats:y") == {"driver_id": [1], "x": [1.0], "y": [None]}


def test_a_view_is_put_back_to_a_version(shared):
    shared.apply([stats("x", "y")])
    for _ in range(2):  # The same file may be applied again.
        shared.apply([stats("x", "y", version="version0")])
        assert (numbers(shared), in_use(shared)) == ([0, 1], (0, "v0", ["x"]))
    revision = shared.registry.revision()
    shared.apply([stats("x", version="v0")])
    assert shared.registry.revision() == revision
    shared.apply([stats("x", "y", version="v1")])
    assert (numbers(shared), in_use(shared)) == ([0, 1], (1, "v1", ["x", "y"]))


def test_a_view_that_was_put_back_goes_on_from_the_newest_version(shared):
    shared.apply([stats("x", "y")])
    shared.apply([stats("x", "y", version="v0")])
    shared.apply([stats("x", "y")])
    assert (numbers(shared), in_use(shared)) == ([0, 1, 2], (2, "latest", ["x", "y"]))


def test_putting_back_and_changing_at_once_is_refused_and_changes_nothing(shared):
    shared.apply([stats("x", "y")])
    revision = shared.registry.revision()
    with pytest.raises(FeatureViewPinConflict, match="cannot be put back to v0"):
        shared.apply([stats("y", version="v0")])
    with pytest.raises(FeatureViewPinConflict):
        shared.apply([stats("x", "y", ttl=DAY, version="v1")])
    with pytest.raises(DefinitionError, match="version '9x' is not 'latest'"):
        shared.apply([stats("x", version="9x")])
    with pytest.raises(DefinitionError, match="must be text"):
        stats("x", version=1)
    assert shared.registry.revision() == revision


def test_a_version_that_is_not_there_yet_is_made_under_its_number(shared):
    shared.apply([stats("y", version="v9")])
    assert (numbers(shared), in_use(shared)) == ([0, 9], (9, "v9", ["y"]))
    shared.apply([stats("x", "y")])
    assert (numbers(shared), in_use(shared)) == ([0, 9, 10], (10, "latest", ["x", "y"]))


def test_without_promotion_a_new_version_is_only_kept(shared):
    for _ in range(2):  # Applied again, it is not kept twice.
        shared.apply([stats("y")], no_promote=True)
        assert (numbers(shared), in_use(shared)) == ([0, 1], (0, "latest", ["x"]))
    shared.apply([stats("y", version="v1")])
    assert (numbers(shared), in_use(shared)) == ([0, 1], (1, "v1", ["y"]))
    shared.apply([stats("x", "y")], no_promote=True)
    shared.apply([stats("x", "y")])
    assert (numbers(shared), in_use(shared)) == ([0, 1, 2, 3], (3, "latest", ["x", "y"]))


@pytest.mark.parametrize("reference", ["stats@v0:x", "stats@version1:x", "stats@v7:x"])
def test_where_versions_share_a_table_none_can_be_read_or_materialized(shared, reference):
    shared.apply([stats("x", "y")])
    rows = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON]})
    with pytest.raises(InputError, match="enable_online_feature_view_versioning: true"):
        read(shared, reference)
    with pytest.raises(InputError, match="no rows of their own"):
        shared.get_historical_features(rows, [reference])
    with pytest.raises(InputError, match="no rows of their own"):
        shared.materialize(NOON - DAY, NOON, ["stats"], version="v0")
    assert read(shared, "stats@latest:x") == {"driver_id": [1], "x": [None]}


def test_versions_are_read_side_by_side(store):
    assert read(store, "stats@v0:x") == {"driver_id": [1], "x": [1.0]}
    store.apply([stats("x", "y")])
    # The old version goes on being served; the new one has no rows yet.
    assert read(store, "stats@v0:x") == {"driver_id": [1], "x": [1.0]}
    assert read(store, "stats:x", "stats:y") == {"driver_id": [1], "x": [None], "y": [None]}
    store.materialize(NOON - 3 * DAY, NOON)
    assert read(store, "stats@v0:x", "stats@v1:y") == {"driver_id": [1], "x": [1.0], "y": [10.0]}
    assert read(store, "stats@v0:x", "stats:x", full_feature_names=True) == {
        "driver_id": [1],
        "stats@v0__x": [1.0],
        "stats__x": [1.0],
    }
    with pytest.raises(FeatureNameCollisionError):
        read(store, "stats@v0:x", "stats:x")
    with pytest.raises(FeatureViewVersionNotFound, match="no version v9 in project 'p'. Its versions are v0, v1"):
        read(store, "stats@v9:x")
    with pytest.raises(FeatureViewNotFoundException):
        read(store, "nobody@v0:x")
    with pytest.raises(InputError, match="is not 'latest'"):
        read(store, "stats@new:x")


def test_a_version_is_materialized_into_its_own_table(store, root):
    store.apply([stats("x", "y")])
    pd.DataFrame({"driver_id": [1], "x": [2.0], "y": [20.0], "ts": [NOON]}).to_parquet(root / "stats.parquet")
    assert store.materialization_intervals("stats") == []
    assert store.materialization_intervals("stats@v0") != []
    (result,) = store.materialize(NOON - 3 * DAY, NOON, ["stats"], version="v0")
    assert result.view == "stats@v0"
    assert (read(store, "stats@v0:x")["x"], read(store, "stats:x")["x"]) == ([2.0], [None])
    store.materialize_incremental(NOON, ["stats"], version="v1")
    assert read(store, "stats:x")["x"] == [2.0]
    for names in (None, ["stats", "stats"], []):
        with pytest.raises(InputError, match="just one view"):
            store.materialize(NOON - DAY, NOON, names, version="v0")


def test_a_view_that_is_put_back_serves_the_rows_that_it_had(store):
    store.apply([stats("x", "y")])
    store.apply([stats("x", "y", version="v0")])
    assert read(store, "stats:x", "stats@v0:x", full_feature_names=True) == {
        "driver_id": [1],
        "stats__x": [1.0],
        "stats@v0__x": [1.0],
    }
    # The ledger went with the table, so there is nothing to do.
    assert store.stale_windows("stats", NOON) == []
    store.apply([stats("x", "y", version="v1")])
    assert {window.reason for window in store.stale_windows("stats", NOON)} == {"missing"}


def test_a_view_that_is_put_back_to_other_entities_serves_the_rows_that_it_had(store, root):
    rows = {"driver_id": [1], "trip_id": [5], "x": [2.0], "ts": [NOON - DAY]}
    pd.DataFrame(rows).to_parquet(root / "stats.parquet")
    trip = Entity(name="trip", join_keys=["trip_id"])
    schema = [KEY, Field(name="trip_id", dtype=Int64), Field(name="x", dtype=Float64)]
    store.apply([DRIVER, trip, stats(entities=[DRIVER, trip], schema=schema)])
    store.materialize(NOON - 3 * DAY, NOON)
    assert store.get_online_features(["stats:x"], {"driver_id": [1], "trip_id": [5]}).to_dict()["x"] == [2.0]
    store.apply([stats("x", version="v0")])
    assert read(store, "stats:x")["x"] == [1.0]


def test_what_is_stored_of_an_on_demand_view_keeps_its_ledger(root):
    store = make_store(root, "sqlite", True)
    view = stats("x")

    def on_demand(function, **changes):
        return OnDemandFeatureView(
            name="z", sources=[view], entities=[DRIVER], schema=[Field(name="z", dtype=Float64)], mode="python",
            udf=function, write_to_online_store=True, **changes,
        )  # fmt: skip

    store.apply([DRIVER, view, on_demand(two_of_x)])
    for made, expected in ((on_demand(three_of_x), 3.0), (on_demand(two_of_x, version="v0"), 2.0)):
        store.materialize(NOON - 3 * DAY, NOON)
        before = store.registry.ledger("z")
        store.apply([made])
        # Its one table holds rows of the other function: its ledger says so.
        assert store.registry.ledger("z") == before != []
        assert {window.reason for window in store.stale_windows("z", NOON)} == {"redefined"}
        store.materialize_incremental(NOON)
        assert read(store, "z:z")["z"] == [expected]
    store.close()


def test_a_version_that_shared_a_table_gets_one_of_its_own_when_it_is_put_back(root, shared):
    shared.materialize(NOON - 3 * DAY, NOON)
    shared.apply([stats("x", "y")])
    shared.materialize(NOON - 3 * DAY, NOON)
    store = make_store(root, "sqlite", True)
    with pytest.raises(InputError, match="has no table of its own"):
        store.materialize(NOON - 3 * DAY, NOON, ["stats"], version="v0")
    store.apply([stats("x", version="v0")])
    assert {window.reason for window in store.stale_windows("stats", NOON)} == {"missing"}
    store.materialize_incremental(NOON)
    store.apply([stats("x", "y", version="v1")])
    assert read(store, "stats:x", "stats:y") == {"driver_id": [1], "x": [1.0], "y": [10.0]}
    store.close()


def test_a_view_that_was_put_back_has_states_and_can_be_disabled(shared):
    shared.apply([stats("x", "y")])
    shared.apply([stats("x", version="v0")])
    shared.set_feature_view_state("stats", FeatureViewState.CREATED)
    assert shared.get_feature_view("stats").state is FeatureViewState.CREATED
    shared.disable_feature_view("stats")
    assert not shared.get_feature_view("stats").enabled
    shared.apply([stats("x", version="v0")])
    assert shared.get_feature_view("stats").enabled
    assert (in_use(shared), shared.get_feature_view("stats").state) == ((0, "v0", ["x"]), FeatureViewState.CREATED)


def test_a_result_that_is_kept_is_that_of_the_version_in_use(root):
    store = make_store(root, "sqlite", True)
    kept = FileSource(name="kept", path="kept/", timestamp_field="ts")

    def view(*features, **changes):
        schema = [KEY, *(Field(name=f, dtype=Float64) for f in features)]
        return BatchFeatureView(
            name="stats", entities=[DRIVER], source=SOURCE, sink_source=kept, schema=schema, udf=unchanged,
            online=True, offline=True, **changes,
        )  # fmt: skip

    store.apply([DRIVER, view("x")])
    store.materialize(NOON - 3 * DAY, NOON)
    store.apply([view("x", "y")])
    store.materialize(NOON - 3 * DAY, NOON)
    with pytest.raises(InputError, match="would replace that of the version in use"):
        store.materialize(NOON - 3 * DAY, NOON, ["stats"], version="v0")
    store.apply([view("x", version="v0")])
    assert {window.reason for window in store.stale_windows("stats", NOON)} == {"missing"}
    store.close()


def test_history_has_versions_too(store):
    store.apply([stats("x", "y")])
    rows = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOON]})
    found = store.get_historical_features(rows, ["stats@v0:x", "stats:y"], full_feature_names=True).to_df()
    assert found[["stats@v0__x", "stats__y"]].to_dict("list") == {"stats@v0__x": [1.0], "stats__y": [10.0]}


def test_a_service_may_name_versions(store):
    service = FeatureService(name="model", features=["stats@v0:x", "stats@version1:y"])
    store.apply([stats("x", "y"), service])
    store.materialize(NOON - 3 * DAY, NOON)
    found = store.get_online_features(store.get_feature_service("model"), {"driver_id": [1]}).to_dict()
    assert found == {"driver_id": [1], "x": [1.0], "y": [10.0]}
    with pytest.raises(FeatureViewVersionNotFound):
        store.apply([FeatureService(name="other", features=["stats@v7"])])
    with pytest.raises(DefinitionError, match="no feature 'y'"):
        store.apply([FeatureService(name="other", features=["stats@v0:y"])])
    with pytest.raises(DefinitionError, match="cannot be deleted"):
        store.delete_feature_view("stats")
    version = store.snapshot().view_versions("stats")[0]
    with pytest.raises(DefinitionError, match="Version 'stats@v0' cannot be deleted: FeatureService 'model' uses it"):
        store.apply([], [version], partial=False)


def test_a_version_gets_no_rows_in_the_table_of_another(shared):
    shared.apply([stats("x", "y")])
    shared.materialize(NOON - 3 * DAY, NOON)
    for write in (
        lambda: shared.write_to_online_store("stats@v0", {"driver_id": [1], "x": [7.0], "ts": [NOON]}),
        lambda: shared.materialize(NOON - 3 * DAY, NOON, ["stats@v0"]),
    ):
        with pytest.raises(InputError, match="'stats@v0' has no table of its own"):
            write()
    assert read(shared, "stats:x", "stats:y") == {"driver_id": [1], "x": [1.0], "y": [10.0]}


def test_a_view_is_enabled_and_has_a_state_with_all_of_its_versions(store):
    store.apply([stats("x", "y")])
    assert read(store, "stats@v0:x")["x"] == [1.0]
    store.disable_feature_view("stats")
    with pytest.raises(InputError, match="'stats@v0' is disabled"):
        read(store, "stats@v0:x")
    store.enable_feature_view("stats")
    store.set_feature_view_state("stats", FeatureViewState.CREATED)
    with pytest.raises(InputError, match="'stats@v0' is in state CREATED"):
        read(store, "stats@v0:x")
    for change in (store.enable_feature_view, store.disable_feature_view, store.delete_feature_view):
        with pytest.raises(InputError, match="which changes only with the view: name 'stats'"):
            change("stats@v0")
    assert store.snapshot().names(FeatureView.object_type) == ["stats"]


def test_tables_of_versions_go_with_the_view_also_where_versions_share_a_table_again(root):
    store = make_store(root, "sqlite", True)
    store.apply([DRIVER, stats("x")])
    store.apply([stats("x", "y")])
    store.close()
    store = make_store(root, "sqlite", False)
    assert store._plan([DRIVER], [], whole=True).infra_diff.dropped == ("p.stats", "p.stats@v0")
    store.delete_feature_view("stats")
    with closing(sqlite3.connect(root / "data" / "online.db")) as connection:
        left = [name for (name,) in connection.execute("SELECT name FROM sqlite_master") if name.startswith("rows_")]
    assert left == []
    store.close()


def test_a_view_goes_with_its_versions_and_their_tables(store):
    store.apply([stats("x", "y")])
    store.materialize(NOON - 3 * DAY, NOON, ["stats"], version="v0")
    assert store._plan([DRIVER], [], whole=True).infra_diff.dropped == ("p.stats", "p.stats@v0")
    store.delete_feature_view("stats")
    assert store.snapshot().view_versions("stats") == []
    assert store.registry.ledger("stats@v0") == []
    store.apply([DRIVER, stats("x", "y")])
    assert numbers(store) == [0]
    assert read(store, "stats:x")["x"] == [None]


def two_of_x(rows):
    return {"z": [x and 2 * x for x in rows["x"]]}


def three_of_x(rows):
    return {"z": [x and 3 * x for x in rows["x"]]}


def unchanged(rows):
    return rows


def tripled(rows):
    return {**rows, "x": [3 * x for x in rows["x"]]}


def doubled(rows):
    return {**rows, "x": [2 * x for x in rows["x"]]}


def test_a_change_of_the_function_makes_a_version_which_cannot_be_put_back_without_it(shared):
    def computed(function, **changes):
        return BatchFeatureView(
            name="computed", entities=[DRIVER], source=SOURCE, schema=[KEY, Field(name="x", dtype=Float64)],
            udf=function, online=True, **changes,
        )  # fmt: skip

    def on_demand(function):
        schema = [Field(name="z", dtype=Float64)]
        return OnDemandFeatureView(name="z", sources=[stats("x")], schema=schema, mode="python", udf=function)

    shared.apply([computed(doubled), on_demand(lambda rows: {"z": rows["x"]})])
    shared.apply([computed(tripled), on_demand(lambda rows: {"z": [1.0 for _ in rows["x"]]})])
    assert numbers(shared, "computed") == numbers(shared, "z") == [0, 1]
    with pytest.raises(DefinitionError, match="Put the function back there"):
        shared.apply([computed(tripled, version="v0")])
    shared.apply([computed(doubled, version="v0")])
    assert numbers(shared, "computed") == [0, 1]


def test_a_name_that_is_not_there_says_so(shared):
    with pytest.raises(FeatureViewNotFoundException, match="'stat'"):
        shared.list_feature_view_versions("stat")


def test_an_answer_tells_the_versions_that_were_read_if_asked(store):
    store.apply([DRIVER, stats("x", "y")])
    store.materialize(NOON - 3 * DAY, NOON)
    service = FeatureService(name="model", features=[stats("x", "y")[["y"]].with_name("renamed")])
    store.apply([service])

    def metadata(features, told=True):
        rows = [{"driver_id": 1}]
        answer = store.get_online_features(features, rows, include_feature_view_version_metadata=told)
        assert answer.to_json()["metadata"].get("feature_view_metadata", []) == answer.feature_view_metadata
        return answer.feature_view_metadata

    assert metadata(["stats:x"], told=False) == []
    assert metadata(["stats:x"]) == [{"name": "stats", "version": 1}]
    assert metadata(["stats@v0:x", "stats:y"]) == [{"name": "stats", "version": 0}]
    assert metadata(service) == [{"name": "renamed", "version": 1}]
    assert metadata(["stats:x"], told=False) == []


def test_the_view_that_only_a_function_reads_is_among_the_versions(shared):
    doubled = OnDemandFeatureView(
        name="doubled",
        sources=[stats("x")],
        schema=[Field(name="twice", dtype=Float64)],
        mode="python",
        udf=lambda inputs: {"twice": [None if x is None else 2 * x for x in inputs["x"]]},
    )
    shared.apply([doubled])
    rows = {"driver_id": [1]}
    answer = shared.get_online_features(["doubled:twice"], rows, include_feature_view_version_metadata=True)
    assert answer.feature_view_metadata == [{"name": "stats", "version": 0}]
