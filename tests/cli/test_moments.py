from __future__ import annotations

from datetime import UTC, datetime

import pytest

from feast_assets.cli.moments import parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T18:30:00", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31 18:30:00", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31T18:30:00+02:00", datetime(2026, 1, 31, 16, 30, tzinfo=UTC)),
        ("2026-01-31T18:30:00.25Z", datetime(2026, 1, 31, 18, 30, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_dates_are_iso_8601_and_utc_unless_they_say_otherwise(text, moment) -> None:
    assert parse_moment(text) == moment
    assert parse_moment(text).utcoffset() == UTC.utcoffset(None)


@pytest.mark.parametrize("text", ["", "yesterday", "31.01.2026", "2026-02-30", "0001-01-01T00:00:00+05:00"])
def test_other_texts_are_refused_with_what_is_right(text) -> None:
    with pytest.raises(ValueError, match="ISO 8601; write 2026-01-31"):
        parse_moment(text)
