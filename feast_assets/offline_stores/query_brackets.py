"""The brackets of a query, looked at before DuckDB parses it.

DuckDB's parser needs time and memory that grow fast with the depth of brackets, and doubles both with each one that is
not closed. Its tokenizer takes a text in one pass, so brackets in texts, comments and quoted names are told apart as the
parser does.
"""

from __future__ import annotations

import re

import duckdb

from feast_assets.errors import InputError

DEEPEST = 100
"""How deep brackets may be nested."""

_CLOSES = {ord(")"): ord("("), ord("]"): ord("["), ord("}"): ord("{")}
_OPENS = frozenset(_CLOSES.values())
_QUOTES = re.compile(r"['\"`$]|--|/\*")
_NO_BRACKETS = re.compile(rb"[^()\[\]{}]+")


def check_brackets(text: str, what: str) -> None:
    """Checks that each bracket of a query is closed by its own kind, and that they are not nested too deep.

    Args:
        what: names the query, for messages.

    Raises:
        InputError: that is not so.
    """
    opened: list[int] = []
    for bracket in _brackets(text):
        if bracket in _OPENS:
            opened.append(bracket)
            if len(opened) > DEEPEST:
                raise InputError(
                    f"{what} nests brackets more than {DEEPEST} deep. Give parts of it names by WITH, one after the "
                    "other, or write intermediate results to a Parquet file that the query reads."
                )
        elif not opened or opened.pop() != _CLOSES[bracket]:
            raise InputError(f"{what} closes a bracket, {chr(bracket)!r}, that it has not opened.")
    if opened:
        raise InputError(f"{what} does not close a bracket that it opens, {chr(opened[-1])!r}.")


def _brackets(text: str) -> bytes:
    """Returns the brackets of a query that are not within texts, comments or quoted names."""
    data = text.encode()
    if not _QUOTES.search(text):
        return _NO_BRACKETS.sub(b"", data)
    starts = bytes(data[start] for start, _ in duckdb.tokenize(text))
    return _NO_BRACKETS.sub(b"", starts)
