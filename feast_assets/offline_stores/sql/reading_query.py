"""Queries of callers, which may only read, and only what they may.

sqlglot's parser makes a tree of the text, in which everything must be on a list: kinds of nodes, functions, types,
tables. The text that is run is made of the tree, with all names quoted and all tables by their full names. So nothing
runs that was not checked, even where the parser reads a text differently than the engine would.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from feast_assets.errors import InputError, printable, shown, suggest

LONGEST = 2**17
"""Bytes of the longest query that is taken."""
MOST_TOKENS = 20_000
DEEPEST = 100
"""How deep brackets may be nested."""

_NODES: frozenset[type[exp.Expr]] = frozenset(
    (
        *(exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Subquery, exp.With, exp.CTE, exp.TableAlias),
        *(exp.From, exp.Join, exp.Lateral, exp.Unnest, exp.Table, exp.Values, exp.Tuple, exp.Where, exp.Group),
        *(exp.GroupingSets, exp.Rollup, exp.Cube, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch),
        *(exp.Distinct, exp.Window, exp.WindowSpec, exp.Filter, exp.WithinGroup, exp.Alias, exp.Identifier, exp.Column),
        *(
            exp.Star,
            exp.Literal,
            exp.RawString,
            exp.Boolean,
            exp.Null,
            exp.Paren,
            exp.Case,
            exp.If,
            exp.Cast,
            exp.DataType,
        ),
        *(exp.DataTypeParam, exp.Interval, exp.Var, exp.Kwarg, exp.Array, exp.Bracket, exp.Slice, exp.Any, exp.All),
        *(exp.Exists, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape, exp.SimilarTo, exp.RegexpLike),
        *(exp.RegexpILike, exp.Is, exp.Not, exp.And, exp.Or, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE),
        *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Pow, exp.Neg, exp.DPipe),
        *(exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseNot, exp.BitwiseLeftShift),
        *(exp.BitwiseRightShift, exp.JSONExtract, exp.JSONExtractScalar, exp.JSONBExtract, exp.JSONBExtractScalar),
        *(exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript, exp.JSONBContains),
        *(exp.ArrayContainsAll, exp.ArrayContainedBy, exp.ArrayOverlaps, exp.AtTimeZone, exp.Extract, exp.Trim),
        *(exp.Substring, exp.StrPosition, exp.Overlay, exp.GroupConcat, exp.CurrentDate, exp.CurrentTimestamp),
        *(exp.Anonymous,),
    )
)
"""What only reads. Functions are all `exp.Anonymous`, as the parser of a `ReadingRules.dialect` knows none."""

_TYPES = frozenset(
    (
        *(exp.DType.BOOLEAN, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT, exp.DType.DECIMAL, exp.DType.FLOAT),
        *(exp.DType.DOUBLE, exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.CHAR, exp.DType.VARBINARY, exp.DType.DATE),
        *(exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TIME, exp.DType.TIMETZ, exp.DType.INTERVAL),
        *(exp.DType.JSON, exp.DType.JSONB, exp.DType.UUID, exp.DType.ARRAY),
    )
)

_FORBIDDEN = (
    ", which is not permitted. A query may only read: one SELECT with WITH, joins, subqueries and functions that "
    "compute from their arguments."
)

TableName = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """What queries of callers may do.

    Attributes:
        dialect: as the text is read and written. Its parser knows no functions, so that each keeps the name by which it
            is looked up.
        functions: names of functions that compute from their arguments alone, in small letters.
        schema: where tables without a schema are looked for.
        tables: those that may be read.
        how_to_permit: the end of a message about a table that may not.
    """

    dialect: type[Dialect]
    functions: Collection[str]
    schema: str
    tables: Collection[TableName]
    how_to_permit: str


def reading_query(text: str, subject: str, rules: ReadingRules) -> str:
    """Returns the text of a query that a caller gave, checked and written again; nothing of it is run.

    Args:
        subject: names the query, for messages, such as "The entity query".

    Raises:
        InputError: it is not one SELECT, would do more than read, or reads what it may not.
    """
    try:
        _check_tokens(text, subject, rules)
        parsed = [each for each in sqlglot.parse(text, read=rules.dialect) if each is not None]
        if len(parsed) != 1:
            raise InputError(f"{subject} must be one SELECT statement, not {len(parsed)} statements.")
        tree = parsed[0]
        if not isinstance(tree, (exp.Query, exp.Values)):
            raise InputError(f"{subject} must be one SELECT statement; other statements are not run.")
        for node in list(tree.walk()):
            _check_node(node, subject, rules)
        for table in list(tree.find_all(exp.Table)):
            _check_table(table, subject, rules)
        for name in tree.find_all(exp.Identifier):
            _quote(name)
        return tree.sql(dialect=rules.dialect, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except RecursionError:
        raise InputError(
            f"{subject} is nested too deeply, as some hundred operators in a row are. Give parts of it names by WITH, "
            "or put parentheses around them."
        ) from None
    except SqlglotError as error:
        # Errors of the parser underline a part of the query with the control codes of a terminal.
        reason = re.sub(r"\x1b\[\d*m", "", str(error))
        raise InputError(f"{subject} is not SQL that can be parsed here: {printable(reason, 300)}") from error


def _check_tokens(text: str, subject: str, rules: ReadingRules) -> None:
    """Checks the size of a query, and that it begins as a SELECT does, before it is parsed."""
    size = len(text.encode(errors="replace"))
    if size > LONGEST or "\0" in text:
        problem = "holds a NUL character" if "\0" in text else f"has {size:,} bytes; at most {LONGEST:,} are taken"
        raise InputError(f"{subject} {problem}. Give the rows as a DataFrame, or read them from a table.")
    tokens = sqlglot.tokenize(text, read=rules.dialect)
    depth = deepest = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        deepest = max(deepest, depth)
    if len(tokens) > MOST_TOKENS or deepest > DEEPEST:
        raise InputError(
            f"{subject} is too long: at most {MOST_TOKENS:,} words and signs, nested at most {DEEPEST} deep, are "
            "taken. Give the rows as a DataFrame, or read them from a table."
        )
    begin = next((t.token_type for t in tokens if t.token_type != TokenType.L_PAREN), None)
    if begin not in (TokenType.SELECT, TokenType.WITH, TokenType.VALUES):
        raise InputError(f"{subject} must be one SELECT statement; other statements are not run.")


_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET)


def _check_node(node: exp.Expr, subject: str, rules: ReadingRules) -> None:
    kind = type(node)
    if kind not in _NODES:
        raise InputError(f"{subject} uses {_in_words(node)}{_FORBIDDEN}")
    if kind is exp.Anonymous:
        name = node.name
        if not isinstance(node.this, str) or name.lower() not in rules.functions:
            near = difflib.get_close_matches(name.lower(), rules.functions, n=1, cutoff=0.8)
            raise InputError(
                f"{subject} calls the function {shown(name)}{_FORBIDDEN}{f' Did you mean {near[0]}?' if near else ''}"
            )
    if kind is exp.DataType and node.this not in _TYPES:
        raise InputError(f"{subject} uses the type {shown(node.sql(dialect=rules.dialect))}{_FORBIDDEN}")


def _in_words(node: exp.Expr) -> str:
    """Returns a kind of node for a message, such as "current user" of CurrentUser."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).lower()


