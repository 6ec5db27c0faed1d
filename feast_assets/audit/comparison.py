"""Compares what two stores serve for the same entities, value by value."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from feast_assets.errors import InputError

Answer = Mapping[str, Any]
"""What Feast's HTTP server answers to a request for online features; see `OnlineResponse.to_json`."""

SAMPLES = 5
"""How many differences of each feature are kept."""

_OUTSIDE_MAX_AGE = "OUTSIDE_MAX_AGE"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs.

    Attributes:
        entity: the join keys.
        here, there: the values in JSON's terms; None for none.
        status_here, status_there: why there is none, or PRESENT.
    """

    entity: str
    here: object
    there: object
    status_here: str
    status_there: str


@dataclass
class FeatureComparison:
    """How often the values of one feature agree.

    Attributes:
        equal: also where neither side has a value.
        differing: both sides have a value.
        only_here, only_there: one side has a value.
        expired_here: of `only_there`, those that are older than the view's ttl, which Feast serves.
        samples: the first differences.
    """

    feature: str
    equal: int = 0
    differing: int = 0
    only_here: int = 0
    only_there: int = 0
    expired_here: int = 0
    samples: list[Difference] = field(default_factory=list)

    @property
    def different(self) -> int:
        """How many values differ."""
        return self.differing + self.only_here + self.only_there


class Comparison:
    """The values of two stores, compared in batches.

    Args:
        single_precision: names of features of type Float32. One side may write such a value with more digits.
        tolerance: relative: floating-point numbers that are this close are equal.
    """

    def __init__(self, single_precision: frozenset[str] = frozenset(), tolerance: float = 1e-9):
        self.entities = 0
        self.features: dict[str, FeatureComparison] = {}
        self._single = single_precision
        self._tolerance = tolerance

    @property
    def different(self) -> int:
        """How many values differ."""
        return sum(each.different for each in self.features.values())

    def add(self, here: Answer, there: Answer, keys: Sequence[str]) -> None:
        """Compares the answers to one request.

        Args:
            keys: names of the join keys and of request data, which are not compared.

        Raises:
            InputError: the other store answers with other features, or not as Feast does.
        """
        ours, theirs = _columns(here), _columns(there)
        names = [name for name in ours if name not in keys]
        missing = [name for name in names if name not in theirs]
        if missing:
            raise InputError(f"The other store does not answer with {', '.join(missing)}; it has {', '.join(theirs)}.")
        entities = [
            ", ".join(f"{key}={shown_value(value)}" for key, value in zip(keys, row, strict=False))
            for row in zip(*(ours[key][0] for key in keys if key in ours), strict=True)
        ]
        rows = len(ours[names[0]][0]) if names else 0
        self.entities += rows
        for name in names:
            compared = self.features.setdefault(name, FeatureComparison(name))
            if len(theirs[name][0]) != rows:
                raise InputError(f"The other store answers with {len(theirs[name][0])} values of {name}, not {rows}.")
            columns = zip(*ours[name], *theirs[name], strict=True)
            for row, (value, status, other, other_status) in enumerate(columns):
                if self._is_equal(name, value, other):
                    compared.equal += 1
                    continue
                compared.differing += value is not None and other is not None
                compared.only_here += other is None
                compared.only_there += value is None
                compared.expired_here += value is None and status == _OUTSIDE_MAX_AGE
                if len(compared.samples) < SAMPLES:
                    entity = entities[row] if entities else ""
                    compared.samples.append(Difference(entity, value, other, status, other_status))

    def to_dict(self) -> dict[str, object]:
        """Returns all of it as data that ``json.dumps`` takes."""
        return {
            "entities": self.entities,
            "different": self.different,
            "features": {
                name: {
                    "equal": each.equal,
                    "differing": each.differing,
                    "only_here": each.only_here,
                    "only_there": each.only_there,
                    "expired_here": each.expired_here,
                    "samples": [
                        {
                            "entity": sample.entity,
                            "here": sample.here,
                            "there": sample.there,
                            "status_here": sample.status_here,
                            "status_there": sample.status_there,
                        }
                        for sample in each.samples
                    ],
                }
                for name, each in self.features.items()
            },
        }

    def _is_equal(self, name: str, value: object, other: object) -> bool:
        if value is None or other is None:
            return value is other
        if isinstance(value, list) and isinstance(other, list):
            return len(value) == len(other) and all(map(lambda a, b: self._is_equal(name, a, b), value, other))
        if isinstance(value, bool) or isinstance(other, bool):
            return value is other
        first, second = _number(value), _number(other)
        if first is None or second is None:
            return value == other or _is_same_json(value, other)
        if isinstance(value, int) and isinstance(other, int):
            return value == other
        if name in self._single:
            first, second = _single(first), _single(second)
        return (math.isnan(first) and math.isnan(second)) or math.isclose(first, second, rel_tol=self._tolerance)


def _columns(answer: Answer) -> dict[str, tuple[list[Any], list[str]]]:
    """Returns name -> values and statuses of an answer."""
    try:
        names, results = answer["metadata"]["feature_names"], answer["results"]
        columns = {
            str(name): (list(result["values"]), [str(status) for status in result["statuses"]])
            for name, result in zip(names, results, strict=True)
        }
        if any(len(values) != len(statuses) for values, statuses in columns.values()):
            raise ValueError("a status is missing")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("The other store does not answer as Feast's feature server does.") from error
    return columns


def _number(value: object) -> float | None:
    """Returns a number of an answer; NaN and infinities are texts in JSON."""
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e300 or isinstance(value, float) else None
    return float(value) if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity") else None


def _single(value: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return value


def _is_same_json(value: object, other: object) -> bool:
    """Says whether two texts are the same JSON, whose blanks and order of keys do not count."""
    if not (isinstance(value, str) and isinstance(other, str)):
        return False
    try:
        first, second = json.loads(value), json.loads(other)
    except (ValueError, RecursionError):
        return False
    # Other texts that happen to be JSON, such as "1" and "1.0", are texts.
    return isinstance(first, dict | list) and bool(first == second)


def shown_value(value: object) -> str:
    """Returns a value of an answer with all of its digits."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
