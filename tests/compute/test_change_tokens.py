"""A view's change token differs whenever a window may have become stale or settled, and asking for it reads no data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from small_project import START, SmallProject, row

from feast_assets import Field, FileSource, Int64
from feast_assets.compute.change_tokens import UNSURE
from feast_assets.definitions.window import Window
from feast_assets.offline_stores import parts
from feast_assets.offline_stores.source_changes import UNKNOWN
from feast_assets.registry.base import WindowContent

DAY = timedelta(days=1)
TRIPS = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]


def day(number: int) -> Window:
    return Window(START + number * DAY, START + (number + 1) * DAY)


def token(project: SmallProject) -> str:
    return project.store.change_tokens()["stats"]


@pytest.fixture
def materialized(project):
    project.write([row(1, 24 * d + 1, d) for d in (0, 1, 3)])
    project.apply()
    project.store.materialize_windows("stats", [day(d) for d in range(4)])
    return project


def test_a_token_stays_while_nothing_happens_and_costs_no_reading(materialized, monkeypatch):
    before = token(materialized)
    for verb in ("survey_grid", "summarize_parts"):
        monkeypatch.setattr(materialized.store.offline_store, verb, None)
    monkeypatch.setattr(materialized.store.registry, "ledger", None)
    assert token(materialized) == before != ""


@pytest.mark.parametrize(
    "happens",
    [
        lambda p: p.write([row(1, 1, 8)]),
        lambda p: p.apply(schema=TRIPS),
        lambda p: p.store.registry.claim("stats", [WindowContent(day(1), "f", "d")]),
        lambda p: p.store.registry.forget("stats"),
        lambda p: p.store.materialize_windows("stats", [day(4)]),
        lambda p: p.store.online_store.drop([p.store.get_feature_view("stats").online_table("small")]),
    ],
    ids=["source", "definition", "claim", "forgotten", "run", "online table lost"],
)
def test_a_token_changes_with_everything_that_can_make_a_window_stale(materialized, happens):
    before = token(materialized)
    happens(materialized)
    assert token(materialized) != before


def test_the_token_with_a_file_of_this_moment_is_looked_at_again(materialized, monkeypatch):
    settled = token(materialized)
    monkeypatch.setattr(parts, "SETTLED_NANOS", 10**18)
    young = token(materialized)
    assert young != settled
    assert token(materialized) == young
    monkeypatch.setattr(parts, "SETTLED_NANOS", -(10**18))
    assert token(materialized) == settled


def test_a_description_does_not_change_a_token(materialized):
    before = token(materialized)
    materialized.apply(description="Other words.", owner="somebody", tags={"a": "b"})
    assert token(materialized) == before


def test_a_source_that_is_gone_and_one_that_was_emptied_have_tokens_of_their_own(project):
    project.write([row(1, 1, 1)])
    project.apply(source=FileSource(name="stats_file", path=f"file://{project.path}", timestamp_field="ts"))
    tokens = [token(project)]
    project.path.unlink()
    tokens += [token(project), token(project)]
    project.write([])
    tokens.append(token(project))
    assert tokens[1] == tokens[2]
    assert len(set(tokens)) == 3
    assert not any(each.startswith("?") for each in tokens)


def test_two_processes_with_the_same_stores_have_the_same_token(materialized):
    other = SmallProject(materialized.path.parent)
    try:
        assert token(other) == token(materialized)
    finally:
        other.close()


def test_a_token_is_marked_where_the_offline_store_cannot_tell_of_changes(materialized, monkeypatch):
    sure = token(materialized)
    monkeypatch.setattr("feast_assets.compute.change_tokens.history_state", lambda store, history: UNKNOWN)
    unsure = token(materialized)
    assert not sure.startswith(UNSURE)
    assert unsure.startswith(UNSURE)
    materialized.write([row(1, 1, 8)])
    assert token(materialized) == unsure
    materialized.apply(schema=TRIPS)
    assert token(materialized) != unsure, "what the registry knows counts anyway"
