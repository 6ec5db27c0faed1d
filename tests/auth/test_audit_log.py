"""The audit log: names and counts, and nothing of what is kept from others."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guarded_project import END, PUSHED, START, entities, made

from feast_assets import Entity, FeatureService, FeatureStore
from feast_assets.auth import audit_log
from feast_assets.auth.identity import Identity, acting_as
from feast_assets.definitions.authorized_action import AuthzedAction
from feast_assets.definitions.permission import Permission
from feast_assets.definitions.policy import RoleBasedPolicy
from feast_assets.definitions.sources.push_source import PushMode
from feast_assets.errors import ConfigError
from feast_assets.feast_errors import FeastPermissionError

ANN = Identity("ann", roles=["reader"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    everything = Permission("all", policy=RoleBasedPolicy(["reader"]))
    store = made(tmp_path, [everything])
    yield store
    store.close()


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(r.getMessage()) for r in caplog.records if r.name == "feast_assets.audit_log"]


def test_accesses_are_recorded_with_who_and_what(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "feast_assets.audit_log"), acting_as(ANN):
        store.get_online_features(["rides:fare", "users:fare"], {"id": [1, 2]}, full_feature_names=True)
        store.get_online_features(["rides:fare"], [{"id": 1}])
        store.get_historical_features(entities(), ["rides:fare"])
        store.push("live", PUSHED, to=PushMode.ONLINE_AND_OFFLINE)
        store.write_to_online_store("rides", PUSHED)
        store.materialize(START, END, ["rides"], run_id="run 7")
        store.apply(Entity(name="new"))
        store.delete_feature_service("both")
    seen = [(r["event"], r["objects"], r.get("rows")) for r in records(caplog)]
    assert seen == [
        ("read_online", ["rides", "users"], 2),
        ("read_online", ["rides"], 1),
        ("read_offline", ["rides"], None),
        ("write_online", ["rides"], 1),
        ("write_offline", ["rides"], 1),
        ("write_online", ["rides"], 1),
        ("materialize", ["rides"], None),
        ("apply", ["create entity new"], None),
        ("apply", ["delete feature service both"], None),
    ]
    assert {(r["who"], r["project"], r["outcome"]) for r in records(caplog)} == {("ann", "guarded", "ok")}
    assert all(r["time"].endswith("+00:00") for r in records(caplog))


def test_names_that_a_caller_made_up_are_not_recorded(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "feast_assets.audit_log"):
        store.get_online_features(["rides:fare"], {"made up": ["x"], "id": [1]})
        store.get_online_features(["rides:fare"], [{"made up": "x", "id": 1}])
    assert [r["keys"] for r in records(caplog)] == [["id"], ["id"]]


def test_a_process_of_the_operators_own_acts_for_nobody(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "feast_assets.audit_log"):
        store.get_online_features(["rides:fare"], {"id": [1]})
    assert [r["who"] for r in records(caplog)] == [None]


def test_a_denial_is_recorded_even_if_accesses_are_not(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    with acting_as(Identity("eve")), pytest.raises(FeastPermissionError):
        store.get_online_features(["rides:fare"], {"id": [1]})
    (record,) = records(caplog)
    assert (record["event"], record["outcome"], record["who"]) == ("read_online", "denied", "eve")
    assert (record["objects"], record["kind"]) == (["rides"], "feature view")


def test_nothing_is_recorded_unless_it_is_asked_for(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    with acting_as(ANN):
        store.get_online_features(["rides:fare"], {"id": [1]})
    assert records(caplog) == []


def test_no_value_and_no_key_is_in_a_record(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    secret = 987654321
    with caplog.at_level(logging.INFO, "feast_assets.audit_log"), acting_as(ANN):
        store.push("live", {"id": [secret], "fare": [float(secret)], "at": [START]})
        store.get_online_features(["rides:fare"], {"id": [secret]})
        store.get_online_features(FeatureService(name="both", features=[]), {"id": [secret]}, True)
    text = "".join(r.getMessage() for r in caplog.records if r.name == "feast_assets.audit_log")
    assert str(secret) not in text
    assert json.loads(caplog.records[-1].getMessage())["keys"] == ["id"]


def test_a_line_break_in_a_name_makes_no_second_record(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    eve = Identity('eve\n{"who": "ann"}')
    with acting_as(eve), pytest.raises(FeastPermissionError):
        store.get_entity("rider")
    assert "\n" not in caplog.records[-1].getMessage()
    assert records(caplog)[-1]["who"] == eve.username


def test_many_names_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    audit_log.AuditLog("p").denied("apply", ANN, [str(n) for n in range(250)])
    (record,) = records(caplog)
    assert (len(record["objects"]), record["more_objects"]) == (100, 150)


@pytest.fixture
def _as_before() -> Iterator[None]:
    logger = audit_log.logger
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    for handler in logger.handlers[:]:
        if handler not in before[0]:
            logger.removeHandler(handler)
            handler.close()
    logger.setLevel(before[1])
    logger.propagate = before[2]


@pytest.mark.usefixtures("_as_before")
def test_a_file_gets_one_line_for_each_access_and_is_its_owners_alone(store: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    audit_log.write_to(file)
    audit_log.write_to(file)  # as each application of a process does
    with acting_as(ANN):
        store.get_online_features(["rides:fare"], {"id": [1]})
    with acting_as(Identity("eve")), pytest.raises(FeastPermissionError):
        store.get_entity("rider")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["who"], line["outcome"]) for line in lines] == [("ann", "ok"), ("eve", "denied")]
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="cannot be written"):
        audit_log.write_to(tmp_path / "missing" / "audit.log")


def test_reading_a_permission_needs_one(store: FeatureStore) -> None:
    with acting_as(Identity("eve")):
        assert store.list_permissions() == []
        with pytest.raises(FeastPermissionError):
            store.get_permission("all")
    with acting_as(ANN):
        assert store.get_permission("all").actions == list(AuthzedAction)
