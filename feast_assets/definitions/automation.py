"""When a view is materialized by itself: plain data, which an orchestrator turns into its own conditions."""

from __future__ import annotations

from typing import Literal

from feast_assets.definitions.cron import checked_schedule
from feast_assets.definitions.spec import Spec


class Automation(Spec):
    """When a feature view is materialized automatically; made by one of the three class methods.

    It decides when rows are written, not which: changing it makes nothing stale. A view that has one is left out of
    its grain's schedule.
    """

    _spec = {"when": "eager", "cron": ""}

    when: Literal["cron", "eager", "late_data"]
    cron: str

    @classmethod
    def on_cron(cls, schedule: str) -> Automation:
        """Materializes the newest window at certain times.

        Args:
            schedule: five cron fields, such as ``"0 6 * * *"``, in UTC.

        Raises:
            DefinitionError: these are not five cron fields.
        """
        return cls._of("cron", checked_schedule(schedule, "Automation.on_cron", "'0 6 * * *' for six every morning"))

    @classmethod
    def eager(cls) -> Automation:
        """Materializes the newest window when it has ended, and again when an asset that it depends on is updated."""
        return cls._of("eager")

    @classmethod
    def on_late_data(cls) -> Automation:
        """Materializes every window that is missing or whose source has changed since, the newest and any other."""
        return cls._of("late_data")

    @classmethod
    def _of(cls, when: Literal["cron", "eager", "late_data"], cron: str = "") -> Automation:
        made = cls()
        made.when, made.cron = when, cron
        return made

    def __str__(self) -> str:
        return f"on cron {self.cron}" if self.when == "cron" else {"eager": "eager"}.get(self.when, "on late data")
