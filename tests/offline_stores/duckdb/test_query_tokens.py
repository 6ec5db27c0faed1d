"""Texts that are long, nested or not closed cost DuckDB's parser little, or are refused before it sees them."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.errors import InputError
from feast_assets.offline_stores.duckdb.query_tokens import DEEPEST, MOST_TOKENS, check_tokens


@pytest.mark.parametrize(
    "text",
    [
        "SELECT (1), [2], {'a': (3)}",
        "SELECT '(', \"(\", `(`, E'\\'(', $$($$, $x$ ( $$ ( $x$, x'28' -- (",
        "SELECT 1 /* ( /* ( */ ( */, 2 --( \r, (3)",
        "SELECT 'a'\n'(', \"a\"\"(\", 'it''s ('",
        "SELECT a$b$c, (1), $1, é$x$é FROM t",
        f"SELECT {'(' * DEEPEST}1{')' * DEEPEST}",
        "WITH a AS (WITH b AS (WITH c AS (SELECT 1) FROM c) FROM b), d AS (WITH e AS (SELECT 2) FROM e) FROM a, d",
        "WITH a0 AS (SELECT 1)" + "".join(f", a{i} AS (SELECT * FROM a{i - 1})" for i in range(1, 2000)) + " FROM a9",
        "SELECT 1" + ",1" * (MOST_TOKENS // 2 - 1),
        "",
    ],
)
def test_brackets_that_are_closed_pass_and_those_in_texts_do_not_count(text):
    check_tokens(text, "The query")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT (", r"does not close a bracket that it opens, '\('"),
        ("WITH a AS (" * 4, "does not close"),
        ("SELECT ')' || (1", r"does not close .* '\('"),
        ("SELECT 1)", r"closes a bracket, '\)', that it has not opened"),
        ("SELECT (1]", r"closes a bracket, '\]', that it has not opened"),
        ("SELECT (')'", "does not close"),
        ("SELECT " + "! -- 1\n@ " * 51 + "1", "more than 100 operators in a row"),
        ("SELECT 1 -- (\n)", "has not opened"),
        (f"SELECT {'[' * (DEEPEST + 1)}1{']' * (DEEPEST + 1)}", f"more than {DEEPEST} deep. Give parts of it names by"),
        ("(" * 100_000, f"more than {DEEPEST} deep"),
        ("SELECT 1" + ",1" * (MOST_TOKENS // 2), r"more than 150,000 words, numbers and signs.*Give the rows as a"),
        ("WITH a AS (" * 9 + "SELECT 1" + ") SELECT 1" * 9, "count 6 times for each.*write WITH once"),
        ("(/* x */ wItH a AS -- (\n" * 9, "count 6 times"),
    ],
)
def test_others_are_refused_with_what_is_wrong(text, message):
    with pytest.raises(InputError, match=f"^The query .*{message}"):
        check_tokens(text, "The query")


_PIECES = st.sampled_from([*"()[]{}'\"`$-/*\n\r\\;#@é1ae_ ", "$$", "$x$", "--", "/*", "*/", "E'", "''", "a$b$", "U&'"])


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_they_are_told_from_texts_as_duckdb_tells_them(text):
    data, opened = text.encode(), []
    for start, _ in duckdb.tokenize(text):
        character = chr(data[start])
        if character in "([{":
            opened.append(character)
        elif character in ")]}" and (not opened or f"{opened.pop()}{character}" not in ("()", "[]", "{}")):
            opened = ["wrong"]
            break
    try:
        check_tokens(text, "The query")
        assert not opened
    except InputError:
        assert opened


NESTED = {
    "with": ("WITH a AS (", "SELECT 1", ") SELECT 1"),
    "with in a select": ("SELECT (WITH a AS (", "SELECT 1", ") SELECT 1)"),
    "subquery": ("(SELECT ", "1", ")"),
    "table": ("SELECT * FROM (", "SELECT 1", ")"),
    "exists": ("EXISTS (SELECT ", "1", ")"),
    "parentheses": ("(", "1", ")"),
    "list": ("[", "1", "]"),
    "struct": ("{'a': ", "1", "}"),
    "function": ("abs(", "1", ")"),
    "cast": ("CAST(", "1", " AS INT)"),
    "lambda": ("list_transform([1], lambda x: ", "1", ")"),
    "join": ("(a JOIN ", "a", " ON 1)"),
    "values": ("(VALUES (", "1", "))"),
    "set operation": ("(SELECT 1 UNION ", "SELECT 1", ")"),
    "window": ("sum(1) OVER (ORDER BY ", "1", ")"),
    "case": ("CASE WHEN ", "1", " THEN 1 END"),
    "not": ("NOT ", "1", ""),
    "minus": ("- ", "1", ""),
    "sum": ("1 + ", "1", ""),
    "union": ("SELECT 1 UNION ", "SELECT 1", ""),
    "comparison": ("1 = ", "1", ""),
}
_PARSER = """
import resource, sys
from pathlib import Path
import duckdb
from feast_assets.errors import InputError
from feast_assets.offline_stores.duckdb.reading_query import reading_query
from feast_assets.offline_stores.files.readable_files import ReadableFiles
cursor = duckdb.connect(config={"threads": 1})
reading_query(cursor, "SELECT 1", "The query", ReadableFiles(Path(".")))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
for text in sys.stdin.read().split("\\0"):
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        reading_query(cursor, text, "The query", ReadableFiles(Path(".")))
        done = "passed"
    except InputError:
        done = "refused"
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before.ru_utime
    print(done, f"{seconds:.2f}", text[:50].replace("\\n", " "), flush=True)
"""


def texts():
    for depth in range(3):
        many = "SELECT " + "1," * (MOST_TOKENS // 2 // 6 ** max(depth - 1, 0) - 40) + "1"
        for inner in (many, many + " oops oops 1"):
            yield "WITH a AS (" * depth + inner + ") SELECT 1" * depth
    for begin, inner, end in NESTED.values():
        whole = begin.startswith(("WITH", "SELECT", "(SELECT 1 UNION"))
        brackets = sum(map(begin.count, "([{"))
        for depth in (5, DEEPEST // brackets) if brackets else (5, 9000):
            for text in (
                begin * depth,
                begin * depth + inner + end * depth,
                begin * depth + inner + " oops 1 oops " + end * depth,
                begin * depth + inner + end * depth + " oops 1 oops",
            ):
                yield text if whole else f"SELECT {text}"


def test_no_nesting_takes_long_or_much_memory():
    done = subprocess.run(
        [sys.executable, "-c", _PARSER],
        input="\0".join(texts()),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr[-2000:] + "\n".join(lines[-3:])
    assert len(lines) == len(list(texts()))
    assert [line for line in lines if float(line.split()[1]) > 2] == []
    assert sum(line.startswith("passed") for line in lines) >= len(NESTED)
