"""Aggregations: what a view computes of the rows in a window of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from feast_assets.definitions.base import listed
from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, NotSupportedError, shown, suggest
from feast_assets.types import Array, Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast_assets.types.names import repeated_names

HOPS = tuple(timedelta(seconds=s) for s in (86_400, 21_600, 3_600, 900, 300, 60, 10, 1))
"""The hops that a window without one of its own may have, the longest first."""
_HOPS_IN_WINDOW = 12
_SECOND = timedelta(seconds=1)
_LONGEST = timedelta(days=3_652_058)
"""All the time that a datetime can tell; microseconds of more overflow."""
_MOST_KEPT = 1_000
_NUMBERS = frozenset((Int32, Int64, Float32, Float64))
_ORDERED = _NUMBERS | {UnixTimestamp}
_PLAIN = _ORDERED | {String, Bool}
_TYPES: dict[str, frozenset[FeastType]] = {
    "sum": _NUMBERS,
    "count": _PLAIN,
    "mean": _NUMBERS,
    "min": _ORDERED,
    "max": _ORDERED,
    "stddev": _NUMBERS,
    "first": _PLAIN,
    "last": _PLAIN,
    "last_k": _PLAIN,
    "count_distinct": _PLAIN,
    "approx_count_distinct": _PLAIN,
    "approx_percentile_p": _NUMBERS,
    "top_k": frozenset((Int32, Int64, String, Bool)),
}
_WITH_NUMBER = re.compile(r"(last|top)_([1-9][0-9]*)|(approx_percentile)_([0-9]+(?:\.[0-9]+)?)")


class Aggregation(Spec):
    """A function of the values that one column has in a window of time before each moment.

    Args:
        column: a column of the view's source, or of its transformation's result.
        function: ``sum``, ``count``, ``mean``, ``min``, ``max``, ``stddev`` (of a sample), ``first``, ``last``,
            ``count_distinct``, ``approx_count_distinct``, or one with a number in its name: ``last_5`` (the last five
            values, the newest first), ``top_5`` (the five most frequent values), ``approx_percentile_95``.
        time_window: how long the window is, whole seconds.
        slide_interval: the hop on which the start of the window falls; the window is a multiple of it. Left out, or as
            long as the window, the hop follows from the view's ``tiling_hop_size`` or the length of the window.
        name: of the feature; left out, ``{function}_{column}_{seconds}s``.
    """

    _spec = {"column": "", "function": "", "time_window": None, "slide_interval": None, "name": ""}

    column: str
    function: str
    time_window: timedelta | None
    slide_interval: timedelta | None
    name: str

    def __init__(
        self,
        column: str | None = "",
        function: str | None = "",
        time_window: timedelta | None = None,
        slide_interval: timedelta | None = None,
        name: str | None = None,
    ):
        self.column = column or ""
        self.function = function or ""
        self.time_window = time_window
        self.slide_interval = slide_interval or time_window
        self.name = name or ""

    def resolved_name(self, time_window: timedelta | None = None) -> str:
        """Returns the name of the feature, as Feast makes it.

        Args:
            time_window: the window that is part of the name; None for a name without one.
        """
        if self.name:
            return self.name
        base = f"{self.function}_{self.column}"
        return f"{base}_{int(time_window.total_seconds())}s" if time_window else base


@dataclass(frozen=True, slots=True)
class Function:
    """An aggregation's function, with the number that its name may contain.

    Attributes:
        kind: the name, with a letter in the place of the number, such as ``last_k``.
        number: how many values are kept, or which percentile; 0 without.
    """

    kind: str
    number: float = 0

    @classmethod
    def named(cls, name: str, subject: str) -> Function:
        """Returns the function of a name.

        Raises:
            NotSupportedError: there is none.
        """
        if name in _TYPES and not name.endswith(("_k", "_p")):
            return cls(name)
        match = _WITH_NUMBER.fullmatch(name)
        if match is not None:
            kept, count, _, percentile = match.groups()
            if kept and int(count) <= _MOST_KEPT:
                return cls(f"{kept}_k", int(count))
            if percentile and float(percentile) <= 100:
                return cls("approx_percentile_p", float(percentile))
            raise NotSupportedError(
                f"{subject}: function {name!r} has a number that is too large; last_k and top_k take up to "
                f"{_MOST_KEPT:,}, approx_percentile_p up to 100."
            )
        known = [n for n in _TYPES if not n.endswith(("_k", "_p"))] + ["last_5", "top_5", "approx_percentile_95"]
        raise NotSupportedError(
            f"{subject}: the aggregation function {shown(name)} is not supported. {suggest(name, known)} Functions are "
            f"{', '.join(known)}, with any number in the last three."
        )

    def result_type(self, column: str, dtype: FeastType, subject: str) -> FeastType:
        """Returns the type of the function's results.

        Args:
            dtype: of the column's values.

        Raises:
            DefinitionError: it takes no values of that type.
        """
        taken = _TYPES[self.kind]
        if dtype not in taken:
            names = ", ".join(sorted(map(str, taken)))
            raise DefinitionError(f"{subject}: column {column!r} has type {dtype}, but {self.kind} takes only {names}.")
        if self.kind in ("count", "count_distinct", "approx_count_distinct"):
            return Int64
        if self.kind == "sum":
            return Int64 if dtype in (Int32, Int64) else Float64
        if self.kind in ("mean", "stddev", "approx_percentile_p"):
            return Float64
        return Array(dtype) if self.kind in ("last_k", "top_k") else dtype


def check_aggregations(aggregations: object, hop: timedelta | None, subject: str) -> list[Aggregation]:
    """Returns the aggregations of a view as a list.

    Args:
        hop: the view's ``tiling_hop_size``.

    Raises:
        DefinitionError: one is incomplete, its window does not consist of hops, or two features have one name.
        NotSupportedError: a function is not known.
    """
    given = listed(aggregations, f"{subject}: aggregations must be a list of Aggregation")
    if hop is not None and not given:
        raise DefinitionError(f"{subject}: tiling_hop_size is for views with aggregations; leave it out.")
    _check_seconds(hop, "tiling_hop_size", subject)
    for each in given:
        if not isinstance(each, Aggregation):
            raise DefinitionError(f"{subject}: aggregations must be a list of Aggregation, found {shown(each)}.")
        if not isinstance(each.column, str) or not each.column or not isinstance(each.function, str):
            raise DefinitionError(f"{subject}: each Aggregation needs a column and a function, found {shown(each)}.")
        of = f"{subject}: Aggregation {each.function}({each.column})"
        Function.named(each.function, subject)
        if each.time_window is None:
            raise DefinitionError(f"{of} needs a time_window, such as timedelta(hours=1).")
        _check_seconds(each.time_window, "time_window", of)
        _check_seconds(each.slide_interval, "slide_interval", of)
        own = hop_of(each, hop)
        if own >= each.time_window or each.time_window % own:
            kind = "slide_interval" if each.slide_interval != each.time_window else "tiling_hop_size"
            raise DefinitionError(
                f"{of}: its time_window of {each.time_window} must be a multiple of its hop ({kind}), and longer than "
                f"that; the hop is {own}."
            )
    names = [each.resolved_name(each.time_window) for each in given]
    if repeated := repeated_names(names):
        raise DefinitionError(
            f"{subject}: two of its aggregations make a feature named {repeated[0]!r}; give one of them another name."
        )
    return given


def _check_seconds(length: object, argument: str, subject: str) -> None:
    if length is None:
        return
    if not isinstance(length, timedelta) or length < _SECOND or length % _SECOND:
        raise DefinitionError(
            f"{subject}: {argument} must be a timedelta of one or more whole seconds, not {shown(length)}."
        )
    if length > _LONGEST:
        raise DefinitionError(f"{subject}: {argument} must be at most {_LONGEST.days:,} days, not {length.days:,}.")


def hop_of(aggregation: Aggregation, hop: timedelta | None) -> timedelta:
    """Returns the hop of an aggregation: on its multiples since 1970, in UTC, the window starts.

    It is the ``slide_interval``, where that is shorter than the window; else the view's ``tiling_hop_size``; else the
    longest of a day, six hours, an hour, 15 minutes, five minutes, a minute, ten seconds and a second that divides the
    window and fits into it twelve times; else a second.
    """
    window, slide = aggregation.time_window, aggregation.slide_interval
    assert window is not None
    if slide is not None and slide != window:
        return slide
    if hop is not None:
        return hop
    fitting = (h for h in HOPS if not window % h and window >= _HOPS_IN_WINDOW * h)
    shortest = next((h for h in reversed(HOPS) if h < window), _SECOND)
    return next(fitting, shortest)


def aggregated_columns(aggregations: Sequence[Aggregation]) -> list[str]:
    """Returns the columns that aggregations read, each once."""
    return list(dict.fromkeys(each.column for each in aggregations))
