"""Which paths of registries are in object stores, and what reads these."""

from __future__ import annotations

import re
from collections.abc import Mapping

SCHEMES: Mapping[str, tuple[str, str, str]] = {
    "s3": ("s3", "s3fs", "s3"),
    "s3a": ("s3", "s3fs", "s3"),
    "gs": ("gs", "gcsfs", "gcs"),
    "gcs": ("gs", "gcsfs", "gcs"),
    "az": ("abfs", "adlfs", "azure"),
    "abfs": ("abfs", "adlfs", "azure"),
    "abfss": ("abfs", "adlfs", "azure"),
    "file": ("file", "", ""),
}
"""Scheme of a path -> the fsspec protocol, the package that has it, and the extra of this package that installs it."""

_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")


def scheme_of(path: object) -> str | None:
    """Returns the scheme of a path that a file registry can be at, in lower case; None for any other path."""
    match = _SCHEME.match(path) if isinstance(path, str) else None
    scheme = match[1].lower() if match else ""
    return scheme if scheme in SCHEMES else None
