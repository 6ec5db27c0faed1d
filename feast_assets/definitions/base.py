"""What all registered objects share."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from feast_assets.definitions.spec import Spec
from feast_assets.errors import DefinitionError, NotSupportedError, shown

_IN_REFERENCES = re.compile(r"[@:]")
_ODD_SPACE = re.compile(r"[^\S ]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PACKAGE = __name__.partition(".")[0]


class Definition(Spec):
    """An object of the registry, identified by its class's ``object_type`` and its name.

    Attributes:
        created_timestamp: when it was first applied, UTC; None before that. Not part of the definition.
        last_updated_timestamp: when it was last changed by an apply, UTC; None before that.
        defined_at: file and line of the code that made it; None where it was read from a registry. Not part of the
            definition.
    """

    object_type: ClassVar[str] = ""

    name: str
    description: str
    tags: dict[str, str]
    owner: str
    created_timestamp: datetime | None = None
    last_updated_timestamp: datetime | None = None
    defined_at: tuple[str, int] | None = None

    def _init_meta(self, name: str, description: str, tags: Mapping[str, str] | None, owner: str) -> None:
        subject = type(self).__name__
        check_name(name, subject)
        if not isinstance(description, str) or not isinstance(owner, str):
            raise DefinitionError(f"{subject} {name!r}: description and owner must be text.")
        self.name = name
        self.description = description
        self.tags = check_tags(tags, f"{subject} {name!r}")
        self.owner = owner
        self.defined_at = _caller()


_META: Mapping[str, object] = {"name": "", "description": "", "tags": {}, "owner": ""}


def spec_of(**attributes: object) -> Mapping[str, object]:
    """Returns the ``_spec`` of a Definition: the shared attributes and its own."""
    return {**_META, **attributes}


def _caller() -> tuple[str, int]:
    """Returns file and line of the innermost code on the stack that is not this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def check_name(name: object, kind: str) -> None:
    """Checks a name.

    A name is non-empty text without halves of surrogate pairs. It contains no line breaks, tabs or white space other
    than plain spaces; names of data sources may, as they may be paths. Only names of columns (``"Field"``) and data
    sources may begin or end with a space. Names of views contain no ``@`` and ``:``, which references use.

    Args:
        kind: the kind of the object, such as ``"FeatureView"``.
    """
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"{kind} needs a name, a non-empty text; got {shown(name)}.")
    if _SURROGATE.search(name):
        raise DefinitionError(f"{kind} name {shown(name)} is not valid Unicode: it contains half of a surrogate pair.")
    if kind.endswith("Source"):
        return
    if _ODD_SPACE.search(name):
        raise DefinitionError(
            f"{kind} name {shown(name)} contains a line break, a tab or an unusual space character; use plain spaces "
            "(a column of a source can be renamed by the source's field_mapping)."
        )
    if kind != "Field" and name != name.strip():
        raise DefinitionError(f"{kind} name {shown(name)} begins or ends with a space; remove it.")
    if kind.endswith("View") and _IN_REFERENCES.search(name):
        raise DefinitionError(f"{kind} name {shown(name)} may not contain '@' or ':'; references use them.")


def listed(values: Any, subject: str) -> list[Any]:
    """Returns the values of an argument as a list; none for None.

    Args:
        subject: what the argument must be, for the message, such as
            ``"FeatureView 'v': schema must be a list of Field"``.

    Raises:
        DefinitionError: they are text or a mapping, or cannot be iterated.
    """
    if values is None:
        return []
    try:
        if not isinstance(values, (str, bytes, Mapping)):
            return list(values)
    except Exception as error:
        raise DefinitionError(f"{subject}, got {shown(values)}.") from error
    raise DefinitionError(f"{subject}, got {shown(values)}.")


def check_tags(tags: Mapping[str, str] | None, subject: str) -> dict[str, str]:
    if tags is None:
        return {}
    if not isinstance(tags, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in tags.items()):
        raise DefinitionError(f"{subject}: tags must map text to text, got {shown(tags)}.")
    return dict(tags)


def refuse_arguments(subject: str, **given: object) -> None:
    """Raises NotSupportedError if arguments are given that Feast has and this package does not support yet."""
    used = [name for name, value in given.items() if value]
    if used:
        raise NotSupportedError(
            f"{subject}: {' and '.join(used)} {'are' if len(used) > 1 else 'is'} not supported yet; leave "
            f"{'them' if len(used) > 1 else 'it'} out."
        )
