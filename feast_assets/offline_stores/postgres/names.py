"""Names of tables as people write them in Postgres."""

from __future__ import annotations

import re

from sqlglot import exp

_PART = re.compile(r'"(?:[^"]|"")+"|[^\W\d][\w$]*')


def quoted_table(text: str) -> exp.Table:
    """Returns the table that a text names: ``table``, ``schema.table``, or the same with parts in double quotes.

    As in SQL, letters outside of quotes are read in lower case. A text that has another form, such as ``my table``, is
    the name itself.
    """
    parts: list[str] = []
    at = 0
    while (match := _PART.match(text, at)) is not None:
        part = match[0]
        parts.append(part[1:-1].replace('""', '"') if part.startswith('"') else part.lower())
        at = match.end()
        if at == len(text) and len(parts) <= 2:
            names = [exp.to_identifier(name, quoted=True) for name in parts]
            return exp.Table(this=names[-1], db=names[0] if len(names) == 2 else None)
        if text[at : at + 1] != ".":
            break
        at += 1
    return exp.Table(this=exp.to_identifier(text, quoted=True))


def written(schema: str, name: str, usual: str) -> str:
    """Returns how a table is named in a source, without the schema where it is the usual one."""
    return ".".join(_written(part) for part in ((name,) if schema == usual else (schema, name)))


def _written(part: str) -> str:
    plain = _PART.fullmatch(part) and not part.startswith('"') and part == part.lower()
    return part if plain else '"' + part.replace('"', '""') + '"'
