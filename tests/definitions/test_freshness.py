"""Freshness as plain data."""

from datetime import timedelta

import pytest

from feast_assets import BatchFeatureView, Entity, FeatureView, Field, FileSource, Freshness, Int64
from feast_assets.definitions.definition_hash import definition_hash
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError

DRIVER = Entity(name="driver", join_keys=["driver_id"])
SOURCE = FileSource(name="rides", path="rides.parquet", timestamp_field="at")
HOUR = timedelta(hours=1)


def view(kind: type[FeatureView] = FeatureView, **options: object) -> FeatureView:
    return kind(name="ride", entities=[DRIVER], source=SOURCE, schema=[Field(name="fare", dtype=Int64)], **options)


@pytest.mark.parametrize(
    ("freshness", "said"),
    [
        (Freshness.within(2 * HOUR), "within 2:00:00"),
        (Freshness.within(2 * HOUR, HOUR), "within 2:00:00, warning after 1:00:00"),
        (Freshness.by(" 0  9 * * 1-5 ", HOUR), "by 0 9 * * 1-5, at most 1:00:00 before"),
    ],
    ids=str,
)
def test_freshness_is_what_it_was_after_being_stored(freshness: Freshness, said: str) -> None:
    assert Freshness.from_spec(freshness.to_spec()) == freshness
    assert str(freshness) == said


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Freshness.within(timedelta(seconds=59)), "fail_after must be a timedelta of a minute or more"),
        (lambda: Freshness.within(3600), "fail_after must be a timedelta"),
        (lambda: Freshness.within(HOUR, timedelta(0)), "warn_after must be a timedelta of a minute or more"),
        (lambda: Freshness.within(HOUR, HOUR), "warn_after .* must be shorter than fail_after"),
        (lambda: Freshness.by("0 9 * *", HOUR), r"Freshness.by takes five cron fields, such as '0 9 \* \* \*'"),
        (lambda: Freshness.by("0 9 * * *", timedelta(0)), "earliest must be a timedelta of a minute or more"),
        (lambda: view(freshness=timedelta(seconds=1)), "'ride': freshness must be a minute or more"),
        (lambda: view(freshness="1 day"), "'ride': freshness must be a timedelta, Freshness.within"),
    ],
)
def test_what_is_no_freshness_is_refused(make, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        make()


@pytest.mark.parametrize("kind", [FeatureView, BatchFeatureView])
def test_a_view_keeps_its_freshness_and_has_none_unless_told(kind: type[FeatureView]) -> None:
    plain, watched = view(kind), view(kind, freshness=HOUR)
    assert watched.freshness == Freshness.within(HOUR)
    assert Spec.from_spec(watched.to_spec()) == watched != plain
    assert plain.freshness is None
    # As views were stored before there was any.
    assert "freshness" not in plain.to_spec()
    assert Spec.from_spec(plain.to_spec()) == plain
    assert definition_hash(watched) == definition_hash(plain)
