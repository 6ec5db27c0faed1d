"""An offline store with the six verbs alone serves a project; what needs an ability says which one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small_project import DRIVER, START, SmallProject, hours, row

from feast_assets import Field, FileSource, Int64
from feast_assets.definitions.field_checks import Checks
from feast_assets.definitions.partitions import Partitions
from feast_assets.definitions.window import ALWAYS, Window
from feast_assets.errors import NotSupportedError
from feast_assets.offline_stores.abilities import RunsTransformations
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore
from feast_assets.offline_stores.source_changes import UNKNOWN, grid_change_tokens, history_state, window_change_tokens

END = hours(24 * 4)
ROWS = [row(1, 1, 10), row(2, 30, 20), row(1, 50, 11), row(3, 60, 30)]


class SixVerbs(OfflineStore):
    """The six verbs of the DuckDB store, and nothing else of it; notes which surveys are made."""

    config_class = DuckDBOfflineStoreConfig

    def __init__(self, config, root):
        self._store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)
        self.surveyed: list[str] = []

    def schema(self, source):
        return self._store.schema(source)

    def join(self, spine, joins, *, filter_by_created_timestamp=False):
        return self._store.join(spine, joins, filter_by_created_timestamp=filter_by_created_timestamp)

    def latest(self, history, windows, keys=None):
        return self._store.latest(history, windows, keys)

    def scan(self, history, window):
        return self._store.scan(history, window)

    def statistics(self, history, windows):
        return self._store.statistics(history, windows)

    def write(self, source, rows):
        self._store.write(source, rows)

    def survey_grid(self, history, grid, span):
        self.surveyed.append(history.view)
        return super().survey_grid(history, grid, span)


def all_abilities(config, root):
    return DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)


class SixVerbsAndTransformations(SixVerbs, RunsTransformations):
    modes = DuckDBOfflineStore.modes


@pytest.fixture(params=[SixVerbs])
def project(request, tmp_path, monkeypatch) -> Iterator[SmallProject]:
    monkeypatch.setattr("feast_assets.feature_store.make_offline_store", request.param)
    made = SmallProject(tmp_path)
    made.write(ROWS)
    yield made
    made.close()


def test_what_is_materialized_is_what_a_store_with_all_abilities_has(project):
    project.apply()
    project.store.materialize_incremental(END)
    assert project.trips() == [None, 11, 20, 30, None, None]
    # A row is corrected, one is withdrawn, one is late.
    project.write([row(1, 1, 10), row(2, 30, 21), row(3, 60, 30), row(4, 2, 40)])
    project.store.materialize_incremental(END)
    assert project.trips() == [None, 10, 21, 30, 40, None]
    assert project.store.materialize_incremental(END)[0].windows == ()
    assert project.store.audit().mismatches == ()
    states = project.store.change_tokens()
    assert states["stats"].startswith("?")
    project.write(ROWS)
    assert project.store.change_tokens() == states
    project.store.materialize_incremental(END)
    assert project.store.change_tokens() != states


def test_of_several_views_each_is_looked_through_once(project):
    names = ["a", "b", "c"]
    project.store.apply([DRIVER, *(project.view(name=name) for name in names)])
    for _ in range(2):
        project.store.offline_store.surveyed.clear()
        project.store.materialize_incremental(END)
        assert project.store.offline_store.surveyed == names


@pytest.mark.parametrize("project", [SixVerbs, all_abilities], indirect=True)
def test_a_source_that_was_emptied_is_not_gone(project):
    project.apply()
    project.store.materialize_incremental(END)
    project.write([])
    project.store.materialize_incremental(END)
    assert project.trips() == [None] * 6


def test_history_is_read_and_queries_say_what_they_need(project):
    project.apply()
    asked = {"driver_id": [1, 2], "event_timestamp": [hours(40), hours(40)]}
    found = project.store.get_historical_features(asked, ["stats:trips"]).to_arrow()
    assert found["trips"].to_pylist() == [10, 20]
    job = project.store.get_historical_features("SELECT 1 AS driver_id, now() AS event_timestamp", ["stats:trips"])
    with pytest.raises(NotSupportedError, match=r"query needs an .*runs queries \(ReadsQueries\); SixVerbs does not"):
        job.to_arrow()


def test_a_view_with_checks_needs_a_store_that_profiles(project):
    checked = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64, checks=Checks(minimum=0))]
    with pytest.raises(NotSupportedError, match=r"'stats', which validates.*CanProfile.*enable_validation=False"):
        project.apply(schema=checked)
    assert project.store.list_feature_views() == []
    project.apply(schema=checked, enable_validation=False)
    with pytest.raises(NotSupportedError, match=r"Validating feature view 'stats' needs.*profiles values"):
        project.store.materialize_windows("stats", [Window(START, hours(24))], validate=True)
    project.store.materialize_incremental(END)
    assert project.trips([1]) == [11]


def test_a_computed_view_needs_a_store_that_runs_transformations(project):
    with pytest.raises(NotSupportedError, match=r"'kept_view', which has a transformation,.*RunsTransformations"):
        project.store.apply([DRIVER, project.keeping_view()])
    assert project.store.list_batch_feature_views() == []


@pytest.mark.parametrize("project", [SixVerbsAndTransformations], indirect=True)
def test_a_kept_result_needs_a_store_that_replaces_windows(project):
    with pytest.raises(NotSupportedError, match=r"'kept_view', whose result is kept.*CanReplaceWindows"):
        project.store.apply([DRIVER, project.keeping_view()])
    project.store.apply([DRIVER, project.keeping_view(offline=False, sink_source=None)])
    project.store.materialize_incremental(END)
    found = project.store.get_online_features(["kept_view:trips"], {"driver_id": [1, 2]}).to_dict()
    assert found["trips"] == [11, 20]


def test_versions_of_windows_are_found_by_reading(project):
    store, other = project.store.offline_store, all_abilities(None, project.root)
    source = FileSource(name="stats_file", path="stats.parquet", timestamp_field="ts")
    days = [Window(hours(24 * d), hours(24 * d + 24)) for d in range(4)]
    before = window_change_tokens(store, source, days)
    # The file holds several days, so the other store reads it too.
    assert before == window_change_tokens(other, source, days)
    assert [bool(version) for version in before] == [True, True, True, False]
    grid = Partitions("daily", START)
    assert grid_change_tokens(store, source, grid, Window(START, END)) == dict(zip(days[:3], before[:3], strict=True))
    project.write([*ROWS[:1], row(2, 30, 21), *ROWS[2:]])
    after = window_change_tokens(store, source, days)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]
    assert window_change_tokens(store, source, [ALWAYS])[0]


def test_nobody_can_tell_whether_a_source_has_changed(project):
    from feast_assets.offline_stores.base import history_of

    state = history_state(project.store.offline_store, history_of(project.view()))
    assert state == UNKNOWN
    assert state.change_token == ""
    assert (state.is_same(UNKNOWN), state.may_have_changed(UNKNOWN), state.is_kept_in(UNKNOWN)) == (False, False, True)
