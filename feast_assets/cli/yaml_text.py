"""YAML for people: attributes in their own order, several lines of text as a block."""

from __future__ import annotations

import yaml


class _Dumper(yaml.SafeDumper):
    """A subclass, so that the representer below does not change PyYAML's own dumper."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def yaml_text(data: object) -> str:
    """Returns JSON-able data as YAML, without a line break at the end."""
    # A subclass of SafeDumper writes plain data only.
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110).rstrip()
