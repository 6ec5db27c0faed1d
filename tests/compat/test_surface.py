"""Feast's public surface, as it was read from Feast, beside this package's."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from compat import page
from compat.comparison import Difference, differences, feast_facts
from compat.deviations import DEVIATIONS, Deviation, rows_of


@pytest.fixture(scope="module")
def found() -> list[Difference]:
    return differences(feast_facts())


def test_every_difference_from_feast_is_in_the_table(found: list[Difference]) -> None:
    assert rows_of(found).get(None, []) == []


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: row.title)
def test_every_row_of_the_table_still_differs(row: Deviation, found: list[Difference]) -> None:
    assert row in rows_of(found)


def test_the_page_is_current() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make docs`"


def test_what_feast_exports_was_read() -> None:
    facts = feast_facts()
    assert len(facts["exported"]) == 43
    described = {path.rpartition(".")[2] for path in facts["objects"]}
    assert set(facts["exported"]) <= described
    assert len(facts["objects"]) > 200
    assert len(facts["objects"]["feature_store.FeatureStore"]["members"]) > 70


def _changed(path: str, change: Any) -> list[str]:
    """Returns how one name would differ if Feast had changed it."""
    facts = feast_facts()
    before = {each for each in differences(facts) if each.subject.startswith(path)}
    changed = deepcopy(facts)
    change(changed["objects"][path])
    return [each.text for each in differences(changed) if each.subject.startswith(path) and each not in before]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: f["parameters"].append(["colour", "*", "None"]), "no parameter colour"),
        (lambda f: f["parameters"].reverse(), "parameters in another order: *"),
        (lambda f: f["parameters"][3].__setitem__(2, "'red'"), "description defaults to '', not 'red'"),
        (lambda f: f["bases"].append("Thing"), "is no Thing"),
        (lambda f: f["members"].__setitem__("paint", {"kind": "method", "parameters": []}), "missing"),
        (lambda f: f.__setitem__("kind", "function"), "is a class, not a function"),
    ],
)
def test_a_change_of_feasts_is_noticed(change: Any, text: str) -> None:
    (told,) = _changed("entity.Entity", change)
    assert told == text or (text.endswith("*") and told.startswith(text[:-1]))


def test_a_changed_method_is_noticed() -> None:
    def change(facts: Any) -> None:
        facts["members"]["push"]["parameters"][0][0] = "source"

    assert _changed("feature_store.FeatureStore", change) == ["no parameter source", "needs push_source_name"]


def test_a_changed_status_of_an_error_is_noticed() -> None:
    texts = _changed("errors.EntityNotFoundException", lambda f: f.__setitem__("http_status_code", 410))
    assert texts == ["HTTP status 404, not 410"]
