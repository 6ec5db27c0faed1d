"""Queries of callers, which may only read, and only what they may.

DuckDB's own parser makes a tree of the text, in which everything must be on a list: kinds of nodes, functions, options
of functions, tables, files. Each file is put into the tree by its absolute path. DuckDB then writes the tree as text
again, and that text is run.
"""

# ruff: noqa: S608 - paths in SQL are quoted here; the other texts are messages

from __future__ import annotations

import difflib
import glob
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from feast_assets.errors import FeastAssetsError, InputError, printable
from feast_assets.offline_stores.duckdb.engine import literal
from feast_assets.offline_stores.duckdb.functions import FUNCTIONS, READERS, TABLE_FUNCTIONS
from feast_assets.offline_stores.duckdb.query_tokens import check_tokens
from feast_assets.offline_stores.files.readable_files import CSV, JSON, PARQUET, ReadableFiles

if TYPE_CHECKING:
    import pyarrow as pa

_Node = dict[str, Any]
"""A node of the tree that DuckDB makes of a query, as parsed JSON. Each member is compared with what may be there."""

LONGEST = 2**20
"""Bytes of the longest query that is taken."""

_LONGEST_MESSAGE = 1000
_LONGEST_NAME = 100
_TRIES = 3
_LASTING_ERRORS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.OutOfMemoryException,
    duckdb.ParserException,
)
"""Errors of a query that do not come from files that were replaced while it read them."""

