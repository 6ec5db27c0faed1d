"""Automation as plain data."""

import pytest

from feast_assets import Automation, BatchFeatureView, Entity, FeatureView, Field, FileSource, Int64
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError

DRIVER = Entity(name="driver", join_keys=["driver_id"])
SOURCE = FileSource(name="rides", path="rides.parquet", timestamp_field="at")


@pytest.mark.parametrize(
    ("automation", "said"),
    [
        (Automation.on_cron(" 0  6 * * 1-5 "), "on cron 0 6 * * 1-5"),
        (Automation.eager(), "eager"),
        (Automation.on_late_data(), "on late data"),
    ],
    ids=str,
)
def test_an_automation_is_what_it_was_after_being_stored(automation: Automation, said: str) -> None:
    assert Automation.from_spec(automation.to_spec()) == automation
    assert str(automation) == said


@pytest.mark.parametrize("schedule", ["", "0 6 * *", "0 6 * * * *", "a;b * * * *", None, "@daily"])
def test_what_is_no_cron_is_refused(schedule: object) -> None:
    with pytest.raises(DefinitionError, match=r"five cron fields, such as '0 6 \* \* \*'"):
        Automation.on_cron(schedule)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FeatureView, BatchFeatureView])
def test_a_view_keeps_its_automation_and_has_none_unless_told(kind: type[FeatureView]) -> None:
    fields = [Field(name="fare", dtype=Int64)]
    view = kind(name="ride", entities=[DRIVER], source=SOURCE, schema=fields, automation=Automation.eager())
    assert Spec.from_spec(view.to_spec()) == view
    assert view.automation == Automation.eager()
    assert kind(name="ride", entities=[DRIVER], source=SOURCE, schema=fields).automation is None


def test_something_else_in_its_place_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"'ride': automation must be Automation\.on_cron\(\.\.\.\).*got 'eager'"):
        FeatureView(name="ride", source=SOURCE, automation="eager")  # type: ignore[arg-type]
