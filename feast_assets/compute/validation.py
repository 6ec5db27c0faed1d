"""Validation: which windows hold rows that break what their fields declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from feast_assets.definitions.feature_view import FeatureView
from feast_assets.definitions.field import Field
from feast_assets.definitions.field_checks import Checks, Severity
from feast_assets.definitions.spec import content_hash
from feast_assets.definitions.window import Window, contiguous
from feast_assets.offline_stores.abilities import CanProfile
from feast_assets.offline_stores.base import WindowStatistics
from feast_assets.offline_stores.profile import ColumnProfile, WindowProfile

if TYPE_CHECKING:
    from feast_assets.compute.view_stores import ViewStores
    from feast_assets.offline_stores.base import History


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule of a field's `Checks` that rows of a window break.

    Attributes:
        rule: its name, such as ``minimum``.
        declared: its value, as text.
        rows: how many rows break it; for ``max_null_share``, the rows without a value.
        of: how many rows the window has.
    """

    window: Window
    feature: str
    rule: str
    declared: str
    severity: Severity
    rows: int
    of: int

    def __str__(self) -> str:
        rule = self.rule if self.rule == "unique" else f"{self.rule}={self.declared}"
        return f"{self.feature} {rule}: {self.rows} of {self.of} rows from {self.window.start.isoformat()} on"


def validates(view: FeatureView, asked: bool | None = None) -> bool:
    """Whether materialization refuses windows of a view that break a check.

    Args:
        asked: what the caller says; None for as the view says.
    """
    refuses = view.enable_validation if asked is None else asked
    return refuses and any(f.checks.severity == "error" for f in view.features if f.checks is not None)


def refusal_hash(view: FeatureView) -> str:
    """Returns a hash (hex) of what decides whether rows of a view are refused; "" where none can be."""
    if not validates(view, True):
        return ""
    checks = [(f.name, f.checks.to_spec()) for f in view.features if f.checks is not None]
    return content_hash([view.enable_validation, sorted(checks, key=lambda each: each[0])])


def broken_rules(fields: Iterable[Field], profiles: Sequence[WindowProfile]) -> list[BrokenRule]:
    """Returns the rules that rows of some windows break, by window."""
    checked = [(f.name, f.checks) for f in fields if f.checks is not None]
    return [
        BrokenRule(p.window, name, rule, _declared(checks, rule), checks.severity, rows, p.rows)
        for p in profiles
        for name, checks in checked
        for rule, rows in _broken(checks, p.columns[name], p.rows)
    ]


@dataclass(frozen=True)
class Validation:
    """Finds the windows of one view whose rows break what its fields declare.

    Args:
        asked: whether such windows are refused; None for as the view says.
    """

    stores: ViewStores
    asked: bool | None = None

    @cached_property
    def refuses(self) -> bool:
        """Whether any rows can be refused."""
        return validates(self.stores.view, self.asked)

    def profiles(self, history: History, windows: Sequence[WindowStatistics]) -> dict[Window, WindowProfile]:
        """Returns what the values of some windows look like, from one pass for each run of windows without gaps."""
        verb = "Validating" if self.refuses else "Profiling"
        remedy = "Materialize it without validation, and without profiles."
        store = CanProfile.of(self.stores.offline_store, f"{verb} feature view {self.stores.view.name!r}", remedy)
        return {
            profile.window: profile
            for group in contiguous(windows)
            for profile in store.profile(history, [s.window for s in group])
        }

    def broken(self, profiles: Mapping[Window, WindowProfile]) -> list[BrokenRule]:
        """Returns what keeps windows from being written; nothing where no rows are refused."""
        if not self.refuses:
            return []
        rules = broken_rules(self.stores.view.features, list(profiles.values()))
        return [each for each in rules if each.severity == "error"]

    def refused(self, windows: Sequence[Window]) -> set[Window]:
        """Returns which of some windows hold rows at present that keep them from being written."""
        unread = [WindowStatistics(w, 0, None, None, None, "") for w in sorted(windows)]
        return {each.window for each in self.broken(self.profiles(self.stores.read, unread))}


def _broken(checks: Checks, column: ColumnProfile, rows: int) -> Iterator[tuple[str, int]]:
    if not checks.nullable and column.nulls:
        yield "nullable", column.nulls
    if checks.max_null_share is not None and column.nulls > checks.max_null_share * rows:
        yield "max_null_share", column.nulls
    for rule, broken in column.broken.items():
        if broken:
            yield rule, broken


def _declared(checks: Checks, rule: str) -> str:
    return str(getattr(checks, rule))
