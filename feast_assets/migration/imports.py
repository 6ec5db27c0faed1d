"""Rewriting the imports of one Python source from Feast to this package, by its syntax tree.

Only module names in import statements change, and uses of the name ``feast`` where ``import feast`` bound it; all else,
layout and comments included, stays as it is, byte for byte.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from feast_assets.feast_names import is_feast_module

_OLD = "feast"
_NEW = "feast_assets"
_GAP = rb"(?:\s|\\\r?\n|\\\r)"  # white space, or a line that goes on
_FROM = re.compile(rb"from%s+feast(?:%s*\.%s*\w+)*" % (_GAP, _GAP, _GAP))

_MODULE_TEXT = re.compile(r"feast\.(\w+)(?:\.[\w.]+)?$")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that has to be looked at by hand.

    Attributes:
        line: in the source, from 1 on.
        message: what it is, and what to do.
    """

    line: int
    message: str


@dataclass(slots=True)
class Rewritten:
    """A source with its imports rewritten.

    Attributes:
        text: the new source; the old one where nothing had to change.
        findings: by line.
    """

    text: str
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Edit:
    """Bytes of a line that are replaced; columns count bytes from 0."""

    line: int
    start: int
    old: bytes
    new: bytes


def rewrite_imports(source: str) -> Rewritten:
    """Returns a Python source with its imports of Feast rewritten.

    Where the new source would not be the old one with other names, nothing is changed, and a finding says so.

    Raises:
        SyntaxError, ValueError: it is no Python of this version.
        RecursionError, MemoryError: it is nested too deep.
    """
    tree = ast.parse(source)
    lines = source.encode().splitlines(keepends=True)
    edits: list[_Edit] = []
    findings: list[Finding] = []
    modules: set[str] = set()
    bound = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_feast(node.module):
            edit = _from_edit(node, lines)
            findings += [_by_hand(node.lineno)] if edit is None else _missing_names(node)
            edits += [] if edit is None else [edit]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if not _is_feast(alias.name):
                    continue
                edits.append(_Edit(alias.lineno - 1, alias.col_offset, _OLD.encode(), _NEW.encode()))
                bound = bound or alias.asname is None
                if alias.asname is None or alias.name == _OLD:
                    modules.add(alias.asname or _OLD)
        elif isinstance(node, ast.Constant) and _names_module(node.value):
            message = f"The string {_short(node.value)!r} may name a module of Feast's; it was not changed."
            findings.append(Finding(node.lineno, message))
        elif isinstance(node, (ast.List, ast.Tuple)) and _is_command(node.elts[:1]):
            findings.append(Finding(node.lineno, "The command 'feast' is 'feast-assets' here."))
    if bound:
        edits += _uses(tree)
        findings += _other_bindings(tree)
    findings += _missing_attributes(tree, modules)
    text = _edited(lines, edits) if edits else source
    if text is None or (edits and not _differ_in_names_only(tree, text)):
        text = source
        findings.append(_by_hand(min(edit.line for edit in edits) + 1))
    return Rewritten(text, sorted(findings, key=lambda f: f.line))


def _is_feast(module: str | None) -> bool:
    return module is not None and (module == _OLD or module.startswith(f"{_OLD}."))


def _names_module(value: object) -> TypeGuard[str]:
    match = _MODULE_TEXT.match(value) if isinstance(value, str) else None
    return match is not None and is_feast_module(match[1])


def _is_command(words: list[ast.expr]) -> bool:
    return any(isinstance(word, ast.Constant) and word.value == _OLD for word in words)


def _by_hand(line: int) -> Finding:
    return Finding(line, "The imports of feast are written in an unusual way, and were left as they are.")


def _from_edit(node: ast.ImportFrom, lines: list[bytes]) -> _Edit | None:
    """Returns the edit of a ``from`` import's module: the package itself where that has all the names.

    None where the name is not written as it is meant: Python takes letters of other widths for the same.
    """
    statement = b"".join(lines[node.lineno - 1 : node.end_lineno])[node.col_offset :]
    match = _FROM.match(statement)
    if match is None:
        return None
    path = (node.module or "").removeprefix(_OLD)
    if path and all(_is_public(alias.name) for alias in node.names):
        path = ""
    # The name may stand on a continuation line; the statement is then written on one line, up to the name.
    return _Edit(node.lineno - 1, node.col_offset, match[0], f"from {_NEW}{path}".encode())


def _uses(tree: ast.AST) -> Iterator[_Edit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == _OLD and isinstance(node.ctx, ast.Load):
            yield _Edit(node.lineno - 1, node.col_offset, _OLD.encode(), _NEW.encode())


def _other_bindings(tree: ast.AST) -> Iterator[Finding]:
    """Yields places where the name ``feast`` is bound by something else than an import."""
    for node in ast.walk(tree):
        named = node.arg if isinstance(node, ast.arg) else getattr(node, "name", None)
        is_definition = isinstance(node, (ast.arg, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        is_store = isinstance(node, ast.Name) and node.id == _OLD and not isinstance(node.ctx, ast.Load)
        if is_store or (is_definition and named == _OLD):
            line: int = getattr(node, "lineno", 1)
            yield Finding(
                line, f"The name {_OLD!r} is not only the package here; its uses were renamed, so check them."
            )


def _missing_names(node: ast.ImportFrom) -> Iterator[Finding]:
    module = f"{_NEW}{(node.module or '').removeprefix(_OLD)}"
    for alias in node.names:
        if alias.name != "*" and (reason := _reason(module, alias.name)):
            yield Finding(alias.lineno, reason)


def _missing_attributes(tree: ast.AST, modules: set[str]) -> Iterator[Finding]:
    """Yields names that are taken from the package by attribute and are not here."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            reason = _reason(_NEW, node.attr)
            if reason:
                yield Finding(node.lineno, reason)


def _is_public(name: str) -> bool:
    return name in importlib.import_module(_NEW)._MODULE_OF


def _reason(module: str, name: str) -> str:
    """Returns why a name cannot be imported from a module of this package; "" where it can."""
    try:
        getattr(importlib.import_module(module), name)
    except ImportError as error:
        return str(error)
    except AttributeError:
        return f"Cannot import {name!r} from {module}: there is no such name."
    return ""


def _edited(lines: list[bytes], edits: list[_Edit]) -> str | None:
    """Returns the text with the edits made; None where one would replace something else than it should."""
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = b"".join(lines)
    parts: list[bytes] = []
    done = 0
    for edit in sorted(edits, key=lambda e: (e.line, e.start)):
        at = starts[edit.line] + edit.start
        if at < done or not text.startswith(edit.old, at):
            return None
        parts += [text[done:at], edit.new]
        done = at + len(edit.old)
    return b"".join([*parts, text[done:]]).decode()


def _differ_in_names_only(before: ast.AST, text: str) -> bool:
    """Says whether a source is another one with names of Feast's modules exchanged for this package's."""
    try:
        after = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return ast.dump(_Neutral().visit(before)) == ast.dump(_Neutral().visit(after))


class _Neutral(ast.NodeTransformer):
    """Leaves out what the edits change."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        is_either = _is_feast(node.module) or (node.module or "").partition(".")[0] == _NEW
        return ast.ImportFrom(None if is_either and not node.level else node.module, node.names, node.level)

    def visit_alias(self, node: ast.alias) -> ast.AST:
        return ast.alias(self._neutral(node.name), node.asname)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._neutral(node.id), node.ctx)

    def _neutral(self, name: str) -> str:
        first, point, rest = name.partition(".")
        return f"{_OLD if first == _NEW else first}{point}{rest}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
