"""One set of resources for each deployment; FEAST_ASSETS_DEPLOYMENT in the environment says which, or "local"."""

import importlib
import os
from typing import Any

VARIABLE = "FEAST_ASSETS_DEPLOYMENT"
DEPLOYMENTS = ("local", "production")


def deployment_resources() -> dict[str, Any]:
    """Returns the resources of this deployment by their keys.

    Raises:
        ValueError: there is no deployment of that name.
    """
    name = os.environ.get(VARIABLE, DEPLOYMENTS[0])
    if name not in DEPLOYMENTS:
        raise ValueError(f"{VARIABLE} is {name!r}; it must be one of {', '.join(DEPLOYMENTS)}.")
    resources: dict[str, Any] = importlib.import_module(f"{__name__}.{name}").resources()
    return resources
