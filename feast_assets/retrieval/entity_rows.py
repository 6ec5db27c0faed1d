"""The rows of an online request: a list of dicts or a dict of lists, to the columns that a plan needs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from feast_assets.errors import (
    InputError,
    MissingJoinKeyError,
    RequestDataNotFoundInEntityRowsException,
    SourceError,
    shown,
    suggest,
)
from feast_assets.retrieval.columns import exact_python_type, python_values
from feast_assets.retrieval.request import FeatureRequest
from feast_assets.types import FeastType, Int32, Int64

EntityRows = Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]]

_SHOWN = 10
"""How many of the given columns a message lists."""

_WHOLE_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,19}\s*")
_FORM = "entity_rows must be a list of dicts, one per entity, or a dict of lists"


class EntityRowReader:
    """Takes the columns of one request out of entity rows.

    Columns that the request does not need are ignored, as in Feast; a missing one is an error that names the nearest
    given. An entity's name may stand for its join key, with a warning.
    """

    def __init__(self, request: FeatureRequest):
        self._request = request
        self._needed = [*request.join_keys, *(n for n in request.request_fields if n not in request.join_keys)]
        self._columns = [
            _GivenColumn(name, key.dtype, f"Join key {name!r} of feature view {key.reader}", is_key=True)
            for name, key in request.join_keys.items()
        ] + [
            _GivenColumn(name, field.dtype, f"Request field {name!r} of on-demand view {field.needed_by!r}")
            for name, field in request.request_fields.items()
        ]

    def read(self, entity_rows: EntityRows) -> tuple[int, dict[str, list[object]]]:
        """Returns the number of rows, and the columns by name, with values as their declared types have them.

        A dict without columns, for a request that needs none, is one row.

        Raises:
            InputError: the rows are of another form, of unequal lengths, or hold values of the wrong type.
            MissingJoinKeyError: a row has no value for a join key.
            RequestDataNotFoundInEntityRowsException: a row has no value for a request field.
        """
        if type(entity_rows) is list:  # spares a look at what is abstract
            count, columns = self._of_dicts(entity_rows)
        elif isinstance(entity_rows, Mapping):
            count, columns = self._of_lists(entity_rows)
        elif isinstance(entity_rows, Sequence) and not isinstance(entity_rows, (str, bytes)):
            count, columns = self._of_dicts(entity_rows)
        else:
            how = "; of a DataFrame, give to_dict('list')" if hasattr(entity_rows, "columns") else ""
            raise InputError(f"{_FORM}, not {type(entity_rows).__name__}{how}.")
        try:
            for column in self._columns:
                values = columns[column.name]
                if not column.holds(values):
                    columns[column.name] = _typed(values, column)
        except SourceError as error:
            raise InputError(str(error)) from error
        return count, columns

    def _of_dicts(self, rows: Sequence[Mapping[str, object]]) -> tuple[int, dict[str, list[object]]]:
        try:
            columns: dict[str, list[object]] = {}
            for name in self._needed:
                columns[name] = [row[name] for row in rows]
            return len(rows), columns
        except Exception:  # noqa: BLE001, S110 - the slower way knows why
            pass
        columns = {name: [] for name in self._needed}
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InputError(f"{_FORM}; row {index} is {type(row).__name__} {shown(row)}.")
            for name, values in columns.items():
                given_name = self._name_in(row, name)
                if given_name is None:
                    self._missing(name, row, f" in row {index}" if index else "")
                values.append(row[given_name])
        return len(rows), columns

    def _of_lists(self, given: Mapping[str, Sequence[object]]) -> tuple[int, dict[str, list[object]]]:
        lists: dict[str, list[object]] = {}
        for name, values in given.items():
            lists[name] = values if isinstance(values, list) else _listed(name, values)
        columns: dict[str, list[object]] = {}
        for name in self._needed:
            given_name = self._name_in(lists, name)
            if given_name is None:
                self._missing(name, given, "")
            columns[name] = list(lists[given_name])
        lengths = {name: len(values) for name, values in lists.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{shown(name)} has {length}" for name, length in lengths.items())
            raise InputError(f"The lists of entity_rows must be of one length, one value per row; {listed}.")
        return next(iter(lengths.values()), 1), columns

    def _name_in(self, given: Mapping[str, object], needed: str) -> str | None:
        """Returns what the rows call a column; None where they lack it."""
        if needed in given:
            return needed
        for entity, column in self._request.entity_columns.items():
            if column == needed and entity in given:
                warnings.warn(
                    f"Entity rows should hold join key {needed!r}; they hold the name of its entity, {entity!r}.",
                    UserWarning,
                    stacklevel=6,
                )
                return entity
        return None

    def _missing(self, name: str, given: Mapping[str, object], where: str) -> NoReturn:
        names = list(given)
        hint = f"Given: {', '.join(map(shown, names[:_SHOWN]))}{', ...' if len(names) > _SHOWN else ''}."
        hint = hint if names else "Nothing was given."
        near = suggest(name, [n for n in names if isinstance(n, str)])
        if near.startswith("Did you mean"):
            hint = f"{hint} {near.replace('Did you mean', 'Is it')}"
        key = self._request.join_keys.get(name)
        if key is not None:
            raise MissingJoinKeyError(
                f"Feature view {key.reader} needs join key {name!r}, which entity_rows lack{where}. {hint}"
            )
        field = self._request.request_fields[name]
        raise RequestDataNotFoundInEntityRowsException(
            f"On-demand view {field.needed_by!r} needs request field {name!r}, which entity_rows lack{where}. {hint}"
        )


def _listed(name: object, values: Any) -> list[object]:
    """Returns the values of one column as a list.

    Raises:
        InputError: they are no column: a single value, or without an order, as sets are.
    """
    is_column = hasattr(values, "__len__") and not hasattr(values, "columns")
    if is_column and not isinstance(values, (str, bytes, Mapping, set, frozenset)):
        try:
            items = values.tolist() if hasattr(values, "tolist") else list(values)
        except Exception:  # noqa: BLE001 - what is no list may raise anything
            items = None
        if isinstance(items, list):
            return items
    raise InputError(f"{_FORM}; {shown(name)} is {type(values).__name__} {shown(values)}, not a list.")


class _GivenColumn:
    """A column that a request takes out of entity rows.

    Attributes:
        name: its name.
        dtype: its type.
        subject: what it is, for messages.
        is_key: whether it is a join key, of which nothing may be rounded.
    """

    __slots__ = ("_kinds", "_limit", "dtype", "is_key", "name", "subject")

    def __init__(self, name: str, dtype: FeastType, subject: str, *, is_key: bool = False):
        self.name = name
        self.dtype = dtype
        self.subject = subject
        self.is_key = is_key
        exact = exact_python_type(dtype)
        self._kinds = None if exact is None else {exact[0]}
        self._limit = None if exact is None else exact[1]

    def holds(self, values: list[Any]) -> bool:
        """Tells whether values are as the type has them, as far as a look at their Python types can tell."""
        if set(map(type, values)) != self._kinds:
            return False
        limit = self._limit
        return limit is None or (-limit <= min(values) and max(values) < limit)


def _typed(values: list[object], column: _GivenColumn) -> list[object]:
    """Returns values as their type has them; the text of a whole number is one, as in Feast."""
    if str in map(type, values) and column.dtype in (Int32, Int64):
        values = [_number(value, column.dtype, column.subject, row) for row, value in enumerate(values)]
    if column.is_key:
        from feast_assets.types.exact_keys import check_key_values

        check_key_values(values, column.dtype, column.subject)
    return python_values(values, column.dtype, column.subject)


def _number(value: object, feast_type: FeastType, subject: str, row: int) -> object:
    if not isinstance(value, str):
        return value
    if not _WHOLE_NUMBER.fullmatch(value):
        raise InputError(
            f"{subject} should hold {feast_type} but row {row} holds the text {value[:80]!r}; give a whole number."
        )
    return int(value)
