"""Assets over an offline store that does not profile values: they are made, and what cannot be checked says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from checked_visits import KEY, checked_project

from feast_assets.errors import NotSupportedError
from feast_assets.offline_stores.abilities import CanReplaceWindows, RunsTransformations
from feast_assets.offline_stores.base import OfflineStore
from feast_assets.offline_stores.duckdb.config import DuckDBOfflineStoreConfig
from feast_assets.offline_stores.duckdb.store import DuckDBOfflineStore

OF_VALUES = ("nulls", "ranges", "allowed_values", "uniqueness")


def _delegated(verb):
    def call(self, *arguments, **named):
        return getattr(self._store, verb)(*arguments, **named)

    return call


class WithoutProfiles(OfflineStore, CanReplaceWindows, RunsTransformations):
    """The DuckDB store's six verbs, transformations and kept results."""

    config_class = DuckDBOfflineStoreConfig
    modes = DuckDBOfflineStore.modes

    def __init__(self, config, root):
        self._store = DuckDBOfflineStore(DuckDBOfflineStoreConfig(), root)

    schema = _delegated("schema")
    join = _delegated("join")
    latest = _delegated("latest")
    scan = _delegated("scan")
    statistics = _delegated("statistics")
    write = _delegated("write")
    replace = _delegated("replace")


def test_what_cannot_be_checked_is_no_pass_and_keeps_no_partition_from_being_made(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.feature_store.make_offline_store", WithoutProfiles)
    project = checked_project(write_repository, instance, "enable_validation=False,")
    assert project.run(9, 10).success
    store = instance.event_log_storage
    for check in OF_VALUES:
        found = store.get_asset_check_execution_history(dg.AssetCheckKey(KEY, check), limit=10)
        assert found, check
        for each in found:
            evaluation = each.event.dagster_event.event_specific_data
            assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
            assert "Not checked: the project's offline store does not profile values" in evaluation.description


def test_validation_is_refused_when_it_is_applied(
    write_repository: Callable[..., Path], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_assets.feature_store.make_offline_store", WithoutProfiles)
    with pytest.raises(NotSupportedError, match=r"'checked', which validates the checks of its fields"):
        checked_project(write_repository, instance, "")
