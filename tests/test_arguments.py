"""Arguments of another form are refused with what would be right, and never taken for something else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from feast_assets import Entity
from feast_assets.arguments import definitions_of, name_of, view_names, windows_of
from feast_assets.definitions.window import Window
from feast_assets.errors import InputError

DRIVER = Entity(name="driver", join_keys=["driver_id"])
DAY = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))


def broken():
    yield DRIVER
    raise RuntimeError("the repository is broken")


def test_right_arguments_are_returned() -> None:
    assert name_of("trips", "feature view") == "trips"
    assert view_names(("a", "b")) == ["a", "b"]
    assert view_names([]) == []
    assert definitions_of(DRIVER) == [DRIVER]
    assert definitions_of(each for each in [DRIVER, DRIVER]) == [DRIVER, DRIVER]
    assert windows_of([DAY]) == [DAY]


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (view_names, "trips", r"must be a list of names, such as \['trips'\], not str 'trips'"),
        (view_names, {"trips"}, "must be a list of names"),
        (view_names, ["trips", 3], "The name of a feature view must be text, not int 3"),
        (view_names, 3, "must be a list of names, such as .*, not int 3"),
        (definitions_of, 3, "apply takes definitions such as Entity and FeatureView, or a list of them, not int 3"),
        (definitions_of, [DRIVER, "trips"], "or a list of them, not str 'trips'"),
        (definitions_of, "driver", "not str 'd'"),
        (definitions_of, broken(), "failed: the repository is broken"),
        (windows_of, DAY, r"windows must be a list of Window\(start, end\)"),
        (windows_of, "2024-01-01", "windows must be a list of Window"),
        (windows_of, [(DAY.start, DAY.end)], r"windows must hold Window\(start, end\), not tuple"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(check, given, message) -> None:
    with pytest.raises(InputError, match=message):
        check(given)


def test_a_long_value_is_quoted_in_part() -> None:
    with pytest.raises(InputError) as failed:
        view_names("x" * 1_000_000)
    assert len(str(failed.value)) < 10_000
