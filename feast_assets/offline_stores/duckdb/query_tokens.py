"""The tokens of a query, counted before DuckDB parses it.

DuckDB's parser needs some kilobytes for each token. Where a text is no SQL, that doubles more than twice with each
``WITH`` that begins another one, and brackets that are not closed cost as much. Its tokenizer takes a text in one pass,
and tells brackets in texts, comments and quoted names apart as the parser does.
"""

from __future__ import annotations

import duckdb

from feast_assets.errors import InputError

MOST_TOKENS = 150_000
"""How many tokens a query may have; within nested ``WITH``, each counts more than once."""
DEEPEST = 100
"""How deep brackets may be nested."""

_WITH_FACTOR = 6
_MOST_OPERATORS = 100  # in a row; DuckDB crashes over some ten thousand of them
_SEPARATORS = frozenset(b"()[]{},;.")
_CLOSES = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}
_OPENS = frozenset(_CLOSES.values())


def check_tokens(text: str, subject: str) -> None:
    """Checks that DuckDB can parse a query within seconds and a bounded memory, be it right or wrong.

    Each bracket is to be closed by its own kind. They are not nested too deep, and there are not too many tokens.

    Args:
        subject: names the query, for messages.

    Raises:
        InputError: that is not so.
    """
    data = text.encode()
    opened: list[tuple[int, int]] = []
    counted, each, in_a_row = 0, 1, 0
    is_begun = False
    for start, kind in duckdb.tokenize(text):
        if kind == duckdb.token_type.comment:
            continue
        counted += each
        if counted > MOST_TOKENS:
            raise _too_long(subject)
        first = data[start]
        in_a_row = in_a_row + 1 if kind == duckdb.token_type.operator and first not in _SEPARATORS else 0
        if in_a_row > _MOST_OPERATORS:
            raise InputError(f"{subject} has more than {_MOST_OPERATORS} operators in a row.")
        if is_begun and data[start : start + 4].lower() == b"with":
            each *= _WITH_FACTOR
        is_begun = first in _OPENS
        if is_begun:
            opened.append((first, each))
            if len(opened) > DEEPEST:
                raise InputError(
                    f"{subject} nests brackets more than {DEEPEST} deep. Give parts of it names by WITH, one after the "
                    "other, or write intermediate results to a Parquet file that the query reads."
                )
        elif first in _CLOSES:
            bracket, each = opened.pop() if opened else (0, 1)
            if bracket != _CLOSES[first]:
                raise InputError(f"{subject} closes a bracket, {chr(first)!r}, that it has not opened.")
    if opened:
        raise InputError(f"{subject} does not close a bracket that it opens, {chr(opened[-1][0])!r}.")


def _too_long(subject: str) -> InputError:
    return InputError(
        f"{subject} has more than {MOST_TOKENS:,} words, numbers and signs, of which those within a WITH that begins "
        f"another WITH count {_WITH_FACTOR} times for each. Give the rows as a DataFrame or a table, or write them to "
        "a Parquet file that the query reads; write WITH once, with several names."
    )
