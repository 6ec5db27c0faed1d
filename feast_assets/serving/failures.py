"""What goes wrong with a request: HTTP status, and the error detail from which Feast's clients make an exception."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from feast_assets import errors
from feast_assets.errors import (
    BrokenChecksError,
    ConcurrentApplyError,
    DefinitionError,
    FeastAssetsError,
    FeastObjectNotFoundException,
    InputError,
    NotSupportedError,
    PushSourceNotFoundException,
    RequestDataNotFoundInEntityRowsException,
    StoreUnavailableError,
    UnknownRowSchemaError,
)

logger = logging.getLogger("feast_assets.serving")

_STATUSES: tuple[tuple[type[FeastAssetsError], int], ...] = (
    (PushSourceNotFoundException, 422),
    (FeastObjectNotFoundException, 404),
    (RequestDataNotFoundInEntityRowsException, 404),
    (BrokenChecksError, 422),
    (InputError, 400),
    (DefinitionError, 400),
    (ConcurrentApplyError, 409),
    (NotSupportedError, 501),
    (StoreUnavailableError, 503),
    (UnknownRowSchemaError, 503),
)
"""The first that fits counts; what is not here is 500."""

_FEASTS = frozenset(
    (
        "ConflictingFeatureViewNames",
        "DataFrameSerializationError",
        "DataSourceObjectNotFoundException",
        "EntityNotFoundException",
        "FeastJoinKeysDuringMaterialization",
        "FeastObjectNotFoundException",
        "FeatureNameCollisionError",
        "FeatureServiceNotFoundException",
        "FeatureViewNotFoundException",
        "InvalidFeaturesParameterType",
        "OnDemandFeatureViewNotFoundException",
        "ProjectObjectNotFoundException",
        "PushSourceNotFoundException",
        "RequestDataNotFoundInEntityRowsException",
    )
)
"""Exceptions that Feast has under the same name in ``feast.errors``."""


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
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        logger.error("A request failed: %s", error)
    return Failure(status, _feast_class(type(error)), str(error), 1 if status == 503 else None)


def _feast_class(kind: type[FeastAssetsError]) -> str:
    """Returns the nearest class of an error that Feast has too."""
    for base in kind.__mro__:
        if base.__name__ in _FEASTS and base.__module__ == errors.__name__:
            return base.__name__
    return "FeastError"
