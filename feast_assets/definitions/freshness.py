"""How often a view should be materialized: plain data, which an orchestrator turns into its own policy."""

from __future__ import annotations

from datetime import timedelta

from feast_assets.definitions.cron import checked_schedule
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, shown

_SHORTEST = timedelta(minutes=1)


class Freshness(Spec):
    """How recently a feature view should have been materialized; made by one of the two class methods.

    It judges when rows were last written, whatever their event times; how old a value may be is the view's ``ttl``. It
    only watches: changing it makes nothing stale, and nothing runs because of it.
    """

    _spec = {"fail_after": None, "warn_after": None, "deadline": "", "earliest": None}

    fail_after: timedelta | None
    warn_after: timedelta | None
    deadline: str
    earliest: timedelta | None

    @classmethod
    def within(cls, fail_after: timedelta, warn_after: timedelta | None = None) -> Freshness:
        """Asks for a materialization at least every so often.

        Args:
            fail_after: the longest time without one; a minute or more.
            warn_after: the time without one after which there is a warning; shorter than ``fail_after``.

        Raises:
            DefinitionError: the times are not positive, or in the wrong order.
        """
        for name, given in (("fail_after", fail_after), ("warn_after", warn_after)):
            if (given is not None or name == "fail_after") and not _is_long(given):
                raise DefinitionError(
                    f"Freshness.within: {name} must be a timedelta of a minute or more, got {shown(given)}."
                )
        if warn_after is not None and warn_after >= fail_after:
            raise DefinitionError(
                f"Freshness.within: warn_after ({warn_after}) must be shorter than fail_after ({fail_after})."
            )
        return cls._of(fail_after=fail_after, warn_after=warn_after)

    @classmethod
    def by(cls, deadline: str, earliest: timedelta) -> Freshness:
        """Asks for a materialization shortly before certain times.

        Args:
            deadline: five cron fields, in UTC, such as ``"0 9 * * *"`` for nine every morning.
            earliest: how long before the deadline the materialization may be; a minute or more, and no longer than
                from one deadline to the next.

        Raises:
            DefinitionError: the text does not have five cron fields, or ``earliest`` is not a positive time.
        """
        if not _is_long(earliest):
            raise DefinitionError(
                f"Freshness.by: earliest must be a timedelta of a minute or more, got {shown(earliest)}."
            )
        return cls._of(deadline=checked_schedule(deadline, "Freshness.by", "'0 9 * * *'"), earliest=earliest)

    @classmethod
    def _of(cls, **values: object) -> Freshness:
        made = cls()
        for name, default in cls._spec.items():
            setattr(made, name, values.get(name, default))
        return made

    def __str__(self) -> str:
        if self.deadline:
            return f"by {self.deadline}, at most {self.earliest} before"
        return f"within {self.fail_after}" + (f", warning after {self.warn_after}" if self.warn_after else "")


def _is_long(given: object) -> bool:
    return isinstance(given, timedelta) and given >= _SHORTEST
