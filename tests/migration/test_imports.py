"""Imports of Feast are rewritten by the syntax tree; nothing else of a source changes."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_assets.migration.imports import rewrite_imports


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from feast import Entity, Field\n", "from feast_assets import Entity, Field\n"),
        ("from feast.types import Int64\n", "from feast_assets import Int64\n"),
        ("from feast.types import Int64, FeastType\n", "from feast_assets.types import Int64, FeastType\n"),
        ("from feast import (\n  Entity,  # who\n)\n", "from feast_assets import (\n  Entity,  # who\n)\n"),
        ("def f():\n    from feast import Entity as E\n", "def f():\n    from feast_assets import Entity as E\n"),
        ("if x: from feast import Entity\n", "if x: from feast_assets import Entity\n"),
        ("import os; from feast import Entity; y = 1\n", "import os; from feast_assets import Entity; y = 1\n"),
        ("from feast \\\n    import Entity\n", "from feast_assets \\\n    import Entity\n"),
        ("from \\\n  feast.types \\\n  import Int64\n", "from feast_assets \\\n  import Int64\n"),
        ("from feast.infra.offline_stores.file_source import FileSource\n", "from feast_assets import FileSource\n"),
        ("from feast import *\n", "from feast_assets import *\n"),
        ("import feast as f\nf.Entity(name='a')\n", "import feast_assets as f\nf.Entity(name='a')\n"),
        ("import feast\nfeast.Entity(name='feast')\n", "import feast_assets\nfeast_assets.Entity(name='feast')\n"),
        ("import os, feast, sys\nfeast.Field\n", "import os, feast_assets, sys\nfeast_assets.Field\n"),
        ("import feast.types\nfeast.types.Int64\n", "import feast_assets.types\nfeast_assets.types.Int64\n"),
        ("import feast.types as t\nt.Int64\nfeast = 1\n", "import feast_assets.types as t\nt.Int64\nfeast = 1\n"),
        ("é = 'ü'; from feast import Entity  # ß\n", "é = 'ü'; from feast_assets import Entity  # ß\n"),
        ("from feast import Entity\r\nx = 1\r\n", "from feast_assets import Entity\r\nx = 1\r\n"),
        ("from .feast import x\nfrom feasting import y\nimport feaster\n", None),
        ("# from feast import Entity\n'''\nfrom feast import Entity\n'''\n", None),
    ],
)  # fmt: skip
def test_imports_are_rewritten_and_all_else_stays(before: str, after: str | None) -> None:
    rewritten = rewrite_imports(before)
    assert rewritten.text == (before if after is None else after)
    ast.parse(rewritten.text)


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("\nfrom feast import (\n  Entity,\n  DocEmbedder,\n)\n", 4, "DocEmbedder is in Feast, and not supported"),
        ("from feast.utils import make_tzaware\n", 1, "Cannot import 'make_tzaware': Feast's module"),
        ("import feast as f\n\nf.BigQuerySource(name='a')\n", 3, "BigQuerySource is in Feast"),
        ("import feast\nfeast.nothing\n", 2, "Cannot import 'nothing' from feast_assets"),
        ("import feast\ndef f(feast): return feast\n", 2, "The name 'feast' is not only the package here"),
        ("import feast\nfeast = 1\n", 2, "The name 'feast' is not only the package here"),
        ("subprocess.run(['feast', 'apply'])\n", 1, "The command 'feast' is 'feast-assets' here"),
        ("mock.patch('feast.feature_store.FeatureStore')\n", 1, "may name a module of Feast's"),
    ],
)  # fmt: skip
def test_what_is_left_to_do_is_told_with_its_line(source: str, line: int, message: str) -> None:
    (finding,) = rewrite_imports(source).findings
    assert finding.line == line
    assert message in finding.message


def test_texts_that_only_begin_like_a_module_are_not_told() -> None:
    assert rewrite_imports("x = ['feast.io/label', 'feast.dev', 'feast.types are many']\n").findings == []


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        rewrite_imports("from feast import (\n")


_STATEMENTS = st.sampled_from(
    [
        "from feast import Entity",
        "from feast.types import Int64",
        "import feast",
        "import feast.types",
        "import feast as f",
        "x = 'from feast import y'",
        "def g(): return feast.Entity",
        "y = 1  # feast",
    ]
)


@given(st.lists(_STATEMENTS, max_size=8))
def test_rewriting_twice_is_rewriting_once(statements: list[str]) -> None:
    source = "\n".join(statements) + "\n"
    once = rewrite_imports(source).text
    assert rewrite_imports(once).text == once
    tree = ast.parse(once)
    imported = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = [n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imported]
    assert all(str(name).startswith("feast_assets") for name in names)
    assert once.count("\n") == source.count("\n")


_GAPS = st.sampled_from([" ", "\t", "\f", " \\\n", " \\\r\n ", " \\\r"])
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
_ODD = st.sampled_from(["", "\f", "x = '\x0b\x1c\x85\u2028'; ", "é = 'ü\U0001f600'; ", "if 1: ", '"""\n\r\f"""; '])


@given(st.lists(st.tuples(_ODD, _GAPS, _GAPS, _ENDS), min_size=1, max_size=5))
def test_columns_are_those_of_python_whatever_ends_and_joins_lines(lines: list[tuple[str, str, str, str]]) -> None:
    source = "".join(f"{odd}from{one}feast{two}import{one}Entity{end}" for odd, one, two, end in lines)
    source += 'import feast\nx = f"é{feast.Field}"\r\n'
    rewritten = rewrite_imports(source)
    expected = "".join(f"{odd}from feast_assets{two}import{one}Entity{end}" for odd, one, two, end in lines)
    assert rewritten.text == expected + 'import feast_assets\nx = f"é{feast_assets.Field}"\r\n'
    assert rewritten.findings == []


@pytest.mark.parametrize("source", ["from ｆeast import Entity\n", "import ｆeast\n", "import feast\nｆeast.Entity\n"])
def test_names_that_only_python_takes_for_feast_are_left_alone_and_told(source: str) -> None:
    rewritten = rewrite_imports(source)
    assert rewritten.text == source
    assert any("unusual way" in finding.message for finding in rewritten.findings)
