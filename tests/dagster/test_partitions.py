"""Dagster's partitions and the library's windows are the same grid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_assets.dagster.partitions import partitions_definition, windows_of
from feast_assets.definitions.partitions import GRAINS, Partitions
from feast_assets.errors import DefinitionError

LONGEST = {
    "hourly": timedelta(hours=100),
    "daily": timedelta(days=100),
    "weekly": timedelta(days=1500),
    "monthly": timedelta(days=3000),
}


@pytest.mark.parametrize("grain", GRAINS)
@settings(max_examples=40, deadline=None)
@given(
    moment=st.datetimes(datetime(1972, 1, 1), datetime(2024, 6, 1), timezones=st.just(UTC)),
    part=st.floats(0, 1),
)
def test_keys_are_the_librarys_windows_in_order(grain: str, moment: datetime, part: float) -> None:
    start = Partitions(grain).floor(moment)
    grid = Partitions(grain, start)
    definition = partitions_definition(grid)
    end = start + LONGEST[grain] * part
    keys = definition.get_partition_keys(current_time=end)
    ours = [w for w in grid.windows(start, end) if w.end <= end]
    assert list(windows_of(definition, keys)) == ours
    assert list(windows_of(definition, keys).values()) == list(keys)


@pytest.mark.parametrize(
    ("grain", "start", "first_keys"),
    [
        ("hourly", datetime(2013, 3, 10, 5), ["2013-03-10-05:00", "2013-03-10-06:00", "2013-03-10-07:00"]),
        ("daily", datetime(2012, 2, 28), ["2012-02-28", "2012-02-29", "2012-03-01"]),
        ("weekly", datetime(2012, 12, 30), ["2012-12-30", "2013-01-06", "2013-01-13"]),
        ("monthly", datetime(2012, 12, 1), ["2012-12-01", "2013-01-01", "2013-02-01"]),
    ],
)
def test_keys_read_as_the_beginning_of_their_window(grain: str, start: datetime, first_keys: list[str]) -> None:
    definition = partitions_definition(Partitions(grain, start))
    assert definition.get_first_partition_key() == first_keys[0]
    later = start.replace(tzinfo=UTC) + timedelta(days=100)
    assert definition.get_partition_keys(current_time=later)[:3] == first_keys


def test_an_open_window_is_not_yet_a_partition() -> None:
    definition = partitions_definition(Partitions("daily", datetime(2013, 1, 1)))
    noon = datetime(2013, 1, 3, 12, tzinfo=UTC)
    assert definition.get_partition_keys(current_time=noon) == ["2013-01-01", "2013-01-02"]


def test_a_grid_without_a_start_is_refused_with_what_to_do() -> None:
    with pytest.raises(DefinitionError, match=r"The first apply fixes the start; or declare it: Partitions\(\"daily\""):
        partitions_definition(Partitions("daily"))


def test_windows_of_foreign_keys_are_refused() -> None:
    definition = partitions_definition(Partitions("daily", datetime(2013, 1, 1)))
    with pytest.raises((dg.DagsterError, ValueError)):
        windows_of(definition, ["2013-W01"])


def test_a_grid_that_ends_has_its_last_window_as_last_partition() -> None:
    grid = Partitions("daily", datetime(2020, 1, 1), datetime(2020, 1, 4))
    keys = partitions_definition(grid).get_partition_keys()
    assert keys == ["2020-01-01", "2020-01-02", "2020-01-03"]
    assert list(windows_of(partitions_definition(grid), keys)) == list(
        grid.windows(datetime(2019, 12, 31, tzinfo=UTC) + timedelta(days=1), datetime(2030, 1, 1, tzinfo=UTC))
    )
