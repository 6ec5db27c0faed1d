"""Runs on-demand functions, the same way for training data and for serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_assets.definitions.field import Field
from feast_assets.definitions.transformation import TransformationMode
from feast_assets.errors import SourceError, TransformationError, suggest
from feast_assets.retrieval.columns import ArrowColumn, PythonColumn, Values
from feast_assets.retrieval.request import OnDemandRun
from feast_assets.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    PdfBytes,
    Set,
    String,
    UnixTimestamp,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

# Types that a pandas column of Arrow's making holds as their Python values, or as numpy has them.
_PLAIN = frozenset((Bool, Bytes, Float32, Float64, ImageBytes, Int32, Int64, PdfBytes, String, UnixTimestamp))


class OnDemandFunction:
    """The function of an on-demand view, with what it is given and what is wanted of it.

    The inputs are what `feast_assets.retrieval.request.FunctionInput` says, None or NaN where a feature is missing.
    In mode pandas they are columns of a DataFrame: integers and booleans are pandas' nullable types (``Int64``,
    ``boolean``) there, whether or not one is missing; timestamps are UTC, and types that pandas lacks (maps, UUIDs,
    decimals) are objects. The results are read as the view's schema declares them;
    what else is returned is ignored.
    """

    def __init__(self, run: OnDemandRun, function: Callable[..., object]):
        """Creates the function.

        Args:
            run: names inputs and results.
            function: the user's; takes and returns what the view's mode says.
        """
        self._run = run
        self._function = function
        self._view = run.view
        self._subject = f"On-demand view {run.view.name!r}"

    def __call__(self, inputs: Sequence[Values], rows: int) -> list[Values]:
        """Returns one column per wanted feature.

        Args:
            inputs: one column per input of the run, in its order, each with ``rows`` values.

        Raises:
            TransformationError: the function raised something, lacks a feature, or returned the wrong number of rows;
                also when values are asked of a result that are not of the declared type.
        """
        if rows == 0:
            return [PythonColumn([], field.dtype, self._subject) for field in self._run.features]
        if self._view.mode is TransformationMode.PANDAS:
            return self._call_pandas(inputs, rows)
        if self._view.singleton:
            return self._call_rows(inputs, rows)
        return self._call_lists(inputs, rows)

    def returned(self, inputs: Sequence[Values], rows: int) -> list[Field]:
        """Calls the function and returns what it returns as fields, in its order, with the types that the values have.

        Raises:
            TransformationError: the function failed, or a type cannot be told from the values.
        """
        results = self.results(inputs, rows)
        if not results:
            raise self._error("returned no features.")
        return [self._inferred(str(name), values) for name, values in results.items()]

    def results(self, inputs: Sequence[Values], rows: int) -> Mapping[str, object]:
        """Calls the function and returns its columns by name, as it returned them; they may have any number of rows.

        With ``singleton``, a list that stands for a value is taken as one value of a row, unless all values that the
        function returned for the row are lists: these are values of as many rows.

        Args:
            inputs: as in a call.
            rows: how many there are; at least one.
        """
        if self._view.mode is TransformationMode.PANDAS:
            frame = self._called(self._frame(inputs, rows))
            if not hasattr(frame, "columns"):
                raise self._error(f"should return a DataFrame, not {type(frame).__name__}.")
            if len(frame) == rows:
                frame = _in_given_order(frame, rows)
            return {str(name): frame[name] for name in frame.columns}
        if self._view.singleton:
            return self._results_of_rows(inputs, rows)
        results = self._called(self._lists(inputs))
        if not isinstance(results, Mapping):
            raise self._error(f"should return a dict of lists, not {type(results).__name__}.")
        return {str(name): values for name, values in results.items()}

    def any_rows(self, inputs: Sequence[Values], rows: int) -> list[Values]:
        """As a call, of a function that may return any number of rows."""
        results = self.results(inputs, rows)
        return [ComputedColumn(self._result(results, field), field, self._subject) for field in self._run.features]

    def _results_of_rows(self, inputs: Sequence[Values], rows: int) -> Mapping[str, object]:
        names, columns = self._row_values(inputs)
        results: dict[str, list[object]] = {}
        for row, given in enumerate(zip(*columns, strict=True) if columns else [()] * rows):
            result = self._called(dict(zip(names, given, strict=True)), row)
            if not isinstance(result, Mapping):
                raise self._error(f"should return a dict of values, not {type(result).__name__} (row {row}).")
            several = bool(result) and all(isinstance(v, list) for v in result.values()) and not self._returns_lists
            made = {str(n): v if several else [v] for n, v in result.items()}
            if row and made.keys() != results.keys():
                raise self._error(f"returned other features for row {row} than for the rows before.")
            if len({len(values) for values in made.values()}) > 1:
                raise self._error(f"returned lists of different lengths for row {row}.")
            for name, values in made.items():
                results.setdefault(name, []).extend(values)
        return results

    @property
    def _returns_lists(self) -> bool:
        """Whether all features are lists themselves."""
        return all(isinstance(field.dtype, (Array, Set)) for field in self._view.features)

    def _inferred(self, name: str, values: object) -> Field:
        import pyarrow as pa

        from feast_assets.types.arrow import from_arrow_type

        prefix = f"{self._view.name}__"
        try:
            is_pandas = hasattr(values, "iloc")
            array = pa.Array.from_pandas(values) if is_pandas else pa.array(values)
            return Field(name=name.removeprefix(prefix), dtype=from_arrow_type(array.type))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise self._error(
                f"returned {name!r}, whose type cannot be told: {error} Declare the features in the view's schema."
            ) from error

    def _call_lists(self, inputs: Sequence[Values], rows: int) -> list[Values]:
        results = self._called(self._lists(inputs))
        if not isinstance(results, Mapping):
            raise self._error(f"should return a dict of lists, not {type(results).__name__}.")
        columns: list[Values] = []
        for field in self._run.features:
            values = self._result(results, field)
            if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
                raise self._error(f"should return a list for feature {field.name!r}, not {type(values).__name__}.")
            if len(values) != rows:
                raise self._error(f"returned {len(values)} values of feature {field.name!r} for {rows} rows.")
            columns.append(ComputedColumn(values, field, self._subject))
        return columns

    def _lists(self, inputs: Sequence[Values]) -> dict[str, list[object]]:
        given: dict[str, list[object]] = {}
        for declared, column in zip(self._run.inputs, inputs, strict=True):
            values = column.to_pylist()
            for name in declared.names:
                # A list of its own, which the function may change.
                given[name] = list(values)
        return given

    def _row_values(self, inputs: Sequence[Values]) -> tuple[list[str], list[list[object]]]:
        """Returns the names of what a row is given, and the values of all rows under each."""
        names: list[str] = []
        columns: list[list[object]] = []
        for declared, column in zip(self._run.inputs, inputs, strict=True):
            values = column.to_pylist()
            for name in declared.names:
                names.append(name)
                columns.append(values)
        return names, columns

    def _call_rows(self, inputs: Sequence[Values], rows: int) -> list[Values]:
        names, columns = self._row_values(inputs)
        result_columns: list[list[object]] = [[] for _ in self._run.features]
        given_rows = zip(*columns, strict=True) if columns else iter([()] * rows)
        for row, given in enumerate(given_rows):
            results = self._called(dict(zip(names, given, strict=True)), row)
            if not isinstance(results, Mapping):
                raise self._error(f"should return a dict of values, not {type(results).__name__} (row {row}).")
            for values, field in zip(result_columns, self._run.features, strict=True):
                values.append(self._result(results, field))
        return [
            ComputedColumn(v, field, self._subject) for v, field in zip(result_columns, self._run.features, strict=True)
        ]

    def _call_pandas(self, inputs: Sequence[Values], rows: int) -> list[Values]:
        import pandas as pd

        results = self._called(self._frame(inputs, rows))
        if not isinstance(results, pd.DataFrame):
            raise self._error(f"should return a DataFrame, not {type(results).__name__}.")
        if len(results) != rows:
            raise self._error(f"returned {len(results)} rows for {rows}.")
        results = _in_given_order(results, rows)
        columns: list[Values] = []
        for field in self._run.features:
            values = self._result(results, field)
            if isinstance(values, pd.DataFrame):
                raise self._error(f"returned several columns named {field.name!r}.")
            columns.append(ArrowColumn(ComputedColumn(values, field, self._subject).to_arrow(), field.dtype))
        return columns

    def _frame(self, inputs: Sequence[Values], rows: int) -> pd.DataFrame:
        import pandas as pd

        given: dict[str, pd.Series[Any]] = {}
        for declared, column in zip(self._run.inputs, inputs, strict=True):
            series = to_series(column)
            for name in declared.names:
                given[name] = series
        return pd.DataFrame(given, index=pd.RangeIndex(rows))

    def _called(self, given: object, row: int | None = None) -> Any:
        try:
            return self._function(given)
        except Exception as error:
            where = "" if row is None else f" in row {row}"
            hint = self._hint(error, given)
            raise self._error(f"failed{where} with {type(error).__name__}: {error}{hint}") from error

    def _hint(self, error: Exception, given: Any) -> str:
        """Returns what a failed lookup of an input should have been, or how pandas wants missing integers treated."""
        if isinstance(error, TypeError) and "NA is ambiguous" in str(error):
            return (
                ". Integers and booleans come as pandas' nullable types, with pandas.NA where a feature is missing: "
                "replace missing values with .fillna(...), or make floats with .astype('float64')."
            )
        if not isinstance(error, KeyError) or not error.args or not isinstance(error.args[0], str):
            return ""
        name, names = error.args[0], list(given)
        if name in names:
            return ""
        full = [n for n in names if n.endswith(f"__{name}")]
        if full:
            return f". {name!r} is ambiguous; its inputs have {' and '.join(map(repr, full))}."
        return f". {suggest(name, names)}"

    def _result(self, results: Any, field: Field) -> Any:
        for name in (field.name, f"{self._view.name}__{field.name}"):
            if name in results:
                return results[name]
        names = [str(name) for name in results]
        raise self._error(f"did not return feature {field.name!r}. {suggest(field.name, names)}")

    def _error(self, message: str) -> TransformationError:
        return TransformationError(f"{self._subject}: the function {message}")


def _in_given_order(results: pd.DataFrame, rows: int) -> pd.DataFrame:
    """Returns as many rows as were given in their order: a function that sorted them still says by the index which is
    which."""
    import pandas as pd

    given = pd.RangeIndex(rows)
    if results.index.equals(given) or not results.index.is_unique:
        return results
    in_order = results.index.get_indexer(given)
    return results.take(in_order) if (in_order >= 0).all() else results


class ComputedColumn:
    """A result of an on-demand function; a value that is not of the declared type is a TransformationError."""

    __slots__ = ("_column", "type")

    def __init__(self, values: Sequence[object], field: Field, subject: str):
        self.type: FeastType = field.dtype
        self._column = PythonColumn(values, field.dtype, f"{subject}, feature {field.name!r}")

    def to_pylist(self) -> list[object]:
        try:
            return self._column.to_pylist()
        except SourceError as error:
            raise TransformationError(str(error)) from error

    def to_arrow(self) -> pa.Array:
        try:
            return self._column.to_arrow()
        except SourceError as error:
            raise TransformationError(str(error)) from error


def to_series(column: Values) -> pd.Series[Any]:
    """Returns a column as pandas has it."""
    import pandas as pd

    plain = column.type.base_type in _PLAIN if isinstance(column.type, Array) else column.type in _PLAIN
    if plain and not isinstance(column.type, Set):
        from feast_assets.types.pandas_columns import exact_column

        return pd.Series(exact_column(column.to_arrow()), copy=False)
    return pd.Series(column.to_pylist(), dtype=object)
