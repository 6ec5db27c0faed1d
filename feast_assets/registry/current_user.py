"""Who uses the registry: the name that revisions are noted under."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Returns the name of the user who runs this process; "" where the system knows none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
