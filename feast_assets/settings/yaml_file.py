"""Reading a YAML file of settings: within limits, with environment variables put into its texts.

Variables are replaced after the YAML is read, so a value stays whole, whatever characters it has, and cannot
add settings. The YAML library's messages may quote a value, which may be a secret; messages here quote keys only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from feast_assets.errors import ConfigError
from feast_assets.settings.redaction import is_type_name, shown_key

_MOST_BYTES = 256 * 1024
# Each use of an alias counts.
_MOST_VALUES = 10_000
_DEEPEST = 50
# A number or date beyond this is a mistake, and may take minutes to work out.
_LONGEST_NUMBER = 100

_NAMED = re.compile(r"\$(\w+)", re.ASCII)
_BRACED = re.compile(r"\$\{(\w+)\}", re.ASCII)
_PRIVATE_USE = range(0xE000, 0xF900)
# What YAML quotes in a message is a value's or an alias's, unless it is one character or a token such as '<block end>'.
_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_TOKEN = re.compile(r"<[a-z ]+>|.|\\t", re.DOTALL)
_TEXT = "tag:yaml.org,2002:str"


def read_yaml_file(file: Path) -> object:
    """Returns what a YAML file holds: mappings, lists, texts, numbers, booleans, dates and None.

    ``$NAME`` and ``${NAME}`` in texts, but not in keys, are replaced by environment variables. A ``$NAME`` that is not
    set stays as it is.

    Raises:
        ConfigError: the file cannot be read, is not YAML, is larger or nests deeper than settings do, or uses a
            ``${NAME}`` that is not set. The message holds no value of the file.
    """
    return _Variables(_text(file)).read(file)


def _text(file: Path) -> str:
    problem = f"it is larger than {_MOST_BYTES // 1024} KiB"
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        if len(data) <= _MOST_BYTES:
            return data.decode("utf-8")
    except FileNotFoundError:
        problem = ""
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8 text"
    if problem:
        raise ConfigError(f"Cannot read {file}: {problem}.")
    raise ConfigError(f"There is no {file}. Run this in a feature repository, or make one with `feast-assets init`.")


class _Variables:
    """A text whose variables are hidden from YAML, which would read the braces of ``${NAME}`` as a mapping.

    Args:
        text: the YAML.
    """

    def __init__(self, text: str):
        # A character that YAML takes for a letter, and that is nowhere else in the text.
        self._mark = next(chr(code) for code in _PRIVATE_USE if chr(code) not in text)
        # As long as what it stands for, so that positions in messages are right.
        self._text = _BRACED.sub(rf"{self._mark}\1{self._mark}{self._mark}", text)
        self._variable = re.compile(rf"{self._mark}(?P<braced>\w+){self._mark}{self._mark}|{_NAMED.pattern}", re.ASCII)

    def read(self, file: Path) -> object:
        try:
            values = _values(self._text)
        except yaml.YAMLError as error:
            problem = _problem(error)
        else:
            return self._expanded(values, "", file)
        # Outside of the handler, since the error that led to this one may quote a secret.
        raise ConfigError(f"{file} is not YAML: {self._restored(problem)}")

    def _expanded(self, value: object, where: str, file: Path) -> object:
        """Returns a value with variables replaced in its texts.

        Args:
            where: the keys that lead to the value, with dots between.
        """
        if isinstance(value, Mapping):
            keys = {key: self._restored(key) if isinstance(key, str) else key for key in value}
            return {
                keys[key]: self._expanded(inner, f"{where}.{_named(keys[key])}" if where else _named(keys[key]), file)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [self._expanded(inner, where, file) for inner in value]
        if not isinstance(value, str):
            return value

        def replaced(match: re.Match[str]) -> str:
            name = match["braced"] or match[2]
            if name in os.environ:
                return os.environ[name]
            if match["braced"]:
                raise ConfigError(
                    f"{file}: {where} uses ${{{name}}}, but there is no such environment variable; set it."
                )
            return match[0]

        return self._variable.sub(replaced, value)

    def _restored(self, text: str) -> str:
        return re.sub(rf"{self._mark}(\w+){self._mark}{self._mark}", r"${\1}", text)


@lru_cache(maxsize=8)
def _values(text: str) -> Any:
    """Returns what a YAML text holds, which must not be changed; whoever opens a store again gets the same."""
    return yaml.load(text, Loader=_LimitedLoader)  # noqa: S506 - a SafeLoader


def _named(key: object) -> str:
    return str(key) if is_type_name(str(key)) else "(a key that is not a name)"


def _problem(error: yaml.YAMLError) -> str:
    """Returns what is wrong and where, without values, since YAML's message may quote part of a secret."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    if not isinstance(error, _RefusedError):
        problem = f"{_QUOTED.sub(_unquoted, str(problem))}; put text with special characters in quotes"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _unquoted(match: re.Match[str]) -> str:
    return match[0] if _TOKEN.fullmatch(match[1] or match[2] or "") else "that is not shown"


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that settings must not contain; the message holds no value."""

    def __init__(self, problem: str, mark: yaml.Mark):
        super().__init__(problem=problem, problem_mark=mark)


class _LimitedLoader(yaml.SafeLoader):
    """Refuses endless nesting and repetition, and repeated keys, of which YAML would silently take the last."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self._depth = 0
        self._values = 0
        # How many values each anchor stands for; None while it is being read.
        self._anchored: dict[str, int | None] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        anchor, mark = getattr(event, "anchor", None), event.start_mark
        before = self._values
        if isinstance(event, yaml.AliasEvent):
            size = self._anchored.get(str(anchor), 0)
            if size is None:
                raise _RefusedError("an alias refers to something that it is itself a part of", mark)
            self._count(size, mark)
            return super().compose_node(parent, index)
        self._count(1, mark)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _RefusedError(f"settings are nested more than {_DEEPEST} deep", mark)
        if anchor is not None:
            self._anchored[anchor] = None
        node = super().compose_node(parent, index)
        if anchor is not None:
            self._anchored[anchor] = self._values - before
        self._depth -= 1
        return node

    def _count(self, more: int, mark: yaml.Mark) -> None:
        self._values += more
        if self._values > _MOST_VALUES:
            raise _RefusedError(f"the file has more than {_MOST_VALUES} values, with aliases expanded", mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _RefusedError(f"the key {shown_key(key.value)} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        if isinstance(node, yaml.ScalarNode) and node.tag != _TEXT and len(node.value) > _LONGEST_NUMBER:
            raise _RefusedError("a number or date that long cannot be read; put text in quotes", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError):  # of a tag on what does not fit it
            problem = "a number or date cannot be read; put text that looks like one in quotes"
        raise _RefusedError(problem, node.start_mark)
