"""Columns on their way through a retrieval: as Python values or as Arrow, whichever the next step needs.

The values of a column are converted only when they are needed, so that serving without pandas never loads Arrow.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from feast_assets.types import Bool, FeastType, Float32, Float64, Int32, Int64, String

if TYPE_CHECKING:
    import pyarrow as pa

# Python types whose values are a value type's as they are. Collections are not here: what they hold would need a look.
_EXACT: dict[FeastType, type] = {Bool: bool, String: str}
_INTEGERS: dict[FeastType, int] = {Int32: 2**31, Int64: 2**63}
_EXACT_INTEGERS_OF_FLOATS = 2**53


class Values(Protocol):
    """The values of one column.

    Attributes:
        type: the value type.
    """

    @property
    def type(self) -> FeastType: ...

    def to_pylist(self) -> list[object]:
        """Returns the values as `feast_assets.types.python` says; None for null."""
        ...

    def to_arrow(self) -> pa.Array:
        """Returns the values in the type's canonical Arrow type."""
        ...


class PythonColumn:
    """A column of Python values, checked against its type when they are asked for.

    Args:
        values: handed in by a caller, or returned by a function.
        feast_type: what they should be.
        subject: what they are, for messages.
    """

    __slots__ = ("_subject", "_values", "type")

    def __init__(self, values: Sequence[object], feast_type: FeastType, subject: str):
        self._values = values
        self.type = feast_type
        self._subject = subject

    def to_pylist(self) -> list[object]:
        """Returns the values as the type has them. Raises SourceError where one is not of the type."""
        return python_values(self._values, self.type, self._subject)

    def to_arrow(self) -> pa.Array:
        """Returns the values in Arrow. Raises SourceError where one is not of the type."""
        from feast_assets.types.python import to_arrow_column

        return to_arrow_column(self._values, self.type, self._subject)


class ArrowColumn:
    """A column in its type's canonical Arrow type."""

    __slots__ = ("_array", "type")

    def __init__(self, values: pa.Array, feast_type: FeastType):
        self._array = values
        self.type = feast_type

    def to_pylist(self) -> list[object]:
        from feast_assets.types.python import to_python_values

        return to_python_values(self._array, self.type)

    def to_arrow(self) -> pa.Array:
        return self._array


def exact_python_type(feast_type: FeastType) -> tuple[type, int | None] | None:
    """Returns the Python type whose values are a value type's as they are, and for integers n of their range -n to n-1.

    None where there is no such type.
    """
    limit = _INTEGERS.get(feast_type)
    if limit is not None:
        return int, limit
    exact = _EXACT.get(feast_type)
    return None if exact is None else (exact, None)


def python_values(values: Sequence[object], feast_type: FeastType, subject: str) -> list[object]:
    """Returns values as the type has them, the same as their way through Arrow would.

    Numbers, text and booleans that are what they should be, which is nearly always, take no such way.

    Raises:
        SourceError: a value is not of the type.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    kinds = set(map(type, values))
    has_null = type(None) in kinds
    kinds.discard(type(None))
    plain_values = _simple(values, kinds, has_null, feast_type)
    if plain_values is not None:
        return plain_values
    from feast_assets.types.python import to_arrow_column, to_python_values

    return to_python_values(to_arrow_column(values, feast_type, subject), feast_type)


def _simple(values: Sequence[Any], kinds: set[type], has_null: bool, feast_type: FeastType) -> list[Any] | None:
    """Returns values of exact Python types as the type has them; None where a look at the types does not do."""
    if not kinds:
        return [None] * len(values)
    if _EXACT.get(feast_type) in kinds and len(kinds) == 1:
        return list(values)
    given = [value for value in values if value is not None] if has_null else values
    if (limit := _INTEGERS.get(feast_type)) is not None and kinds == {int}:
        return list(values) if -limit <= min(given) and max(given) < limit else None
    if feast_type not in (Float64, Float32) or not kinds <= {int, float}:
        return None
    floats = _floats(given, kinds)
    if floats is not None and feast_type == Float32:
        floats = _rounded(floats)
    if floats is None or not has_null:
        return floats
    present = iter(floats)
    return [None if value is None else next(present) for value in values]


def _floats(values: Sequence[Any], kinds: set[type]) -> list[float] | None:
    if int in kinds:
        if any(type(v) is int and abs(v) > _EXACT_INTEGERS_OF_FLOATS for v in values):
            return None
        return list(map(float, values))
    return list(values)


def _rounded(values: list[float]) -> list[float] | None:
    """Returns what 32 bit floats keep of the values; None where one is too large for them."""
    rounded = array("f", values).tolist()
    too_large = any(a != b and abs(a) == float("inf") for a, b in zip(rounded, values, strict=True))
    return None if too_large else rounded
