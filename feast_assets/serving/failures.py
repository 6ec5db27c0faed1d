"""What goes wrong with a request: HTTP status, and the error detail from which Feast's clients make an exception."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from feast_assets.errors import FeastAssetsError

logger = logging.getLogger("feast_assets.serving")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request was not answered with what it asked for.

    Attributes:
        status: an HTTP status.
        error_class: the exception of ``feast.errors`` that Feast's clients raise.
        message: for people.
        retry_after: seconds after which the same request may succeed; None where nobody can tell.
    """

    status: int
    error_class: str
    message: str
    retry_after: int | None = None

    def detail(self) -> dict[str, str]:
        """Returns the error detail: what Feast's clients make an exception of."""
        return {"module": "feast.errors", "class": self.error_class, "message": self.message}


def failure_of(error: Exception) -> Failure:
    """Returns what to answer where an error was raised; logs errors that nobody expects."""
    if not isinstance(error, FeastAssetsError):
        logger.error("A request failed unexpectedly.", exc_info=error)
        return Failure(500, "FeastError", "The server failed unexpectedly; its log says how.")
    status = error.http_status
    if status == 500:
        logger.error("A request failed: %s", error)
    return Failure(status, error.class_in_feast, str(error), 1 if status == 503 else None)
