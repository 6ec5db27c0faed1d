"""The audit log: who read, wrote and changed what, and what was denied, as lines of JSON. It holds names and counts,
and no values of features, no keys and no tokens.

Records go to the logger ``feast_assets.audit_log``: accesses with level INFO, denials with WARNING. So denials are in
the log of every process, and accesses where that level is asked for.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime

from feast_assets.auth.identity import Identity

logger = logging.getLogger("feast_assets.audit_log")

_NAMES = 100
"""How many names of objects are listed in one record."""


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
        return logger.isEnabledFor(logging.INFO)

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
