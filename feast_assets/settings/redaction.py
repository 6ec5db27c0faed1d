"""Showing settings without their secrets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

from feast_assets.settings.server_url import MASK, masked_url, parse_server_url

HIDDEN = "**********"
"""What is shown instead of a setting that is a secret as a whole."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|_?code)|pwd|secret|token|private_key|api_?key|access_?key|credential|sas_",
    re.IGNORECASE,
)
# The rest of the text is masked with the value, since a password may hold any character.
_ASSIGNED = re.compile(
    r"\b(\w*(?:pass(?:word|wd|phrase)|pwd|secret|token|api_?key)\w*\s*=).*", re.IGNORECASE | re.DOTALL
)
# A login before a host, as of a URL whose slashes were forgotten.
_LOGIN = re.compile(r"\S*:\S*@")
_TYPE_NAME = re.compile(r"[A-Za-z_][\w.-]{0,80}", re.ASCII)
# Shorter texts occur in messages by chance.
_SHORTEST_SECRET = 3


def is_secret_name(name: str) -> bool:
    """Says whether a setting of this name holds, or may hold, a secret."""
    return name == "connection_string" or bool(_SECRET_NAME.search(name))


def is_type_name(text: object) -> TypeGuard[str]:
    """Says whether a text could be the type of a store, and so may be shown if it is unknown."""
    return isinstance(text, str) and bool(_TYPE_NAME.fullmatch(text))


def shown_key(key: object) -> str:
    """Returns a key, quoted, if it looks like a name: YAML reads ``password:secret``, without the blank, as a key."""
    return repr(key) if is_type_name(key) else "that is not shown, as a value may have become a part of it"


def shown_if_near(text: object, known: Iterable[str]) -> str:
    """Returns a space and the quoted text if it resembles a known name; otherwise ``""``, since it may be a secret."""
    return f" {text!r}" if is_type_name(text) and difflib.get_close_matches(str(text), sorted(known), n=1) else ""


def masked(value: object, name: str = "") -> object:
    """Returns settings with their secrets replaced: values of secret names, and what URLs and options hold.

    Args:
        value: text, numbers, lists and mappings.
        name: the setting that holds it.
    """
    if isinstance(value, Mapping):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, name) for inner in value]
    if not isinstance(value, str):
        return value
    if is_secret_name(name) and value:
        return HIDDEN
    return masked_text(value)


def masked_text(text: str) -> str:
    """Returns one setting's text with the secrets of a URL, or of ``password=...``, replaced."""
    url = parse_server_url(text)
    if url is not None:
        return str(url)
    if ("://" in text and any(mark in text for mark in "@?#")) or _LOGIN.match(text):
        return masked_url(text)
    return _ASSIGNED.sub(rf"\1{MASK}", text)


def secrets_in(value: object, name: str = "") -> Iterator[str]:
    """Yields the texts in settings that must not be shown."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from secrets_in(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner, name)
    elif isinstance(value, str) and value:
        url = parse_server_url(value)
        if url is not None:
            yield from url.secrets()
        elif _SECRET_NAME.search(name) or masked_text(value) != value:
            yield value
        yield from (pair.split("=", 1)[1] for pair in re.findall(r"\w*pass\w*=[^,&;\s]+", value))


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Returns a text with each of the secrets replaced, the longest first."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text


def clean_error(error: BaseException, secrets: Iterable[str]) -> None:
    """Replaces secrets in the texts of an error and of its causes, which tracebacks and error reporters print."""
    known = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    if not known:
        return
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        each.args = tuple(without_secrets(arg, known) if isinstance(arg, str) else arg for arg in each.args)
        if getattr(each, "_pgconn", None) is not None:
            each._pgconn = None  # type: ignore[attr-defined]  # psycopg's connection, with all that it was told
        # SQLAlchemy keeps the driver's error under this name.
        left += [each.__cause__, each.__context__, getattr(each, "orig", None)]