def _check_table(table: exp.Table, subject: str, rules: ReadingRules) -> None:
    """Checks a table that is read by its name, and puts its full name in."""
    if not isinstance(table.this, exp.Identifier):
        return  # A function, which is looked at as a node.
    if table.args.get("catalog") is not None:
        raise InputError(f"{subject} reads {shown(table.name)} of another database{_FORBIDDEN}")
    name = _folded(table.this)
    schema = _folded(table.args["db"]) if table.args.get("db") is not None else ""
    if not schema and name in _names_by_with(table):
        return
    full = (schema or rules.schema, name)
    if full not in rules.tables:
        named = f"{schema}.{name}" if schema else name
        raise InputError(
            f"{subject} reads {shown(named)}, which is neither a name that it gives by WITH nor a table that it may "
            f"read. {suggest(named, _short_names(rules))} {rules.how_to_permit}"
        )
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    table.set("db", exp.to_identifier(full[0], quoted=True))


def _short_names(rules: ReadingRules) -> list[str]:
    return [name if schema == rules.schema else f"{schema}.{name}" for schema, name in rules.tables]


def _names_by_with(table: exp.Table) -> Iterator[str]:
    """Yields the names that WITH gives to tables where a table is read.

    A name that is given elsewhere in the query means something else here.
    """
    node: exp.Expr = table
    while (parent := node.parent) is not None:
        clause = node if isinstance(node, exp.With) else None
        if isinstance(parent, exp.With):
            # One in the list sees those before it; if it may recur, all.
            given = parent.expressions
            seen = given if parent.recursive else given[: next(i for i, e in enumerate(given) if e is node)]
            yield from (_folded(each.args["alias"].this) for each in seen)
            node = parent.parent or parent
            continue
        with_clause = parent.args.get("with_")
        if with_clause is not None and clause is None:
            yield from (_folded(each.args["alias"].this) for each in with_clause.expressions)
        node = parent


def _folded(name: exp.Expr) -> str:
    """Returns a name as the engine takes it: small letters, unless it is quoted."""
    return name.name if name.args.get("quoted") else name.name.translate(_SMALL)


_SMALL = {ord(c): c.lower() for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _quote(name: exp.Identifier) -> None:
    # So that no name is taken for a keyword that has a value, such as user.
    name.set("this", _folded(name))
    name.set("quoted", True)
