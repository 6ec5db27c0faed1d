"""Warnings about settings, each once in a process, because settings are read again whenever a store is opened."""

from __future__ import annotations

import warnings

_WARNED: set[tuple[str, str]] = set()


def warn_once(origin: str, message: str) -> None:
    """Warns of something in a file, unless this process has done so before.

    Args:
        origin: the file, or what else the settings came from.
        message: what is said, without the origin.
    """
    if (origin, message) not in _WARNED:
        _WARNED.add((origin, message))
        warnings.warn(f"{origin}: {message}", stacklevel=3)
