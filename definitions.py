"""What Dagster loads: the feature repository in feature_repo/, on the stores of this deployment."""

import dagster as dg

from feast_assets.dagster import definitions_for
from resources import deployment_resources

# Every group of feature views is one step, so a process of its own for each step would only cost time.
defs = dg.Definitions.merge(
    definitions_for(deployment_resources()),
    dg.Definitions(executor=dg.in_process_executor),
)
