"""A user's function over feature data, stored as its source text, never as bytes.

The registry keeps text and import path so that a change can be seen and shown. The function itself is loaded only
by importing the feature repository.
"""

from __future__ import annotations

import ast
import enum
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from feast_assets.definitions.base import check_tags
from feast_assets.definitions.spec import Spec, register_enum
from feast_assets.errors import DefinitionError, shown

if TYPE_CHECKING:
    import pyarrow as pa


@register_enum
class TransformationMode(enum.Enum):
    """What a transformation's function takes and returns."""

    PYTHON = "python"
    PANDAS = "pandas"
    SPARK_SQL = "spark_sql"
    SPARK = "spark"
    FLINK = "flink"
    RAY = "ray"
    SQL = "sql"
    TRINO_SQL = "trino_sql"
    SUBSTRAIT = "substrait"


def transformation_mode(mode: TransformationMode | str, subject: str) -> TransformationMode:
    """Returns the mode of this name.

    Raises:
        DefinitionError: there is none.
    """
    try:
        return TransformationMode(mode)
    except ValueError:
        known = ", ".join(m.value for m in TransformationMode)
        raise DefinitionError(f"{subject}: mode {mode!r} is not one of {known}.") from None


class Transformation(Spec):
    """A function with its mode.

    Args:
        mode: see `TransformationMode`.
        udf: the function. Absent after reading from a registry until the feature repository is loaded.
        udf_string: its source text; taken from the function when left out.
    """

    _spec = {
        "mode": TransformationMode.PYTHON,
        "udf_string": "",
        "import_path": "",
        "name": None,
        "tags": {},
        "description": "",
        "owner": "",
    }

    udf: Callable[..., object] | None = None
    takes_tables: ClassVar[bool] = False
    """Whether the function takes and returns Arrow tables, whatever the mode says."""

    def __init__(
        self,
        mode: TransformationMode | str,
        udf: Callable[..., object],
        udf_string: str = "",
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        owner: str = "",
    ):
        subject = f"Transformation {name or getattr(udf, '__name__', '')!r}"
        if not callable(udf):
            raise DefinitionError(f"{subject}: udf must be a function, not {shown(udf)}.")
        self.mode = transformation_mode(mode, subject)
        self.udf = udf
        self.udf_string = udf_string or source_text(udf)
        self.import_path = f"{getattr(udf, '__module__', '')}:{getattr(udf, '__qualname__', '')}"
        self.name = name
        self.tags = check_tags(tags, subject)
        self.description = description
        self.owner = owner

    def function(self) -> Callable[..., object]:
        """Returns the function.

        Raises:
            DefinitionError: it was read from a registry, which keeps only the text.
        """
        if self.udf is None:
            raise DefinitionError(
                f"Transformation {self.name or self.import_path!r} was read from a registry, which keeps the text of "
                "its function only; take it from the module that declares it."
            )
        return self.udf

    def transform(self, *inputs: Any) -> Any:
        """Calls the function; of mode python, what it was given is in the result as well, as in Feast."""
        result = self.function()(*inputs)
        if self.mode is TransformationMode.PYTHON and isinstance(result, Mapping) and isinstance(inputs[0], Mapping):
            return {**inputs[0], **result}
        return result

    def transform_singleton(self, input_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Calls the function with the first value of each list; what it was given is in the result as well."""
        given = {name: values[0] for name, values in input_dict.items()}
        result: Any = self.function()(given)
        return {**given, **result}

    def transform_arrow(self, pa_table: pa.Table, features: object = None) -> pa.Table:
        """Calls the function with a table as its mode takes it: a DataFrame, or a dict of lists.

        Args:
            features: of no effect.
        """
        from feast_assets.definitions.calls_by_hand import called_with_table

        return called_with_table(self, pa_table)

    def code(self) -> str:
        """Returns the code of the function, which is the same for functions that do the same; see `code_of`."""
        return code_of(self.udf_string)


def code_of(text: str) -> str:
    """Returns the code of a function's source text, without comments, layout and decorators."""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.decorator_list = []
    return ast.dump(tree)


def source_text(function: Callable[..., object]) -> str:
    """Returns a function's source text; for one typed at a prompt or made by code, its name."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return f"# {getattr(function, '__module__', '')}:{getattr(function, '__qualname__', repr(type(function)))}"


def transformation(
    mode: TransformationMode | str,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    owner: str = "",
) -> Callable[[Callable[..., object]], Transformation]:
    """Makes a `Transformation` of a function."""

    def decorate(function: Callable[..., object]) -> Transformation:
        return Transformation(mode, function, "", name or function.__name__, tags, description, owner)

    return decorate
