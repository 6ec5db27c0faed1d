"""The audit log: who read, wrote and changed what, and what was denied, as lines of JSON. It holds names and counts,
and no values of features, no keys and no tokens.

Records go to the logger ``feast_assets.audit_log``: accesses with level INFO, denials with WARNING. So denials are in
the log of every process, and accesses where that level is asked for.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from feast_assets.auth.identity import Identity
from feast_assets.errors import ConfigError

logger = logging.getLogger("feast_assets.audit_log")

accesses_are_recorded: Callable[[], bool] = partial(logger.isEnabledFor, logging.INFO)
"""Tells whether accesses are recorded. A function of no layers, since every online read asks."""

_NAMES = 100
"""How many names of objects are listed in one record."""


def write_to(path: Path) -> None:
    """Has all accesses of this process appended to a file, one record a line, which only its owner can read.

    Several processes may append to one file: each record is written by itself.

    Raises:
        ConfigError: the file cannot be written.
    """
    absolute_path = os.path.abspath(path)
    if any(isinstance(each, logging.FileHandler) and each.baseFilename == absolute_path for each in logger.handlers):
        return
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The audit log {path} cannot be written: {error.strerror or error}.") from None
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Accesses are for this file; whoever watches the process still sees denials.
    logger.propagate = False
    above = logging.StreamHandler()
    above.setLevel(logging.WARNING)
    logger.addHandler(above)


class AuditLog:
    """Writes the records of one project.

    A record has ``time`` (UTC), ``event`` (such as ``read_online``), ``project``, ``who`` (null where nobody was named,
    as in a process of the operator's own), ``outcome`` (``ok``, ``denied`` or ``failed``), and what the event tells,
    such as ``objects`` and ``rows``.
    """

    def __init__(self, project: str):
        self._project = project

    @property
    def is_on(self) -> bool:
        """Whether accesses are recorded. Ask before collecting what a record needs."""
        return accesses_are_recorded()

    def done(self, event: str, identity: Identity | None, objects: Iterable[str], **details: object) -> None:
        """Records an access that was carried out.

        Args:
            objects: names, such as those of views.
            details: numbers and names; never values.
        """
        self._write(logging.INFO, event, identity, "ok", objects, details)

    def failed(self, event: str, identity: Identity | None, objects: Iterable[str], error: BaseException) -> None:
        """Records an access that failed: by the class of the error, since its message may quote values."""
        self._write(logging.INFO, event, identity, "failed", objects, {"error": type(error).__name__})

    def denied(self, event: str, identity: Identity | None, objects: Iterable[str], **details: object) -> None:
        """Records that something was denied."""
        self._write(logging.WARNING, event, identity, "denied", objects, details)

    def _write(
        self,
        level: int,
        event: str,
        identity: Identity | None,
        outcome: str,
        objects: Iterable[str],
        details: dict[str, object],
    ) -> None:
        if not logger.isEnabledFor(level):
            return
        names = list(objects)
        record: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(),
            "event": event,
            "project": self._project,
            "who": None if identity is None else identity.username,
            "outcome": outcome,
            "objects": names[:_NAMES],
        }
        if len(names) > _NAMES:
            record["more_objects"] = len(names) - _NAMES
        logger.log(level, "%s", json.dumps(record | details, separators=(",", ":")))
