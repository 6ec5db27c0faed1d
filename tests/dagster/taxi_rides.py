"""The rows of the small repository's source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

DAYS = 40
FIRST_RIDE = datetime(2024, 1, 1, 6, tzinfo=UTC)


def rides() -> pd.DataFrame:
    """Four drivers, each with a ride every 12 hours; driver 4 stopped after ten days."""
    rows = [
        (driver, FIRST_RIDE + timedelta(hours=12 * i, minutes=driver), driver * 100.0 + i, i % 50)
        for driver in (1, 2, 3, 4)
        for i in range(DAYS * 2 if driver < 4 else 20)
    ]
    frame = pd.DataFrame(rows, columns=["driver_id", "finished_at", "fare", "minutes"])
    return frame.astype({"finished_at": "datetime64[us, UTC]"})
