"""What Feast was observed to do, beside what this package does in the same calls."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from compat.deviations import BEHAVIOURS
from compat.refresh import facts, observed

RAISED_BY_FEAST = facts("raised_by_feast.json")
ANSWERED_BY_FEAST = facts("answered_by_feast.json")
APPLIED_BY_FEAST = facts("applied_by_feast.json")
LABELS_BY_FEAST = facts("labels_by_feast.json")
EXCEPTED = {call for behaviour in BEHAVIOURS for call in behaviour.calls}
BY_HAND = ", by hand"


@pytest.fixture(scope="module")
def raised() -> dict[str, list[str]]:
    told: dict[str, list[str]] = observed(sys.executable, "error_scenarios.py", "feast_assets")
    return told


@pytest.fixture(scope="module")
def answered() -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = observed(sys.executable, "retrieval_scenarios.py", "feast_assets")
    return told


@pytest.mark.parametrize("call", sorted(RAISED_BY_FEAST))
def test_a_wrong_call_raises_the_class_that_feast_raises(call: str, raised: dict[str, list[str]]) -> None:
    theirs, ours = RAISED_BY_FEAST[call][:1], raised[call]
    agrees = theirs[0] in ours if theirs else not ours
    assert agrees is (call not in EXCEPTED), f"Feast raises {theirs}, and here it is {ours[:3]}"
    assert ours == [] or "FeastAssetsError" in ours or ours[0] == "ValueError", "raised from deep inside"


@pytest.mark.parametrize("case", sorted(ANSWERED_BY_FEAST, key=int))
def test_online_answers_equal_feasts(case: str, answered: dict[str, dict[str, Any]]) -> None:
    requests = [request for request in answered[case] if "online" in request]
    assert len(requests) == 5
    for request in requests:
        assert answered[case][request] == ANSWERED_BY_FEAST[case][request], request


@pytest.mark.parametrize("case", sorted(ANSWERED_BY_FEAST, key=int))
def test_history_is_what_looking_at_every_row_gives(case: str, answered: dict[str, dict[str, Any]]) -> None:
    requests = [request for request in answered[case] if request.endswith(BY_HAND)]
    assert len(requests) == 3
    for request in requests:
        assert answered[case][request.removesuffix(BY_HAND)] == answered[case][request]


@pytest.mark.parametrize("case", sorted(ANSWERED_BY_FEAST, key=int))
def test_history_equals_feasts_where_rows_do_not_tie(case: str, answered: dict[str, dict[str, Any]]) -> None:
    for request, rows in ANSWERED_BY_FEAST[case].items():
        for row, values in rows.items() if "history" in request else ():
            ours = answered[case][request][row]
            assert {name: ours[name] for name in ours if name in values} == {
                name: value for name, value in values.items() if name in ours
            }
            ties = answered[case][f"{request}, ties"].get(row, [])
            assert ours.keys() - values.keys() == set(ties) & ours.keys()


def test_the_cases_show_what_feast_leaves_out_and_what_ties(answered: dict[str, dict[str, Any]]) -> None:
    lacking = ties = 0
    for case, answers in answered.items():
        for request, rows in answers.items():
            if request.endswith(", ties"):
                ties += len(rows)
            elif "history" in request and not request.endswith(BY_HAND):
                lacking += len(rows.keys() - ANSWERED_BY_FEAST[case][request].keys())
    assert ties > 10
    assert lacking > 10


@pytest.fixture(scope="module")
def applied() -> dict[str, list[dict[str, Any]]]:
    told: dict[str, list[dict[str, Any]]] = observed(sys.executable, "apply_scenarios.py", "feast_assets")
    return told


@pytest.mark.parametrize("case", sorted(APPLIED_BY_FEAST, key=int))
def test_what_is_registered_and_read_after_each_apply_is_feasts(
    case: str, applied: dict[str, list[dict[str, Any]]]
) -> None:
    assert len(applied[case]) == len(APPLIED_BY_FEAST[case]) == 4
    for ours, theirs in zip(applied[case], APPLIED_BY_FEAST[case], strict=True):
        assert ours["registered"] == theirs["registered"]
        assert ours["online"] == theirs["online"]


@pytest.mark.parametrize("case", sorted(APPLIED_BY_FEAST, key=int))
def test_a_plan_says_what_changes_and_nothing_else(case: str, applied: dict[str, list[dict[str, Any]]]) -> None:
    for ours, theirs in zip(applied[case], APPLIED_BY_FEAST[case], strict=True):
        assert ours["plan"] == ours["truth"]
        assert ours["plan again"] == []
        # Feast's plans say more of views, and may say less of services.
        assert all(line.startswith("Updated feature view") for line in set(theirs["plan"]) - set(ours["plan"]))
        assert set(ours["plan"]) - set(theirs["plan"]) <= {"Updated feature service model"}


def test_the_applies_show_what_feasts_plans_say_besides(applied: dict[str, list[dict[str, Any]]]) -> None:
    steps = [
        (ours, theirs)
        for case, told in applied.items()
        for ours, theirs in zip(told, APPLIED_BY_FEAST[case], strict=True)
    ]
    assert sum(len(set(theirs["plan"]) - set(ours["plan"])) for ours, theirs in steps) > 20
    said = {line.partition(" view_")[0] for ours, _ in steps for line in ours["plan"]}
    assert {"Created feature view", "Updated feature view", "Deleted feature view"} <= said
    assert {"Created feature service model", "Updated feature service model"} <= said


def test_the_labels_that_count_are_those_that_feasts_policies_choose() -> None:
    ours = observed(sys.executable, "label_scenarios.py", "feast_assets")
    assert ours == LABELS_BY_FEAST
    differing = [case for case, told in ours.items() if len({str(chosen) for chosen in told.values()}) > 2]
    assert len(differing) > 6, "the policies choose differently"
