"""Types of columns that are not the same in all databases.

On SQLite and Postgres all texts are TEXT. MySQL wants a length for the columns of a primary key, cuts a plain TEXT at
64 KB, and compares texts without regard to case, accents and blanks at their end unless told otherwise.
"""

from __future__ import annotations

from sqlalchemy import LargeBinary, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import TypeCompiler

KEY_CHARACTERS = 255
"""How long a name can be on MySQL. The longest primary key has three, just under the 3,072 bytes that InnoDB takes."""


class Key(Text):
    """A text in a primary key, compared exactly."""


class LongText(Text):
    """A text of any length."""


class Blob(LargeBinary):
    """Bytes, of any number up to gigabytes."""


@compiles(Key, "mysql")
def _key(column_type: Key, compiler: TypeCompiler, **options: object) -> str:
    return f"VARCHAR({KEY_CHARACTERS}) {_exact(compiler)}"


@compiles(LongText, "mysql")
def _long_text(column_type: LongText, compiler: TypeCompiler, **options: object) -> str:
    return f"LONGTEXT {_exact(compiler)}"


@compiles(Blob, "mysql")
def _blob(column_type: Blob, compiler: TypeCompiler, **options: object) -> str:
    return "LONGBLOB"


def _exact(compiler: TypeCompiler) -> str:
    """Returns the character set and a collation in which only equal texts are equal."""
    collation = "utf8mb4_nopad_bin" if getattr(compiler.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return f"CHARACTER SET utf8mb4 COLLATE {collation}"
