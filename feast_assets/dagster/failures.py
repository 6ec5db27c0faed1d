"""How errors of the library end a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from feast_assets.errors import ConfigError, DefinitionError, FeastAssetsError, NotAppliedError

_STAY = (ConfigError, DefinitionError, NotAppliedError)
"""What is the same at the next attempt, so that a retry policy does not help."""


@contextmanager
def told_first() -> Iterator[None]:
    """Turns an error of the library into a failure whose message is the first line that Dagster shows of the step.

    Dagster shows other exceptions as an error while executing the op, with the cause below the stack trace.

    Raises:
        dagster.Failure: with the error's message; the error is its cause.
    """
    try:
        yield
    except FeastAssetsError as error:
        raise dg.Failure(str(error), allow_retries=not isinstance(error, _STAY)) from error
