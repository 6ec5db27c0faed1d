"""Checks of a feature's values, declared on a field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal as PythonDecimal
from typing import Literal, get_args

from feast_assets.definitions.spec import Spec, as_utc
from feast_assets.errors import DefinitionError, shown
from feast_assets.types import Bool, Decimal, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

Severity = Literal["error", "warn"]

Limit = int | float | datetime
"""A bound of a range."""
Value = str | int | float | bool
"""One of the allowed values."""

_WHOLE: tuple[FeastType, ...] = (Int32, Int64)
_NUMBERS: tuple[FeastType, ...] = (*_WHOLE, Float32, Float64, Decimal)


class Checks(Spec):
    """Rules for the values of a field.

    They decide neither a view's rows nor its online table, so changing them makes nothing stale.

    Args:
        nullable: whether a value may be null.
        max_null_share: the greatest share of a window's rows, from 0 to 1, that may be null.
        minimum, maximum: inclusive; of numbers, or of timestamps as datetimes (naive is UTC). NaN lies in no range.
        allowed: the values that may occur, nulls aside; of texts, whole numbers and booleans.
        unique: whether no value may occur twice in one window, nulls aside.
        severity: "error" or "warn". Where a view validates (see `FeatureView.enable_validation`), a window that breaks
            an "error" is not written; "warn" is only reported.

    Raises:
        DefinitionError: a rule contradicts itself or another one, or nothing is declared.
    """

    _spec = {
        "nullable": True,
        "max_null_share": None,
        "minimum": None,
        "maximum": None,
        "allowed": [],
        "unique": False,
        "severity": "error",
    }

    def __init__(
        self,
        *,
        nullable: bool = True,
        max_null_share: float | None = None,
        minimum: Limit | None = None,
        maximum: Limit | None = None,
        allowed: Sequence[Value] | None = None,
        unique: bool = False,
        severity: Severity = "error",
    ):
        self.nullable = nullable
        self.max_null_share = max_null_share
        self.minimum = _limit("minimum", minimum)
        self.maximum = _limit("maximum", maximum)
        self.allowed = _values(allowed)
        self.unique = unique
        self.severity = severity
        self._check()

    def _check(self) -> None:
        for name in ("nullable", "unique"):
            if not isinstance(getattr(self, name), bool):
                raise DefinitionError(f"Checks: {name} must be True or False, not {getattr(self, name)!r}.")
        if self.severity not in get_args(Severity):
            raise DefinitionError(f"Checks: severity must be 'error' or 'warn', not {self.severity!r}.")
        share = self.max_null_share
        if share is not None:
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise DefinitionError(f"Checks: max_null_share must be a number from 0 to 1, not {shown(share)}.")
            if not self.nullable:
                raise DefinitionError("Checks: nullable=False allows no nulls at all; leave max_null_share out.")
        low, high = self.minimum, self.maximum
        if low is not None and high is not None:
            if isinstance(low, datetime) != isinstance(high, datetime):
                raise DefinitionError(f"Checks: minimum {low!r} and maximum {high!r} are of different kinds.")
            if low > high:  # type: ignore[operator]
                raise DefinitionError(f"Checks: minimum {low!r} is above maximum {high!r}; swap them.")
        if not self.rules:
            raise DefinitionError("Checks: nothing is declared; name a rule such as nullable=False or minimum=0.")

    def to_spec(self) -> dict[str, object]:
        """Returns only what is declared, which is all that a plan and a listing should show."""
        return {k: v for k, v in super().to_spec().items() if k == "kind" or v != self._spec[k]}

    @property
    def rules(self) -> list[str]:
        """The names of the rules that are declared, such as ``minimum``."""
        declared = {
            "nullable": not self.nullable,
            "max_null_share": self.max_null_share is not None,
            "minimum": self.minimum is not None,
            "maximum": self.maximum is not None,
            "allowed": bool(self.allowed),
            "unique": self.unique,
        }
        return [name for name, is_declared in declared.items() if is_declared]

    def check_type(self, dtype: FeastType, subject: str) -> None:
        """Refuses rules that values of a type cannot meet or break.

        Args:
            subject: names the field, for the message.

        Raises:
            DefinitionError: such as a minimum for texts.
        """
        for name in ("minimum", "maximum"):
            limit = getattr(self, name)
            if limit is None:
                continue
            expected = "a datetime" if dtype == UnixTimestamp else "a number" if dtype in _NUMBERS else ""
            if not expected:
                raise DefinitionError(f"{subject}: {name} is for numbers and timestamps; its dtype is {dtype}.")
            if isinstance(limit, datetime) != (dtype == UnixTimestamp):
                raise DefinitionError(
                    f"{subject}: {name} must be {expected}, as its dtype is {dtype}; got {shown(limit)}."
                )
        if self.allowed:
            kind = str if dtype == String else bool if dtype == Bool else int if dtype in _WHOLE else None
            if kind is None:
                raise DefinitionError(
                    f"{subject}: allowed is for texts, whole numbers and booleans; its dtype is {dtype}."
                )
            for value in self.allowed:
                if type(value) is not kind:
                    raise DefinitionError(f"{subject}: allowed must hold values of {dtype}; got {shown(value)}.")
        if self.unique and dtype not in (*_NUMBERS, String, UnixTimestamp):
            raise DefinitionError(f"{subject}: unique is for numbers, texts and timestamps; its dtype is {dtype}.")


def _limit(name: str, value: object) -> Limit | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return as_utc(value)
    if isinstance(value, PythonDecimal):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise DefinitionError(f"Checks: {name} must be a number or a datetime, not {shown(value)}.")
    if math.isinf(value):
        raise DefinitionError(f"Checks: {name} must be finite, not {shown(value)}; leave it out for no bound.")
    return value


def _values(allowed: object) -> list[Value]:
    if allowed is None:
        return []
    if isinstance(allowed, (str, bytes)) or not isinstance(allowed, Sequence) or not allowed:
        raise DefinitionError(f"Checks: allowed must be a list with at least one value, not {shown(allowed)}.")
    for value in allowed:
        if not isinstance(value, (str, int, bool)):
            raise DefinitionError(f"Checks: allowed may hold texts, whole numbers and booleans, not {shown(value)}.")
    return list(dict.fromkeys(allowed))
