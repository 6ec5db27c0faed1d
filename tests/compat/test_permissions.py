"""What Feast decided, request by request, beside what this package decides."""

from __future__ import annotations

import sys

import pytest

from compat.refresh import facts, observed

DECIDED_BY_FEAST: dict[str, bool] = facts("decided_by_feast.json")


@pytest.fixture(scope="module")
def decided() -> dict[str, bool]:
    told: dict[str, bool] = observed(sys.executable, "permission_scenarios.py", "feast_assets")
    return told


def test_a_request_of_somebody_known_is_decided_as_feast_decides(decided: dict[str, bool]) -> None:
    compared = [case for case in DECIDED_BY_FEAST if not case.endswith((" required tags", " nobody"))]
    compared = [case for case in compared if " required tags" not in case]
    assert {case: decided[case] for case in compared} == {case: DECIDED_BY_FEAST[case] for case in compared}
    assert len(compared) > 800
    assert 200 < sum(decided[case] for case in compared) < len(compared) - 200


def test_what_differs_is_denied_here(decided: dict[str, bool]) -> None:
    differing = [case for case in DECIDED_BY_FEAST if decided[case] != DECIDED_BY_FEAST[case]]
    assert differing
    assert not any(decided[case] for case in differing)


def test_nobody_may_do_anything(decided: dict[str, bool]) -> None:
    assert not any(granted for case, granted in decided.items() if case.endswith(" nobody"))
