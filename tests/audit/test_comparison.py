"""The comparison of two stores' answers: what counts as equal, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.audit.comparison import SAMPLES, Comparison
from feast_assets.errors import InputError


def answer(statuses: dict[str, list[str]] | None = None, **columns: list[Any]) -> dict[str, Any]:
    return {
        "metadata": {"feature_names": list(columns)},
        "results": [
            {
                "values": values,
                "statuses": (statuses or {}).get(name, ["PRESENT"] * len(values)),
                "event_timestamps": [],
            }
            for name, values in columns.items()
        ],
    }


def compared(here: list[Any], there: list[Any], **options: Any) -> Comparison:
    comparison = Comparison(**options)
    keys = list(range(len(here)))
    comparison.add(answer(driver_id=keys, v__f=here), answer(driver_id=keys, v__f=there), ["driver_id"])
    return comparison


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (None, None),
        (1, 1),
        (2**60 + 1, 2**60 + 1),
        (0.1, 0.1 + 1e-17),
        (1.0, 1),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ([1.0, None], [1.0, None]),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ("text", "text"),
        (True, True),
    ],
)
def test_equal_values(here: object, there: object) -> None:
    assert compared([here], [there]).different == 0


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (None, 0),
        (0, None),
        (2**60 + 1, 2**60),
        (1.0, 1.0001),
        ("NaN", 0.0),
        ([1.0], [1.0, 2.0]),
        ([1.0, None], [1.0, 0.0]),
        ("1", 1),
        (True, 1),
        ("a", "b"),
        ("1", "1.0"),
        ('"a"', '"\\u0061"'),
        ("[" * 100_000, "[" * 100_000 + " "),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_that_differ(here: object, there: object) -> None:
    assert compared([here], [there]).different == 1


def test_values_of_single_precision_may_have_more_digits_on_one_side() -> None:
    here, there = 0.10000000149011612, 0.1
    assert compared([here], [there]).different == 1
    assert compared([here, [here]], [there, [there]], single_precision=frozenset(["v__f"])).different == 0


def test_it_is_counted_which_side_lacks_a_value_and_why() -> None:
    comparison = Comparison()
    here = answer(
        {"v__f": ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND", "PRESENT"]},
        driver_id=[1, 2, 3, 4],
        v__f=[1, None, None, 4],
    )
    there = answer(
        {"v__f": ["PRESENT", "PRESENT", "PRESENT", "NOT_FOUND"]}, driver_id=[1, 2, 3, 4], v__f=[9, 2, 3, None]
    )
    comparison.add(here, there, ["driver_id"])
    (feature,) = comparison.features.values()
    counts = (feature.equal, feature.differing, feature.only_here, feature.only_there, feature.expired_here)
    assert counts == (0, 1, 1, 2, 1)
    assert [(s.entity, s.here, s.there, s.status_here) for s in feature.samples] == [
        ("driver_id=1", 1, 9, "PRESENT"),
        ("driver_id=2", None, 2, "OUTSIDE_MAX_AGE"),
        ("driver_id=3", None, 3, "NOT_FOUND"),
        ("driver_id=4", 4, None, "PRESENT"),
    ]


@given(st.lists(st.tuples(st.none() | st.integers(), st.none() | st.integers()), min_size=1, max_size=30))
def test_every_value_is_counted_once(pairs: list[tuple[int | None, int | None]]) -> None:
    comparison = compared([here for here, _ in pairs], [there for _, there in pairs])
    feature = comparison.features["v__f"]
    assert feature.equal + feature.different == comparison.entities == len(pairs)
    assert feature.equal == sum(here == there for here, there in pairs)
    assert len(feature.samples) == min(feature.different, SAMPLES)


def test_another_store_that_answers_otherwise_is_an_error() -> None:
    here = answer(driver_id=[1], v__f=[1])
    for wrong, said in (
        ({}, "does not answer as Feast's"),
        ({"metadata": {"feature_names": ["a"]}, "results": []}, "does not answer as Feast's"),
        (answer(driver_id=[1], other=[1]), "does not answer with v__f"),
        (answer(driver_id=[1], v__f=[1, 2]), "answers with 2 values of v__f, not 1"),
    ):
        with pytest.raises(InputError, match=said):
            Comparison().add(here, wrong, ["driver_id"])