_NODES = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
_TABLES = frozenset(("BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "TABLE_FUNCTION"))
_MODIFIERS = frozenset(("DISTINCT_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER"))
_ORDERS = frozenset(("ASCENDING", "DESCENDING", "ORDER_DEFAULT"))
_WITHOUT_CLASS = _NODES | _TABLES | _MODIFIERS | _ORDERS
_CLASSES = frozenset(
    (
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "POSITIONAL_REFERENCE",
        "STAR",
        "SUBQUERY",
        "TYPE",
        "WINDOW",
    )
)
# Names under which DuckDB has views of its own, which tell of settings and of what others have made.
_OWN_VIEWS = ("duckdb_", "information_schema", "pg_", "pragma_", "sqlite_")


@dataclass(frozen=True, slots=True)
class ReadingQuery:
    """A query that only reads.

    Attributes:
        sql: to be run in place of the text that was given.
        paths: the files that it reads.
    """

    sql: str
    paths: tuple[str, ...]


def reading_query(
    cursor: duckdb.DuckDBPyConnection,
    text: str,
    subject: str,
    files: ReadableFiles | None,
    tables: Collection[str] = (),
    *,
    is_embedded: bool = False,
    error: type[FeastAssetsError] = InputError,
) -> ReadingQuery:
    """Returns a query that a caller gave, checked; nothing of it is run.

    Args:
        cursor: parses the text.
        subject: names the query, for messages, such as "The entity query".
        files: what it may read; None for a query over a database, which may read all its tables and no files.
        tables: names of tables and views that it may read beside files.
        is_embedded: whether it is to be a part of another query, so without a semicolon or a comment at its end.
        error: the class of the error.

    Raises:
        InputError (or ``error``): it is not one SELECT, would do more than read, or reads what it may not.
    """
    try:
        _check_text(text, subject)
        check_tokens(text, subject)
        return _Check(cursor, subject, files, tables).query(text, is_embedded)
    except InputError as refused:
        if error is InputError:
            raise
        raise error(str(refused)) from refused


def read_query(cursor: duckdb.DuckDBPyConnection, query: ReadingQuery) -> pa.Table:
    """Returns the result of a query, which may read files that are replaced meanwhile."""
    from feast_assets.offline_stores.duckdb.engine import read_all

    for _ in range(_TRIES - 1):
        try:
            return read_all(cursor, query.sql)
        except _LASTING_ERRORS:
            raise
        except duckdb.Error:
            continue
    return read_all(cursor, query.sql)


def message_of(error: object) -> str:
    """Returns what DuckDB says of a query that fails, in some hundred characters at most."""
    # DuckDB adds the line of the query, and to some messages a stack.
    text = str(error).split("\n\nLINE ")[0].split("\n\nStack Trace")[0].strip()
    return printable(text, _LONGEST_MESSAGE)


def _check_text(text: str, subject: str) -> None:
    if "\0" in text:
        raise InputError(f"{subject} holds a NUL character at position {text.index(chr(0)) + 1}; remove it.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(
            f"{subject} holds U+{ord(text[error.start]):04X} at position {error.start + 1}, half of a surrogate pair, "
            "which is not a character. Remove it, or decode the text that it came from with the right encoding."
        ) from None
    if size > LONGEST:
        raise InputError(
            f"{subject} has {size:,} bytes; at most {LONGEST:,} are taken. Give the rows as a DataFrame or a table, or "
            "write them to a Parquet file that the query reads."
        )


class _Check:
    """The check of one query."""

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, subject: str, files: ReadableFiles | None, tables: Collection[str]
    ) -> None:
        self._cursor = cursor
        self._subject = subject
        self._files = files
        self._tables = set(map(_folded, tables))
        self._paths: list[str] = []

    def query(self, text: str, is_embedded: bool) -> ReadingQuery:
        (statement,) = self._parsed(text)
        self._check(statement)
        if not self._paths and not is_embedded:
            # DuckDB takes longer to bind what it has written than many literals as they came.
            return ReadingQuery(text, ())
        tree = json.dumps({"error": False, "statements": [statement]})
        (sql,) = self._cursor.execute("SELECT json_deserialize_sql($1)", [tree]).fetchall()[0]
        return ReadingQuery(sql, tuple(dict.fromkeys(self._paths)))

    def _parsed(self, text: str) -> list[_Node]:
        import duckdb

        try:
            (tree,) = self._cursor.execute("SELECT json_serialize_sql($1)", [text]).fetchall()[0]
            parsed = json.loads(tree)
        except RecursionError:
            raise InputError(
                f"{self._subject} is nested too deeply, as some hundred operators in a row are. Give parts of it names "
                "by WITH, or put parentheses around them."
            ) from None
        except duckdb.Error as error:
            raise InputError(f"{self._subject} cannot be read: {message_of(error)}") from error
        if parsed["error"]:
            if parsed["error_type"] == "not implemented":
                raise InputError(
                    f"{self._subject} must be one SELECT statement; other statements, also PIVOT without a list of its "
                    "values, are not run."
                )
            raise InputError(
                f"{self._subject} is not SQL that DuckDB understands: {message_of(parsed['error_message'])}"
            )
        statements: list[_Node] = parsed["statements"]
        if len(statements) != 1:
            raise InputError(f"{self._subject} must be one SELECT statement, not {len(statements)} statements.")
        return statements

    def _check(self, tree: Any) -> None:
        named: list[_Node] = []
        left = [tree]
        while left:
            node = left.pop()
            if isinstance(node, list):
                left += [inner for inner in node if isinstance(inner, (dict, list))]
                continue
            group, kind = node.get("class"), node.get("type")
            if group == "CONSTANT":
                continue
            if group is not None:
                if group == "PARAMETER":
                    raise InputError(
                        f"{self._subject} has a parameter, such as $1, for which no value can be given; write "
                        "the value."
                    )
                if group not in _CLASSES:
                    raise self._forbidden(f"uses {_in_words(str(kind))}")
                if group in ("FUNCTION", "WINDOW"):
                    self._check_function(node["function_name"])
            elif isinstance(kind, str):
                if kind == "BASE_TABLE":
                    named.append(node)
                    continue
                if kind == "TABLE_FUNCTION":
                    left += self._table_function(node)
                    continue
                if kind not in _WITHOUT_CLASS and not kind.endswith("_TYPE_INFO"):
                    raise self._forbidden(f"contains {_in_words(kind)}")
            if "cte_map" in node:
                self._tables.update(self._cte_name(entry["key"]) for entry in node["cte_map"]["map"])
            left += [value for value in node.values() if isinstance(value, (dict, list))]
        # Which names the query gives by WITH is only known now.
        for node in named:
            self._check_table(node)

    def _cte_name(self, name: str) -> str:
        # Names hold in the whole query here, for DuckDB only in a part of it; in the rest they must mean nothing else.
        if name.lower().startswith(_OWN_VIEWS) or any(c in name for c in "./\\:"):
            raise InputError(
                f"{self._subject}: WITH {_short(name)} has the name of a file or a view of DuckDB; give it "
                "another name."
            )
        return _folded(name)

    def _check_function(self, name: str) -> None:
        if name.lower() not in FUNCTIONS:
            raise self._forbidden(f"calls the function {_short(name)}{_near(name, FUNCTIONS)}")

    def _check_table(self, node: _Node) -> None:
        """Checks a table that is read by its name; makes of a file a function that reads it."""
        path = node["qualified_name"]["path"]
        name = ".".join(path)
        if node["at_clause"] is not None:
            raise self._forbidden("asks for another version of a table (AT)")
        is_recurring = len(path) == 2 and path[0].lower() == "recurring"
        if _folded(path[-1]) in self._tables and (len(path) == 1 or is_recurring):
            return
        if self._files is None:
            if any(part.lower().startswith(_OWN_VIEWS) for part in path):
                raise self._forbidden(f"reads {_short(name)}, which is DuckDB's own")
            return
        reader = _reader_of(name)
        if not reader:
            raise InputError(
                f"{self._subject} reads {_short(name)}, which is neither a name that it gives by WITH nor a file. "
                f"Write files as 'data/file.parquet'. {self._readable}"
            )
        kept = {key: node[key] for key in ("alias", "sample", "column_name_alias")}
        # DuckDB calls a file by its name up to the first point.
        kept["alias"] = kept["alias"] or os.path.basename(name).split(".")[0]
        read = self._reading(reader, self._paths_of(name))
        node.clear()
        node.update({**read, **kept})

    def _table_function(self, node: _Node) -> list[object]:
        """Checks a function that a table is read from; returns what is still to be checked of it."""
        function = node["function"]
        if function.get("class") != "FUNCTION":
            raise self._forbidden(f"reads from {_in_words(str(function.get('type')))}")
        name = function["function_name"].lower()
        if name in self._readers:
            self._check_reader(name, function)
        elif name not in TABLE_FUNCTIONS:
            raise self._forbidden(
                f"reads from the function {_short(name)}{_near(name, TABLE_FUNCTIONS | set(self._readers))}"
            )
        parts = [*(v for key, v in node.items() if key != "function"), *function.values()]
        return [value for value in parts if isinstance(value, (dict, list))]

    def _check_reader(self, name: str, function: _Node) -> None:
        """Checks a function that reads files, and puts the absolute paths in the place of its first argument."""
        arguments = function["arguments"]
        given = _texts(arguments[0]["expression"]) if arguments and not _option(arguments[0]) else None
        if given is None:
            raise self._forbidden(
                f"gives {name} an argument that is not a path, or a list of paths, as string literals: {name}('file')"
            )
        for argument in arguments[1:]:
            option = _option(argument)
            if option not in READERS[name]:
                called = f"the option {_short(option)}" if option else "a second argument without a name"
                raise self._forbidden(f"gives {name} {called}")
        paths = [path for text in given for path in self._paths_of(text)]
        arguments[0] = self._reading(name, paths)["function"]["arguments"][0]

    @property
    def _readers(self) -> Mapping[str, Collection[str]]:
        """The functions that it may read files with, and the options of each."""
        return {} if self._files is None else READERS

    @property
    def _readable(self) -> str:
        return "It may read the tables and views of its file." if self._files is None else self._files.described

    def _paths_of(self, path: str) -> list[str]:
        assert self._files is not None
        paths = self._files.find(path, self._subject)
        self._paths += paths
        return paths

    def _reading(self, reader: str, paths: Sequence[str]) -> Any:
        """Returns DuckDB's own node of a function that reads files."""
        listed = "[" + ", ".join(literal(glob.escape(path)) for path in paths) + "]"
        sql = f"SELECT * FROM {reader}({listed})"
        (tree,) = self._cursor.execute("SELECT json_serialize_sql($1)", [sql]).fetchall()[0]
        return json.loads(tree)["statements"][0]["node"]["from_table"]

    def _forbidden(self, does: str) -> InputError:
        return InputError(
            f"{self._subject} {does}, which is not permitted. A query may only read: one SELECT with WITH, joins, "
            "subqueries and functions that compute from their arguments. " + self._readable
        )


def _texts(expression: _Node) -> list[str] | None:
    """Returns the text, or the texts of a list, that an expression is; None where it is something else."""
    if expression["class"] == "CONSTANT":
        literal = expression.get("literal") or {}
        return [literal["text"]] if literal.get("kind") == "STRING" else None
    is_list = expression.get("function_name") == "list_value" or expression["type"] == "ARRAY_CONSTRUCTOR"
    if not is_list:
        return None
    arguments: list[_Node] = expression.get("arguments", expression.get("children")) or []
    inner = [a.get("expression", a) for a in arguments]
    texts = [_texts(each) for each in inner]
    if not texts or any(each is None or len(each) != 1 for each in texts):
        return None
    return [text for each in texts for text in each or ()]


def _option(argument: _Node) -> str:
    """Returns the name of an option that a function is given; "" where an argument has none."""
    name = argument["name"]
    expression = argument["expression"]
    if not name and expression["type"] == "COMPARE_EQUAL" and expression["left"]["class"] == "COLUMN_REF":
        columns = expression["left"]["column_names"]
        name = columns[0] if len(columns) == 1 else ""
    return str(name).lower()


def _reader_of(name: str) -> str:
    """Returns the function that reads a file of some name; "" where a name is not one of a data file."""
    for reader, suffixes in (("read_parquet", PARQUET), ("read_csv", CSV), ("read_json", JSON)):
        if name.lower().endswith(suffixes):
            return reader
    return ""


def _folded(name: str) -> str:
    # As DuckDB compares names: only ASCII letters are the same in upper and lower case.
    return "".join(c.lower() if c.isascii() else c for c in name)


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name[:_LONGEST_NAME].lower(), known, n=1, cutoff=0.8)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _in_words(kind: str) -> str:
    return kind.removesuffix("_QUERY_NODE").removesuffix("_NODE").removesuffix("_REF").replace("_", " ")


def _short(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
